package partition

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"ichor/applets"
	"ichor/partition"
	"ichor/rpc"
	pb "ichor/rpc/partition/v1"
)

// command runs the command line against a service in this process, in a
// folder, and returns what it printed.
func command(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	env := &applets.Env{Stdio: applets.Stdio{Out: &out, Err: &out}, Name: "partition", Dir: dir}
	broker := &rpc.Broker{}
	broker.Serve("partition", func(r grpc.ServiceRegistrar) error { return Register(env, r) })
	defer broker.Stop()
	env.Bus = broker.As(rpc.Peer{Applet: "partition"})
	err := Run(context.Background(), env, args)
	return out.String(), err
}

// must runs a command that has to work.
func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := command(t, dir, args...)
	if err != nil {
		t.Fatalf("partition %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// contains checks that an output or an error has some texts in it.
func contains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in:\n%s", w, got)
		}
	}
}

// blankFile makes a sparse file and returns its folder.
func blankFile(t *testing.T, size int64) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// imageFile makes a fresh image, grown to a size.
func imageFile(t *testing.T, size int64) (dir, path string) {
	t.Helper()
	imageSize := partition.ImageSize(partition.Layout)
	dir, path = blankFile(t, imageSize)
	dev, err := partition.Open(path, partition.Options{Write: true, SectorSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	table, err := partition.NewImageTable(imageSize, partition.Layout, partition.NewGUID())
	if err == nil {
		err = partition.WriteHybrid(dev, table)
	}
	if err == nil {
		err = os.Truncate(path, size)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func TestPlanPrintsTheLayout(t *testing.T) {
	out := must(t, "", "plan")
	for _, r := range partition.Layout {
		contains(t, out, r.Label, r.Type.String())
	}
	var v struct{ Rows []struct{ Label string } }
	if err := json.Unmarshal([]byte(must(t, "", "plan", "-o", "json")), &v); err != nil || len(v.Rows) != len(partition.Layout) {
		t.Errorf("json: %v, %d rows", err, len(v.Rows))
	}
}

func TestApplyToAFile(t *testing.T) {
	for _, sector := range []string{"512", "4096"} {
		dir, path := imageFile(t, 3*partition.GiB)
		before, _ := os.Stat(path)
		out := must(t, dir, "apply", "--sector-size", sector, "disk.img")
		contains(t, out, "create", "STATE", "EPHEMERAL", "move-backup", "nothing was done")
		if after, _ := os.Stat(path); !after.ModTime().Equal(before.ModTime()) {
			t.Error("a preview wrote to the file")
		}
		contains(t, must(t, dir, "apply", "--yes", "--sector-size", sector, "disk.img"), "done: create partition 6, EPHEMERAL")
		contains(t, must(t, dir, "apply", "--yes", "disk.img"), "nothing to do")
		contains(t, must(t, dir, "show", "disk.img"), "sectors of "+sector, "STATE", "unformatted", "Ichor ephemeral")
	}
}

func TestRepairOfAForeignTable(t *testing.T) {
	dir, path := blankFile(t, 64*partition.MiB)
	dev, err := partition.Open(path, partition.Options{Write: true, SectorSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	table, err := partition.NewTable(dev.Size(), 512, partition.NewGUID())
	if err == nil {
		_, err = table.Place(partition.Row{Label: "data", Type: partition.NewGUID(), Size: partition.MiB}, partition.NewGUID())
	}
	if err == nil {
		err = partition.Write(dev, table)
	}
	if err == nil {
		_, err = dev.WriteAt(make([]byte, 512), 512)
	}
	if err != nil {
		t.Fatal(err)
	}
	dev.Close()
	contains(t, must(t, dir, "show", "disk.img"), "primary table damaged", "data")
	contains(t, must(t, dir, "repair", "disk.img"), "restore the primary table", "nothing was done")
	contains(t, must(t, dir, "repair", "--yes", "disk.img"), "done: restore the primary table")
	contains(t, must(t, dir, "repair", "--yes", "disk.img"), "nothing to do")
	_, err = command(t, dir, "apply", "--yes", "disk.img")
	if err == nil {
		t.Fatal("a foreign disk was changed")
	}
	contains(t, err.Error(), "not a disk of Ichor", "GPT of 1 partition, none of Ichor's", "create --take-over "+path+" --yes")
}

func TestCreate(t *testing.T) {
	dir, path := blankFile(t, 3*partition.GiB)
	contains(t, must(t, dir, "create", "disk.img"), "create partition 1, EFI", "nothing was done")
	contains(t, must(t, dir, "create", "--yes", "disk.img"), "done: create partition 6, EPHEMERAL")
	_, err := command(t, dir, "create", "--yes", "disk.img")
	if err == nil {
		t.Fatal("a disk with partitions was written over")
	}
	contains(t, err.Error(), path+" is not blank", `partition 5, "STATE" of 384 MiB`, "--take-over")
	contains(t, must(t, dir, "create", "--take-over", "disk.img"), "erase", "lose partition 1", "nothing was done")
	contains(t, must(t, dir, "create", "--take-over", "--yes", "disk.img"), `done: lose partition 1, "EFI" of 272 MiB`)
}

func TestTooSmallForTheLayout(t *testing.T) {
	dir, _ := imageFile(t, 2*partition.GiB)
	_, err := command(t, dir, "apply", "disk.img")
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "cannot place partition EPHEMERAL: it needs 512 MiB, the largest free range of the disk has 388 MiB")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"explode"}, {"show"}, {"show", "a", "b"}, {"list", "a"}, {"show", "--what", "x"}, {"plan", "-o", "xml"}} {
		_, err := command(t, "", args...)
		if applets.ExitCode(err) != applets.ExitUsage {
			t.Errorf("partition %q: %v", args, err)
		}
	}
	for _, args := range [][]string{{"--help"}, {"show", "--help"}, {"create", "-h"}} {
		contains(t, must(t, "", args...), "Usage: ", "Examples:")
	}
	if _, err := command(t, t.TempDir(), "show", "nothing.img"); err == nil || applets.ExitCode(err) != applets.ExitFailure {
		t.Errorf("missing file: %v", err)
	}
}

func TestListIsJSON(t *testing.T) {
	var v map[string]any
	if err := json.Unmarshal([]byte(must(t, "", "list", "-o", "json")), &v); err != nil {
		t.Error(err)
	}
}

// loop attaches a file as a disk until the end of the test; it skips the test
// where that cannot be done.
func loop(t *testing.T, path string, flags ...string) string {
	t.Helper()
	out, err := exec.Command("losetup", append(flags, "-f", "--show", path)...).Output()
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("cannot attach a loop device: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", dev).Run() })
	return dev
}

func TestTakeOverOfADisk(t *testing.T) {
	_, path := blankFile(t, 3*partition.GiB)
	dev := loop(t, path, "-P")
	must(t, "", "create", "--yes", dev)
	contains(t, must(t, "", "apply", dev), "make the xfs file system of partition 5, STATE", "nothing was done")
	contains(t, must(t, "", "apply", "--yes", dev), "done: make the xfs file system of partition 5, STATE")
	contains(t, must(t, "", "show", dev), "xfs STATE", dev+"p5")
	contains(t, must(t, "", "create", "--take-over", dev), `lose partition 5, "STATE" of 384 MiB, which holds xfs "STATE"`)
	contains(t, must(t, "", "create", "--take-over", "--yes", dev), "done: create partition 6, EPHEMERAL")
	_, err := command(t, "", "apply", dev+"p1")
	if err == nil {
		t.Fatal("a partition was taken for a disk")
	}
	contains(t, err.Error(), dev+"p1 is a partition: name the whole disk")
}

// TestLoopWithoutScan is about loop devices that were attached without
// partitions: some kernels take them all the same, for others the device is
// like a file.
func TestLoopWithoutScan(t *testing.T) {
	_, path := imageFile(t, 3*partition.GiB)
	dev := loop(t, path)
	contains(t, must(t, "", "apply", "--yes", dev), "done: create partition 5, STATE")
	contains(t, must(t, "", "apply", "--yes", dev), "nothing to do")
	contains(t, must(t, "", "show", dev), "Ichor state")
}

func TestProvisionRPC(t *testing.T) {
	_, path := imageFile(t, 3*partition.GiB)
	dev := loop(t, path, "-P")
	var steps []string
	result, err := provision(t, dev, func(s *pb.Step) { steps = append(steps, s.GetAction()) })
	if err != nil || result.GetDisk() != dev || result.GetDevices()["EPHEMERAL"] != dev+"p6" || len(result.GetDevices()) != 6 {
		t.Errorf("%v, %v", result, err)
	}
	if got := strings.Join(steps, " "); got != "repair move-backup create create format format" {
		t.Error(got)
	}
	for path, want := range map[string]codes.Code{
		"/dev/no-such-disk":  codes.NotFound,
		path + "/not-a-path": codes.Internal,
	} {
		if _, err := provision(t, path, func(*pb.Step) {}); status.Code(err) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	_, blank := blankFile(t, 64*partition.MiB)
	if _, err := provision(t, loop(t, blank), func(*pb.Step) {}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a blank disk: %v", err)
	}
}

// provision calls the service as a boot does.
func provision(t *testing.T, disk string, step func(*pb.Step)) (*pb.ProvisionResponse_Result, error) {
	t.Helper()
	broker := &rpc.Broker{}
	broker.Serve("partition", func(r grpc.ServiceRegistrar) error { return Register(&applets.Env{}, r) })
	defer broker.Stop()
	conn, err := broker.As(rpc.Peer{Applet: "init"}).Dial(t.Context(), "partition")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := pb.NewPartitionServiceClient(conn).Provision(t.Context(), &pb.ProvisionRequest{Disk: disk})
	if err != nil {
		return nil, err
	}
	var result *pb.ProvisionResponse_Result
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return result, nil
		}
		if err != nil {
			return nil, err
		}
		if resp.GetStep() != nil {
			step(resp.GetStep())
		}
		if resp.GetResult() != nil {
			result = resp.GetResult()
		}
	}
}
