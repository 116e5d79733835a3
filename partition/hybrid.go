package partition

import (
	"fmt"
)

// A disk image does not know the sector size of the disk it will be copied to,
// and a GPT counts in sectors. Our image therefore carries two tables of the
// same byte ranges, one for sectors of 512 bytes and one for 4096:
//
//	byte 0      protective MBR, shared
//	byte 512    header for 512-byte sectors (its LBA 1)
//	byte 4096   header for 4096-byte sectors (its LBA 1)
//	byte 8192   entries for 4096-byte sectors, 16 KiB (its LBA 2)
//	byte 32768  entries for 512-byte sectors, 16 KiB (its LBA 64)
//	1 MiB       first partition
//	end-36 KiB  backup entries for 512-byte sectors
//	end-20 KiB  backup entries for 4096-byte sectors
//	end-4096    backup header for 4096-byte sectors, 92 bytes (its last LBA)
//	end-512     backup header for 512-byte sectors (its last LBA)
//
// The first Write on the disk removes the table that is not of its size.
const (
	hybridEntries       = 32768
	hybridBackupEntries = 36 << 10 // before the end
)

// hybridSizes are the two sector sizes.
var hybridSizes = [2]int{512, 4096}

// NewHybridTable returns an empty table for WriteHybrid and an image of size
// bytes.
func NewHybridTable(size int64, diskID GUID) (*Table, error) {
	t, err := NewTable(size, 512, diskID)
	if err != nil {
		return nil, err
	}
	if size%Align != 0 {
		return nil, fmt.Errorf("cannot make an image of %d bytes: not a multiple of %d", size, Align)
	}
	t.EntriesLBA = hybridEntries / 512
	t.BackupEntriesLBA = uint64(size-hybridBackupEntries) / 512
	t.LastUsable = t.BackupEntriesLBA - 1
	return t, nil
}

// WriteHybrid writes a table of 512-byte sectors, made by NewHybridTable and
// with all partitions aligned to 4096 bytes, together with its twin for
// 4096-byte sectors. The device is an image file: the order of writes is not
// safe against a power cut. Boot code in sector 0 is kept.
func WriteHybrid(dev Device, t *Table) error {
	twin, err := t.twin()
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return fmt.Errorf("cannot write partition tables of image: %w", err)
	}
	for _, table := range []*Table{twin, t} {
		copies, err := table.copies()
		if err != nil {
			return fmt.Errorf("cannot write partition tables of image: %w", err)
		}
		for _, c := range copies {
			// The rest of a header's sector may belong to the other table.
			c.header = c.header[:512]
			if err := c.write(dev); err != nil {
				return err
			}
		}
	}
	// The size of a protective MBR is in sectors too; this value means
	// "unknown" and holds for both.
	return protect(dev, 1<<32)
}

// twin converts a table to 4096-byte sectors.
func (t *Table) twin() (*Table, error) {
	if t.SectorSize != 512 {
		return nil, fmt.Errorf("table is for sectors of %d bytes, want 512", t.SectorSize)
	}
	c := t.Clone()
	c.SectorSize, c.Sectors = 4096, t.Sectors/8
	c.EntriesLBA, c.FirstUsable = 2, t.FirstUsable/8
	c.BackupEntriesLBA = c.Sectors - 1 - c.arraySectors()
	c.LastUsable = (t.LastUsable+1)/8 - 1
	for i, e := range c.Entries {
		if e.Used() && (e.First%8 != 0 || (e.Last+1)%8 != 0) {
			return nil, fmt.Errorf("partition %d is not aligned to 4096 bytes", i+1)
		}
		c.Entries[i].First, c.Entries[i].Last = e.First/8, (e.Last+1)/8-1
		if !e.Used() {
			c.Entries[i] = Entry{}
		}
	}
	return c, nil
}

// otherSize returns the sector size, other than the device's own, for which
// there is a header, or 0.
func otherSize(dev Device) int {
	for _, size := range hybridSizes {
		if size != dev.SectorSize() && hasSignature(dev, int64(size)) {
			return size
		}
	}
	return 0
}

// otherHeader finds the valid primary header of the same disk for another
// sector size. It returns that size and the header, or 0.
func otherHeader(dev Device, diskID GUID) (int, header) {
	size := otherSize(dev)
	if size == 0 {
		return 0, header{}
	}
	b := make([]byte, 512)
	if _, err := dev.ReadAt(b, int64(size)); err != nil {
		return 0, header{}
	}
	h, err := decodeHeader(b)
	if err != nil || h.myLBA != primaryLBA || h.diskID != diskID {
		return 0, header{}
	}
	return size, h
}

// retireOther removes the headers for another sector size, where they are in
// nobody's way: first the primary, so that the backup is found until then.
func retireOther(dev Device, t *Table) error {
	size, h := otherHeader(dev, t.DiskID)
	if size == 0 {
		return nil
	}
	for _, off := range []int64{int64(h.alternateLBA) * int64(size), int64(size)} {
		if off <= 0 || off+512 > dev.Size() || t.uses(off, headerSize) || !hasSignature(dev, off) {
			continue
		}
		if err := changeSector(dev, off, func(b []byte) { clear(b[:headerSize]) }); err != nil {
			return err
		}
	}
	return nil
}

// uses tells whether some bytes belong to a header or the entries of a table,
// or to what its partitions may use.
func (t *Table) uses(off, n int64) bool {
	size := int64(t.SectorSize)
	overlaps := func(first, sectors uint64) bool {
		start, end := int64(first)*size, int64(first+sectors)*size
		return off < end && off+n > start
	}
	return overlaps(primaryLBA, 1) && size == 512 ||
		overlaps(t.EntriesLBA, t.arraySectors()) ||
		overlaps(t.BackupEntriesLBA, t.arraySectors()) ||
		overlaps(t.FirstUsable, t.LastUsable-t.FirstUsable+1)
}
