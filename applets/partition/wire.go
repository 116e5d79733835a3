package partition

import (
	"strings"

	"ichor/partition"
	pb "ichor/rpc/partition/v1"
)

// wireDisk translates a disk of the machine.
func wireDisk(d partition.DiskInfo) *pb.ListResponse_Disk {
	return &pb.ListResponse_Disk{
		Path: d.Path, Model: d.Model, Serial: d.Serial, Transport: d.Transport,
		Size: uint64(d.Size), SectorSize: uint32(d.SectorSize), ReadOnly: d.ReadOnly,
		Content: d.Content(), System: d.IsSystem(),
	}
}

// wireRow translates a row of the layout.
func wireRow(r partition.Row) *pb.LayoutResponse_Row {
	return &pb.LayoutResponse_Row{
		Label: r.Label, Type: r.Type.String(), Size: uint64(r.Size), Grows: r.Grows,
		Filesystem: r.FS, Target: r.Mount, RecreatedBy: string(r.Origin), Attributes: words(r.Attributes),
	}
}

// wireStep translates a step.
func wireStep(s partition.Step) *pb.Step {
	return &pb.Step{Action: string(s.Action), Label: s.Label, Text: s.Text}
}

// wireTable translates one table of a disk, perhaps not the one it has. With
// probe it says what each partition holds.
func wireTable(dev *partition.File, d *partition.Disk, t *partition.Table, probe bool) *pb.Table {
	w := &pb.Table{Kind: wireKind(d), Size: uint64(d.Size), SectorSize: uint32(d.SectorSize)}
	if t == nil {
		return w
	}
	w.Id = t.DiskID.String()
	for i, e := range t.Entries {
		if e.Used() {
			w.Partitions = append(w.Partitions, wirePartition(dev, t, i+1, probe))
		}
	}
	if probe {
		for _, p := range d.Problems {
			w.Problems = append(w.Problems, p.String())
		}
	}
	return w
}

// wireKind is the word for what a disk holds.
func wireKind(d *partition.Disk) string {
	switch d.Kind {
	case partition.Filesystem:
		return d.Signature.Type
	case partition.Unknown:
		return "unknown"
	}
	return strings.ToLower(d.Kind.String())
}

// wirePartition translates an entry. That its device or its content cannot be
// found out leaves them empty.
func wirePartition(dev *partition.File, t *partition.Table, number int, probe bool) *pb.Partition {
	e := t.Entry(number)
	start, size := t.Range(e)
	w := &pb.Partition{
		Number: uint32(number), Label: e.Name, Type: e.Type.String(), TypeName: partition.TypeName(e.Type),
		Id: e.ID.String(), Start: uint64(start), Size: uint64(size), Attributes: words(e.Attributes),
	}
	w.Device, _ = dev.PartitionPath(number)
	if probe {
		sig, _ := dev.ProbePartition(t, number)
		w.Filesystem, w.FilesystemLabel = sig.Type, sig.Label
	}
	return w
}

// words lists the attributes.
func words(a partition.Attributes) []string {
	if a == 0 {
		return nil
	}
	return strings.Split(a.String(), ",")
}
