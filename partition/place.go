package partition

import (
	"fmt"
)

// gap is a range of free sectors, both inclusive, aligned for a partition.
type gap struct{ first, last uint64 }

func (g gap) sectors() uint64 { return g.last - g.first + 1 }

// Place adds a partition for a row in the first free slot and returns its
// number. It goes to the first gap that is large enough; a row that grows goes
// to the largest one and takes all of it.
func (t *Table) Place(r Row, id GUID) (int, error) {
	slot := t.freeSlot()
	if slot == 0 {
		return 0, fmt.Errorf("cannot place partition %s: all %d entries of the table are in use", r.Label, len(t.Entries))
	}
	g, ok := t.gapFor(r)
	if !ok {
		return 0, &SpaceError{Label: r.Label, Need: r.Size, Free: t.largestGap()}
	}
	last := g.last
	if !r.Grows {
		last = g.first + uint64(r.Size)/uint64(t.SectorSize) - 1
	}
	t.Entries[slot-1] = Entry{Type: r.Type, ID: id, First: g.first, Last: last, Attributes: r.Attributes, Name: r.Label}
	return slot, nil
}

// SpaceError says that a partition does not fit on the disk.
type SpaceError struct {
	Label string
	// Need is the least size of the partition, Free the size of the largest
	// free range, both in bytes.
	Need, Free int64
	// Disk is the least size of a disk for the whole layout, or 0.
	Disk int64
}

// Error returns what was needed, what there is, and what would do.
func (e *SpaceError) Error() string {
	s := fmt.Sprintf("cannot place partition %s: it needs %d MiB, the largest free range of the disk has %d MiB",
		e.Label, (e.Need+MiB-1)/MiB, e.Free/MiB)
	if e.Disk > 0 {
		s += fmt.Sprintf("; all partitions of Ichor need a disk of %d MiB", e.Disk/MiB)
	}
	return s
}

// LeastSize is the length in bytes of the smallest disk that all rows of a
// layout fit on.
func LeastSize(layout []Row) int64 {
	size := int64(2 * Align)
	for _, r := range layout {
		size += r.Size
	}
	return size
}

// freeSlot returns the number of the first unused entry, or 0.
func (t *Table) freeSlot() int {
	for i, e := range t.Entries {
		if !e.Used() {
			return i + 1
		}
	}
	return 0
}

// gapFor chooses the gap for a row.
func (t *Table) gapFor(r Row) (best gap, ok bool) {
	need := uint64(r.Size) / uint64(t.SectorSize)
	for _, g := range t.gaps() {
		if g.sectors() < need || ok && g.sectors() <= best.sectors() {
			continue
		}
		best, ok = g, true
		if !r.Grows {
			break
		}
	}
	return best, ok
}

// largestGap returns the length in bytes of the largest gap.
func (t *Table) largestGap() int64 {
	var n uint64
	for _, g := range t.gaps() {
		n = max(n, g.sectors())
	}
	return int64(n) * int64(t.SectorSize)
}

// gaps returns the free ranges in order.
func (t *Table) gaps() []gap {
	var gaps []gap
	next := t.FirstUsable
	for _, n := range t.byPosition() {
		e := t.Entry(n)
		gaps = t.appendGap(gaps, next, e.First)
		next = max(next, e.Last+1)
	}
	return t.appendGap(gaps, next, t.LastUsable+1)
}

// appendGap adds what is left of a free range, given by its end exclusive,
// after both ends are aligned.
func (t *Table) appendGap(gaps []gap, first, end uint64) []gap {
	unit := uint64(Align / t.SectorSize)
	first = (first + unit - 1) / unit * unit
	end = end / unit * unit
	if first < end {
		gaps = append(gaps, gap{first, end - 1})
	}
	return gaps
}

// roomAfter returns the last sector up to which a partition could be extended.
func (t *Table) roomAfter(number int) uint64 {
	e, end := t.Entry(number), t.LastUsable+1
	for _, other := range t.Entries {
		if other.Used() && other.First > e.Last {
			end = min(end, other.First)
		}
	}
	unit := uint64(Align / t.SectorSize)
	return max(e.Last, end/unit*unit-1)
}

// ImageSize is the length in bytes of a disk image that holds the rows an
// image brings: their sizes, and Align before and after them for the tables.
func ImageSize(layout []Row) int64 { return LeastSize(SelectRows(layout, FromImage)) }

// NewImageTable returns the table of a disk image, for WriteHybrid: the rows
// that an image brings, with identifiers that follow from the disk's.
func NewImageTable(size int64, layout []Row, diskID GUID) (*Table, error) {
	t, err := NewHybridTable(size, diskID)
	if err != nil {
		return nil, err
	}
	for _, r := range SelectRows(layout, FromImage) {
		if _, err := t.Place(r, NameGUID(diskID, r.Label)); err != nil {
			return nil, err
		}
	}
	return t, nil
}
