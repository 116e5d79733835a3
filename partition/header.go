package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	headerSignature = "EFI PART"
	headerRevision  = 0x00010000
	headerSize      = 92
	// primaryLBA is where the primary header always is.
	primaryLBA = 1
)

// header is the on-disk header (UEFI 2.10 table 5.5).
type header struct {
	size            uint32
	crc             uint32
	myLBA           uint64
	alternateLBA    uint64
	firstUsable     uint64
	lastUsable      uint64
	diskID          GUID
	entriesLBA      uint64
	entryCount      uint32
	entrySize       uint32
	entriesChecksum uint32
}

// hasSignature tells whether a header seems to begin at a byte offset.
func hasSignature(r io.ReaderAt, off int64) bool {
	b := make([]byte, len(headerSignature))
	_, err := r.ReadAt(b, off)
	return err == nil && string(b) == headerSignature
}

// decodeHeader reads a header out of its sector and checks it by itself.
func decodeHeader(b []byte) (header, error) {
	le := binary.LittleEndian
	if string(b[:8]) != headerSignature {
		return header{}, errors.New("no GPT signature")
	}
	h := header{
		size: le.Uint32(b[12:]), crc: le.Uint32(b[16:]),
		myLBA: le.Uint64(b[24:]), alternateLBA: le.Uint64(b[32:]),
		firstUsable: le.Uint64(b[40:]), lastUsable: le.Uint64(b[48:]),
		diskID:     GUID(b[56:72]),
		entriesLBA: le.Uint64(b[72:]), entryCount: le.Uint32(b[80:]),
		entrySize: le.Uint32(b[84:]), entriesChecksum: le.Uint32(b[88:]),
	}
	return h, h.check(b, le.Uint32(b[8:]))
}

// check validates what a header says of itself.
func (h header) check(sector []byte, revision uint32) error {
	if h.size < headerSize || int(h.size) > len(sector) {
		return fmt.Errorf("header size %d is not within %d to %d", h.size, headerSize, len(sector))
	}
	if sum := headerChecksum(sector[:h.size]); sum != h.crc {
		return fmt.Errorf("header checksum is %08x, should be %08x", h.crc, sum)
	}
	if revision != headerRevision {
		return fmt.Errorf("revision %08x is unknown", revision)
	}
	if h.entrySize != entrySize {
		return fmt.Errorf("entries of %d bytes are not supported, only of %d", h.entrySize, entrySize)
	}
	if h.entryCount == 0 || h.entryCount > maxEntries {
		return fmt.Errorf("%d entries are not supported, only 1 to %d", h.entryCount, maxEntries)
	}
	return nil
}

// headerChecksum is the CRC-32 of a header with its own field taken as zero.
func headerChecksum(b []byte) uint32 {
	c := append([]byte(nil), b...)
	clear(c[16:20])
	return crc32.ChecksumIEEE(c)
}

// encode writes the header with its checksum into the first bytes of b.
func (h header) encode(b []byte) {
	le := binary.LittleEndian
	copy(b, headerSignature)
	le.PutUint32(b[8:], headerRevision)
	le.PutUint32(b[12:], headerSize)
	le.PutUint64(b[24:], h.myLBA)
	le.PutUint64(b[32:], h.alternateLBA)
	le.PutUint64(b[40:], h.firstUsable)
	le.PutUint64(b[48:], h.lastUsable)
	copy(b[56:72], h.diskID[:])
	le.PutUint64(b[72:], h.entriesLBA)
	le.PutUint32(b[80:], h.entryCount)
	le.PutUint32(b[84:], h.entrySize)
	le.PutUint32(b[88:], h.entriesChecksum)
	le.PutUint32(b[16:], headerChecksum(b[:headerSize]))
}

// encodeEntries writes the array of entries, padded to whole sectors.
func (t *Table) encodeEntries() ([]byte, error) {
	b := make([]byte, t.arraySectors()*uint64(t.SectorSize))
	var errs []error
	for i, e := range t.Entries {
		if err := e.encode(b[i*entrySize:][:entrySize]); err != nil {
			errs = append(errs, fmt.Errorf("partition %d: %w", i+1, err))
		}
	}
	return b, errors.Join(errs...)
}

// encode writes one entry (UEFI 2.10 table 5.6). An unused entry is zeros.
func (e Entry) encode(b []byte) error {
	if !e.Used() {
		return nil
	}
	le := binary.LittleEndian
	copy(b[0:16], e.Type[:])
	copy(b[16:32], e.ID[:])
	le.PutUint64(b[32:], e.First)
	le.PutUint64(b[40:], e.Last)
	le.PutUint64(b[48:], uint64(e.Attributes))
	if decodeName(e.rawName[:]) == e.Name {
		copy(b[56:], e.rawName[:])
		return nil
	}
	return encodeName(b[56:128], e.Name)
}

// decodeEntry reads one entry.
func decodeEntry(b []byte) Entry {
	le := binary.LittleEndian
	e := Entry{
		Type: GUID(b[0:16]), ID: GUID(b[16:32]),
		First: le.Uint64(b[32:]), Last: le.Uint64(b[40:]),
		Attributes: Attributes(le.Uint64(b[48:])),
	}
	if !e.Used() {
		return Entry{}
	}
	copy(e.rawName[:], b[56:128])
	e.Name = decodeName(b[56:128])
	return e
}

// readCopy reads one of the two copies of a table, the header of which lies at
// lba, and checks all of it. When only the header can be trusted, or not even
// that, it is returned with the error all the same: its AlternateLBA may lead
// to the other copy.
func readCopy(dev Device, lba uint64) (*Table, header, error) {
	sector := make([]byte, dev.SectorSize())
	if err := readSectors(dev, sector, lba); err != nil {
		return nil, header{}, err
	}
	h, err := decodeHeader(sector)
	if err != nil {
		return nil, h, err
	}
	if h.myLBA != lba {
		return nil, h, fmt.Errorf("header at sector %d says it is at %d", lba, h.myLBA)
	}
	t, err := h.readTable(dev)
	return t, h, err
}

// readTable reads the entries of a valid header and checks the table.
func (h header) readTable(dev Device) (*Table, error) {
	t := h.table(dev)
	if err := h.checkArray(t); err != nil {
		return nil, err
	}
	b := make([]byte, t.arraySectors()*uint64(t.SectorSize))
	if err := readSectors(dev, b, h.entriesLBA); err != nil {
		return nil, err
	}
	b = b[:h.entryCount*entrySize]
	if sum := crc32.ChecksumIEEE(b); sum != h.entriesChecksum {
		return nil, fmt.Errorf("checksum of the entries is %08x, should be %08x", h.entriesChecksum, sum)
	}
	for i := range t.Entries {
		t.Entries[i] = decodeEntry(b[i*entrySize:][:entrySize])
	}
	return t, t.check()
}

// table makes a table without its entries of a header. Where the other copy's
// entries lie is not known from one header; it is assumed to be the usual
// place until the other copy is read.
func (h header) table(dev Device) *Table {
	t := &Table{
		DiskID:      h.diskID,
		SectorSize:  dev.SectorSize(),
		Sectors:     uint64(dev.Size()) / uint64(dev.SectorSize()),
		FirstUsable: h.firstUsable, LastUsable: h.lastUsable,
		Entries: make([]Entry, h.entryCount),
	}
	if h.myLBA == primaryLBA {
		t.EntriesLBA = h.entriesLBA
		t.BackupEntriesLBA = t.Sectors - 1 - t.arraySectors()
	} else {
		t.EntriesLBA, t.BackupEntriesLBA = primaryLBA+1, h.entriesLBA
	}
	return t
}

// checkArray checks that the entries lie on the disk, and neither over the
// headers nor over what partitions may use.
func (h header) checkArray(t *Table) error {
	n := t.arraySectors()
	first, end := h.entriesLBA, h.entriesLBA+n
	switch {
	case end < first || first <= primaryLBA || end > t.Sectors:
	case first <= h.lastUsable && end > h.firstUsable:
	case first <= h.myLBA && end > h.myLBA:
	case h.firstUsable < primaryLBA+1+n: // no room for the other array
	default:
		return nil
	}
	return fmt.Errorf("array of entries at sectors %d to %d is not in a place for it", first, end-1)
}

// readSectors fills b from a sector on.
func readSectors(dev Device, b []byte, lba uint64) error {
	sectors := uint64(dev.Size()) / uint64(dev.SectorSize())
	n := uint64(len(b) / dev.SectorSize())
	if lba >= sectors || n > sectors-lba {
		return fmt.Errorf("sectors %d to %d are not on the disk, which has %d", lba, lba+n-1, sectors)
	}
	if _, err := dev.ReadAt(b, int64(lba)*int64(dev.SectorSize())); err != nil {
		return fmt.Errorf("cannot read %d sectors at sector %d: %w", n, lba, err)
	}
	return nil
}
