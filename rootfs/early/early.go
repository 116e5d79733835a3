// Package early says what the initramfs holds and where: the contract between
// the image build, which writes it, and PID 1's first life as /init.
//
// The initramfs is two archives, one after the other. The first is compressed:
// /init (the binary), the folders and device nodes below, the early modules
// with their own index under /usr/lib/modules/RELEASE, and Checksum. The
// second is not, and holds the root file system as Squashfs.
package early

import (
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Paths in the initramfs.
const (
	// Init is what the kernel starts: the binary.
	Init = "/init"
	// Squashfs is the read-only root file system, to be loop mounted.
	Squashfs = "/rootfs.sqsh"
	// Checksum is the Sum of Squashfs and a newline.
	Checksum = "/rootfs.sqsh.xxh64"
	// NewRoot is an empty folder to mount Squashfs on.
	NewRoot = "/root"
)

// Folders are the empty folders of the initramfs: mount points.
var Folders = []string{"/dev", "/proc", "/sys", "/run", NewRoot}

// Use says when /init loads a module.
type Use int

// The uses.
const (
	// ForRoot modules are needed to mount the squashfs.
	ForRoot Use = iota
	// ForDisks modules are needed soon after, to find and to mount what is on
	// disks: loading them starts in the initramfs, beside other work.
	ForDisks
)

// Module is a row of the list of early modules.
type Module struct {
	Name string
	Use  Use
}

// Modules are what the initramfs holds, with all that they depend on. A module
// that is built into the kernel is passed over.
var Modules = []Module{
	{"loop", ForRoot},
	{"squashfs", ForRoot},
	{"virtio_pci", ForDisks},
	{"virtio_blk", ForDisks},
	{"virtio_scsi", ForDisks},
	{"sd_mod", ForDisks},
	{"nvme", ForDisks},
	{"xfs", ForDisks},
	{"overlay", ForDisks},
}

// Sum returns the XXH64 of what it reads, as 16 hex digits. It finds damage, and
// is computed at each boot, where SHA-256 would take longer than all else; an
// attacker is kept out by the signature of the whole initramfs.
func Sum(r io.Reader) (string, error) {
	h := xxhash.New()
	if _, err := io.CopyBuffer(h, r, make([]byte, 1<<18)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%016x", h.Sum64()), nil
}
