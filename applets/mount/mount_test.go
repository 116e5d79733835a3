package mount

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

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

// inside marks a test binary that runs in a mount namespace of its own.
const inside = "ICHOR_TEST_NAMESPACE"

// inNamespace runs a test as process 1 of a pid and a mount namespace of its
// own, with an empty tmpfs at /mnt; it returns true there, and false to the
// caller outside, which has nothing left to do.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		check(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
		check(t, unix.Mount("proc", "/proc", "proc", 0, ""))
		check(t, unix.Mount("tmpfs", "/mnt", "tmpfs", 0, ""))
		return true
	}
	if os.Getuid() != 0 {
		missing(t, "root")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// missing skips a test for want of something, or fails where everything has to
// be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bus gives a bus on which the mount service is served by this process.
func bus(t *testing.T) rpc.Dialer {
	broker := &rpc.Broker{}
	broker.Serve("mount", func(r grpc.ServiceRegistrar) error { return Register(nil, r) })
	t.Cleanup(broker.Stop)
	return broker.As(rpc.Peer{Applet: "test"})
}

// command runs a command line, in /mnt, and returns what it printed.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	env := &applets.Env{Stdio: applets.Stdio{Out: &out, Err: &out}, Name: args[0], Dir: "/mnt", Bus: bus(t)}
	run := Run
	if args[0] == "umount" {
		run = RunUmount
	}
	err := run(context.Background(), env, args[1:])
	return out.String(), err
}

// works runs a command that has to work.
func works(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// fails runs a command that has to fail, with a code and some words.
func fails(t *testing.T, code int, words string, args ...string) {
	t.Helper()
	_, err := command(t, args...)
	if err == nil || applets.ExitCode(err) != code || !strings.Contains(err.Error(), words) {
		t.Errorf("%v: got %v, want code %d and %q", args, err, code, words)
	}
}

func client(t *testing.T) pb.MountServiceClient {
	conn, err := bus(t).Dial(context.Background(), "mount")
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	return pb.NewMountServiceClient(conn)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"mount", "/only"}, {"mount", "a", "b", "c"}, {"mount", "-o", "ro"}, {"mount", "-o", "ro", "/only"}, {"mount", "--bind", "/only"},
		{"mount", "--bind", "-t", "xfs", "/a", "/b"}, {"mount", "--wrong"}, {"mount", "plan", "x"}, {"mount", "--output", "x"}, {"umount"}, {"umount", "--wrong", "x"},
	} {
		fails(t, applets.ExitUsage, "", args...)
	}
	for _, args := range [][]string{{"mount", "--help"}, {"mount", "plan", "-h"}, {"umount", "-h"}} {
		if out := works(t, args...); !strings.Contains(out, "Examples:") {
			t.Errorf("%v: %s", args, out)
		}
	}
}

func TestMountCommand(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, dir := range []string{"/mnt/a", "/mnt/b"} {
		check(t, os.Mkdir(dir, 0o755))
	}
	check(t, os.WriteFile("/mnt/tmpfs", nil, 0o600)) // a file with the name of a type
	works(t, "mount", "-t", "tmpfs", "-o", "size=1M", "-o", "nosuid,nodev", "tmpfs", "a")
	if out := works(t, "mount", "-t", "tmpfs"); !strings.Contains(out, "tmpfs on /mnt/a type tmpfs (rw,nosuid,nodev,relatime,size=1024k") || strings.Contains(out, "type proc") {
		t.Error(out)
	}
	works(t, "mount", "-o", "remount,ro", "a")
	if out := works(t, "mount"); !strings.Contains(out, "tmpfs on /mnt/a type tmpfs (ro,nosuid,nodev,relatime,size=1024k") || !strings.Contains(out, "type proc") {
		t.Error(out)
	}
	works(t, "mount", "-o", "remount,rw", "a")
	works(t, "mount", "--bind", "-r", "a", "/mnt/b")
	if out := works(t, "mount"); !strings.Contains(out, "tmpfs on /mnt/b type tmpfs (ro,nosuid,nodev,relatime,") {
		t.Error(out)
	}
	works(t, "mount", "--make-shared", "b")
	works(t, "umount", "/mnt/b")
	f, err := os.Create("/mnt/a/open")
	check(t, err)
	fails(t, applets.ExitFailure, "it is used by mount.test (pid ", "umount", "a")
	works(t, "umount", "-l", "a")
	f.Close()
	fails(t, applets.ExitFailure, "it is not a mount point", "umount", "/mnt/a", "/mnt/b")
	fails(t, applets.ExitFailure, "the kernel says: tmpfs: Bad value for 'size'", "mount", "-t", "tmpfs", "-o", "size=1Q", "tmpfs", "a")
	fails(t, applets.ExitFailure, "cannot look for a file system: open nothing", "mount", "nothing", "a")
}

func TestMountImage(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	tool, err := exec.LookPath("mksquashfs")
	if err != nil {
		missing(t, "mksquashfs")
	}
	check(t, os.MkdirAll("/mnt/tree/x", 0o755))
	check(t, os.Mkdir("/mnt/a", 0o755))
	out, err := exec.Command(tool, "/mnt/tree", "/mnt/image", "-quiet", "-no-progress").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, args := range [][]string{{"mount", "image", "a"}, {"mount", "-o", "loop,ro,nosuid", "image", "a"}, {"mount", "-t", "squashfs", "./image", "a"}} {
		works(t, args...)
		if _, err := os.Stat("/mnt/a/x"); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		m, err := mount.Find("/mnt/a")
		check(t, err)
		works(t, "umount", m.Source) // by its device
		if b, err := os.ReadFile("/sys/block/" + strings.TrimPrefix(m.Source, "/dev/") + "/loop/backing_file"); err == nil && strings.Contains(string(b), "/image") {
			t.Errorf("%v: %s is still attached", args, m.Source)
		}
	}
	check(t, os.WriteFile("/mnt/blank", make([]byte, 4096), 0o600))
	fails(t, applets.ExitFailure, "name it with -t", "mount", "blank", "a")
}

func TestPlan(t *testing.T) {
	out := works(t, "mount", "plan")
	for _, r := range mount.Table {
		if !strings.Contains(out, r.Target) {
			t.Errorf("%s is not in\n%s", r.Target, out)
		}
	}
	var plan struct {
		Entries []struct {
			Row struct {
				Target string
				Flags  []string
			}
			State string
		}
	}
	check(t, json.Unmarshal([]byte(works(t, "mount", "plan", "--output", "json")), &plan))
	if len(plan.Entries) < len(mount.Table) || plan.Entries[0].Row.Target != "/" || len(plan.Entries[0].Row.Flags) != 3 {
		t.Errorf("%+v", plan)
	}
	fails(t, applets.ExitFailure, "the machine deviates from the mount table in ", "mount", "plan", "--check")
	checked, _ := command(t, "mount", "plan", "--check")
	if !strings.Contains(checked, "different  /") || !strings.Contains(checked, "missing    /system") {
		t.Error(checked)
	}
}

func TestStatesThereAndBack(t *testing.T) {
	for state, wire := range states {
		if stateOf(wire) != state {
			t.Errorf("%s is %s, which is %s", state, wire, stateOf(wire))
		}
	}
}

func TestApply(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ctx, c := context.Background(), client(t)
	results := func(phase string, devices map[string]string) (map[string]*pb.ApplyResponse, error) {
		stream, err := c.Apply(ctx, &pb.ApplyRequest{Phase: phase, Devices: devices})
		check(t, err)
		out := map[string]*pb.ApplyResponse{}
		for {
			r, err := stream.Recv()
			if err == io.EOF {
				return out, nil
			}
			if err != nil {
				return out, err
			}
			out[r.Name] = r
		}
	}
	if _, err := results("nonsense", nil); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "early, pseudo, tmpfs, files") {
		t.Errorf("nonsense: %v", err)
	}
	got, err := results("state", nil)
	if err == nil || got["state"] == nil || !strings.Contains(got["state"].Error, "no device is given for the partition STATE") || !strings.Contains(err.Error(), "STATE") {
		t.Errorf("without a device: %v, %v", got, err)
	}
	ownRoot(t, "dev/shm", "run", "tmp", "system")
	got, err = results("tmpfs", nil)
	if err != nil || len(got) != len(mount.Rows(mount.PhaseTmpfs)) || !got["system"].GetTook().IsValid() {
		t.Errorf("%v, %v", got, err)
	}
	for _, r := range mount.Rows(mount.PhaseTmpfs) {
		m, err := mount.Find(r.Target)
		check(t, err)
		if m == nil || len(r.Differences(m)) > 0 {
			t.Errorf("%s: %+v", r.Target, m)
		}
	}
	again, err := results("tmpfs", nil)
	if err != nil || len(again) != len(got) {
		t.Errorf("again: %v, %v", again, err)
	}
}

// ownRoot makes the tmpfs at /mnt the root, with nothing of the machine mounted
// but for /dev, /proc and /sys, which no test takes away.
func ownRoot(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range append(dirs, "dev", "proc", "sys") {
		check(t, os.MkdirAll("/mnt/"+dir, 0o755))
	}
	check(t, unix.Mount("/sys", "/mnt/sys", "", unix.MS_BIND, ""))
	check(t, unix.Mount("tmpfs", "/mnt/dev", "tmpfs", 0, "")) // a /dev/shm to be made in
	check(t, unix.Mount("proc", "/mnt/proc", "proc", 0, ""))
	check(t, os.Chdir("/mnt"))
	check(t, unix.Mount(".", "/", "", unix.MS_MOVE, ""))
	check(t, unix.Chroot("."))
	check(t, os.Chdir("/"))
}

func TestServiceRefuses(t *testing.T) {
	ctx, c := context.Background(), client(t)
	_, err := c.Mount(ctx, &pb.MountRequest{Source: "tmpfs", Target: "relative", Type: "tmpfs"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a relative target: %v", err)
	}
	_, err = c.Unmount(ctx, &pb.UnmountRequest{Target: "relative"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a relative target: %v", err)
	}
	_, err = c.SetFile(ctx, &pb.SetFileRequest{Name: "hosts", Content: make([]byte, maxContent+1)})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("too much content: %v", err)
	}
	_, err = c.SetFile(ctx, &pb.SetFileRequest{Name: "passwd"})
	if err == nil || !strings.Contains(err.Error(), "the bound files are hosts, ") {
		t.Errorf("a file that is not bound: %v", err)
	}
}

func TestUnmountAllIsRefusedOutsideTheOS(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("this is the first process, as in the OS")
	}
	_, err := client(t).UnmountAll(context.Background(), &pb.UnmountAllRequest{})
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("outside the OS: %v", err)
	}
}

func TestUnmountAllInTheOS(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ownRoot(t, "a", "b")
	check(t, unix.Mount("tmpfs", "/a", "tmpfs", 0, ""))
	check(t, unix.Mount("tmpfs", "/b", "tmpfs", 0, ""))
	f, err := os.Create("/b/open")
	check(t, err)
	defer f.Close()
	resp, err := client(t).UnmountAll(context.Background(), &pb.UnmountAllRequest{Patience: durationpb.New(1)})
	check(t, err)
	if len(resp.GetUnmounted()) != 1 || resp.GetUnmounted()[0] != "/a" || len(resp.GetBusy()) != 1 {
		t.Fatalf("%v", resp)
	}
	b := resp.GetBusy()[0]
	if b.GetTarget() != "/b" || b.GetReadOnly() || len(b.GetUsers()) != 1 || !strings.HasSuffix(b.GetUsers()[0], "(pid 1)") || !strings.Contains(b.GetError(), "cannot unmount /b") {
		t.Errorf("%v", b)
	}
}
