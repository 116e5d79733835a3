package partition

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// layered is a Memory with changes on top, in sectors of 512 bytes, so that
// many states of one disk cost little.
type layered struct {
	Device
	changes map[int64][]byte
}

func layer(d Device) *layered { return &layered{d, map[int64][]byte{}} }

// ReadAt reads through the changes.
func (l *layered) ReadAt(b []byte, off int64) (int, error) {
	n, err := l.Device.ReadAt(b, off)
	for at := off &^ 511; at < off+int64(n); at += 512 {
		if c, ok := l.changes[at]; ok {
			copy(b[max(at-off, 0):n], c[max(off-at, 0):])
		}
	}
	return n, err
}

// WriteAt changes whole sectors.
func (l *layered) WriteAt(b []byte, off int64) (int, error) {
	for i := 0; i < len(b); i += 512 {
		l.changes[off+int64(i)] = slices.Clone(b[i:][:512])
	}
	return len(b), nil
}

// flat returns the content as a Memory.
func (l *layered) flat() *Memory {
	m := NewMemory(l.Size(), l.SectorSize())
	l.ReadAt(m.Data, 0)
	return m
}

// recorder is a device that keeps every write, sector by sector, and knows
// which writes lie between two flushes.
type recorder struct {
	*layered
	batches [][]sectorWrite
}

type sectorWrite struct {
	off  int64
	data []byte
}

func newRecorder(m *Memory) *recorder { return &recorder{layer(m), [][]sectorWrite{nil}} }

// WriteAt records a write in units that a disk writes as a whole.
func (r *recorder) WriteAt(b []byte, off int64) (int, error) {
	last := len(r.batches) - 1
	size := r.SectorSize()
	for i := 0; i < len(b); i += size {
		piece := b[i:min(i+size, len(b))]
		r.batches[last] = append(r.batches[last], sectorWrite{off + int64(i), slices.Clone(piece)})
	}
	return r.layered.WriteAt(b, off)
}

// Sync ends a batch.
func (r *recorder) Sync() error {
	r.batches = append(r.batches, nil)
	return nil
}

// cuts calls check with the disk as each power cut leaves it: after every
// prefix of the writes (of batches that only zero partitions, some), and, since
// a disk may reorder what lies between two flushes, after random subsets of
// the writes of a batch.
func (r *recorder) cuts(check func(what string, l *layered)) {
	random := rand.New(rand.NewPCG(1, 2))
	disk := layer(r.Device)
	for _, batch := range r.batches {
		for range 12 {
			check("subset", disk.with(batch, func(int) bool { return random.IntN(2) == 0 }))
		}
		for n := 0; n < len(batch); n += 1 + len(batch)/60 {
			check("prefix", disk.with(batch, func(i int) bool { return i <= n }))
		}
		disk = disk.with(batch, func(int) bool { return true })
	}
	check("end", disk)
}

// with returns the disk with some of the writes of a batch.
func (l *layered) with(batch []sectorWrite, chosen func(int) bool) *layered {
	c := layer(l)
	for i, w := range batch {
		if !chosen(i) {
			continue
		}
		for at := 0; at < len(w.data); at += 512 {
			c.changes[w.off+int64(at)] = w.data[at:][:512]
		}
	}
	return c
}

// sameTable compares what a reader cares about.
func sameTable(a, b *Table) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.DiskID == b.DiskID && slices.EqualFunc(a.Entries, b.Entries, func(x, y Entry) bool {
		return x.Type == y.Type && x.ID == y.ID && x.First == y.First && x.Last == y.Last && x.Attributes == y.Attributes && x.Name == y.Name
	})
}

// smallLayout is a layout for disks that fit in memory.
var smallLayout = []Row{
	{Label: "BOOT", Type: TypeBoot, Size: 1 * MiB, Origin: FromImage},
	{Label: "STATE", Type: TypeState, Size: 2 * MiB, FS: "xfs", Origin: FirstBoot},
	{Label: "EPHEMERAL", Type: TypeEphemeral, Size: 1 * MiB, FS: "xfs", Origin: FirstBoot, Grows: true},
}

// smallImage is a disk with an image for smallLayout in its first 6 MiB.
func smallImage(t *testing.T, size int64, sector int) *Memory {
	t.Helper()
	image := NewMemory(6*MiB, 512)
	table, err := NewImageTable(6*MiB, smallLayout, testDiskID)
	if err == nil {
		err = WriteHybrid(image, table)
	}
	if err != nil {
		t.Fatal(err)
	}
	copy(image.Data, "boot code")
	disk := NewMemory(size, sector)
	copy(disk.Data, image.Data)
	return disk
}

// planned returns a plan for a disk, with the same identifiers each time.
func planned(t *testing.T, m Device) *Plan {
	t.Helper()
	d, err := Read(m)
	if err != nil {
		t.Fatal(err)
	}
	p, err := MakePlan(d, smallLayout, func(label string) GUID { return NameGUID(testDiskID, label) })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// applied returns the disk after its plan was carried out.
func applied(t *testing.T, m *Memory) *Memory {
	t.Helper()
	r := newRecorder(m)
	if err := Apply(t.Context(), r, planned(t, r), nil); err != nil {
		t.Fatal(err)
	}
	return r.flat()
}

// grown returns a disk with more space at its end.
func grown(m *Memory, by int64) *Memory {
	return &Memory{Data: append(slices.Clone(m.Data), make([]byte, by)...), Sector: m.Sector}
}

// damaged returns a disk of which some bytes are overwritten.
func damaged(m *Memory, off int64, n int) *Memory {
	d := &Memory{Data: slices.Clone(m.Data), Sector: m.Sector}
	copy(d.Data[off:], bytes.Repeat([]byte{0xa5}, n))
	return d
}

// powerCases are disks for which a plan has something to do.
func powerCases(t *testing.T, sector int) map[string]*Memory {
	first := smallImage(t, 16*MiB, sector)
	done := applied(t, first)
	header, entries := int64(sector), int64(2*sector)
	return map[string]*Memory{
		"first boot":                     first,
		"first boot, same size":          smallImage(t, 10*MiB, sector),
		"grown":                          grown(done, 8*MiB),
		"grown a little":                 grown(done, 4096),
		"primary header damaged":         damaged(done, header, 64),
		"primary entries damaged":        damaged(done, tableOf(t, done).entriesOffset()+200, 64),
		"backup header damaged":          damaged(done, done.Size()-int64(sector), 64),
		"backup entries damaged":         damaged(done, done.Size()-int64(sector)-16384, 64),
		"grown, primary entries damaged": grown(damaged(done, tableOf(t, done).entriesOffset()+200, 64), 8*MiB),
		"grown, only a field damaged":    grown(damaged(done, header+60, 1), 4096),
		"only the guard wiped":           wiped(done, bootCodeSize, 512-bootCodeSize),
		"sector 0 wiped":                 wiped(done, 0, 512),
		"start wiped":                    wiped(done, 0, int(entries+16384)),
	}
}

func (t *Table) entriesOffset() int64 { return int64(t.EntriesLBA) * int64(t.SectorSize) }

func tableOf(t *testing.T, m *Memory) *Table {
	t.Helper()
	d, err := Read(m)
	if err != nil || d.Table == nil {
		t.Fatalf("no table: %v", err)
	}
	return d.Table
}

// wiped returns a disk with zeros in some place.
func wiped(m *Memory, off int64, n int) *Memory {
	d := &Memory{Data: slices.Clone(m.Data), Sector: m.Sector}
	clear(d.Data[off:][:n])
	return d
}

func TestPowerCutLeavesOldOrNewTable(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		for name, start := range powerCases(t, sector) {
			old := tableOf(t, start)
			r := newRecorder(start)
			p := planned(t, r)
			if len(p.Steps) == 0 {
				t.Errorf("%s, sectors of %d: nothing to do", name, sector)
			}
			if err := Apply(t.Context(), r, p, nil); err != nil {
				t.Fatalf("%s, sectors of %d: %v", name, sector, err)
			}
			cuts := 0
			r.cuts(func(what string, m *layered) {
				cuts++
				d, err := Read(m)
				if err != nil || !sameTable(d.Table, old) && !sameTable(d.Table, p.After) {
					t.Fatalf("%s, sectors of %d, %s, cut %d: neither the old nor the new table: %v", name, sector, what, cuts, err)
				}
			})
			checkSettled(t, name, r)
		}
	}
}

// checkSettled checks that a disk needs nothing more.
func checkSettled(t *testing.T, name string, m Device) {
	t.Helper()
	p := planned(t, m)
	if p.Changes() {
		t.Errorf("%s: not settled: %v", name, p.Steps)
	}
	d, _ := Read(m)
	if len(d.Problems) > 0 {
		t.Errorf("%s: problems remain: %v", name, d.Problems)
	}
	if off, _ := p.After.Range(p.After.Entry(1)); off != MiB || p.After.Used() != 3 {
		t.Errorf("%s: partition 1 is at %d, of %d", name, off, p.After.Used())
	}
}

// TestPowerCutIsRecovered cuts the power, lets the next boot go to its end, and
// checks that nothing is wrong then.
func TestPowerCutIsRecovered(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		for name, start := range powerCases(t, sector) {
			r := newRecorder(start)
			if err := Apply(t.Context(), r, planned(t, r), nil); err != nil {
				t.Fatal(err)
			}
			n := 0
			r.cuts(func(_ string, m *layered) {
				if n++; n%17 != 0 {
					return
				}
				r := &recorder{layer(m), [][]sectorWrite{nil}}
				if err := Apply(t.Context(), r, planned(t, r), nil); err != nil {
					t.Fatal(err)
				}
				checkSettled(t, name, r)
			})
		}
	}
}

func TestPowerCutOfCreation(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		start := NewMemory(16*MiB, sector)
		d, err := Read(start)
		if err != nil || d.Kind != Blank {
			t.Fatalf("%+v, %v", d, err)
		}
		p, err := MakeCreatePlan(d, smallLayout, false, testDiskID, func(l string) GUID { return NameGUID(testDiskID, l) })
		if err != nil {
			t.Fatal(err)
		}
		r := newRecorder(start)
		if err := Apply(t.Context(), r, p, nil); err != nil {
			t.Fatal(err)
		}
		r.cuts(func(what string, m *layered) {
			d, err := Read(m)
			if err != nil || d.Kind != Blank && !sameTable(d.Table, p.After) {
				t.Fatalf("sectors of %d, %s: %v, %v", sector, what, d.Kind, err)
			}
		})
	}
}

func TestWritesKeepTheBootCode(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		for name, start := range powerCases(t, sector) {
			if got := applied(t, start).Data[:bootCodeSize]; !bytes.Equal(got, start.Data[:bootCodeSize]) {
				t.Errorf("%s: boot code changed", name)
			}
		}
	}
}

func TestSecondApplyWritesNothing(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		r := newRecorder(applied(t, smallImage(t, 16*MiB, sector)))
		if err := Apply(t.Context(), r, planned(t, r), nil); err != nil || len(r.batches) != 1 || len(r.batches[0]) != 0 {
			t.Errorf("it wrote, %v", err)
		}
	}
}
