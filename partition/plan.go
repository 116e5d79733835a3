package partition

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Action is what a step of a plan does.
type Action string

// The actions, in the order in which a plan has them.
const (
	// Erase is the loss of what a disk that is taken over holds.
	Erase Action = "erase"
	// Repair puts a problem of the table right.
	Repair Action = "repair"
	// MoveBackup moves the backup table to the end of a disk that grew.
	MoveBackup Action = "move-backup"
	// Create adds a partition.
	Create Action = "create"
	// Grow extends a partition into the free space after it.
	Grow Action = "grow"
	// Format makes the file system of a partition that we created.
	Format Action = "format"
)

// Step is one thing that a plan does.
type Step struct {
	Action Action
	// Label and Number name the partition; they are empty for what concerns
	// the whole table.
	Label  string
	Number int
	// Text says it in words.
	Text string
}

// Plan is what makes a disk agree with a layout. It is worked out in memory.
type Plan struct {
	// Before is nil when the disk has no GPT.
	Before, After *Table
	Steps         []Step
}

// Changes tells whether the plan changes the partition table.
func (p *Plan) Changes() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Action != Format })
}

// Drop removes the steps of an action. It is for those that do not change the
// table.
func (p *Plan) Drop(a Action) {
	p.Steps = slices.DeleteFunc(p.Steps, func(s Step) bool { return s.Action == a })
}

// Each calls a function with each step, if there is a function.
func (p *Plan) Each(f func(Step)) {
	for _, s := range p.Steps {
		if f != nil {
			f(s)
		}
	}
}

// add appends a step.
func (p *Plan) add(a Action, number int, label, format string, args ...any) {
	p.Steps = append(p.Steps, Step{a, label, number, fmt.Sprintf(format, args...)})
}

// NotOursError says that a disk does not have the partitions of the operating
// system and so is never changed by itself.
type NotOursError struct {
	// Path of the disk; empty if it is not known.
	Path string
	// Content is what the disk holds, in words.
	Content string
	// Blank is set for a disk that holds nothing.
	Blank bool
}

// Error says what the disk holds and which command takes it over.
func (e *NotOursError) Error() string {
	path, flag := e.Path, " --take-over"
	if path == "" {
		path = "DISK"
	}
	if e.Blank {
		flag = ""
	}
	return fmt.Sprintf("%s is not a disk of Ichor: it holds %s, and is left as it is; to use it all the same run: ichor partition create%s %s --yes",
		path, e.Content, flag, path)
}

// IsOurs tells whether a table has all rows of the layout that an image
// brings, by label and type.
func IsOurs(t *Table, layout []Row) bool {
	if t == nil {
		return false
	}
	for _, r := range SelectRows(layout, FromImage) {
		if _, ok := t.Find(r.Label, r.Type); !ok {
			return false
		}
	}
	return true
}

// MakePlan works out what makes a disk of ours agree with the layout:
// problems are repaired, missing partitions created, the growing one grown.
// Partitions that the layout does not know are left alone, and nothing is
// shrunk, moved or deleted. newID gives the identifier of a created partition.
// The error is a *NotOursError for any other disk.
func MakePlan(d *Disk, layout []Row, newID func(label string) GUID) (*Plan, error) {
	if !IsOurs(d.Table, layout) {
		return nil, &NotOursError{Content: d.Describe(layout), Blank: d.Kind == Blank}
	}
	p := MakeRepairPlan(d)
	if err := p.createRows(layout, newID); err != nil {
		return nil, err
	}
	p.growRows(layout)
	p.formatRows(layout)
	return p, nil
}

// MakeRepairPlan works out what puts the problems of a GPT disk right, whoever
// made its partitions. They stay as they are. The plan is empty for a disk
// that has no GPT.
func MakeRepairPlan(d *Disk) *Plan {
	p := &Plan{}
	if d.Table == nil {
		return p
	}
	p.Before, p.After = d.Table, d.Table.Clone()
	for _, problem := range d.Problems {
		if problem.Kind != BackupMisplaced {
			p.add(Repair, 0, "", "%s (%s)", problem.Kind.remedy(), problem)
		}
	}
	if d.Has(BackupMisplaced) {
		p.add(MoveBackup, 0, "", "move the backup table to the end of the disk, which has grown")
	}
	if d.Has(BackupMisplaced) || d.Has(BackupDamaged) || d.Has(PrimaryDamaged) {
		p.After.Fit(d.Size)
	}
	return p
}

// remedy says what is done about a problem.
func (k ProblemKind) remedy() string {
	switch k {
	case PrimaryDamaged:
		return "restore the primary table from the backup"
	case BackupDamaged, BackupDiffers:
		return "write the backup table anew from the primary"
	case GuardMissing:
		return "write the protective MBR"
	case OtherSectorSize:
		return "remove the second table"
	}
	return "repair"
}

// createRows places the missing rows: first those of fixed size, so that the
// one that grows takes what they leave.
func (p *Plan) createRows(layout []Row, newID func(string) GUID) error {
	for _, grows := range []bool{false, true} {
		for _, r := range layout {
			if r.Grows != grows {
				continue
			}
			err := p.createRow(r, newID)
			var space *SpaceError
			if errors.As(err, &space) {
				space.Disk = LeastSize(layout)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// createRow places one row if it is missing.
func (p *Plan) createRow(r Row, newID func(string) GUID) error {
	if _, ok := p.After.Find(r.Label, r.Type); ok {
		return nil
	}
	if r.formatted() {
		r.Attributes |= Unformatted
	}
	n, err := p.After.Place(r, newID(r.Label))
	if err != nil {
		return err
	}
	p.add(Create, n, r.Label, "create partition %d, %s, of %s", n, r.Label, p.After.sizeText(n))
	return nil
}

// formatted tells whether we make the row's file system on the running
// machine.
func (r Row) formatted() bool { return r.Origin == FirstBoot && r.FS != "" }

// growRows extends the rows that take the rest of the disk.
func (p *Plan) growRows(layout []Row) {
	for _, r := range layout {
		n, ok := p.After.Find(r.Label, r.Type)
		if !r.Grows || !ok {
			continue
		}
		before := p.After.sizeText(n)
		if last := p.After.roomAfter(n); last > p.After.Entry(n).Last {
			p.After.Entries[n-1].Last = last
			p.add(Grow, n, r.Label, "grow partition %d, %s, from %s to %s", n, r.Label, before, p.After.sizeText(n))
		}
	}
}

// formatRows lists the file systems that are not finished.
func (p *Plan) formatRows(layout []Row) {
	for _, r := range layout {
		n, ok := p.After.Find(r.Label, r.Type)
		if ok && r.formatted() && p.After.Entry(n).Attributes.Has(Unformatted) {
			p.add(Format, n, r.Label, "make the %s file system of partition %d, %s", r.FS, n, r.Label)
		}
	}
}

// OccupiedError says that a disk that should get a new table holds something.
type OccupiedError struct {
	Path string
	// Losses are what would be lost, in words.
	Losses []string
}

// Error lists what would be lost.
func (e *OccupiedError) Error() string {
	path := e.Path
	if path == "" {
		path = "DISK"
	}
	return fmt.Sprintf("%s is not blank, and this would be lost: %s; to lose it run: ichor partition create --take-over %s --yes",
		path, strings.Join(e.Losses, "; "), path)
}

// MakeCreatePlan works out a new table with all rows of the layout for a
// whole disk. The error is an *OccupiedError if the disk is not blank, unless
// it is to be taken over.
func MakeCreatePlan(d *Disk, layout []Row, takeOver bool, diskID GUID, newID func(label string) GUID) (*Plan, error) {
	if d.Kind != Blank && !takeOver {
		return nil, &OccupiedError{Losses: d.Losses()}
	}
	t, err := NewTable(d.Size, d.SectorSize, diskID)
	if err != nil {
		return nil, err
	}
	p := &Plan{Before: d.Table, After: t}
	for _, loss := range d.Losses() {
		p.add(Erase, 0, "", "lose %s", loss)
	}
	return p, p.createRows(layout, newID)
}

// Losses lists what a new table would take away, in words.
func (d *Disk) Losses() []string {
	switch {
	case d.Kind == Blank:
		return nil
	case d.Table == nil:
		return []string{d.content()}
	}
	losses := []string{}
	for i, e := range d.Table.Entries {
		if e.Used() {
			loss := fmt.Sprintf("partition %d, %q of %s", i+1, e.Name, d.Table.sizeText(i+1))
			if sig := d.Holds[i+1]; sig.Type != "" {
				loss += ", which holds " + sig.String()
			}
			losses = append(losses, loss)
		}
	}
	if len(losses) == 0 {
		losses = append(losses, "a partition table without partitions")
	}
	return losses
}

// Describe says in words what a disk holds, e.g. "GPT of 3 partitions, none
// of Ichor's".
func (d *Disk) Describe(layout []Row) string {
	if d.Table == nil {
		return d.content()
	}
	ours := 0
	for _, r := range layout {
		// The other types are anybody's.
		if _, ok := d.Table.Find(r.Label, r.Type); ok && r.Type != TypeESP && r.Type != TypeBIOS {
			ours++
		}
	}
	s := fmt.Sprintf("GPT of %s", plural(d.Table.Used(), "partition"))
	switch {
	case IsOurs(d.Table, layout):
		s += ", Ichor's"
	case ours == 0:
		s += ", none of Ichor's"
	default:
		s += fmt.Sprintf(", %d of Ichor's", ours)
	}
	for _, p := range d.Problems {
		s += ", " + p.Kind.String()
	}
	return s
}

// content says what a disk without a GPT holds.
func (d *Disk) content() string {
	switch d.Kind {
	case Blank:
		return "nothing (blank)"
	case MBR:
		return "MBR of " + plural(d.MBRPartitions, "partition")
	case Filesystem:
		return d.Signature.String()
	case GPT:
		return "a damaged GPT"
	}
	return "data of an unknown kind"
}

// plural prints a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// sizeText prints the size of a partition.
func (t *Table) sizeText(number int) string {
	_, n := t.Range(t.Entry(number))
	return SizeText(n)
}

// SizeText prints a size in bytes with a binary unit, rounded down to three
// digits or so, e.g. "9.25 GiB".
func SizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	unit, div := 0, int64(1)
	for n/div >= 1024 && unit < len(units)-1 {
		unit, div = unit+1, div*1024
	}
	s := fmt.Sprintf("%d.%02d", n/div, int64(float64(n%div)*100/float64(div)))
	return strings.TrimRight(strings.TrimRight(s, "0"), ".") + " " + units[unit]
}
