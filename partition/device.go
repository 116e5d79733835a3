package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/siderolabs/go-retry/retry"
	"golang.org/x/sys/unix"
)

// Device is what a partition table lies on. Offsets are bytes.
type Device interface {
	io.ReaderAt
	io.WriterAt
	// Size is the length in bytes.
	Size() int64
	// SectorSize is the logical sector size in bytes, the unit of an LBA.
	SectorSize() int
	// Sync returns when all that was written would survive a power cut.
	Sync() error
}

// DefaultSectorSize is the sector size taken for plain files that do not hold
// a table yet.
const DefaultSectorSize = 512

// File is a Device on a block device or a plain file.
type File struct {
	f          *os.File
	size       int64
	sectorSize int
	block      bool
}

// Options say how Open opens a device.
type Options struct {
	// Write allows writing, and keeps other programs that lock the device
	// (systemd and ours do) away until it is closed.
	Write bool
	// Exclusive refuses a block device of which anything is in use: mounted,
	// swapped to, or part of a RAID.
	Exclusive bool
	// SectorSize is the sector size in bytes for a plain file. With 0 it is
	// taken from the table in the file, else it is DefaultSectorSize. A block
	// device knows its own.
	SectorSize int
}

// Open opens a block device or a plain file.
func Open(path string, o Options) (*File, error) {
	f, err := os.OpenFile(path, o.flags(path), 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("cannot open %s for itself alone: %w; something on it is mounted or otherwise in use", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open disk: %w", err)
	}
	d := &File{f: f}
	if err := d.examine(o); err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

// flags makes the flags of open(2). O_EXCL without O_CREAT has its meaning for
// block devices only.
func (o Options) flags(path string) int {
	flags := os.O_RDONLY
	if o.Write {
		flags = os.O_RDWR
	}
	if info, err := os.Stat(path); o.Exclusive && err == nil && info.Mode()&os.ModeDevice != 0 {
		flags |= unix.O_EXCL
	}
	return flags
}

// examine finds out the size and the sector size, and takes the lock.
func (d *File) examine(o Options) error {
	info, err := d.f.Stat()
	if err != nil {
		return fmt.Errorf("cannot examine disk: %w", err)
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		d.size = info.Size()
		d.sectorSize, err = fileSectorSize(d.f, o.SectorSize)
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		d.block = true
		err = d.examineBlock()
	default:
		err = fmt.Errorf("cannot use %s as a disk: it is neither a block device nor a file", d.f.Name())
	}
	if err == nil && o.Write {
		err = d.lock()
	}
	return err
}

// examineBlock asks the kernel for the geometry of a block device.
func (d *File) examineBlock() error {
	size, err := ioctlUint64(d.f, unix.BLKGETSIZE64)
	if err != nil {
		return fmt.Errorf("cannot get the size of %s (BLKGETSIZE64): %w", d.f.Name(), err)
	}
	sector, err := unix.IoctlGetInt(int(d.f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("cannot get the sector size of %s (BLKSSZGET): %w", d.f.Name(), err)
	}
	d.size, d.sectorSize = int64(size), sector
	return nil
}

// fileSectorSize checks the sector size wanted for a file, or finds the one
// its table was written for.
func fileSectorSize(r io.ReaderAt, want int) (int, error) {
	if want != 0 {
		return want, checkSectorSize(want)
	}
	for _, size := range []int{512, 4096} {
		if hasSignature(r, int64(size)) {
			return size, nil
		}
	}
	return DefaultSectorSize, nil
}

// checkSectorSize accepts the sector sizes that disks have.
func checkSectorSize(n int) error {
	if n < 512 || n > 4096 || n&(n-1) != 0 {
		return fmt.Errorf("cannot use sectors of %d bytes: want 512, 1024, 2048 or 4096", n)
	}
	return nil
}

// lockWait bounds the wait for another program that has the disk locked. A
// udev daemon holds its lock for the moment in which it looks at the disk.
const lockWait = 5 * time.Second

// lock takes the advisory lock that partitioning programs and udev share.
func (d *File) lock() error {
	err := again(context.Background(), lockWait, func() (bool, error) {
		err := unix.Flock(int(d.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		return errors.Is(err, unix.EWOULDBLOCK), err
	})
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w; another program is changing it", d.f.Name(), err)
	}
	return nil
}

// again calls f until it succeeds, fails for good, or a time has passed, and
// returns its last error.
func again(ctx context.Context, bound time.Duration, f func() (again bool, err error)) error {
	var last error
	err := retry.Constant(bound, retry.WithUnits(10*time.Millisecond)).RetryWithContext(ctx, func(context.Context) error {
		var again bool
		if again, last = f(); again {
			return retry.ExpectedError(last)
		}
		return last
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// ReadAt reads at a byte offset.
func (d *File) ReadAt(b []byte, off int64) (int, error) { return d.f.ReadAt(b, off) }

// WriteAt writes at a byte offset; it refuses to make the device longer.
func (d *File) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > d.size {
		return 0, fmt.Errorf("cannot write %d bytes at byte %d of %s: it has %d bytes", len(b), off, d.f.Name(), d.size)
	}
	return d.f.WriteAt(b, off)
}

// Size is the length in bytes.
func (d *File) Size() int64 { return d.size }

// SectorSize is the logical sector size in bytes.
func (d *File) SectorSize() int { return d.sectorSize }

// Sync flushes the kernel's and the disk's caches.
func (d *File) Sync() error { return d.f.Sync() }

// Name is the path the device was opened by.
func (d *File) Name() string { return d.f.Name() }

// IsBlock tells a block device from a plain file.
func (d *File) IsBlock() bool { return d.block }

// TakesPartitions tells whether the kernel makes devices of the partitions of
// this one. It does not for a loop device attached without partitions
// (losetup -P), which is then used like a plain file.
func (d *File) TakesPartitions() bool {
	if !d.block {
		return false
	}
	dir, err := sysfsDir(d.f)
	if err != nil {
		return false
	}
	n, err := sysInt(dir, "ext_range")
	return err == nil && n > 1
}

// IsPartition tells a partition from a whole disk.
func (d *File) IsPartition() bool {
	if !d.block {
		return false
	}
	dir, err := sysfsDir(d.f)
	if err != nil {
		return false
	}
	_, err = ReadKernelPartition(dir)
	return err == nil
}

// Close closes the device and drops its lock.
func (d *File) Close() error { return d.f.Close() }

// Memory is a Device in memory, for tests and for working something out.
type Memory struct {
	Data []byte
	// Sector is the sector size in bytes.
	Sector int
}

// NewMemory returns a zeroed Memory of size bytes.
func NewMemory(size int64, sectorSize int) *Memory {
	return &Memory{Data: make([]byte, size), Sector: sectorSize}
}

// ReadAt reads at a byte offset.
func (m *Memory) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(m.Data)) {
		return 0, io.EOF
	}
	n := copy(b, m.Data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes at a byte offset within the device.
func (m *Memory) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(m.Data)) {
		return 0, fmt.Errorf("cannot write %d bytes at byte %d: the device has %d bytes", len(b), off, len(m.Data))
	}
	return copy(m.Data[off:], b), nil
}

// Size is the length in bytes.
func (m *Memory) Size() int64 { return int64(len(m.Data)) }

// SectorSize is the logical sector size in bytes.
func (m *Memory) SectorSize() int { return m.Sector }

// Sync does nothing.
func (m *Memory) Sync() error { return nil }

// section is a part of a device as a device.
type section struct {
	Device
	off, size int64
}

// Section returns the part of a device that begins at off and is size bytes
// long, such as a partition of an image.
func Section(dev Device, off, size int64) Device { return &section{dev, off, size} }

// Size is the length in bytes.
func (s *section) Size() int64 { return s.size }

// ReadAt reads at a byte offset of the section.
func (s *section) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off >= s.size {
		return 0, io.EOF
	}
	if rest := s.size - off; int64(len(b)) > rest {
		n, err := s.Device.ReadAt(b[:rest], s.off+off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return s.Device.ReadAt(b, s.off+off)
}

// WriteAt writes at a byte offset within the section.
func (s *section) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > s.size {
		return 0, fmt.Errorf("cannot write %d bytes at byte %d: the partition has %d bytes", len(b), off, s.size)
	}
	return s.Device.WriteAt(b, s.off+off)
}
