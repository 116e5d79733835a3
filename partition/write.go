package partition

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// Write writes a table in an order in which a power cut at any moment leaves
// one valid copy on the disk, of the old or the new table: first the backup,
// while the primary holds, then, flushed in between, the primary. A damaged
// primary is restored from the old backup before that. The boot code in sector
// 0 is kept. A second table of the same disk for another sector size is
// removed at the end.
func Write(dev Device, t *Table) error {
	if err := t.checkFor(dev); err != nil {
		return fmt.Errorf("cannot write partition table: %w", err)
	}
	copies, err := t.copies()
	if err != nil {
		return fmt.Errorf("cannot write partition table: %w", err)
	}
	if err := restorePrimary(dev); err != nil {
		return err
	}
	for _, c := range copies {
		if err := c.write(dev); err != nil {
			return err
		}
	}
	if err := protect(dev, t.Sectors); err != nil {
		return err
	}
	return retireOther(dev, t)
}

// restorePrimary writes a primary that says what the backup says, and where
// that is, if the backup is all that is left of the table on the disk.
func restorePrimary(dev Device) error {
	d, err := Read(dev)
	var damaged *DamagedError
	switch {
	case errors.As(err, &damaged):
		return nil // there is nothing to be kept safe
	case err != nil:
		return err
	case !d.Has(PrimaryDamaged):
		return nil
	}
	entries, err := d.Table.encodeEntries()
	if err != nil {
		return fmt.Errorf("cannot restore partition table: %w", err)
	}
	return d.Table.makeCopy("primary", primaryLBA, d.backupLBA, d.Table.EntriesLBA, entries).write(dev)
}

// checkFor checks that a table is sound and laid out for a device.
func (t *Table) checkFor(dev Device) error {
	sectors := uint64(dev.Size()) / uint64(dev.SectorSize())
	switch n := t.arraySectors(); {
	case t.SectorSize != dev.SectorSize():
		return fmt.Errorf("it is for sectors of %d bytes, the disk has sectors of %d", t.SectorSize, dev.SectorSize())
	case t.Sectors != sectors:
		return fmt.Errorf("it is for %d sectors, the disk has %d", t.Sectors, sectors)
	case t.EntriesLBA <= primaryLBA || t.EntriesLBA+n > t.FirstUsable:
		return fmt.Errorf("its entries at sector %d are not between header and first usable sector %d", t.EntriesLBA, t.FirstUsable)
	case t.BackupEntriesLBA <= t.LastUsable || t.BackupEntriesLBA+n > sectors-1:
		return fmt.Errorf("its backup entries at sector %d are not between last usable sector %d and backup header", t.BackupEntriesLBA, t.LastUsable)
	}
	return t.check()
}

// tableCopy is one copy of a table as bytes.
type tableCopy struct {
	name                  string
	header, entries       []byte
	headerLBA, entriesLBA uint64
	sectorSize            int
}

// copies encodes the table: the backup, then the primary.
func (t *Table) copies() ([2]tableCopy, error) {
	entries, err := t.encodeEntries()
	if err != nil {
		return [2]tableCopy{}, err
	}
	last := t.Sectors - 1
	return [2]tableCopy{
		t.makeCopy("backup", last, primaryLBA, t.BackupEntriesLBA, entries),
		t.makeCopy("primary", primaryLBA, last, t.EntriesLBA, entries),
	}, nil
}

// makeCopy encodes the copy with its header at my and the other one at
// alternate.
func (t *Table) makeCopy(name string, my, alternate, entriesLBA uint64, entries []byte) tableCopy {
	h := header{
		myLBA: my, alternateLBA: alternate,
		firstUsable: t.FirstUsable, lastUsable: t.LastUsable,
		diskID: t.DiskID, entriesLBA: entriesLBA,
		entryCount: uint32(len(t.Entries)), entrySize: entrySize,
		entriesChecksum: crc32.ChecksumIEEE(entries[:len(t.Entries)*entrySize]),
	}
	b := make([]byte, t.SectorSize)
	h.encode(b)
	return tableCopy{name: name, header: b, entries: entries, headerLBA: my, entriesLBA: entriesLBA, sectorSize: t.SectorSize}
}

// write writes entries and header and flushes.
func (c tableCopy) write(dev Device) error {
	size := int64(c.sectorSize)
	_, err := dev.WriteAt(c.entries, int64(c.entriesLBA)*size)
	if err == nil {
		_, err = dev.WriteAt(c.header, int64(c.headerLBA)*size)
	}
	if err == nil {
		err = dev.Sync()
	}
	if err != nil {
		return fmt.Errorf("cannot write %s partition table at sector %d: %w", c.name, c.headerLBA, err)
	}
	return nil
}

// protect makes sector 0 a protective MBR, if it is not that already.
func protect(dev Device, sectors uint64) error {
	return changeSector(dev, 0, func(b []byte) { mbr(b[:mbrSize]).protect(sectors) })
}

// changeSector reads, changes and writes back the sector that holds the byte
// at off, if it changes, and flushes. The function gets the bytes from off on.
func changeSector(dev Device, off int64, change func([]byte)) error {
	size := int64(dev.SectorSize())
	start := off / size * size
	b := make([]byte, size)
	if _, err := dev.ReadAt(b, start); err != nil {
		return fmt.Errorf("cannot read sector %d: %w", start/size, err)
	}
	before := string(b)
	change(b[off-start:])
	if string(b) == before {
		return nil
	}
	_, err := dev.WriteAt(b, start)
	if err := errors.Join(err, dev.Sync()); err != nil {
		return fmt.Errorf("cannot write sector %d: %w", start/size, err)
	}
	return nil
}
