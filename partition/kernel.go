package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysSector is the unit of sizes in sysfs, whatever the disk's sectors are.
const sysSector = 512

// KernelPartition is a partition as the kernel knows it.
type KernelPartition struct {
	// Name is the kernel's name, such as nvme0n1p1.
	Name string
	// Number is the number of the partition, from 1.
	Number int
	// Start and Size are in bytes.
	Start, Size int64
}

// DeviceName returns the kernel's name of a partition: a disk whose name ends
// in a digit gets a "p" before the number.
func DeviceName(disk string, number int) string {
	if disk != "" && disk[len(disk)-1] >= '0' && disk[len(disk)-1] <= '9' {
		disk += "p"
	}
	return disk + strconv.Itoa(number)
}

// sysfsDir returns the folder of a block device in sysfs.
func sysfsDir(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("cannot examine %s: %w", f.Name(), err)
	}
	link := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", fmt.Errorf("cannot find %s in sysfs: %w", f.Name(), err)
	}
	return dir, nil
}

// KernelPartitions reads the partitions of a disk that the kernel knows from
// the disk's folder in sysfs, by their numbers.
func KernelPartitions(dir string) (map[int]KernelPartition, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list partitions: %w", err)
	}
	found := map[int]KernelPartition{}
	for _, e := range entries {
		p, err := ReadKernelPartition(filepath.Join(dir, e.Name()))
		switch {
		case errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
			continue
		case err != nil:
			return nil, err
		}
		found[p.Number] = p
	}
	return found, nil
}

// ReadKernelPartition reads the folder of a partition in sysfs. The error
// unwraps to os.ErrNotExist if it is not one.
func ReadKernelPartition(dir string) (KernelPartition, error) {
	var v [3]int64
	for i, name := range []string{"partition", "start", "size"} {
		n, err := sysInt(dir, name)
		if err != nil {
			return KernelPartition{}, err
		}
		v[i] = n
	}
	return KernelPartition{
		Name: filepath.Base(dir), Number: int(v[0]),
		Start: v[1] * sysSector, Size: v[2] * sysSector,
	}, nil
}

// sysInt reads a number out of a file in sysfs.
func sysInt(dir, name string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", filepath.Join(dir, name), err)
	}
	return n, nil
}

// TellKernel makes the kernel's view of a disk agree with a table. If partitions
// are new it asks the kernel to read the table (BLKRRPART), which the kernel
// refuses if anything on the disk is in use: only partitions that it has read
// itself have their labels in sysfs. The rest it tells partition by partition
// (BLKPG). At the end it waits for the device nodes.
func TellKernel(ctx context.Context, disk *File, t *Table) error {
	dir, err := sysfsDir(disk.f)
	if err != nil {
		return err
	}
	known, err := KernelPartitions(dir)
	if err != nil {
		return err
	}
	if len(known) < len(t.byPosition()) {
		_ = unix.IoctlSetInt(int(disk.f.Fd()), unix.BLKRRPART, 0)
	}
	if err := tellEach(disk, dir, t); err != nil {
		return err
	}
	return waitForNodes(ctx, filepath.Base(dir), t)
}

// tellEach removes, adds and resizes partitions in the kernel.
func tellEach(disk *File, dir string, t *Table) error {
	known, err := KernelPartitions(dir)
	if err != nil {
		return err
	}
	for _, k := range known {
		if off, _ := t.Range(t.Entry(k.Number)); !t.Entry(k.Number).Used() || off != k.Start {
			if err := blkpg(disk, unix.BLKPG_DEL_PARTITION, k); err != nil {
				return err
			}
			delete(known, k.Number)
		}
	}
	for _, n := range t.byPosition() {
		if err := tellOne(disk, known, t, n); err != nil {
			return err
		}
	}
	return nil
}

// tellOne adds or resizes one partition.
func tellOne(disk *File, known map[int]KernelPartition, t *Table, number int) error {
	off, size := t.Range(t.Entry(number))
	want := KernelPartition{Number: number, Start: off, Size: size}
	k, ok := known[number]
	switch {
	case !ok:
		return blkpg(disk, unix.BLKPG_ADD_PARTITION, want)
	case k.Size != size:
		return blkpg(disk, unix.BLKPG_RESIZE_PARTITION, want)
	}
	return nil
}

// blkpg calls the ioctl of that name.
func blkpg(disk *File, op int32, p KernelPartition) error {
	part := unix.BlkpgPartition{Start: p.Start, Length: p.Size, Pno: int32(p.Number)}
	arg := unix.BlkpgIoctlArg{Op: op, Datalen: int32(unsafe.Sizeof(part)), Data: (*byte)(unsafe.Pointer(&part))}
	if err := ioctl(disk.f, unix.BLKPG, unsafe.Pointer(&arg)); err != nil {
		word := map[int32]string{unix.BLKPG_ADD_PARTITION: "add", unix.BLKPG_DEL_PARTITION: "delete", unix.BLKPG_RESIZE_PARTITION: "resize"}[op]
		return fmt.Errorf("cannot %s partition %d of %s in the kernel (BLKPG, start %d, length %d): %w", word, p.Number, disk.Name(), p.Start, p.Size, err)
	}
	return nil
}

// nodeWait bounds the wait for device nodes.
const nodeWait = 10 * time.Second

// waitForNodes waits until each partition of a table has its node in /dev.
func waitForNodes(ctx context.Context, disk string, t *Table) error {
	for _, n := range t.byPosition() {
		path := NodePath(DeviceName(disk, n))
		err := again(ctx, nodeWait, func() (bool, error) {
			_, err := os.Stat(path)
			return errors.Is(err, os.ErrNotExist), err
		})
		if err != nil {
			return fmt.Errorf("cannot find device node of partition %d: %w", n, err)
		}
	}
	return nil
}

// NodePath returns the path of the device node for a kernel name, in which "!"
// stands for "/".
func NodePath(name string) string {
	return "/dev/" + strings.ReplaceAll(name, "!", "/")
}

// PartitionPath returns the device node of a partition of an opened disk, or
// nothing for a plain file.
func (d *File) PartitionPath(number int) (string, error) {
	if !d.TakesPartitions() {
		return "", nil
	}
	dir, err := sysfsDir(d.f)
	if err != nil {
		return "", err
	}
	return NodePath(DeviceName(filepath.Base(dir), number)), nil
}

// ProbePartition recognises what a partition holds. On a block device it asks
// the partition's own node: what the kernel has cached of the whole disk does
// not see what is written to a partition.
func (d *File) ProbePartition(t *Table, number int) (Signature, error) {
	off, size := t.Range(t.Entry(number))
	path, err := d.PartitionPath(number)
	if err != nil {
		return Signature{}, err
	}
	if path == "" {
		return Probe(Section(d, off, size), size)
	}
	dev, err := Open(path, Options{})
	if err != nil {
		return Signature{}, err
	}
	defer dev.Close()
	return Probe(dev, dev.Size())
}
