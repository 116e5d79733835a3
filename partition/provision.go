package partition

import (
	"context"
	"errors"
	"fmt"
)

// ProvisionOptions say how Provision works.
type ProvisionOptions struct {
	// Disk is the path of the system disk; empty to have it found.
	Disk string
	// XFS says how to run mkfs.xfs.
	XFS XFSOptions
	// Progress, if not nil, is called with each step once it is done.
	Progress func(Step)
}

// Provisioned is a system disk that agrees with the layout.
type Provisioned struct {
	// Disk is the path of the disk.
	Disk string
	// Devices are the paths of the partitions by the labels of their rows.
	Devices map[string]string
}

// Provision is what each boot does with the layout: it finds the system disk,
// repairs and grows its table, creates what is missing and formats what was
// created. On a disk that needs nothing it writes nothing. MayAppear tells
// whether it is worth while to try again after an error.
func Provision(ctx context.Context, o ProvisionOptions) (Provisioned, error) {
	if o.Disk == "" {
		info, err := FindSystem()
		if err != nil {
			return Provisioned{}, err
		}
		o.Disk = info.Path
	}
	disk, err := Open(o.Disk, Options{Write: true})
	if err != nil {
		return Provisioned{}, err
	}
	defer disk.Close()
	table, err := provision(ctx, disk, o)
	if err != nil {
		return Provisioned{}, ErrorFor(o.Disk, err)
	}
	devices, err := disk.devices(table, Layout)
	return Provisioned{o.Disk, devices}, err
}

// provision works on the opened disk and returns its table.
func provision(ctx context.Context, disk *File, o ProvisionOptions) (*Table, error) {
	d, err := Read(disk)
	if err != nil {
		return nil, err
	}
	p, err := MakePlan(d, Layout, RandomID)
	if err != nil {
		return nil, err
	}
	if err := Apply(ctx, disk, p, o.Progress); err != nil {
		return nil, err
	}
	// The kernel does not read a table with a damaged primary, and may not
	// have come to read a sound one yet.
	if err := TellKernel(ctx, disk, p.After); err != nil {
		return nil, err
	}
	return p.After, FormatNew(ctx, disk, Layout, o.XFS, o.Progress)
}

// RandomID gives every partition another identifier.
func RandomID(string) GUID { return NewGUID() }

// devices returns the paths of the partitions of the layout.
func (d *File) devices(t *Table, layout []Row) (map[string]string, error) {
	devices := map[string]string{}
	for _, r := range layout {
		n, ok := t.Find(r.Label, r.Type)
		if !ok {
			continue
		}
		path, err := d.PartitionPath(n)
		if err != nil {
			return nil, err
		}
		devices[r.Label] = path
	}
	return devices, nil
}

// ErrorFor puts the path of a disk into an error about it: into its place in
// errors that have one, else before it. It returns nil for nil.
func ErrorFor(path string, err error) error {
	var notOurs *NotOursError
	var occupied *OccupiedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &notOurs):
		notOurs.Path = path
	case errors.As(err, &occupied):
		occupied.Path = path
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
	return err
}
