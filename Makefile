# Ichor. `make help` says what there is; out/ holds what is made.
KERNEL ?= cloud
LEVEL ?= 19
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
export CGO_ENABLED = 0
VERSION := $(shell git describe --tags --always --dirty)

kernel := out/cache/kernel-$(KERNEL)
foreign := out/cache/foreign
package := $(if $(filter generic,$(KERNEL)),linux-image-amd64,linux-image-cloud-amd64)
ichor := out/ichor image
flags := --kernel $(kernel) --foreign $(foreign) --level $(LEVEL) $(if $(filter generic,$(KERNEL)),--no-desktop)

.PHONY: help deps run test soak image bench generate clean FORCE
.DELETE_ON_ERROR:

help: ## show this help
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20
	@echo; echo '  KERNEL=generic for real hardware, LEVEL=9 for quick builds, UEFI=1, MEM=MiB,'
	@echo '  CPUS=n and ACCEL=kvm|tcg for make run'

image: deps out/ichor-amd64.raw out/vmlinuz ## build the disk image, out/ichor-amd64.raw

run: deps out/run/ichor.raw out/vmlinuz ## boot it in QEMU, with the debugging shell
	@scripts/run.sh out/run/ichor.raw

test: image ## run all tests, whole boots included
	go vet ./... && scripts/private.sh go test -timeout 60m ./...

SEED ?= $(shell date +%s)
soak: image ## boot on all hardware and cut the power a hundred times: writes docs/soak.md
	scripts/private.sh go test -v -count=1 -timeout 24h ./rootfs/boot -seed $(SEED) -soak $(CURDIR)/docs/soak.md

bench: image ## compare boots, sizes and memory with a floor and with a Debian
	@scripts/deps.sh debootstrap
	@cd rootfs/bench && go test -count=1 -timeout 3h -report -kernel $(KERNEL)

generate: ## write the code of the gRPC contracts anew
	cd rpc && go tool buf generate

clean: ## remove what was built, but not what was fetched
	rm -rf out/run && find out -maxdepth 1 -type f -delete

deps:
	@scripts/deps.sh

out/ichor: FORCE
	@mkdir -p out
	@go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o out/.ichor .
	@cmp -s out/.ichor $@ && rm out/.ichor || mv out/.ichor $@

$(kernel)/.done: | deps
	@scripts/fetch.sh $(kernel) $(package)

$(foreign)/.done: | deps
	@scripts/fetch.sh $(foreign) xfsprogs libblkid1 libuuid1 libinih1 liburcu8 libc6

# Changes when something else than a file does.
out/.settings: FORCE
	@mkdir -p out; echo '$(flags) $(SOURCE_DATE_EPOCH)' | cmp -s - $@ || echo '$(flags) $(SOURCE_DATE_EPOCH)' > $@

out/vmlinuz: $(kernel)/.done out/.settings
	@cp $(kernel)/boot/vmlinuz-* $@

out/rootfs.sqsh: out/ichor $(kernel)/.done $(foreign)/.done out/.settings
	@$(ichor) rootfs $(flags)

out/initramfs: out/rootfs.sqsh
	@$(ichor) initramfs $(flags)

out/ichor-amd64.raw: out/initramfs out/vmlinuz
	@$(ichor) disk $(flags)

out/run/ichor.raw: out/initramfs out/vmlinuz
	@mkdir -p out/run && $(ichor) disk $(flags) --word ichor.shell --disk-file $@
