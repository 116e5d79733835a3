package partition

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DiskInfo is a whole disk of the machine and what is on it.
type DiskInfo struct {
	// Path is the device node, such as /dev/vda.
	Path string
	// Model, Serial and Transport ("virtio", "scsi", "nvme", "usb" ...) are
	// as the disk gives them; empty if it does not.
	Model, Serial, Transport string
	// Size is in bytes.
	Size int64
	// SectorSize is the logical sector size in bytes.
	SectorSize int
	ReadOnly   bool
	// Disk is what Read found, or nil with Err set.
	Disk *Disk
	Err  error
}

// Content says in words what is on the disk.
func (i DiskInfo) Content() string {
	if i.Err != nil {
		return i.Err.Error()
	}
	return i.Disk.Describe(Layout)
}

// String returns e.g. "/dev/vdb 3 GiB, blank".
func (i DiskInfo) String() string {
	return fmt.Sprintf("%s %s, %s", i.Path, SizeText(i.Size), i.Content())
}

// IsSystem tells whether the disk has the partitions of the operating system.
func (i DiskInfo) IsSystem() bool { return i.Disk != nil && IsOurs(i.Disk.Table, Layout) }

// notDisks are beginnings of the kernel's names of block devices that are not
// disks by themselves.
var notDisks = []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "mtdblock", "nbd"}

// Disks lists the whole disks of the machine by path and reads what is on
// each. That some disk cannot be read is recorded, and no error.
func Disks() ([]DiskInfo, error) { return disksIn("/sys/block") }

// disksIn lists the disks in a folder of sysfs.
func disksIn(dir string) ([]DiskInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list disks: %w", err)
	}
	var disks []DiskInfo
	for _, e := range entries {
		sys := filepath.Join(dir, e.Name())
		size, err := sysInt(sys, "size")
		if err != nil || size == 0 || isNotDisk(sys, e.Name()) {
			continue
		}
		disks = append(disks, readDiskInfo(sys, e.Name(), size*sysSector))
	}
	slices.SortFunc(disks, func(a, b DiskInfo) int { return strings.Compare(a.Path, b.Path) })
	return disks, nil
}

// isNotDisk tells whether a block device is none of those we could live on.
// Hidden ones are paths to a disk that has another name.
func isNotDisk(sys, name string) bool {
	hidden, _ := sysInt(sys, "hidden")
	return hidden != 0 || slices.ContainsFunc(notDisks, func(p string) bool { return strings.HasPrefix(name, p) })
}

// readDiskInfo reads all about one disk.
func readDiskInfo(sys, name string, size int64) DiskInfo {
	sector, _ := sysInt(sys, "queue/logical_block_size")
	ro, _ := sysInt(sys, "ro")
	i := DiskInfo{
		Path: NodePath(name), Size: size, SectorSize: int(sector), ReadOnly: ro != 0,
		Model: sysText(sys, "device/model"), Serial: diskSerial(sys), Transport: diskTransport(sys),
	}
	i.Disk, i.Err = readPath(i.Path, 0)
	return i
}

// readPath opens a disk or a file and reads what it holds.
func readPath(path string, sectorSize int) (*Disk, error) {
	dev, err := Open(path, Options{SectorSize: sectorSize})
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	return Read(dev)
}

// sysText reads a text out of sysfs; empty if it is not there.
func sysText(sys, name string) string {
	b, err := os.ReadFile(filepath.Join(sys, name))
	if err != nil {
		return ""
	}
	return text(bytes.TrimSpace(b))
}

// diskSerial finds the serial number: virtio disks have it themselves, NVMe
// below device, SCSI in vital product data page 0x80 after 4 bytes.
func diskSerial(sys string) string {
	for _, name := range []string{"serial", "device/serial"} {
		if s := sysText(sys, name); s != "" {
			return s
		}
	}
	if page, err := os.ReadFile(filepath.Join(sys, "device/vpd_pg80")); err == nil && len(page) > 4 {
		return text(bytes.TrimSpace(page[4:]))
	}
	return ""
}

// diskTransport finds out what the disk is attached by.
func diskTransport(sys string) string {
	link, err := os.Readlink(filepath.Join(sys, "device/subsystem"))
	if err != nil {
		return ""
	}
	bus := filepath.Base(link)
	if bus == "scsi" {
		path, _ := filepath.EvalSymlinks(sys)
		for _, via := range []string{"usb", "ata"} {
			if strings.Contains(path, "/"+via) {
				return via
			}
		}
	}
	return bus
}

// NoSystemError says that no disk has the partitions of the operating system.
// A disk may turn up late, so asking again makes sense.
type NoSystemError struct {
	// Looked are the disks that were looked at.
	Looked []DiskInfo
}

// Error says what was looked for, what was found, and what to do.
func (e *NoSystemError) Error() string {
	const want = "cannot find the system disk, one with partitions EFI, BIOS, BOOT and META of Ichor: "
	if len(e.Looked) == 0 {
		return want + "there are no disks at all"
	}
	found := make([]string, len(e.Looked))
	for i, d := range e.Looked {
		found[i] = d.String()
	}
	return want + strings.Join(found, "; ") + "; ichor partition create --take-over DISK makes one of a disk"
}

// SeveralSystemsError says that more than one disk has them.
type SeveralSystemsError struct {
	// Disks are the candidates.
	Disks []DiskInfo
}

// Error names the disks and how to choose.
func (e *SeveralSystemsError) Error() string {
	var found []string
	for _, d := range e.Disks {
		found = append(found, d.String())
	}
	return fmt.Sprintf("cannot choose the system disk, there are %d: %s; say which on the kernel command line, as in ichor.disk=%s",
		len(found), strings.Join(found, "; "), e.Disks[0].Path)
}

// FindSystem returns the one disk that has the partitions of the operating
// system. The error is a *NoSystemError or a *SeveralSystemsError, or says why
// there is no list of disks.
func FindSystem() (DiskInfo, error) {
	disks, err := Disks()
	if err != nil {
		return DiskInfo{}, err
	}
	return chooseSystem(disks)
}

// chooseSystem finds the system disk among some.
func chooseSystem(disks []DiskInfo) (DiskInfo, error) {
	var ours []DiskInfo
	for _, d := range disks {
		if d.IsSystem() {
			ours = append(ours, d)
		}
	}
	switch len(ours) {
	case 0:
		return DiskInfo{}, &NoSystemError{Looked: disks}
	case 1:
		return ours[0], nil
	}
	return DiskInfo{}, &SeveralSystemsError{Disks: ours}
}

// MayAppear tells whether an error may go away when a disk turns up.
func MayAppear(err error) bool {
	var none *NoSystemError
	return errors.As(err, &none) || errors.Is(err, os.ErrNotExist)
}
