#!/bin/sh
# fetch.sh DIR PACKAGE...: download Debian packages and unpack them below DIR,
# without installing them and without root. For linux-image-cloud-amd64 and
# linux-image-amd64 the package with the kernel itself is taken, and its modules
# get an index. DIR/.done is written last, with the names and versions.
set -eu

[ $# -ge 2 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
dir=$1
shift
PATH=$PATH:/usr/sbin:/sbin

# What a package that only names the newest kernel depends on.
resolve() {
	case $1 in
	linux-image-amd64 | linux-image-cloud-amd64)
		apt-cache depends "$1" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
		;;
	*) echo "$1" ;;
	esac
}

names=
for p in "$@"; do
	name=$(resolve "$p")
	[ -n "$name" ] || { echo "fetch.sh: apt knows no package $p; run apt-get update as root" >&2; exit 1; }
	names="$names $name"
done

echo "fetching:$names"
rm -rf "$dir"
mkdir -p "$dir/debs"
(
	cd "$dir/debs"
	as=
	[ "$(id -u)" != 0 ] || as="-o APT::Sandbox::User=root"
	# shellcheck disable=SC2086
	apt-get -q $as download $names >log 2>&1 || {
		cat log >&2
		echo "fetch.sh: apt-get download failed; a list of packages may be old: run apt-get update as root" >&2
		exit 1
	}
	for deb in *.deb; do dpkg -x "$deb" ..; done
	ls -- *.deb >../names
)
rm -rf "$dir/debs"
for modules in "$dir"/lib/modules/*; do
	[ -d "$modules" ] || continue
	depmod -b "$dir" "$(basename "$modules")"
done
mv "$dir/names" "$dir/.done"
