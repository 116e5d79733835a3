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
