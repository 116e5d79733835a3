package partition

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// systemDisk makes a disk of a fresh copy of the image on a loop device.
func systemDisk(t *testing.T, size int64, sectorSize int) (loop, file string) {
	t.Helper()
	needRoot(t)
	needTool(t, "losetup", "mkfs.xfs", "sfdisk", "sgdisk")
	file = hybridImage(t)
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	return loopDevice(t, file, sectorSize), file
}

// provisionDisk provisions a disk and returns the actions that it took.
func provisionDisk(t *testing.T, path string) (Provisioned, []string) {
	t.Helper()
	var steps []string
	p, err := Provision(context.Background(), ProvisionOptions{
		Disk:     path,
		Progress: func(s Step) { steps = append(steps, strings.TrimSpace(string(s.Action)+" "+s.Label)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, steps
}

var firstSteps = []string{"repair", "move-backup", "create STATE", "create EPHEMERAL", "format STATE", "format EPHEMERAL"}

func TestProvision(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	for _, sector := range []int{512, 4096} {
		loop, file := systemDisk(t, 3*GiB, sector)
		p, steps := provisionDisk(t, loop)
		if !slices.Equal(steps, firstSteps) {
			t.Errorf("first: %q", steps)
		}
		acceptedByTools(t, loop)
		if got := run(t, "blkid", "-p", "-s", "TYPE", "-s", "LABEL", "-o", "value", p.Devices["STATE"]); got != "STATE\nxfs\n" {
			t.Errorf("STATE holds %q", got)
		}
		if _, steps := provisionDisk(t, loop); len(steps) != 0 {
			t.Errorf("second: %q", steps)
		}
		checkGrowth(t, loop, file, p)
		checkDamage(t, loop)
	}
}

// checkGrowth grows the disk below a mounted file system.
func checkGrowth(t *testing.T, loop, file string, p Provisioned) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(p.Devices["EPHEMERAL"], dir, "xfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	if err := os.Truncate(file, 10*GiB); err != nil {
		t.Fatal(err)
	}
	run(t, "losetup", "-c", loop)
	if _, steps := provisionDisk(t, loop); !slices.Equal(steps, []string{"move-backup", "grow EPHEMERAL"}) {
		t.Errorf("grown: %q", steps)
	}
	before, after, err := GrowXFS(dir)
	if err != nil || before > 2*GiB || after < 8*GiB {
		t.Errorf("file system grew from %d to %d, %v", before, after, err)
	}
	if again, same, err := GrowXFS(dir); again != after || same != after || err != nil {
		t.Errorf("again: %d, %d, %v", again, same, err)
	}
	acceptedByTools(t, loop)
}

// checkDamage wipes the primary table.
func checkDamage(t *testing.T, loop string) {
	t.Helper()
	dev := open(t, loop, 0)
	if _, err := dev.WriteAt(make([]byte, 100), int64(dev.SectorSize())); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dev.Sync(), dev.Close()); err != nil {
		t.Fatal(err)
	}
	if _, steps := provisionDisk(t, loop); !slices.Equal(steps, []string{"repair"}) {
		t.Errorf("damaged: %q", steps)
	}
	acceptedByTools(t, loop)
}

// markUnformatted sets or clears the attribute on a partition of a disk.
func markUnformatted(t *testing.T, loop, label string, set bool) {
	t.Helper()
	dev := open(t, loop, 0)
	defer dev.Close()
	d, err := Read(dev)
	if err != nil {
		t.Fatal(err)
	}
	row, _ := FindRow(Layout, label)
	n, _ := d.Table.Find(label, row.Type)
	d.Table.Entries[n-1].Attributes &^= Unformatted
	if set {
		d.Table.Entries[n-1].Attributes |= Unformatted
	}
	if err := Write(dev, d.Table); err != nil {
		t.Fatal(err)
	}
}

// overwrite puts bytes at the start of a partition.
func overwrite(t *testing.T, path, content string) {
	t.Helper()
	dev := open(t, path, 0)
	defer dev.Close()
	if _, err := dev.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	if err := dev.Sync(); err != nil {
		t.Fatal(err)
	}
}

// startsWith tells whether a partition starts with some bytes.
func startsWith(t *testing.T, path, content string) bool {
	t.Helper()
	b := make([]byte, len(content))
	dev := openRead(t, path, 0)
	defer dev.Close()
	if _, err := dev.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return string(b) == content
}

// TestFormatsOnlyWhatWasNeverFinished is about power cuts during the first
// boot, and about data that must never be taken for one.
func TestFormatsOnlyWhatWasNeverFinished(t *testing.T) {
	loop, _ := systemDisk(t, 3*GiB, 512)
	p, _ := provisionDisk(t, loop)
	state := p.Devices["STATE"]

	// mkfs was cut off when its superblock was there and nothing else.
	overwrite(t, state, "XFSB"+strings.Repeat("\x00", 4092))
	markUnformatted(t, loop, "STATE", true)
	if _, steps := provisionDisk(t, loop); !slices.Equal(steps, []string{"format STATE"}) {
		t.Errorf("unfinished: %q", steps)
	}
	run(t, "xfs_repair", "-n", state)

	// A damaged file system, or none at all, without the mark is data.
	for _, content := range []string{"damaged beyond recognition", strings.Repeat("\x00", 1<<20)} {
		overwrite(t, state, content)
		if _, steps := provisionDisk(t, loop); len(steps) != 0 || !startsWith(t, state, content) {
			t.Errorf("data without the mark: %q", steps)
		}
	}

	// With the mark but with somebody's file system: refused.
	run(t, "mkfs.ext4", "-q", "-F", state)
	markUnformatted(t, loop, "STATE", true)
	_, err := Provision(context.Background(), ProvisionOptions{Disk: loop})
	wantError(t, err, state+" is marked as unformatted but holds ext4")
}

func TestMkfsFailureKeepsTheMark(t *testing.T) {
	loop, _ := systemDisk(t, 3*GiB, 4096)
	fail := func(context.Context, string, ...string) ([]byte, error) {
		return []byte("no such luck\n"), errors.New("exit status 1")
	}
	_, err := Provision(context.Background(), ProvisionOptions{Disk: loop, XFS: XFSOptions{Run: fail}})
	wantError(t, err, "cannot format /dev/loop", "mkfs.xfs: exit status 1: no such luck")
	if _, steps := provisionDisk(t, loop); !slices.Equal(steps, []string{"format STATE", "format EPHEMERAL"}) {
		t.Errorf("after a failure: %q", steps)
	}
	_, err = Provision(context.Background(), ProvisionOptions{Disk: loop, XFS: XFSOptions{Program: "/no/mkfs.xfs"}})
	if err != nil {
		t.Errorf("mkfs.xfs is not needed any more: %v", err)
	}
}

func TestProvisionNeverTouchesOtherDisks(t *testing.T) {
	loop, _ := sfdiskDisk(t, 512)
	before := run(t, "sha256sum", loop)
	_, err := Provision(context.Background(), ProvisionOptions{Disk: loop})
	wantError(t, err, loop+" is not a disk of Ichor: it holds GPT of 2 partitions, none of Ichor's", "ichor partition create --take-over "+loop+" --yes")
	if after := run(t, "sha256sum", loop); after != before {
		t.Error("the disk changed")
	}
	_, err = Provision(context.Background(), ProvisionOptions{Disk: "/dev/no-such-disk"})
	wantError(t, err, "/dev/no-such-disk: no such file")
	if !MayAppear(err) {
		t.Error("a disk that comes late would not be waited for")
	}
}

func TestTakeOverTellsTheKernel(t *testing.T) {
	loop, _ := systemDisk(t, 4*GiB, 512)
	provisionDisk(t, loop)
	run(t, "sgdisk", "-o", "-n", "1:0:+1G", "-n", "2:0:+1G", "-n", "9:0:+100M", loop)
	dev, err := Open(loop, Options{Write: true, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Read(dev)
	if err != nil {
		t.Fatal(err)
	}
	p, err := MakeCreatePlan(d, Layout, true, NewGUID(), RandomID)
	if err == nil {
		err = Apply(t.Context(), dev, p, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := sysfsDir(dev.f)
	if err != nil {
		t.Fatal(err)
	}
	known, err := KernelPartitions(dir)
	dev.Close()
	if err != nil || len(known) != len(Layout) {
		t.Errorf("the kernel knows %v, %v", known, err)
	}
	for n, k := range known {
		if off, size := p.After.Range(p.After.Entry(n)); k.Start != off || k.Size != size {
			t.Errorf("partition %d: %+v", n, k)
		}
	}
	if _, steps := provisionDisk(t, loop); !slices.Equal(steps, []string{"format STATE", "format EPHEMERAL"}) {
		t.Errorf("after taking over: %q", steps)
	}
}

func TestExclusiveRefusesADiskInUse(t *testing.T) {
	if !privateMounts(t) {
		return
	}
	loop, _ := systemDisk(t, 3*GiB, 512)
	p, _ := provisionDisk(t, loop)
	dir := t.TempDir()
	if err := unix.Mount(p.Devices["STATE"], dir, "xfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	_, err := Open(loop, Options{Write: true, Exclusive: true})
	if !errors.Is(err, unix.EBUSY) {
		t.Errorf("error: %v", err)
	}
	if _, _, err := GrowXFS("/proc"); !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("growing /proc: %v", err)
	}
}
