#!/bin/sh
# run.sh DISK: boot a disk image in QEMU with its console on this terminal.
#
#   UEFI=1      boot with OVMF instead of SeaBIOS
#   ACCEL=kvm   do not probe for KVM; ACCEL=tcg: do not use it
#   MEM=1024    memory in MiB
#   CPUS=2      processors
#   QEMU_ARGS   more arguments for QEMU
set -eu

[ $# -eq 1 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
disk=$1
dir=$(dirname "$disk")
kernel=$dir/../vmlinuz

# On some machines guests hang under KVM: a kernel without a root file system
# must get as far as its panic within a few seconds.
kvm_works() {
	[ -w /dev/kvm ] && timeout 5 qemu-system-x86_64 -accel kvm -cpu host -m 256 -nic none \
		-display none -no-reboot -kernel "$kernel" -append "quiet panic=-1" >/dev/null 2>&1
}

if [ -z "${ACCEL:-}" ]; then
	ACCEL=tcg
	if kvm_works; then ACCEL=kvm; fi
fi
case $ACCEL in
kvm) set -- -accel kvm -cpu host ;;
tcg) set -- -accel tcg,thread=multi -cpu qemu64,+rdrand ;; # no wait for entropy
*) echo "run.sh: ACCEL=$ACCEL: want kvm or tcg" >&2; exit 2 ;;
esac

firmware=BIOS
if [ -n "${UEFI:-}" ]; then
	firmware=UEFI
	vars=$dir/OVMF_VARS.fd
	[ -f "$vars" ] || cp /usr/share/OVMF/OVMF_VARS_4M.fd "$vars"
	set -- "$@" -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
		-drive if=pflash,format=raw,file="$vars"
fi

echo "Booting $disk ($firmware, $ACCEL). Leave QEMU with ctrl-A x."
# shellcheck disable=SC2086
exec qemu-system-x86_64 "$@" -m "${MEM:-1024}" -smp "${CPUS:-2}" -display none \
	-nodefaults -vga std -serial mon:stdio \
	-drive file="$disk",format=raw,if=virtio ${QEMU_ARGS:-}
