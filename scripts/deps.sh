#!/bin/sh
# deps.sh [PACKAGE...]: install the Debian packages that building, running and
# testing need, and those named. Says and does nothing when they are all there.
# Installing takes root.
set -eu

packages="
ca-certificates
kmod squashfs-tools zstd xfsprogs faketime
grub-common grub-pc-bin grub-efi-amd64-bin
qemu-system-x86 ovmf
bsdextrautils busybox-static cpio dosfstools fdisk gdisk less mtools
$*
"

# shellcheck disable=SC2086
installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $packages 2>/dev/null || true)
missing=
for p in $packages; do
	printf '%s\n' "$installed" | grep -qx "$p installed" || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "deps.sh: packages are missing. Install them as root: apt-get install$missing" >&2
	exit 1
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get -q update && apt-get -q -y install --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "deps.sh: apt-get failed, see above" >&2
	exit 1
fi
