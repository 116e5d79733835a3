package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ichor/partition"
	"ichor/rootfs"
	"ichor/rootfs/hardening"
	"ichor/rootfs/qemu"
)

// installed is a disk on which the system has run and was switched off.
var installed = sync.OnceValue(func() string { return filepath.Join(scratch, "installed.raw") })

// installedDisk returns a copy of a disk on which the system has run. Both of
// its file systems have a file named mark.
func installedDisk(t *testing.T) string {
	t.Helper()
	source := image(t)
	if _, err := os.Stat(installed()); err != nil {
		disk := newDisk(t, source, rootfs.ImageSize)
		c := direct("ichor.shell")
		c.Disks = []qemu.Disk{{File: disk}}
		m := start(t, c).boot()
		m.run("echo kept > /var/mark; echo kept > /system/state/mark")
		m.powerOff()
		if err := qemu.CopyDisk(installed(), disk, rootfs.ImageSize); err != nil {
			t.Fatal(err)
		}
	}
	return newDisk(t, installed(), rootfs.ImageSize)
}

// digest stands for what a file holds. Holes and zeros are the same.
func digest(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	zero, buf := make([]byte, 4096), make([]byte, 4096)
	for off := int64(0); ; {
		off, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return fmt.Sprintf("%x", h.Sum(nil))
		}
		if err != nil {
			t.Fatal(err)
		}
		off -= off % int64(len(buf))
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if !bytes.Equal(buf[:n], zero[:n]) {
			fmt.Fprintf(h, "%d:", off)
			h.Write(buf[:n])
		}
		off += int64(n)
	}
}

// change reads a part of a file and writes what edit makes of it.
func change(t *testing.T, file string, off int64, length int, edit func([]byte)) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	edit(b)
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func flip(b []byte) { b[0] ^= 0xff }

func zero(b []byte) { clear(b) }

// wants looks for all the parts of a message.
func wants(t *testing.T, message string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(message, p) {
			t.Errorf("the message lacks %q: %s", p, message)
		}
	}
}

// TestNoDisk boots without a disk: it says so, waits, says so for good, and
// reboots after a wait that was asked for.
func TestNoDisk(t *testing.T) {
	needs(t)
	c := direct("ichor.disk-wait=5s", "ichor.fail-wait=3s")
	c.KeepOff = true
	m := start(t, c)
	m.expect(`ichor: cannot find the system disk[^\r\n]*there are no disks at all; waiting up to \d+s`, bootTime)
	wants(t, m.fails(), "disk", "no system disk within 5s", "EFI, BIOS, BOOT and META", "there are no disks at all")
	m.expect(`ichor: rebooting in 3s; the kernel argument ichor.shell gives a shell instead`, commandTime)
	m.down()
	m.gone()
}

// TestLateDisk attaches the disk when the boot has begun to miss it.
func TestLateDisk(t *testing.T) {
	disk := newDisk(t, image(t), rootfs.ImageSize)
	m := start(t, direct("ichor.shell", "ichor.disk-wait=2m"))
	m.expect(`waiting up to`, bootTime)
	if err := m.AddDisk(qemu.Disk{File: disk}); err != nil {
		t.Fatal(err)
	}
	m.boot()
	m.run("mount plan --check")
}

// foreignDisks are disks of somebody else: one with a GPT, one with an MBR, one
// with a file system and no partitions.
func foreignDisks(t *testing.T) []string {
	gpt, mbr, plain := newDisk(t, "", 64<<20), newDisk(t, "", 64<<20), newDisk(t, "", 320<<20)
	script(t, "label: gpt\nsize=10MiB, name=STATE\nsize=20MiB, name=META\n", "sfdisk", gpt)
	script(t, "label: dos\nsize=10MiB, type=83\n", "sfdisk", mbr)
	command(t, "mkfs.xfs", "-q", "-f", plain)
	return []string{gpt, mbr, plain}
}

func script(t *testing.T, input string, args ...string) {
	t.Helper()
	said, err := commandWith(input, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said)
	}
}

// TestForeignDisks boots with disks of somebody else. They are named, left as
// they are, and the message says which command takes one over. The shell is on
// the console.
func TestForeignDisks(t *testing.T) {
	needs(t)
	files := foreignDisks(t)
	c := direct("ichor.shell", "ichor.disk-wait=2s")
	var before []string
	for _, f := range files {
		c.Disks = append(c.Disks, qemu.Disk{File: f})
		before = append(before, digest(t, f))
	}
	m := start(t, c)
	wants(t, m.fails(), "/dev/vda 64 MiB", "/dev/vdb 64 MiB", "/dev/vdc 320 MiB", "xfs", "ichor partition create --take-over DISK")
	m.expect(`the debugging shell is on the console`, commandTime)
	m.openShell()
	wants(t, m.run("partition list"), "/dev/vda", "/dev/vdb", "/dev/vdc")
	wants(t, m.run("ctl status"), "no system disk within 2s")
	m.powerOff()

	c = direct("ichor.disk=/dev/vda", "ichor.disk-wait=2s", "ichor.fail-wait=0s")
	c.KeepOff, c.Disks = true, []qemu.Disk{{File: files[0]}}
	m = start(t, c)
	wants(t, m.fails(), "/dev/vda is not a disk of Ichor", "is left as it is", "ichor partition create --take-over /dev/vda --yes")
	m.gone()
	for i, f := range files {
		if digest(t, f) != before[i] {
			t.Errorf("disk %d of somebody else was changed", i)
		}
	}
}

// TestTwoSystems boots with two disks of ours: both are named, and a kernel
// argument decides. Two others are wrong; they are named and passed over.
func TestTwoSystems(t *testing.T) {
	first, second := installedDisk(t), newDisk(t, image(t), rootfs.ImageSize)
	before := digest(t, first)
	c := direct("ichor.disk-wait=2s", "ichor.fail-wait=0s")
	c.KeepOff, c.Disks = true, []qemu.Disk{{File: first}, {File: second}}
	m := start(t, c)
	wants(t, m.fails(), "there are 2", "/dev/vda 3 GiB", "/dev/vdb 3 GiB", "ichor.disk=/dev/vda")
	m.gone()

	c.Append = hardening.CommandLine("ichor.shell", "ichor.disk=/dev/vdb", "ichor.shel", "ichor.fail-wait=soon")
	m = start(t, c).boot()
	log := m.kernelLog()
	wants(t, log, "wrong kernel argument ichor.shel: no such argument; there are ichor.shell, ichor.disk,",
		`wrong kernel argument ichor.fail-wait=soon: "soon" is not a duration`)
	wants(t, m.run("mount"), "/dev/vdb5 on /system/state", "/dev/vdb6 on /var")
	m.powerOff()
	if digest(t, first) != before {
		t.Error("the disk that was not chosen was changed")
	}
	checkDisk(t, second, 512)
}

// damages are ways to damage the primary partition table of a disk.
var damages = []struct {
	name string
	do   func(t *testing.T, disk string)
}{
	{"header", func(t *testing.T, disk string) { change(t, disk, 512+40, 1, flip) }},
	{"entries", func(t *testing.T, disk string) { change(t, disk, entriesOf(t, disk)+2*128+40, 1, flip) }},
	{"zeroed", func(t *testing.T, disk string) {
		entries := entriesOf(t, disk)
		change(t, disk, 512, 512, zero)
		change(t, disk, entries, 128*128, zero)
	}},
}

// entriesOf reads from the primary header of a GPT where its entries are, in
// bytes from the beginning of the disk (UEFI 2.10 table 5.5).
func entriesOf(t *testing.T, disk string) (off int64) {
	change(t, disk, 512+72, 8, func(b []byte) { off = int64(binary.LittleEndian.Uint64(b)) * 512 })
	return off
}

// TestDamagedTable damages the primary partition table of a disk in several
// ways: it is restored from the backup, that is said, and what the disk holds is
// still there. A soak run has the firmware find the boot loader on such a disk
// too. OVMF restores the table itself, and GRUB on a BIOS cannot do without its
// header: there the boot ends before it reaches anything of ours.
func TestDamagedTable(t *testing.T) {
	firmwares := []qemu.Firmware{qemu.Direct}
	if *soak != "" {
		firmwares = append(firmwares, qemu.BIOS, qemu.UEFI)
	}
	for _, firmware := range firmwares {
		for _, damage := range damages {
			if firmware == qemu.BIOS && damage.name == "zeroed" {
				continue
			}
			t.Run(firmware.String()+" "+damage.name, func(t *testing.T) {
				disk := installedDisk(t)
				damage.do(t, disk)
				c := direct("ichor.shell")
				c.Firmware, c.Disks = firmware, []qemu.Disk{{File: disk}}
				m := start(t, c).boot()
				if firmware != qemu.UEFI {
					m.said(`ichor: restore the primary table from the backup`)
				}
				m.run("mount plan --check && cat /var/mark /system/state/mark")
				m.powerOff()
				checkDisk(t, disk, 512)
			})
		}
	}
}

// partitionOf finds a partition of a disk: its start and length in bytes.
func partitionOf(t *testing.T, disk, label string) (start, size int64) {
	t.Helper()
	d := commandJSON[dump](t, "sfdisk", "-J", disk).PartitionTable
	for _, p := range d.Partitions {
		if p.Name == label {
			return p.Start * d.SectorSize, p.Size * d.SectorSize
		}
	}
	t.Fatalf("%s has no partition %s", disk, label)
	return 0, 0
}

// section copies a part of a disk into a file, to be compared later.
func section(t *testing.T, disk string, start, size int64) string {
	t.Helper()
	part := newDisk(t, "", 0)
	command(t, "dd", "if="+disk, "of="+part, "bs=1M", "conv=sparse", "status=none", "iflag=skip_bytes,count_bytes",
		fmt.Sprintf("skip=%d", start), fmt.Sprintf("count=%d", size))
	return digest(t, part)
}

// TestDamagedFileSystem destroys the superblock of STATE and of EPHEMERAL: the
// boot says what the kernel says, does not get ready, and leaves every byte.
func TestDamagedFileSystem(t *testing.T) {
	for label, damage := range map[string]func([]byte){"STATE": zero, "EPHEMERAL": flip} {
		t.Run(label, func(t *testing.T) {
			disk := installedDisk(t)
			first, size := partitionOf(t, disk, label)
			change(t, disk, first, 4096, damage)
			before := section(t, disk, first, size)
			c := direct("ichor.fail-wait=0s")
			c.KeepOff, c.Disks = true, []qemu.Disk{{File: disk}}
			m := start(t, c)
			row, _ := partition.FindRow(partition.Layout, label)
			wants(t, m.fails(), "phase volumes", row.Mount, "/dev/vda", "superblock")
			m.down()
			m.gone()
			if section(t, disk, first, size) != before {
				t.Errorf("%s was changed", label)
			}
		})
	}
}

// TestDamagedRoot flips a byte of the root file system in the initramfs: in its
// superblock, so that it cannot be mounted, and in the midst of its content.
func TestDamagedRoot(t *testing.T) {
	needs(t)
	initramfs, err := os.ReadFile(product("initramfs"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(product("rootfs.sqsh"))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(initramfs, root)
	if at < 0 {
		t.Fatal("the initramfs does not hold rootfs.sqsh")
	}
	for _, damage := range []struct {
		name string
		off  int
		says string
	}{
		{"superblock", 0, "cannot mount"},
		{"content", len(root) / 2, "cannot verify /rootfs.sqsh"},
	} {
		t.Run(damage.name, func(t *testing.T) {
			broken := slices.Clone(initramfs)
			broken[at+damage.off] ^= 1
			file := newDisk(t, "", 0)
			if err := os.WriteFile(file, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			c := direct("ichor.fail-wait=0s")
			c.KeepOff, c.Initrd = true, file
			m := start(t, c)
			wants(t, m.fails(), "phase initramfs", damage.says)
			m.down()
			m.gone()
		})
	}
}

// TestUnprotected boots without a part of the kernel's protection that is
// required.
func TestUnprotected(t *testing.T) {
	needs(t)
	c := direct("ichor.fail-wait=0s", "mitigations=off")
	c.KeepOff = true
	c.Append = strings.Replace(c.Append, " pti=on", "", 1)
	m := start(t, c)
	wants(t, m.fails(), "phase kernel", "the kernel command line lacks pti=on mitigations=auto; add what is missing to the boot entry")
	m.down()
	m.gone()
}
