package partition

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Runner runs a program to its end and returns what it printed. The error of
// one that failed need not repeat that.
type Runner func(ctx context.Context, program string, args ...string) (output []byte, err error)

// Exec is the Runner for an ordinary process. In a process that reaps children
// by itself another one must be used.
func Exec(ctx context.Context, program string, args ...string) ([]byte, error) {
	return exec.CommandContext(ctx, program, args...).CombinedOutput()
}

// XFSOptions say how FormatXFS makes a file system.
type XFSOptions struct {
	// Program is the path of mkfs.xfs; empty means to look for it in PATH.
	Program string
	// Run runs it; nil means Exec.
	Run Runner
	// Label is at most 12 bytes long.
	Label string
	// ID is the UUID of the file system; if it is zero mkfs.xfs makes one up.
	ID GUID
	// Proto is the path of a file that says what to fill it with, in the form
	// of mkfs.xfs -p; empty for nothing.
	Proto string
	// Overwrite makes mkfs.xfs write over what it recognises.
	Overwrite bool
}

// args makes the command line of mkfs.xfs. Metadata is laid out in sectors of
// 4096 bytes so that the file system can be mounted on disks of any sector
// size. Nothing is discarded: that can take minutes, and the disk is new.
func (o XFSOptions) args(path string) []string {
	args := []string{"-q", "-K", "-s", "size=4096", "-L", o.Label}
	if !o.ID.IsZero() {
		args = append(args, "-m", "uuid="+strings.ToLower(o.ID.String()))
	}
	if o.Proto != "" {
		args = append(args, "-p", o.Proto)
	}
	if o.Overwrite {
		args = append(args, "-f")
	}
	return append(args, path)
}

// FormatXFS makes an XFS file system on a block device or a file by running
// mkfs.xfs, which flushes the device before it ends.
func FormatXFS(ctx context.Context, path string, o XFSOptions) error {
	if o.Program == "" {
		o.Program = "mkfs.xfs"
	}
	if o.Run == nil {
		o.Run = Exec
	}
	out, err := o.Run(ctx, o.Program, o.args(path)...)
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("cannot format %s: %w; it is in the package xfsprogs", path, err)
	}
	if err != nil {
		return fmt.Errorf("cannot format %s: %s: %w: %s", path, o.Program, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// FormatNew makes the file systems of the partitions of a disk that have the
// attribute Unformatted, which is to say that we created them and never came
// to the end of this, and then removes the attribute in one write of the
// table. A partition without it is never touched, whatever it holds or does
// not hold; nor is one with it that holds something other than the beginnings
// of its own file system. progress, if not nil, is called after each.
func FormatNew(ctx context.Context, disk *File, layout []Row, o XFSOptions, progress func(Step)) error {
	d, err := Read(disk)
	if err != nil || d.Table == nil || !disk.TakesPartitions() {
		return err
	}
	p := &Plan{After: d.Table.Clone()}
	p.formatRows(layout)
	for _, s := range p.Steps {
		if err := formatPartition(ctx, disk, s, layout, o); err != nil {
			return err
		}
		p.After.Entries[s.Number-1].Attributes &^= Unformatted
		if progress != nil {
			progress(s)
		}
	}
	if len(p.Steps) == 0 {
		return nil
	}
	return Write(disk, p.After)
}

// formatPartition formats the partition of one step.
func formatPartition(ctx context.Context, disk *File, s Step, layout []Row, o XFSOptions) error {
	row, _ := FindRow(layout, s.Label)
	if row.FS != "xfs" {
		return fmt.Errorf("cannot %s: only xfs is made on a running machine", s.Text)
	}
	path, err := disk.PartitionPath(s.Number)
	if err == nil {
		err = clearPartition(path, row.FS)
	}
	if err != nil {
		return fmt.Errorf("cannot %s: %w", s.Text, err)
	}
	o.Label, o.Overwrite = s.Label, true
	return FormatXFS(ctx, path, o)
}

// clearPartition zeroes the start of a partition that is not in use and holds
// nothing but perhaps an unfinished file system of a type.
func clearPartition(path, fs string) error {
	dev, err := Open(path, Options{Write: true, Exclusive: true})
	if err != nil {
		return err
	}
	defer dev.Close()
	sig, err := Probe(dev, dev.Size())
	if err != nil {
		return err
	}
	if sig.Type != "" && sig.Type != fs {
		return fmt.Errorf("%s is marked as unformatted but holds %s; it is left as it is", path, sig)
	}
	if err := eraseEnds(dev); err != nil {
		return err
	}
	return dev.Sync()
}
