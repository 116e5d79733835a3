package partition

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// sfdiskTable is what sfdisk --json prints.
type sfdiskTable struct {
	PartitionTable struct {
		ID         string
		FirstLBA   uint64
		LastLBA    uint64
		SectorSize int
		Partitions []struct {
			Start, Size             uint64
			Type, UUID, Name, Attrs string
		}
	}
}

// sfdiskReads lets sfdisk read a table.
func sfdiskReads(t *testing.T, path string) sfdiskTable {
	t.Helper()
	var v sfdiskTable
	if err := json.Unmarshal([]byte(run(t, "sfdisk", "--json", path)), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// agrees compares a table of ours with what sfdisk reads.
func agrees(t *testing.T, table *Table, other sfdiskTable) {
	t.Helper()
	o := other.PartitionTable
	if table.DiskID.String() != o.ID || table.FirstUsable != o.FirstLBA || table.LastUsable != o.LastLBA || table.Used() != len(o.Partitions) {
		t.Errorf("tables differ:\n%+v\n%+v", table, o)
		return
	}
	for i, p := range o.Partitions {
		e := table.Entry(i + 1)
		got := fmt.Sprintf("%d %d %s %s %s", e.First, e.Sectors(), e.Type, e.ID, e.Name)
		want := fmt.Sprintf("%d %d %s %s %s", p.Start, p.Size, p.Type, p.UUID, p.Name)
		if got != want {
			t.Errorf("partition %d: %s, sfdisk has %s", i+1, got, want)
		}
	}
}

const sfdiskScript = `label: gpt
label-id: 11111111-2222-3333-4444-555555555555
size=10MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI", attrs="RequiredPartition LegacyBIOSBootable"
size=20MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="Grüße, 磁盘", attrs="GUID:50,63"
`

// sfdiskDisk makes a disk with sfdisk.
func sfdiskDisk(t *testing.T, sector int) (loop, file string) {
	t.Helper()
	needRoot(t)
	needTool(t, "sfdisk", "sgdisk", "losetup")
	file = sparse(t, 64*MiB)
	loop = loopDevice(t, file, sector)
	cmd := exec.Command("sfdisk", "--no-reread", "--no-tell-kernel", loop)
	cmd.Stdin = strings.NewReader(sfdiskScript)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	return loop, file
}

func TestReadsSfdisk(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		loop, _ := sfdiskDisk(t, sector)
		d, err := Read(openRead(t, loop, 0))
		if err != nil || len(d.Problems) > 0 {
			t.Fatalf("%v, %v", err, d.Problems)
		}
		agrees(t, d.Table, sfdiskReads(t, loop))
		if got := d.Table.Entry(1).Attributes; got != Required|LegacyBootable {
			t.Errorf("attributes of 1: %s", got)
		}
		if got := d.Table.Entry(2).Attributes.String(); got != "bit-50,no-automount" {
			t.Errorf("attributes of 2: %s", got)
		}
	}
}

func TestReadsSgdisk(t *testing.T) {
	needTool(t, "sgdisk", "sfdisk")
	// The entries of the second are moved away from the header, as ours are.
	for _, moved := range [][]string{{}, {"-j", "64"}} {
		path := sparse(t, 64*MiB)
		args := append(moved, "-n", "1:2048:+10M", "-t", "1:ef02", "-c", "1:boot", "-n", "3:40960:0", "-t", "3:8300", "-A", "3:set:60", path)
		run(t, "sgdisk", append([]string{"-o"}, args...)...)
		d, err := Read(openRead(t, path, 0))
		if err != nil || len(d.Problems) > 0 {
			t.Fatalf("%v, %v", err, d.Problems)
		}
		e := d.Table.Entry(3)
		if d.Table.Used() != 2 || d.Table.Entry(1).Type != TypeBIOS || d.Table.Entry(1).Name != "boot" || e.Attributes != ReadOnly || e.First != 40960 {
			t.Errorf("%+v", d.Table)
		}
		if len(moved) > 0 && d.Table.EntriesLBA != 64 {
			t.Errorf("entries are at %d", d.Table.EntriesLBA)
		}
	}
}

// TestForeignTableSurvives writes a table of sfdisk's anew and compares every
// byte.
func TestForeignTableSurvives(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		_, file := sfdiskDisk(t, sector)
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := &Memory{Data: before, Sector: sector}
		r := newRecorder(m)
		d, err := Read(r)
		if err == nil {
			err = Write(r, d.Table)
		}
		if err != nil {
			t.Fatal(err)
		}
		for off, b := range r.changes {
			if string(before[off:][:512]) != string(b) {
				t.Errorf("sectors of %d: byte %d on differs:\n%x\n%x", sector, off, before[off:][:512], b)
			}
		}
	}
}

func TestOursIsReadByOthers(t *testing.T) {
	needRoot(t)
	needTool(t, "sfdisk", "sgdisk", "losetup")
	for _, sector := range []int{512, 4096} {
		loop := loopDevice(t, sparse(t, 3*GiB), sector)
		dev := open(t, loop, 0)
		d, err := Read(dev)
		if err != nil {
			t.Fatal(err)
		}
		p, err := MakeCreatePlan(d, Layout, false, NewGUID(), RandomID)
		if err == nil {
			err = Write(dev, p.After)
		}
		if err != nil {
			t.Fatal(err)
		}
		dev.Close()
		acceptedByTools(t, loop)
		other := sfdiskReads(t, loop)
		agrees(t, p.After, other)
		if got := other.PartitionTable.Partitions[1].Attrs; got != "LegacyBIOSBootable" {
			t.Errorf("attributes of BIOS: %s", got)
		}
		if got := other.PartitionTable.Partitions[4].Attrs; got != "GUID:56" {
			t.Errorf("attributes of STATE: %s", got)
		}
	}
}

// TestRepairedByUsIsAccepted damages tables of sfdisk's in several ways.
func TestRepairedByUsIsAccepted(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		for _, at := range []int64{0, int64(sector), 2 * int64(sector), 64*MiB - int64(sector), 64*MiB - 16384 - int64(sector)} {
			loop, _ := sfdiskDisk(t, sector)
			want := sfdiskReads(t, loop)
			dev := open(t, loop, 0)
			if _, err := dev.WriteAt(make([]byte, sector), at); err != nil {
				t.Fatal(err)
			}
			d, err := Read(dev)
			if err != nil || len(d.Problems) == 0 {
				t.Fatalf("byte %d: %v, %v", at, err, d.Problems)
			}
			if err := Apply(t.Context(), dev, MakeRepairPlan(d), nil); err != nil {
				t.Fatal(err)
			}
			dev.Close()
			acceptedByTools(t, loop)
			agrees(t, d.Table, want)
		}
	}
}

func TestOtherDisksAreRecognised(t *testing.T) {
	needTool(t, "sfdisk", "mkfs.ext4")
	blank := sparse(t, 64*MiB)
	mbrDisk := sparse(t, 64*MiB)
	cmd := exec.Command("sfdisk", mbrDisk)
	cmd.Stdin = strings.NewReader("label: dos\nsize=10MiB, type=83\nsize=20MiB, type=82\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	ext4 := sparse(t, 64*MiB)
	run(t, "mkfs.ext4", "-q", "-L", "data", ext4)
	unknown := sparse(t, 64*MiB)
	if err := os.WriteFile(unknown, []byte("something"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(unknown, 64*MiB); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		blank: "nothing (blank)", mbrDisk: "MBR of 2 partitions", ext4: `ext4 "data"`, unknown: "data of an unknown kind",
	} {
		dev := openRead(t, path, 0)
		d, err := Read(dev)
		if err != nil || d.Describe(Layout) != want {
			t.Errorf("want %q, got %q, %v", want, d.Describe(Layout), err)
		}
		if _, err := MakePlan(d, Layout, RandomID); err == nil {
			t.Errorf("%s: there is a plan", want)
		}
		_, err = MakeCreatePlan(d, smallLayout, false, NewGUID(), RandomID)
		if occupied := err != nil; occupied != (path != blank) {
			t.Errorf("%s: create: %v", want, err)
		}
	}
}
