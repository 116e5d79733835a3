// Package mount is the mount service and the command lines of mount and
// umount: they translate between the contract in rpc/mount/v1 and the library
// ichor/mount, which does the work. Programs that only need a mount use the
// library.
package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"ichor/applets"
	"ichor/mount"
	"ichor/rpc"
	pb "ichor/rpc/mount/v1"
)

// maxContent bounds the content of a bound file in bytes.
const maxContent = 1 << 20

// Register makes the mount service and registers it.
func Register(_ *applets.Env, r grpc.ServiceRegistrar) error {
	pb.RegisterMountServiceServer(r, &server{})
	return nil
}

// server is the service. It has no state: the kernel's list is the state.
type server struct {
	pb.UnimplementedMountServiceServer
}

// Table returns the mount table and how the machine agrees.
func (s *server) Table(context.Context, *pb.TableRequest) (*pb.TableResponse, error) {
	entries, err := mount.Check()
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &pb.TableResponse{}
	for _, e := range entries {
		resp.Entries = append(resp.Entries, wireEntry(e))
	}
	return resp, nil
}

// Apply mounts the rows of a phase. Those which do not depend on each other go
// side by side.
func (s *server) Apply(req *pb.ApplyRequest, stream grpc.ServerStreamingServer[pb.ApplyResponse]) error {
	rows := mount.Rows(mount.Phase(req.GetPhase()))
	if len(rows) == 0 {
		return status.Errorf(codes.InvalidArgument, "no row of the mount table has the phase %q; the phases are %s", req.GetPhase(), strings.Join(phases(), ", "))
	}
	for _, group := range mount.Groups(rows) {
		if err := applyGroup(group, req.GetDevices(), stream); err != nil {
			return err
		}
	}
	return nil
}

// phases returns the phases of the table in order.
func phases() []string {
	var out []string
	for _, r := range mount.Table {
		if p := string(r.Phase); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// applyGroup mounts rows side by side and sends each result as it comes. The
// error joins those of all rows.
func applyGroup(group []mount.Row, devices map[string]string, stream grpc.ServerStreamingServer[pb.ApplyResponse]) error {
	results := make(chan *pb.ApplyResponse, len(group))
	for _, r := range group {
		rpc.Go("mount "+r.Name, func() { applyRow(r, devices, results) })
	}
	var failed []string
	for range group {
		var result *pb.ApplyResponse
		select {
		case result = <-results:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
		if result.Error != "" {
			failed = append(failed, result.Error)
		}
		if err := stream.Send(result); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return status.Error(codes.FailedPrecondition, strings.Join(failed, "; "))
	}
	return nil
}

// applyRow mounts a row and hands over the result, after a panic too.
func applyRow(r mount.Row, devices map[string]string, results chan<- *pb.ApplyResponse) {
	result := &pb.ApplyResponse{Name: r.Name, Target: r.Target, Error: fmt.Sprintf("cannot mount %s: internal error", r.Target)}
	start := time.Now()
	defer func() {
		result.Took = durationpb.New(time.Since(start))
		results <- result
	}()
	wanted, why := r.Wanted()
	if !wanted {
		result.Error, result.Skipped = "", why
		return
	}
	result.Error = text(r.Apply(devices))
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// List returns what is mounted.
func (s *server) List(context.Context, *pb.ListRequest) (*pb.ListResponse, error) {
	all, err := mount.List()
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &pb.ListResponse{}
	for _, m := range all {
		resp.Mounts = append(resp.Mounts, wireMounted(m))
	}
	return resp, nil
}

// Mount attaches a file system.
func (s *server) Mount(_ context.Context, req *pb.MountRequest) (*pb.MountResponse, error) {
	if err := absolute(req.GetTarget()); err != nil {
		return nil, err
	}
	o := mount.ParseOptions(strings.Join(req.GetOptions(), ","))
	source, fstype := req.GetSource(), req.GetType()
	if isNew(o, fstype) {
		var detach func()
		var err error
		if source, fstype, detach, err = findSource(source, fstype, o); err != nil {
			return nil, statusOf(err)
		}
		defer detach()
	}
	if err := mount.Mount(source, req.GetTarget(), fstype, o); err != nil {
		return nil, statusOf(err)
	}
	return &pb.MountResponse{Source: source, Type: fstype}, nil
}

// isNew tells whether a mount is to be made of a file system, rather than of
// something that is mounted already.
func isNew(o mount.Options, fstype string) bool {
	if o.Set&(mount.Remount|mount.Bind|mount.Move) != 0 {
		return false
	}
	return fstype != "" || o.Set&(mount.Private|mount.Shared|mount.Slave|mount.Unbindable) == 0
}

// findSource attaches a loop device if the source is a file or if that is
// asked for, and finds out the type if it is not given. detach is to be called
// when the mount was tried: it takes the device away, or leaves that to the
// kernel while it is in use.
func findSource(source, fstype string, o mount.Options) (dev, found string, detach func(), err error) {
	detach = func() {}
	if o.Loop || isFile(source) && !needsNoDevice(fstype) {
		file := source
		if source, err = mount.AttachLoop(file, o.Set&mount.ReadOnly != 0); err != nil {
			return "", "", detach, err
		}
		dev := source
		detach = func() { mount.DetachLoop(dev) }
	}
	if fstype == "" || fstype == "auto" {
		if fstype, err = mount.Probe(source); err != nil {
			detach()
			return "", "", func() {}, err
		}
	}
	return source, fstype, detach, nil
}

func isFile(path string) bool {
	s, err := os.Stat(path)
	return err == nil && filepath.IsAbs(path) && s.Mode().IsRegular()
}

// needsNoDevice tells whether the kernel marks a type so (proc(5)).
func needsNoDevice(fstype string) bool {
	b, err := os.ReadFile("/proc/filesystems")
	return err == nil && fstype != "" && strings.Contains("\n"+string(b), "\nnodev\t"+fstype+"\n")
}

func absolute(path string) error {
	if !filepath.IsAbs(path) {
		return status.Errorf(codes.InvalidArgument, "the mount point %q is not an absolute path", path)
	}
	return nil
}

// Unmount detaches what is mounted at a path, or what is mounted from a
// device.
func (s *server) Unmount(_ context.Context, req *pb.UnmountRequest) (*pb.UnmountResponse, error) {
	if err := absolute(req.GetTarget()); err != nil {
		return nil, err
	}
	target, err := mountPoint(req.GetTarget())
	if err != nil {
		return nil, statusOf(err)
	}
	var flags mount.UnmountFlags
	if req.GetLazy() {
		flags |= mount.Lazy
	}
	if req.GetForce() {
		flags |= mount.Force
	}
	err = mount.Unmount(target, flags)
	if errors.Is(err, unix.EBUSY) {
		err = usedBy(target, err)
	}
	if err != nil {
		return nil, statusOf(err)
	}
	return &pb.UnmountResponse{}, nil
}

// mountPoint returns where a device is mounted last; any other path is
// returned as it is.
func mountPoint(path string) (string, error) {
	if !strings.HasPrefix(path, "/dev/") {
		return path, nil
	}
	all, err := mount.List()
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(all, func(m *mount.Info) bool { return m.Mountpoint == path }) {
		return path, nil
	}
	for _, m := range slices.Backward(all) {
		if m.Source == path {
			return m.Mountpoint, nil
		}
	}
	return path, nil
}

// usedBy adds to an error who uses a mount point, and what is mounted below.
func usedBy(target string, err error) error {
	if real, e := filepath.EvalSymlinks(target); e == nil {
		target = real
	}
	users := mount.Users(target)
	all, _ := mount.List()
	for _, m := range all {
		if m.Mountpoint != target && strings.HasPrefix(m.Mountpoint, strings.TrimSuffix(target, "/")+"/") {
			users = append(users, "the mount at "+m.Mountpoint)
		}
	}
	if len(users) == 0 {
		return err
	}
	return fmt.Errorf("%w; it is used by %s", err, strings.Join(users, ", "))
}

// UnmountAll detaches everything for a shutdown. It is refused outside the OS,
// where it would make file systems read-only that belong to others.
func (s *server) UnmountAll(ctx context.Context, req *pb.UnmountAllRequest) (*pb.UnmountAllResponse, error) {
	if os.Getpid() != 1 {
		return nil, status.Error(codes.FailedPrecondition, "cannot unmount everything: this machine is not shut down by Ichor")
	}
	u := mount.Unmounter{Patience: req.GetPatience().AsDuration(), Go: rpc.Go}
	unmounted, busy, err := u.All(ctx)
	if err != nil {
		return nil, statusOf(err)
	}
	resp := &pb.UnmountAllResponse{Unmounted: unmounted}
	for _, b := range busy {
		resp.Busy = append(resp.Busy, &pb.UnmountAllResponse_Busy{Target: b.Target, ReadOnly: b.ReadOnly, Users: b.Users, Error: text(b.Err)})
	}
	return resp, nil
}

// SetFile replaces the content of a bound file.
func (s *server) SetFile(_ context.Context, req *pb.SetFileRequest) (*pb.SetFileResponse, error) {
	if n := len(req.GetContent()); n > maxContent {
		return nil, status.Errorf(codes.InvalidArgument, "the content of %s has %d bytes, and may have %d", req.GetName(), n, maxContent)
	}
	if err := mount.SetFile(req.GetName(), req.GetContent()); err != nil {
		return nil, statusOf(err)
	}
	return &pb.SetFileResponse{}, nil
}

// statusOf gives an error the gRPC code that fits its errno.
func statusOf(err error) error {
	code := codes.Unknown
	for _, c := range []struct {
		errno unix.Errno
		code  codes.Code
	}{
		{unix.ENOENT, codes.NotFound},
		{unix.EPERM, codes.PermissionDenied},
		{unix.EACCES, codes.PermissionDenied},
		{unix.EINVAL, codes.InvalidArgument},
		{unix.EBUSY, codes.FailedPrecondition},
		{unix.ENODEV, codes.FailedPrecondition},
		{unix.EUCLEAN, codes.DataLoss},
		{unix.ENOSPC, codes.ResourceExhausted},
	} {
		if errors.Is(err, c.errno) {
			code = c.code
		}
	}
	return status.Error(code, err.Error())
}
