package partition

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// diskOf is what Read would find on a disk with a table.
func diskOf(t *Table) *Disk {
	return &Disk{Kind: GPT, Table: t, Size: int64(t.Sectors) * int64(t.SectorSize), SectorSize: t.SectorSize}
}

// layoutTable is the table of a provisioned disk.
func layoutTable(t *testing.T, size int64, sector int) *Table {
	t.Helper()
	p, err := MakeCreatePlan(&Disk{Size: size, SectorSize: sector}, Layout, false, testDiskID, nameID)
	if err != nil {
		t.Fatal(err)
	}
	return p.After
}

func nameID(label string) GUID { return NameGUID(testDiskID, label) }

func actions(p *Plan) string {
	var s []string
	for _, step := range p.Steps {
		s = append(s, strings.TrimSpace(string(step.Action)+" "+step.Label))
	}
	return strings.Join(s, ", ")
}

func TestLayoutFitsDisks(t *testing.T) {
	layoutTable(t, LeastSize(Layout), 512)
	layoutTable(t, LeastSize(Layout), 4096)
	for _, size := range []int64{3 * GiB, 10 * GiB, 200 * GiB, 20 << 40} {
		var ends []int64
		for _, sector := range []int{512, 4096} {
			table := layoutTable(t, size, sector)
			for i, r := range Layout {
				off, n := table.Range(table.Entry(i + 1))
				if off%Align != 0 || n%Align != 0 || n < r.Size || table.Entry(i+1).Name != r.Label {
					t.Errorf("%d: %s at %d, %d long", size, r.Label, off, n)
				}
				ends = append(ends, off, n)
			}
		}
		if !reflect.DeepEqual(ends[:12], ends[12:]) {
			t.Errorf("%d: not the same bytes on both sector sizes: %v", size, ends)
		}
	}
}

func TestOnlyWhatWeFormatIsMarked(t *testing.T) {
	table := layoutTable(t, 3*GiB, 512)
	for i, r := range Layout {
		want := r.Label == "STATE" || r.Label == "EPHEMERAL"
		if got := table.Entry(i + 1).Attributes.Has(Unformatted); got != want {
			t.Errorf("%s: unformatted is %v", r.Label, got)
		}
	}
}

func TestPlanLeavesOthersAlone(t *testing.T) {
	table := layoutTable(t, 10*GiB, 512)
	// Somebody has shrunk EPHEMERAL, put META far away and one of theirs, that
	// is called STATE, in between.
	table.Entries[4] = Entry{Type: testDiskID, ID: NewGUID(), Name: "STATE", First: 8 * 2097152, Last: 9*2097152 - 1, Attributes: Unformatted}
	table.Entries[5].Last = table.Entries[5].First + 2097152 - 1
	before := table.Clone()
	p, err := MakePlan(diskOf(table), Layout, nameID)
	if err != nil {
		t.Fatal(err)
	}
	if got := actions(p); got != "create STATE, grow EPHEMERAL, format STATE, format EPHEMERAL" {
		t.Error(got)
	}
	if !reflect.DeepEqual(table, before) {
		t.Error("the plan changed what it was made from")
	}
	if p.After.Entry(5) != before.Entry(5) {
		t.Error("a partition of somebody else changed")
	}
	for i := range 6 {
		a, b := before.Entry(i+1), p.After.Entry(i+1)
		if a.First != b.First || a.Last > b.Last || a.ID != b.ID {
			t.Errorf("partition %d was moved or shrunk", i+1)
		}
	}
	if e := p.After.Entry(6); e.Last != 8*2097152-1 {
		t.Errorf("EPHEMERAL ends at %d", e.Last)
	}
	if err := p.After.check(); err != nil {
		t.Error(err)
	}
}

func TestPlanIsDeterministic(t *testing.T) {
	table := layoutTable(t, 10*GiB, 4096)
	table.Entries[4], table.Entries[5] = Entry{}, Entry{}
	a, errA := MakePlan(diskOf(table), Layout, nameID)
	b, errB := MakePlan(diskOf(table), Layout, nameID)
	if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%v, %v", errA, errB)
	}
}

func TestPlanWithoutRoom(t *testing.T) {
	table := layoutTable(t, 3*GiB, 512)
	table.Entries[5].Type = testDiskID
	_, err := MakePlan(diskOf(table), Layout, nameID)
	var space *SpaceError
	if !errors.As(err, &space) || space.Label != "EPHEMERAL" {
		t.Errorf("error: %v", err)
	}
	wantError(t, err, "need a disk of 2172 MiB")
	for i := range table.Entries {
		if !table.Entries[i].Used() {
			table.Entries[i] = Entry{Type: testDiskID}
		}
	}
	if _, err := MakePlan(diskOf(table), Layout, nameID); err == nil || !strings.Contains(err.Error(), "all 128 entries") {
		t.Errorf("error: %v", err)
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", MiB: "1 MiB", 384 * MiB: "384 MiB", 1536 * MiB: "1.5 GiB", 3*GiB - 1: "2.99 GiB", 1 << 62: "4 EiB"} {
		if got := SizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestWriteRefusesTablesOfOtherDisks(t *testing.T) {
	table := tableOf(t, gptDisk(t, 512))
	for name, m := range map[string]*Memory{"sector size": NewMemory(8*MiB, 4096), "size": NewMemory(9*MiB, 512)} {
		if err := Write(m, table); err == nil || !zeros(m.Data) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := table.Clone()
	long.Entries[0].Name = strings.Repeat("x", 37)
	m := gptDisk(t, 512)
	before := string(m.Data)
	if err := Write(m, long); err == nil || string(m.Data) != before {
		t.Errorf("a name that is too long: %v", err)
	}
}
