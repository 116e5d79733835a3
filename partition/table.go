package partition

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// Align is the alignment in bytes of every partition we make. It is a
// multiple of all sector sizes, so that a table means the same byte ranges on
// disks of 512-byte and of 4096-byte sectors.
const Align = 1 << 20

// entryCount is the number of entries in tables we make.
const entryCount = 128

// entrySize is the only size of an entry that the kernel reads, in bytes.
const entrySize = 128

// maxEntries bounds the number of entries we are ready to read.
const maxEntries = 1024

// nameUnits is the length of an entry's name in UTF-16 code units.
const nameUnits = 36

// Entry is one partition in a table. An Entry of zero Type is unused.
type Entry struct {
	Type GUID
	// ID is unique to the partition.
	ID GUID
	// First and Last are the first and the last LBA, both inclusive.
	First, Last uint64
	Attributes  Attributes
	// Name is the label, at most 36 UTF-16 code units.
	Name string

	// rawName is the name's field as it was read, written back as long as
	// Name is what it says, so that a foreign entry keeps every byte.
	rawName [2 * nameUnits]byte
}

// Used tells whether the entry stands for a partition.
func (e Entry) Used() bool { return !e.Type.IsZero() }

// Sectors is the length in sectors.
func (e Entry) Sectors() uint64 { return e.Last - e.First + 1 }

// Table is a GUID partition table. LBAs count sectors of SectorSize bytes.
type Table struct {
	// DiskID is unique to the disk.
	DiskID GUID
	// SectorSize is the unit of LBAs in bytes.
	SectorSize int
	// Sectors is the length of the disk that the table is laid out for.
	Sectors uint64
	// FirstUsable and LastUsable bound what partitions may use.
	FirstUsable, LastUsable uint64
	// EntriesLBA and BackupEntriesLBA say where the two arrays of entries
	// lie. The headers are at LBA 1 and at the last LBA.
	EntriesLBA, BackupEntriesLBA uint64
	// Entries has one element per slot, used or not: Entries[0] is
	// partition 1.
	Entries []Entry
}

// NewTable returns an empty table for a disk of size bytes.
func NewTable(size int64, sectorSize int, diskID GUID) (*Table, error) {
	if err := checkSectorSize(sectorSize); err != nil {
		return nil, err
	}
	if size < 4*Align {
		return nil, fmt.Errorf("cannot partition %d bytes: too small for a partition table", size)
	}
	t := &Table{
		DiskID:      diskID,
		SectorSize:  sectorSize,
		FirstUsable: uint64(Align / sectorSize),
		EntriesLBA:  2,
		Entries:     make([]Entry, entryCount),
	}
	t.Fit(size)
	return t, nil
}

// Fit lays the backup out for a disk of size bytes.
func (t *Table) Fit(size int64) {
	t.Sectors = uint64(size) / uint64(t.SectorSize)
	t.BackupEntriesLBA = t.Sectors - 1 - t.arraySectors()
	t.LastUsable = t.BackupEntriesLBA - 1
}

// Clone returns a copy that shares nothing.
func (t *Table) Clone() *Table {
	c := *t
	c.Entries = slices.Clone(t.Entries)
	return &c
}

// Find returns the number of the partition with a label and type.
func (t *Table) Find(name string, typ GUID) (number int, ok bool) {
	for i, e := range t.Entries {
		if e.Used() && e.Name == name && e.Type == typ {
			return i + 1, true
		}
	}
	return 0, false
}

// Entry returns the entry of a partition by its number, counted from 1; it is
// an unused one if there is no such partition.
func (t *Table) Entry(number int) Entry {
	if number < 1 || number > len(t.Entries) {
		return Entry{}
	}
	return t.Entries[number-1]
}

// Range returns offset and length of an entry in bytes.
func (t *Table) Range(e Entry) (offset, length int64) {
	return int64(e.First) * int64(t.SectorSize), int64(e.Sectors()) * int64(t.SectorSize)
}

// Used counts the partitions.
func (t *Table) Used() int {
	n := 0
	for _, e := range t.Entries {
		if e.Used() {
			n++
		}
	}
	return n
}

// arraySectors is the length of the array of entries in sectors.
func (t *Table) arraySectors() uint64 {
	return sectorsFor(len(t.Entries)*entrySize, t.SectorSize)
}

// sectorsFor returns how many sectors hold n bytes.
func sectorsFor(n, sectorSize int) uint64 {
	return uint64((n + sectorSize - 1) / sectorSize)
}

// check tells what is inconsistent about a table, whoever made it.
func (t *Table) check() error {
	if t.FirstUsable > t.LastUsable || t.LastUsable >= t.Sectors {
		return fmt.Errorf("usable sectors %d to %d do not fit a disk of %d", t.FirstUsable, t.LastUsable, t.Sectors)
	}
	var errs []error
	for i, e := range t.Entries {
		if e.Used() {
			errs = append(errs, t.checkEntry(i+1, e))
		}
	}
	return errors.Join(append(errs, t.checkOverlap())...)
}

// checkEntry checks one used entry.
func (t *Table) checkEntry(number int, e Entry) error {
	if e.First > e.Last || e.First < t.FirstUsable || e.Last > t.LastUsable {
		return fmt.Errorf("partition %d: sectors %d to %d are not within %d to %d", number, e.First, e.Last, t.FirstUsable, t.LastUsable)
	}
	return nil
}

// checkOverlap looks for sectors that belong to two partitions.
func (t *Table) checkOverlap() error {
	order := t.byPosition()
	for i := 1; i < len(order); i++ {
		a, b := t.Entry(order[i-1]), t.Entry(order[i])
		if b.First <= a.Last {
			return fmt.Errorf("partitions %d and %d overlap: sectors %d to %d and %d to %d",
				order[i-1], order[i], a.First, a.Last, b.First, b.Last)
		}
	}
	return nil
}

// byPosition returns the partition numbers in the order of their first LBA.
func (t *Table) byPosition() []int {
	var order []int
	for i, e := range t.Entries {
		if e.Used() {
			order = append(order, i+1)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return compare(t.Entry(a).First, t.Entry(b).First)
	})
	return order
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// encodeName writes a name as UTF-16; it refuses one that would be cut off.
func encodeName(b []byte, name string) error {
	units := utf16.Encode([]rune(name))
	if len(units) > nameUnits || strings.ContainsRune(name, 0) {
		return fmt.Errorf("cannot use %q as a partition name: want at most %d UTF-16 units and no NUL", name, nameUnits)
	}
	for i, u := range units {
		b[2*i], b[2*i+1] = byte(u), byte(u>>8)
	}
	return nil
}

// decodeName reads a name up to its first NUL. Half surrogates, which no
// correct writer makes, come out as U+FFFD.
func decodeName(b []byte) string {
	var units []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u := uint16(b[i]) | uint16(b[i+1])<<8
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
