package partition

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// xfsGeometry is struct xfs_fsop_geom of the kernel's xfs_fs.h, version 5, as
// far as we read it.
type xfsGeometry struct {
	BlockSize uint32 // bytes
	_         [6]uint32
	// MaxInodes is the percentage of space inodes may take.
	MaxInodes  uint32
	DataBlocks uint64
	_          [216]byte
}

// xfsGrowth is struct xfs_growfs_data.
type xfsGrowth struct {
	NewBlocks uint64
	MaxInodes uint32
	_         uint32
}

// The ioctls of an XFS.
const (
	xfsFSGeometry = 0x8100587e // _IOR('X', 126, 256 bytes)
	xfsFSGrowData = 0x4010586e // _IOW('X', 110, 16 bytes)
)

// GrowXFS grows the XFS that is mounted at a path, to the size of the device
// it is on. It returns the sizes of the file system before and after in bytes,
// which are the same if there was nothing to do.
func GrowXFS(mountpoint string) (before, after int64, err error) {
	dir, err := os.Open(mountpoint)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot grow file system: %w", err)
	}
	defer dir.Close()
	before, after, err = growXFS(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot grow file system at %s: %w", mountpoint, err)
	}
	return before, after, nil
}

// growXFS grows the file system that a folder is on.
func growXFS(dir *os.File) (before, after int64, err error) {
	geometry, err := readXFSGeometry(dir)
	if err != nil {
		return 0, 0, err
	}
	device, err := mountedSize(dir)
	if err != nil {
		return 0, 0, err
	}
	block := int64(geometry.BlockSize)
	before = int64(geometry.DataBlocks) * block
	if device/block <= int64(geometry.DataBlocks) {
		return before, before, nil
	}
	grow := xfsGrowth{NewBlocks: uint64(device / block), MaxInodes: geometry.MaxInodes}
	if err := ioctl(dir, xfsFSGrowData, unsafe.Pointer(&grow)); err != nil {
		return 0, 0, fmt.Errorf("XFS_IOC_FSGROWFSDATA to %d blocks of %d bytes: %w", grow.NewBlocks, block, err)
	}
	geometry, err = readXFSGeometry(dir)
	return before, int64(geometry.DataBlocks) * block, err
}

// readXFSGeometry asks for the geometry.
func readXFSGeometry(dir *os.File) (xfsGeometry, error) {
	var g xfsGeometry
	err := ioctl(dir, xfsFSGeometry, unsafe.Pointer(&g))
	if errors.Is(err, unix.ENOTTY) {
		err = fmt.Errorf("it is not XFS: %w", err)
	}
	if err != nil {
		return g, fmt.Errorf("XFS_IOC_FSGEOMETRY: %w", err)
	}
	return g, nil
}

// mountedSize returns the length in bytes of the device that the file system
// of a folder is on.
func mountedSize(dir *os.File) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return 0, err
	}
	sectors, err := sysInt(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), "size")
	return sectors * sysSector, err
}
