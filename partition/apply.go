package partition

import (
	"context"
	"fmt"
	"slices"
)

// Apply carries a plan out on the device it was made for: the first and the
// last MiB of partitions to be created are zeroed, so that nothing in them is
// taken for a file system; then the table is written; then the kernel is told
// of each partition, which works while others are mounted. Of a plain file
// only the content changes. Format steps are left to FormatNew.
//
// It calls progress, if not nil, with each step once it is done.
func Apply(ctx context.Context, dev Device, p *Plan, progress func(Step)) error {
	if !p.Changes() {
		return nil
	}
	if err := p.erase(dev); err != nil {
		return err
	}
	if err := Write(dev, p.After); err != nil {
		return err
	}
	if f, ok := dev.(*File); ok && f.TakesPartitions() {
		if err := TellKernel(ctx, f, p.After); err != nil {
			return err
		}
	}
	for _, s := range p.Steps {
		if progress != nil && s.Action != Format {
			progress(s)
		}
	}
	return nil
}

// eraseSize is how much of the start and of the end of something is zeroed to
// remove what it held, in bytes. Every signature known to us lies therein.
const eraseSize = 1 * MiB

// erase zeroes what the plan's new disk, or its new partitions, held.
func (p *Plan) erase(dev Device) error {
	if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Action == Erase }) {
		if err := eraseEnds(dev); err != nil {
			return fmt.Errorf("cannot erase the disk: %w", err)
		}
	}
	for _, s := range p.Steps {
		if s.Action != Create {
			continue
		}
		off, n := p.After.Range(p.After.Entry(s.Number))
		if err := eraseEnds(Section(dev, off, n)); err != nil {
			return fmt.Errorf("cannot %s: %w", s.Text, err)
		}
	}
	return dev.Sync()
}

// eraseEnds zeroes both ends of a device.
func eraseEnds(dev Device) error {
	n := min(eraseSize, dev.Size())
	zero := make([]byte, n)
	if _, err := dev.WriteAt(zero, 0); err != nil {
		return err
	}
	_, err := dev.WriteAt(zero, dev.Size()-n)
	return err
}
