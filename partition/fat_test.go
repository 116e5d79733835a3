package partition

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// fatFiles is a little of everything: nested and empty folders, an empty file,
// one of more than a cluster.
func fatFiles() map[string][]byte {
	return map[string][]byte{
		"EFI/BOOT/BOOTX64.EFI": bytes.Repeat([]byte("loader! "), 20000),
		"EFI/BOOT/EMPTY":       nil,
		"EFI/ICHOR/":           nil,
		"README.TXT":           []byte("hello\n"),
	}
}

func fatImage(t *testing.T, sectorSize int) string {
	t.Helper()
	path := sparse(t, 272*MiB)
	err := FormatFAT(open(t, path, 512), FATOptions{Label: "EFI", ID: 0x1c402026, SectorSize: sectorSize, Files: fatFiles()})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFATAcceptedByTools(t *testing.T) {
	needTool(t, "fsck.fat", "mdir", "mtype", "blkid")
	for _, size := range []int{512, 4096} {
		path := fatImage(t, size)
		run(t, "fsck.fat", "-n", "-v", path)
		if out := run(t, "mdir", "-/", "-b", "-i", path, "::/"); !strings.Contains(out, "::/EFI/BOOT/BOOTX64.EFI") {
			t.Errorf("mdir: %s", out)
		}
		for name, want := range fatFiles() {
			if strings.HasSuffix(name, "/") {
				continue
			}
			got, err := exec.Command("mtype", "-i", path, "::/"+name).Output()
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("sectors of %d: %s differs: %d bytes, %v", size, name, len(got), err)
			}
		}
		out := run(t, "blkid", "-p", "-o", "export", path)
		for _, want := range []string{"LABEL=EFI\n", "UUID=1C40-2026\n", "TYPE=vfat\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("blkid: no %q in %s", want, out)
			}
		}
	}
}

func TestFATIsDeterministicAndOverwrites(t *testing.T) {
	needTool(t, "fsck.fat")
	a, b := fatImage(t, 4096), sparse(t, 272*MiB)
	dirty := bytes.Repeat([]byte{0xee}, int(2*MiB))
	dev := open(t, b, 512)
	if _, err := dev.WriteAt(dirty, 0); err != nil {
		t.Fatal(err)
	}
	if err := FormatFAT(dev, FATOptions{Label: "EFI", ID: 0x1c402026, Files: fatFiles()}); err != nil {
		t.Fatal(err)
	}
	run(t, "fsck.fat", "-n", b)
	// All that is in use is the same; what lies in free clusters does not count.
	x, y := make([]byte, 700<<10), make([]byte, 700<<10)
	if _, err := dev.ReadAt(y, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := openRead(t, a, 512).ReadAt(x, 0); err != nil || !bytes.Equal(x, y) {
		t.Errorf("the same options made different file systems, %v", err)
	}
	s, err := Probe(dev, dev.Size())
	if err != nil || s != (Signature{Type: "vfat", Label: "EFI", UUID: "1C40-2026"}) {
		t.Errorf("probe: %+v, %v", s, err)
	}
}

func TestFATRefuses(t *testing.T) {
	dev := open(t, sparse(t, 272*MiB), 512)
	small := open(t, sparse(t, 200*MiB), 512)
	for name, c := range map[string]struct {
		dev *File
		o   FATOptions
	}{
		"long name":   {dev, FATOptions{Files: map[string][]byte{"EFI/BOOTLOADER.EFI": nil}}},
		"lower case":  {dev, FATOptions{Files: map[string][]byte{"efi": nil}}},
		"two dots":    {dev, FATOptions{Files: map[string][]byte{"A.B.C": nil}}},
		"no name":     {dev, FATOptions{Files: map[string][]byte{"/A": nil}}},
		"both kinds":  {dev, FATOptions{Files: map[string][]byte{"A": nil, "A/B": nil}}},
		"label":       {dev, FATOptions{Label: "twelve chars"}},
		"sector size": {dev, FATOptions{SectorSize: 1000}},
		"too small":   {small, FATOptions{}},
		"too full":    {dev, FATOptions{Files: map[string][]byte{"A": make([]byte, 273*MiB)}}},
	} {
		if err := FormatFAT(c.dev, c.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
