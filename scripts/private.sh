#!/bin/sh
# private.sh COMMAND [ARG ...]: run a command in a mount namespace of its own, so
# that nothing it mounts is seen outside. Without root it just runs the command.
set -eu

[ $# -gt 0 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || exec "$@"

# In a chroot the root is no mount, and its propagation cannot be changed. So a
# copy of the whole tree becomes the root, attached over /proc for want of a
# better mount that is always there.
exec unshare --mount --propagation unchanged sh -euc '
	mount --make-private /proc
	mount --rbind / /proc
	mount --make-rprivate /proc
	exec chroot /proc sh -euc '\''cd "$0" && exec "$@"'\'' "$@"
' sh "$PWD" "$@"
