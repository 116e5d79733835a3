package partition

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// blkid is what another program says of a file: type, label and UUID.
func blkid(t *testing.T, path string) Signature {
	t.Helper()
	out, err := exec.Command("blkid", "-p", "-o", "export", path).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		return Signature{}
	}
	if err != nil {
		t.Fatalf("blkid: %v\n%s", err, out)
	}
	var s Signature
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.ReplaceAll(value, "\\", "")
		switch key {
		case "TYPE":
			s.Type = value
		case "LABEL":
			s.Label = value
		case "UUID":
			s.UUID = value
		}
	}
	return s
}

// compareProbe lets blkid and us recognise the same file.
func compareProbe(t *testing.T, path, want string) {
	t.Helper()
	dev := openRead(t, path, 0)
	got, err := Probe(dev, dev.Size())
	if other := blkid(t, path); err != nil || got != other || got.Type != want {
		t.Errorf("%s: we have %+v, %v; blkid has %+v", want, got, err, other)
	}
}

func TestProbeAgreesWithBlkid(t *testing.T) {
	needTool(t, "blkid", "mkfs.xfs", "mkfs.ext4", "mkfs.vfat", "mkswap", "mksquashfs")
	for _, c := range []struct {
		typ, command string
		size         int64
	}{
		{"xfs", "mkfs.xfs -q -L STATE FILE", 384 * MiB},
		{"ext4", "mkfs.ext4 -q -L data FILE", 64 * MiB},
		{"ext3", "mkfs.ext3 -q -L older FILE", 64 * MiB},
		{"ext2", "mkfs.ext2 -q -L oldest FILE", 64 * MiB},
		{"vfat", "mkfs.vfat -F 32 -n ESP FILE", 64 * MiB},
		{"vfat", "mkfs.vfat -F 16 -n FLOPPY FILE", 16 * MiB},
		{"vfat", "mkfs.vfat -F 12 FILE", 4 * MiB},
		{"swap", "mkswap -L pages FILE", 64 * MiB},
		{"squashfs", "rm FILE; mksquashfs /etc/hostname FILE -quiet -no-progress", 4 * MiB},
	} {
		path := sparse(t, c.size)
		run(t, "sh", "-ec", strings.ReplaceAll(c.command, "FILE", path))
		compareProbe(t, path, c.typ)
	}
}

// crafted are superblocks made by hand, after the descriptions of their
// formats; blkid is the judge of whether they are right.
var crafted = []struct {
	typ string
	// judged is unset for what blkid wants more of than we do.
	judged bool
	write  func(b []byte)
}{
	{"crypto_LUKS", true, func(b []byte) {
		copy(b, "LUKS\xba\xbe\x00\x01")
		copy(b[168:], "0e1a9a52-7a3f-4a8e-9c63-5d2f0f5f6a10")
	}},
	{"crypto_LUKS", true, func(b []byte) {
		copy(b, "LUKS\xba\xbe\x00\x02\x00\x00\x00\x00\x00\x00\x40\x00")
		copy(b[24:], "secret")
		copy(b[168:], "0e1a9a52-7a3f-4a8e-9c63-5d2f0f5f6a10")
	}},
	{"btrfs", true, func(b []byte) {
		copy(b[65536+64:], "_BHRfS_M")
		copy(b[65536+32:], "0123456789abcdef")
		copy(b[65536+299:], "butter")
		binary.LittleEndian.PutUint64(b[65536+48:], 65536)
	}},
	{"LVM2_member", true, func(b []byte) {
		copy(b[512:], "LABELONE\x01")
		b[512+20] = 32
		copy(b[512+24:], "LVM2 001")
		copy(b[512+32:], "abcdefGHIJKLmnopQRSTuvwx01234567")
		sum := ^crc32.Update(^uint32(0xf597a6cf), crc32.IEEETable, b[512+20:1024])
		binary.LittleEndian.PutUint32(b[512+16:], sum)
	}},
	{"iso9660", true, func(b []byte) {
		copy(b[32768:], "\x01CD001\x01\x00")
		copy(b[32768+8:], strings.Repeat(" ", 64))
		copy(b[32768+40:], "INSTALL")
		copy(b[32768+813:], "2026110112345600\x00")
		copy(b[32768+830:], "2026110212345600\x00")
		copy(b[34816:], "\xffCD001\x01")
	}},
	{"linux_raid_member", true, raidSuperblock(4096)},
	{"linux_raid_member", true, raidSuperblock(0)},
	{"linux_raid_member", true, raidSuperblock(16*MiB - 8192)},
	{"linux_raid_member", false, func(b []byte) { copy(b[16*MiB-65536:], "\xfc\x4e\x2b\xa9") }},
	{"zfs_member", false, func(b []byte) { binary.LittleEndian.PutUint64(b[128<<10+7*1024:], 0x00bab10c) }},
	{"zfs_member", false, func(b []byte) { binary.BigEndian.PutUint64(b[128<<10:], 0x00bab10c) }},
	{"BitLocker", false, func(b []byte) { copy(b, "\xeb\x58\x90-FVE-FS-") }},
	{"swap", false, func(b []byte) { copy(b[65536-10:], "SWAPSPACE2") }},
}

// raidSuperblock makes a version 1 superblock at an offset.
func raidSuperblock(off int64) func([]byte) {
	return func(b []byte) {
		s := b[off:]
		copy(s, "\xfc\x4e\x2b\xa9\x01")
		copy(s[16:], "0123456789abcdef")
		copy(s[32:], "host:0")
		binary.LittleEndian.PutUint64(s[144:], uint64(off/512))
		var sum uint64
		for i := 0; i < 256; i += 4 {
			sum += uint64(binary.LittleEndian.Uint32(s[i:]))
		}
		binary.LittleEndian.PutUint32(s[216:], uint32(sum)+uint32(sum>>32))
	}
}

func TestProbeOfCraftedSuperblocks(t *testing.T) {
	needTool(t, "blkid")
	for i, c := range crafted {
		m := NewMemory(16*MiB, 512)
		c.write(m.Data)
		got, err := Probe(m, m.Size())
		if err != nil || got.Type != c.typ {
			t.Errorf("%d %s: %+v, %v", i, c.typ, got, err)
		}
		if !c.judged {
			continue
		}
		path := sparse(t, 16*MiB)
		if err := os.WriteFile(path, m.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		if other := blkid(t, path); got != other {
			t.Errorf("%d %s: we have %#v, blkid has %#v", i, c.typ, got, other)
		}
	}
}

// brokenReader fails every read.
type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestProbeSaysWhatItCannotRead(t *testing.T) {
	if _, err := Probe(brokenReader{}, MiB); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
	if s, err := Probe(NewMemory(0, 512), 0); err != nil || s.Type != "" {
		t.Errorf("an empty device: %+v, %v", s, err)
	}
}

func FuzzProbe(f *testing.F) {
	for _, c := range crafted {
		m := NewMemory(16*MiB, 512)
		c.write(m.Data)
		f.Add(m.Data[:4096], uint32(0))
		f.Add(m.Data[65536:65536+1024], uint32(65536))
	}
	f.Fuzz(func(t *testing.T, b []byte, off uint32) {
		m := NewMemory(256<<10, 512)
		if int64(off) < m.Size() {
			copy(m.Data[off:], b)
		}
		s, err := Probe(m, m.Size())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{s.Label, s.UUID} {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%q is not fit to print", v)
			}
		}
	})
}
