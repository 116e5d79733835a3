// Package partition is the partition service and its command line: they
// translate between the contract in rpc/partition/v1 and the library
// ichor/partition, which does the work. Programs that only need a partition
// table use the library.
package partition

import (
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ichor/applets"
	"ichor/partition"
	pb "ichor/rpc/partition/v1"
)

// Register makes the partition service and registers it.
func Register(env *applets.Env, r grpc.ServiceRegistrar) error {
	pb.RegisterPartitionServiceServer(r, &server{run: partition.Runner(env.Exec)})
	return nil
}

// server is the service. It has no state: the disks are the state.
type server struct {
	pb.UnimplementedPartitionServiceServer
	run partition.Runner
}

// List returns the disks of the machine.
func (s *server) List(context.Context, *pb.ListRequest) (*pb.ListResponse, error) {
	disks, err := partition.Disks()
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &pb.ListResponse{}
	for _, d := range disks {
		resp.Disks = append(resp.Disks, wireDisk(d))
	}
	return resp, nil
}

// Show returns the table of a disk.
func (s *server) Show(_ context.Context, req *pb.ShowRequest) (*pb.ShowResponse, error) {
	dev, d, err := readTarget(req.GetTarget(), partition.Options{})
	if err != nil {
		return nil, statusOf(err)
	}
	defer dev.Close()
	return &pb.ShowResponse{Table: wireTable(dev, d, d.Table, true)}, nil
}

// Layout returns the partition table of the OS.
func (s *server) Layout(context.Context, *pb.LayoutRequest) (*pb.LayoutResponse, error) {
	resp := &pb.LayoutResponse{}
	for _, r := range partition.Layout {
		resp.Rows = append(resp.Rows, wireRow(r))
	}
	return resp, nil
}

// Plan works out what would be done.
func (s *server) Plan(_ context.Context, req *pb.PlanRequest) (*pb.PlanResponse, error) {
	dev, d, err := readTarget(req.GetTarget(), partition.Options{})
	if err != nil {
		return nil, statusOf(err)
	}
	defer dev.Close()
	p, err := makePlan(dev, d, req.GetRepairOnly())
	if err != nil {
		return nil, statusOf(partition.ErrorFor(dev.Name(), err))
	}
	resp := &pb.PlanResponse{Before: wireTable(dev, d, p.Before, true), After: wireTable(dev, d, p.After, false)}
	for _, step := range p.Steps {
		resp.Steps = append(resp.Steps, wireStep(step))
	}
	return resp, nil
}

// makePlan works out the plan for a disk. The file systems of a plain file are
// made by the first boot, so their steps are not in its plan.
func makePlan(dev *partition.File, d *partition.Disk, repairOnly bool) (*partition.Plan, error) {
	if repairOnly {
		return partition.MakeRepairPlan(d), nil
	}
	p, err := partition.MakePlan(d, partition.Layout, partition.RandomID)
	if err == nil && !dev.TakesPartitions() {
		p.Drop(partition.Format)
	}
	return p, err
}

// Apply carries out the plan.
func (s *server) Apply(req *pb.ApplyRequest, stream grpc.ServerStreamingServer[pb.ApplyResponse]) error {
	dev, d, err := readTarget(req.GetTarget(), partition.Options{Write: true})
	if err != nil {
		return statusOf(err)
	}
	defer dev.Close()
	var steps sender
	progress := func(step partition.Step) { steps.send(stream.Send(&pb.ApplyResponse{Step: wireStep(step)})) }
	err = s.apply(stream.Context(), dev, d, req.GetRepairOnly(), progress)
	return statusOf(errors.Join(err, steps.err))
}

// apply makes the plan and carries it out, file systems included.
func (s *server) apply(ctx context.Context, dev *partition.File, d *partition.Disk, repairOnly bool, progress func(partition.Step)) error {
	p, err := makePlan(dev, d, repairOnly)
	if err == nil {
		err = partition.Apply(ctx, dev, p, progress)
	}
	if err == nil && !repairOnly {
		err = partition.FormatNew(ctx, dev, partition.Layout, partition.XFSOptions{Run: s.run}, progress)
	}
	return partition.ErrorFor(dev.Name(), err)
}

// Create writes the layout onto a whole disk.
func (s *server) Create(req *pb.CreateRequest, stream grpc.ServerStreamingServer[pb.CreateResponse]) error {
	dev, d, err := readTarget(req.GetTarget(), partition.Options{Write: !req.GetDryRun(), Exclusive: true})
	var damaged *partition.DamagedError
	if dev == nil || err != nil && !errors.As(err, &damaged) {
		return statusOf(err)
	}
	defer dev.Close()
	if err := d.Examine(dev); err != nil {
		return statusOf(partition.ErrorFor(dev.Name(), err))
	}
	p, err := partition.MakeCreatePlan(d, partition.Layout, req.GetTakeOver(), partition.NewGUID(), partition.RandomID)
	if err != nil {
		return statusOf(partition.ErrorFor(dev.Name(), err))
	}
	var steps sender
	progress := func(step partition.Step) { steps.send(stream.Send(&pb.CreateResponse{Step: wireStep(step)})) }
	if req.GetDryRun() {
		p.Each(progress)
	} else {
		err = partition.Apply(stream.Context(), dev, p, progress)
	}
	return statusOf(errors.Join(err, steps.err))
}

// Provision is what each boot does.
func (s *server) Provision(req *pb.ProvisionRequest, stream grpc.ServerStreamingServer[pb.ProvisionResponse]) error {
	var steps sender
	p, err := partition.Provision(stream.Context(), partition.ProvisionOptions{
		Disk: req.GetDisk(),
		XFS:  partition.XFSOptions{Run: s.run},
		Progress: func(step partition.Step) {
			steps.send(stream.Send(&pb.ProvisionResponse{Body: &pb.ProvisionResponse_Step{Step: wireStep(step)}}))
		},
	})
	if err := errors.Join(err, steps.err); err != nil {
		return statusOf(err)
	}
	return stream.Send(&pb.ProvisionResponse{Body: &pb.ProvisionResponse_Result_{
		Result: &pb.ProvisionResponse_Result{Disk: p.Disk, Devices: p.Devices},
	}})
}

// GrowFilesystem grows a mounted XFS.
func (s *server) GrowFilesystem(_ context.Context, req *pb.GrowFilesystemRequest) (*pb.GrowFilesystemResponse, error) {
	before, after, err := partition.GrowXFS(req.GetTarget())
	if err != nil {
		return nil, statusOf(err)
	}
	return &pb.GrowFilesystemResponse{Before: uint64(before), After: uint64(after)}, nil
}

// sender remembers the first error of sending progress. The work goes on: a
// caller that went away must not leave a disk half done.
type sender struct{ err error }

func (s *sender) send(err error) {
	if s.err == nil {
		s.err = err
	}
}

// readTarget opens a disk and reads what is on it. A disk that is there but
// damaged beyond repair is returned with the error.
func readTarget(t *pb.Target, o partition.Options) (*partition.File, *partition.Disk, error) {
	if t.GetPath() == "" {
		return nil, nil, errNoPath
	}
	o.SectorSize = int(t.GetSectorSize())
	dev, err := partition.Open(t.GetPath(), o)
	if err != nil {
		return nil, nil, err
	}
	if dev.IsPartition() {
		dev.Close()
		return nil, nil, fmt.Errorf("%s is a partition: %w", t.GetPath(), errNotDisk)
	}
	d, err := partition.Read(dev)
	if err == nil {
		return dev, d, nil
	}
	err = fmt.Errorf("cannot read %s: %w", dev.Name(), err)
	var damaged *partition.DamagedError
	if errors.As(err, &damaged) && o.Exclusive {
		return dev, d, err
	}
	dev.Close()
	return nil, nil, err
}

// What is wrong with the target of a request.
var (
	errNoPath  = errors.New("no path of a disk or a file was given")
	errNotDisk = errors.New("name the whole disk that it is on")
)

// statusOf gives an error its gRPC code.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codeOf(err), err.Error())
}

// codeOf says what a caller may do about an error: NotFound may pass with time,
// FailedPrecondition needs somebody to decide, DataLoss a new table.
func codeOf(err error) codes.Code {
	var several *partition.SeveralSystemsError
	var notOurs *partition.NotOursError
	var occupied *partition.OccupiedError
	var space *partition.SpaceError
	var damaged *partition.DamagedError
	switch {
	case errors.Is(err, errNoPath), errors.Is(err, errNotDisk):
		return codes.InvalidArgument
	case partition.MayAppear(err):
		return codes.NotFound
	case errors.As(err, &several), errors.As(err, &notOurs), errors.As(err, &occupied), errors.As(err, &space):
		return codes.FailedPrecondition
	case errors.As(err, &damaged):
		return codes.DataLoss
	case errors.Is(err, os.ErrPermission):
		return codes.PermissionDenied
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.Internal
}
