package rootfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ichor/partition"
	"ichor/rootfs/hardening"
)

// TestDisk makes a disk image and has other programs look at it: sgdisk at the
// table, mtools at EFI, GRUB's own code and xfs_repair at BOOT.
func TestDisk(t *testing.T) {
	for _, name := range []string{"mkfs.xfs", "faketime", "grub-mkimage"} {
		tool(t, name)
	}
	folder := t.TempDir()
	d := Disk{Kernel: filepath.Join(folder, "kernel"), Initramfs: filepath.Join(folder, "initrd"), Words: []string{"ichor.shell"}, Time: when}
	write(t, d.Kernel, strings.Repeat("kernel ", 123456))
	write(t, d.Initramfs, strings.Repeat("initramfs", 234567))
	file := filepath.Join(folder, "disk.raw")
	if err := WriteDisk(file, d); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != 3<<30 {
		t.Errorf("image has %d bytes, want 3 GiB", info.Size())
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 32<<20 {
		t.Errorf("image takes %d MiB of the disk: not sparse", used>>20)
	}
	t.Run("table", func(t *testing.T) { checkTable(t, file) })
	t.Run("EFI", func(t *testing.T) { checkEFI(t, file) })
	t.Run("BIOS", func(t *testing.T) { checkBIOS(t, file) })
	t.Run("BOOT", func(t *testing.T) { checkBoot(t, file, d) })
	t.Run("again", func(t *testing.T) { checkAgain(t, file, d) })
}

func checkTable(t *testing.T, file string) {
	out, err := exec.Command(tool(t, "sgdisk"), "-v", "-p", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") {
		t.Errorf("sgdisk: %v: %s", err, out)
	}
	for _, row := range partition.SelectRows(partition.Layout, partition.FromImage) {
		if !strings.Contains(string(out), row.Label) {
			t.Errorf("no partition %s: %s", row.Label, out)
		}
	}
}

// section returns where a partition is, in bytes.
func section(t *testing.T, file, label string) (offset, size int64) {
	t.Helper()
	dev, err := partition.Open(file, partition.Options{SectorSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	disk, err := partition.Read(dev)
	if err != nil {
		t.Fatal(err)
	}
	row, _ := partition.FindRow(partition.Layout, label)
	n, ok := disk.Table.Find(label, row.Type)
	if !ok {
		t.Fatalf("no partition %s", label)
	}
	return disk.Table.Range(disk.Table.Entry(n))
}

func checkEFI(t *testing.T, file string) {
	offset, _ := section(t, file, "EFI")
	image := file + "@@" + fmt.Sprint(offset)
	cmd := exec.Command(tool(t, "mtype"), "-i", image, "::EFI/BOOT/BOOTX64.EFI")
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.Output()
	if err != nil || !bytes.HasPrefix(out, []byte("MZ")) {
		t.Errorf("mtype: %v, %d bytes, no PE program", err, len(out))
	}
}

func checkBIOS(t *testing.T, file string) {
	offset, size := section(t, file, "BIOS")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sector, core := make([]byte, 512), make([]byte, size)
	if _, err := f.ReadAt(sector, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(core, offset); err != nil {
		t.Fatal(err)
	}
	lba := uint64(offset / 512)
	if got := binary.LittleEndian.Uint64(sector[bootKernelLBA:]); got != lba {
		t.Errorf("boot code loads sector %d, want %d", got, lba)
	}
	if sector[510] != 0x55 || sector[511] != 0xaa || sector[446+4] != 0xee {
		t.Error("no protective MBR")
	}
	if got := binary.LittleEndian.Uint64(core[coreBlockList:]); got != lba+1 {
		t.Errorf("core image goes on at sector %d, want %d", got, lba+1)
	}
	if n := binary.LittleEndian.Uint16(core[coreBlockList+8:]); n == 0 {
		t.Error("core image has no length")
	}
}

func checkBoot(t *testing.T, file string, d Disk) {
	fstest := tool(t, "grub-fstest")
	for path, source := range map[string]string{"/A/vmlinuz": d.Kernel, "/A/initramfs": d.Initramfs} {
		if out, err := exec.Command(fstest, file, "cmp", "(loop0,gpt3)"+path, source).CombinedOutput(); err != nil {
			t.Errorf("GRUB reads another %s: %v: %s", path, err, out)
		}
	}
	out, err := exec.Command(fstest, file, "cat", "(loop0,gpt3)/grub/grub.cfg").Output()
	if err != nil || string(out) != grubConfig(hardening.CommandLine("ichor.shell")) {
		t.Errorf("GRUB reads another grub.cfg: %v: %s", err, out)
	}
	offset, size := section(t, file, "BOOT")
	part := filepath.Join(t.TempDir(), "boot.xfs")
	extract(t, part, file, offset, size)
	if out, err := exec.Command(tool(t, "xfs_repair"), "-n", "-f", part).CombinedOutput(); err != nil {
		t.Errorf("xfs_repair: %v: %s", err, out)
	}
}

// data calls fn for the ranges of a file that are no holes.
func data(t *testing.T, file string, fn func(off int64, b []byte)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := int64(0); ; {
		start, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<20)
		n, err := f.ReadAt(b, start)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		fn(start, b[:n])
		off = start + int64(n)
	}
}

// digest sums up the blocks of a file that are not zero.
func digest(t *testing.T, file string) string {
	h := sha256.New()
	data(t, file, func(off int64, b []byte) {
		for i := 0; i < len(b); i += 4096 {
			if part := b[i:min(i+4096, len(b))]; !allZero(part) {
				fmt.Fprintf(h, "%d ", off+int64(i))
				h.Write(part)
			}
		}
	})
	return fmt.Sprintf("%x", h.Sum(nil))
}

// extract copies a part of a file to one of its own.
func extract(t *testing.T, dst, src string, offset, size int64) {
	t.Helper()
	if err := truncateNew(dst, size); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(dst, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	data(t, src, func(off int64, b []byte) {
		from, to := max(off, offset), min(off+int64(len(b)), offset+size)
		if from >= to {
			return
		}
		if _, err := out.WriteAt(b[from-off:to-off], from-offset); err != nil {
			t.Fatal(err)
		}
	})
}

// checkAgain makes the image a second time; other words make another disk.
func checkAgain(t *testing.T, file string, d Disk) {
	again := filepath.Join(t.TempDir(), "again.raw")
	time.Sleep(1100 * time.Millisecond) // a clock that shows would show
	if err := WriteDisk(again, d); err != nil {
		t.Fatal(err)
	}
	if digest(t, file) != digest(t, again) {
		t.Error("two images of the same inputs differ")
	}
	id, err := d.id()
	if err != nil {
		t.Fatal(err)
	}
	d.Words = nil
	if other, err := d.id(); err != nil || other == id {
		t.Errorf("images with other command lines have the same identifiers, %v", err)
	}
}

func TestDiskRefuses(t *testing.T) {
	folder := t.TempDir()
	if err := WriteDisk(filepath.Join(folder, "disk.raw"), Disk{Kernel: "/nonexistent"}); err == nil {
		t.Error("no kernel: no error")
	}
	b := &diskBuilder{Disk: Disk{Kernel: "/a b/kernel"}}
	if _, err := b.proto(""); err == nil {
		t.Error("a blank in a path: no error")
	}
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestGrubConfig has GRUB's own parser read the configuration.
func TestGrubConfig(t *testing.T) {
	check := tool(t, "grub-script-check")
	cmd := exec.Command(check)
	cmd.Stdin = strings.NewReader(grubConfig(hardening.CommandLine()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPatch(t *testing.T) {
	if _, err := patchBootCode(make([]byte, 512), 1); err == nil {
		t.Error("boot code without its signature: no error")
	}
	if _, err := patchCore(make([]byte, 2048), 1, 1024); err == nil {
		t.Error("a core image larger than its partition: no error")
	}
	boot := make([]byte, 512)
	boot[510], boot[511] = 0x55, 0xaa
	code, err := patchBootCode(boot, 0x123456789)
	if err != nil || len(code) != 440 || binary.LittleEndian.Uint64(code[0x5c:]) != 0x123456789 || code[0x64] != 0xff || code[0x66] != 0x90 || code[0x67] != 0x90 {
		t.Errorf("boot code %x, %v", code, err)
	}
}
