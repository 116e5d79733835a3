package partition

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeSysfs makes a folder like /sys/block.
func fakeSysfs(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDisksSkipsWhatIsNoDisk(t *testing.T) {
	files := map[string]string{
		"vdzz/size": "8388608\n", "vdzz/queue/logical_block_size": "4096\n", "vdzz/serial": "abc\n", "vdzz/ro": "1\n",
		"sdzz/size": "2048\n", "sdzz/device/model": "QEMU HARDDISK   \n", "sdzz/device/vpd_pg80": "\x00\x80\x00\x04S123",
		"nvmezz/size": "0\n", "nvme9c9n1/size": "8\n", "nvme9c9n1/hidden": "1\n", "cciss!c9d9/size": "2048\n",
	}
	for _, name := range []string{"loop9", "ram9", "zram9", "dm-9", "sr9", "fd9", "md9"} {
		files[name+"/size"] = "8388608\n"
	}
	disks, err := disksIn(fakeSysfs(t, files))
	if err != nil || len(disks) != 3 {
		t.Fatalf("%v, %v", disks, err)
	}
	if d := disks[0]; d.Path != "/dev/cciss/c9d9" || !errors.Is(d.Err, os.ErrNotExist) {
		t.Errorf("%+v", d)
	}
	if d := disks[1]; d.Path != "/dev/sdzz" || d.Model != "QEMU HARDDISK" || d.Serial != "S123" || d.ReadOnly {
		t.Errorf("%+v", d)
	}
	if d := disks[2]; d.Path != "/dev/vdzz" || d.Size != 4*GiB || d.SectorSize != 4096 || d.Serial != "abc" || !d.ReadOnly {
		t.Errorf("%+v", d)
	}
}

func TestDisksOfThisMachine(t *testing.T) {
	disks, err := Disks()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range disks {
		if d.Size == 0 || !strings.HasPrefix(d.Path, "/dev/") || d.Content() == "" {
			t.Errorf("%+v", d)
		}
	}
}

// diskWith is a disk with some table as the search sees it.
func diskWith(t *testing.T, path string, m *Memory) DiskInfo {
	t.Helper()
	d, err := Read(m)
	if err != nil {
		t.Fatal(err)
	}
	return DiskInfo{Path: path, Size: m.Size(), SectorSize: m.Sector, Disk: d}
}

// systemTable is a disk in memory that claims to be large, with our rows.
func systemTable(t *testing.T, path string) DiskInfo {
	t.Helper()
	table, err := NewImageTable(3*GiB, Layout, testDiskID)
	if err != nil {
		t.Fatal(err)
	}
	return DiskInfo{Path: path, Size: 3 * GiB, SectorSize: 512, Disk: &Disk{Kind: GPT, Size: 3 * GiB, SectorSize: 512, Table: table}}
}

func TestChooseSystem(t *testing.T) {
	ours, foreign := systemTable(t, "/dev/vda"), diskWith(t, "/dev/vdb", gptDisk(t, 512))
	blank := diskWith(t, "/dev/vdc", NewMemory(8*MiB, 4096))
	broken := DiskInfo{Path: "/dev/vdd", Size: GiB, Err: errors.New("input/output error")}

	got, err := chooseSystem([]DiskInfo{foreign, blank, broken, ours})
	if err != nil || got.Path != "/dev/vda" {
		t.Errorf("%v, %v", got, err)
	}
	_, err = chooseSystem([]DiskInfo{foreign, blank, broken})
	wantError(t, err, "/dev/vdb 8 MiB, GPT of 2 partitions, none of Ichor's", "/dev/vdc 8 MiB, nothing (blank)", "/dev/vdd 1 GiB, input/output error", "ichor partition create --take-over")
	if !MayAppear(err) {
		t.Error("a disk that comes late would not be waited for")
	}
	_, err = chooseSystem(nil)
	wantError(t, err, "there are no disks at all")

	twin := systemTable(t, "/dev/vde")
	_, err = chooseSystem([]DiskInfo{ours, foreign, twin})
	wantError(t, err, "there are 2: /dev/vda 3 GiB, GPT of 4 partitions, Ichor's; /dev/vde", "ichor.disk=/dev/vda")
	if MayAppear(err) {
		t.Error("waiting does not help against two system disks")
	}
}

// wantError checks that an error says some things.
func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in: %v", w, err)
		}
	}
}

func TestLabelAloneIsNotOurs(t *testing.T) {
	table, err := NewTable(3*GiB, 512, testDiskID)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Layout {
		r.Type = MustGUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
		if _, err := table.Place(r, NewGUID()); err != nil {
			t.Fatal(err)
		}
	}
	if IsOurs(table, Layout) {
		t.Error("partitions of another type were taken for ours")
	}
}

func TestDeviceName(t *testing.T) {
	for disk, want := range map[string]string{"vda": "vda3", "sdaa": "sdaa3", "nvme0n1": "nvme0n1p3", "mmcblk0": "mmcblk0p3", "loop7": "loop7p3"} {
		if got := DeviceName(disk, 3); got != want {
			t.Errorf("%s: %s", disk, got)
		}
	}
}
