package partition

import (
	"errors"
	"fmt"
	"slices"
)

// Kind says what a disk as a whole holds.
type Kind int

// The kinds of disks.
const (
	// Blank disks begin with zeros and hold nothing we recognise.
	Blank Kind = iota
	// MBR disks have a partition table of the old kind.
	MBR
	// GPT disks have a GUID partition table.
	GPT
	// Filesystem disks hold a file system or the like without partitions.
	Filesystem
	// Unknown disks hold something we do not recognise.
	Unknown
)

// String returns the word for the kind.
func (k Kind) String() string {
	switch k {
	case Blank:
		return "blank"
	case MBR:
		return "MBR"
	case GPT:
		return "GPT"
	case Filesystem:
		return "file system"
	case Unknown:
		return "unknown data"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// ProblemKind says what is wrong with a table that can still be used.
type ProblemKind int

// The problems that writing the table anew puts right.
const (
	// PrimaryDamaged means that the table was read from the backup.
	PrimaryDamaged ProblemKind = iota
	// BackupDamaged means that the backup is missing or cannot be used.
	BackupDamaged
	// BackupDiffers means that both copies are valid but not the same, as a
	// power cut during a write leaves it; the primary holds.
	BackupDiffers
	// BackupMisplaced means that the backup is not at the end: the disk grew.
	BackupMisplaced
	// GuardMissing means that sector 0 has no protective MBR.
	GuardMissing
	// OtherSectorSize means that there is another table, for another sector
	// size, as in a fresh copy of our image.
	OtherSectorSize
)

// String returns a phrase for the problem.
func (k ProblemKind) String() string {
	switch k {
	case PrimaryDamaged:
		return "primary table damaged"
	case BackupDamaged:
		return "backup table damaged"
	case BackupDiffers:
		return "backup table differs from the primary"
	case BackupMisplaced:
		return "backup table not at the end of the disk"
	case GuardMissing:
		return "protective MBR missing"
	case OtherSectorSize:
		return "second table for another sector size"
	}
	return fmt.Sprintf("problem %d", int(k))
}

// Problem is something wrong with a table that can still be used.
type Problem struct {
	Kind ProblemKind
	// Detail says more, and may be empty.
	Detail string
}

// String returns the problem with its detail.
func (p Problem) String() string {
	if p.Detail == "" {
		return p.Kind.String()
	}
	return p.Kind.String() + ": " + p.Detail
}

// DamagedError says that a disk is marked as GPT but neither copy of its table
// can be used.
type DamagedError struct {
	Primary, Backup error
	// OtherSize is the sector size in bytes for which a table was found
	// instead, or 0.
	OtherSize int
}

// Error returns what is wrong with either copy.
func (e *DamagedError) Error() string {
	s := fmt.Sprintf("partition table is damaged beyond repair: primary: %v; backup: %v", e.Primary, e.Backup)
	if e.OtherSize != 0 {
		s += fmt.Sprintf("; but there is one for sectors of %d bytes", e.OtherSize)
	}
	return s
}

// Unwrap returns both errors.
func (e *DamagedError) Unwrap() []error { return []error{e.Primary, e.Backup} }

// Disk is what Read found.
type Disk struct {
	Kind Kind
	// Size is the length in bytes, SectorSize the unit of LBAs in bytes.
	Size       int64
	SectorSize int
	// Table is set for GPT disks.
	Table *Table
	// Problems are what Plan will repair.
	Problems []Problem
	// MBRPartitions is the number of partitions of an MBR disk.
	MBRPartitions int
	// Signature is what a Filesystem disk holds.
	Signature Signature
	// Holds are the contents of partitions by number, once Examine has looked.
	Holds map[int]Signature

	// backupLBA is where a valid backup header was found.
	backupLBA uint64
}

// Has tells whether there is a problem of a kind.
func (d *Disk) Has(k ProblemKind) bool {
	return slices.ContainsFunc(d.Problems, func(p Problem) bool { return p.Kind == k })
}

// Read finds out what a disk holds. The error is a *DamagedError if it is a
// GPT disk with no usable table.
func Read(dev Device) (*Disk, error) {
	d := &Disk{Size: dev.Size(), SectorSize: dev.SectorSize()}
	first := make(mbr, mbrSize)
	if d.Size < 4*Align {
		return d, nil
	}
	if _, err := dev.ReadAt(first, 0); err != nil {
		return nil, fmt.Errorf("cannot read sector 0: %w", err)
	}
	switch first.kind() {
	case mbrOwn:
		d.Kind, d.MBRPartitions = MBR, first.used()
		return d, nil
	case mbrGuard:
		d.Kind = GPT
		return d, d.readGPT(dev)
	}
	return d, d.readUnguarded(dev, first)
}

// readUnguarded looks at a disk without partitions in sector 0. It holds a
// table if that sector was wiped: there is nothing after the boot code,
// nothing else on the disk is recognised, and one of the copies is valid.
func (d *Disk) readUnguarded(dev Device, first mbr) error {
	sig, err := Probe(dev, dev.Size())
	if err != nil {
		return err
	}
	if sig.Type != "" {
		d.Kind, d.Signature = Filesystem, sig
		return nil
	}
	if zeros(first[bootCodeSize:]) && d.readGPT(dev) == nil {
		d.Kind = GPT
		d.addProblem(GuardMissing, "")
		return nil
	}
	d.Table, d.Problems = nil, nil
	return d.readBlank(dev)
}

// blankSize is how much of the start of a disk must be zeros, in bytes.
const blankSize = 256 << 10

// readBlank tells a blank disk from one with unknown data.
func (d *Disk) readBlank(dev Device) error {
	b := make([]byte, blankSize)
	if _, err := dev.ReadAt(b, 0); err != nil {
		return fmt.Errorf("cannot read the first %d bytes: %w", len(b), err)
	}
	d.Kind = Unknown
	if zeros(b) {
		d.Kind = Blank
	}
	return nil
}

// readGPT reads both copies and settles which one holds.
func (d *Disk) readGPT(dev Device) error {
	last := uint64(dev.Size())/uint64(dev.SectorSize()) - 1
	primary, h, primaryErr := readCopy(dev, primaryLBA)
	backup, backupLBA, backupErr := findBackup(dev, h, primaryErr == nil, last)
	d.backupLBA = backupLBA
	switch {
	case primaryErr == nil:
		d.Table = primary
		d.compare(backup, backupErr)
	case backupErr == nil:
		d.Table = backup
		d.addProblem(PrimaryDamaged, primaryErr.Error())
	default:
		return &DamagedError{Primary: primaryErr, Backup: backupErr, OtherSize: otherSize(dev)}
	}
	if backupErr == nil && backupLBA != last {
		d.addProblem(BackupMisplaced, fmt.Sprintf("it is at sector %d, the last one is %d", backupLBA, last))
	}
	d.checkOther(dev)
	return nil
}

// Examine finds out what the partitions of the disk hold.
func (d *Disk) Examine(dev *File) error {
	d.Holds = map[int]Signature{}
	if d.Table == nil {
		return nil
	}
	var errs []error
	for _, n := range d.Table.byPosition() {
		sig, err := dev.ProbePartition(d.Table, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("partition %d: %w", n, err))
		}
		d.Holds[n] = sig
	}
	return errors.Join(errs...)
}

// addProblem records a problem.
func (d *Disk) addProblem(k ProblemKind, detail string) {
	d.Problems = append(d.Problems, Problem{k, detail})
}

// findBackup reads the backup: where a valid primary says, else at the end of
// the disk, else where a damaged primary says. The last two need no trust in
// the pointer, since a copy proves itself by its checksums and its own LBA.
func findBackup(dev Device, h header, primaryValid bool, last uint64) (*Table, uint64, error) {
	places := []uint64{last, h.alternateLBA}
	if primaryValid {
		places = []uint64{h.alternateLBA}
	}
	var first error
	for _, lba := range places {
		if lba <= primaryLBA {
			continue
		}
		t, _, err := readCopy(dev, lba)
		if err == nil {
			return t, lba, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = errors.New("nothing says where it is")
	}
	return nil, 0, first
}

// compare takes what only the backup knows and says where the copies differ.
func (d *Disk) compare(backup *Table, err error) {
	if err != nil {
		d.addProblem(BackupDamaged, err.Error())
		return
	}
	d.Table.BackupEntriesLBA = backup.BackupEntriesLBA
	p := d.Table
	if p.DiskID != backup.DiskID || p.FirstUsable != backup.FirstUsable || p.LastUsable != backup.LastUsable || !slices.Equal(p.Entries, backup.Entries) {
		d.addProblem(BackupDiffers, "")
	}
}

// checkOther looks for our second table.
func (d *Disk) checkOther(dev Device) {
	if size, _ := otherHeader(dev, d.Table.DiskID); size != 0 {
		d.addProblem(OtherSectorSize, fmt.Sprintf("%d bytes", size))
	}
}
