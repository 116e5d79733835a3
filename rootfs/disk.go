package rootfs

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ichor/partition"
	"ichor/rootfs/hardening"
)

// ImageSize is the length of the disk image in bytes: the smallest disk that
// the system runs on, so that the image can be booted as it is.
const ImageSize = 3 * partition.GiB

// grubDir is where Debian's grub packages have GRUB's parts.
const grubDir = "/usr/lib/grub"

// Disk says what a disk image is made of.
type Disk struct {
	Kernel, Initramfs string
	// Words are added to the kernel command line.
	Words []string
	Time  time.Time
}

// imageSpace is the space of the identifiers that follow from an image's
// content.
var imageSpace = partition.MustGUID("6A1F8F0E-6C0B-4E55-9A4C-0B7C1F1D7A53")

// id returns the identifier of the disk; all others are made from it. Other
// content makes another disk.
func (d Disk) id() (partition.GUID, error) {
	h := sha256.New()
	for _, file := range []string{d.Kernel, d.Initramfs} {
		sum, err := sumFile(file)
		if err != nil {
			return partition.GUID{}, err
		}
		io.WriteString(h, sum)
	}
	fmt.Fprintf(h, "%q %d", d.cmdline(), d.Time.Unix())
	return partition.NameGUID(imageSpace, string(h.Sum(nil))), nil
}

func (d Disk) cmdline() string { return hardening.CommandLine(d.Words...) }

// WriteDisk makes a raw, sparse disk image that boots on a BIOS and with UEFI,
// on disks with sectors of 512 and 4096 bytes. It needs no privileges.
func WriteDisk(file string, d Disk) error {
	id, err := d.id()
	if err != nil {
		return fmt.Errorf("cannot make disk image: %w", err)
	}
	scratch, err := os.MkdirTemp(filepath.Dir(file), ".disk-")
	if err != nil {
		return fmt.Errorf("cannot make disk image: %w", err)
	}
	defer os.RemoveAll(scratch)
	part := filepath.Join(scratch, "disk.raw")
	if err := truncateNew(part, ImageSize); err != nil {
		return fmt.Errorf("cannot make disk image: %w", err)
	}
	b := &diskBuilder{Disk: d, id: id, scratch: scratch}
	if err := b.write(part); err != nil {
		return fmt.Errorf("cannot make disk image %s: %w", file, err)
	}
	return os.Rename(part, file)
}

// diskBuilder makes one image.
type diskBuilder struct {
	Disk
	id      partition.GUID
	scratch string
	dev     *partition.File
	table   *partition.Table
}

func (b *diskBuilder) write(file string) error {
	var err error
	b.dev, err = partition.Open(file, partition.Options{Write: true, SectorSize: 512})
	if err != nil {
		return err
	}
	defer b.dev.Close()
	b.table, err = partition.NewImageTable(ImageSize, partition.Layout, b.id)
	if err != nil {
		return err
	}
	if err := partition.WriteHybrid(b.dev, b.table); err != nil {
		return err
	}
	for _, write := range []func() error{b.writeESP, b.writeBIOS, b.writeBoot} {
		if err := write(); err != nil {
			return err
		}
	}
	return b.dev.Sync()
}

// section returns a partition of the image as a device.
func (b *diskBuilder) section(label string) (partition.Device, error) {
	row, _ := partition.FindRow(partition.Layout, label)
	n, ok := b.table.Find(label, row.Type)
	if !ok {
		return nil, fmt.Errorf("no partition %s in the layout", label)
	}
	off, size := b.table.Range(b.table.Entry(n))
	return partition.Section(b.dev, off, size), nil
}

// writeESP makes the EFI system partition with GRUB at the path where firmware
// looks for it on a disk that it does not know.
func (b *diskBuilder) writeESP() error {
	core, err := grubImage(b.scratch, "x86_64-efi", "efi_gop", "efi_uga")
	if err != nil {
		return err
	}
	loader, err := os.ReadFile(core)
	if err != nil {
		return err
	}
	dev, err := b.section("EFI")
	if err != nil {
		return err
	}
	return partition.FormatFAT(dev, partition.FATOptions{
		Label: "EFI",
		ID:    binary.LittleEndian.Uint32(b.id[:]),
		Files: map[string][]byte{"EFI/BOOT/BOOTX64.EFI": loader},
		Time:  b.Time,
	})
}

// writeBIOS puts GRUB's boot code before the partition table and its core image
// into the BIOS partition.
func (b *diskBuilder) writeBIOS() error {
	file, err := grubImage(b.scratch, "i386-pc", "biosdisk")
	if err != nil {
		return err
	}
	core, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	boot, err := os.ReadFile(filepath.Join(grubDir, "i386-pc/boot.img"))
	if err != nil {
		return fmt.Errorf("cannot read GRUB's boot code: %w (Debian's grub-pc-bin has it)", err)
	}
	dev, err := b.section("BIOS")
	if err != nil {
		return err
	}
	row, _ := partition.FindRow(partition.Layout, "BIOS")
	n, _ := b.table.Find("BIOS", row.Type)
	lba := b.table.Entry(n).First
	if boot, err = patchBootCode(boot, lba); err != nil {
		return err
	}
	if core, err = patchCore(core, lba, dev.Size()); err != nil {
		return err
	}
	if _, err := b.dev.WriteAt(boot, 0); err != nil {
		return err
	}
	_, err = dev.WriteAt(core, 0)
	return err
}

// writeBoot makes the file system of BOOT in a file of its own and copies it
// into the image.
func (b *diskBuilder) writeBoot() error {
	dev, err := b.section("BOOT")
	if err != nil {
		return err
	}
	config := filepath.Join(b.scratch, "grub.cfg")
	if err := writeText(config, grubConfig(b.cmdline())); err != nil {
		return err
	}
	proto, err := b.proto(config)
	if err != nil {
		return err
	}
	list, fs := filepath.Join(b.scratch, "proto"), filepath.Join(b.scratch, "boot.xfs")
	if err := errors.Join(writeText(list, proto), truncateNew(fs, dev.Size())); err != nil {
		return err
	}
	uuid := strings.ToLower(partition.NameGUID(b.id, "BOOT file system").String())
	// Sectors of 4096 bytes can be mounted from disks of either kind. The
	// clock is stopped, as mkfs.xfs has no option for it.
	cmd := exec.Command("faketime", "-f", b.Time.UTC().Format("2006-01-02 15:04:05"),
		"mkfs.xfs", "-q", "-L", "BOOT", "-m", "uuid="+uuid, "-s", "size=4096", "-p", list, fs)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make the file system of BOOT: mkfs.xfs: %w: %s", err, said)
	}
	return copySparse(dev, fs)
}

// proto returns the description of BOOT's content for mkfs.xfs -p.
func (b *diskBuilder) proto(config string) (string, error) {
	var abs [3]string
	for i, p := range []string{b.Kernel, b.Initramfs, config} {
		a, err := filepath.Abs(p)
		if err != nil {
			return "", err
		}
		if strings.ContainsAny(a, " \t\n") {
			return "", fmt.Errorf("mkfs.xfs cannot take %q: blanks in the path", a)
		}
		abs[i] = a
	}
	return fmt.Sprintf(`/
0 0
d--755 0 0
A d--755 0 0
 vmlinuz ---644 0 0 %s
 initramfs ---644 0 0 %s
$
grub d--755 0 0
 grub.cfg ---644 0 0 %s
$
$
`, abs[0], abs[1], abs[2]), nil
}

// copySparse copies a file to the beginning of a device, leaving out its holes
// and blocks of zeros.
func copySparse(dev partition.Device, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for off := int64(0); ; {
		off, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // the rest is a hole
		}
		if err != nil {
			return fmt.Errorf("cannot find data of %s: lseek: %w", file, err)
		}
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return err
		}
		if err := writeNonzero(dev, buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
}

// writeNonzero writes the blocks of b that are not zero.
func writeNonzero(dev partition.Device, b []byte, off int64) error {
	const block = 4096
	for i := 0; i < len(b); i += block {
		part := b[i:min(i+block, len(b))]
		if allZero(part) {
			continue
		}
		if _, err := dev.WriteAt(part, off+int64(i)); err != nil {
			return err
		}
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// truncateNew makes a file that is one hole.
func truncateNew(file string, size int64) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	return errors.Join(err, f.Close())
}

func writeText(file, text string) error {
	return os.WriteFile(file, []byte(text), 0o644)
}
