package partition

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// needTool skips a test without a program at home and fails it in CI.
func needTool(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			missing(t, n+" is not installed")
		}
	}
}

// needRoot does the same without root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "not root")
	}
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// run runs a program and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sparse makes a file of a size.
func sparse(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens a file for writing until the end of the test.
func open(t *testing.T, path string, sectorSize int) *File {
	t.Helper()
	dev, err := Open(path, Options{Write: true, SectorSize: sectorSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

var testDiskID = MustGUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")

// hybridImage makes an image file with both tables.
func hybridImage(t *testing.T) string {
	t.Helper()
	size := ImageSize(Layout)
	path := sparse(t, size)
	table, err := NewImageTable(size, Layout, testDiskID)
	if err != nil {
		t.Fatal(err)
	}
	dev := open(t, path, 512)
	defer dev.Close()
	if err := WriteHybrid(dev, table); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHybridReadsBothWays(t *testing.T) {
	path := hybridImage(t)
	for _, size := range []int{512, 4096} {
		d, err := Read(openRead(t, path, size))
		if err != nil {
			t.Fatal(err)
		}
		if d.Kind != GPT || d.Table.Used() != 4 || len(d.Problems) != 1 || !d.Has(OtherSectorSize) {
			t.Errorf("sectors of %d: %+v", size, d)
		}
		off, length := d.Table.Range(d.Table.Entry(3))
		if off != 274*MiB || length != 1000*MiB {
			t.Errorf("sectors of %d: BOOT is at %d, %d long", size, off, length)
		}
	}
}

// openRead opens a file for reading.
func openRead(t *testing.T, path string, sectorSize int) *File {
	t.Helper()
	dev, err := Open(path, Options{SectorSize: sectorSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func TestHybridAcceptedByTools(t *testing.T) {
	needTool(t, "sgdisk", "sfdisk")
	needRoot(t)
	path := hybridImage(t)
	for _, size := range []int{512, 4096} {
		acceptedByTools(t, loopDevice(t, path, size))
	}
}

// acceptedByTools lets sgdisk and sfdisk verify a table.
func acceptedByTools(t *testing.T, path string) {
	t.Helper()
	if out := run(t, "sgdisk", "-v", path); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v %s: %s", path, out)
	}
	if out := run(t, "sfdisk", "-V", path); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk -V %s: %s", path, out)
	}
}

// loopDevice attaches a file as a disk of a sector size until the end of the
// test.
func loopDevice(t *testing.T, path string, sectorSize int) string {
	t.Helper()
	dev := strings.TrimSpace(run(t, "losetup", "-f", "--show", "-P", "-b", strconv.Itoa(sectorSize), path))
	t.Cleanup(func() { run(t, "losetup", "-d", dev) })
	return dev
}

// privateMounts runs the test once more in a process with a mount namespace of
// its own, so that nothing it mounts is seen outside. It returns true in that
// process; the other one has nothing left to do.
func privateMounts(t *testing.T) bool {
	t.Helper()
	needRoot(t)
	const mark = "ICHOR_TEST_PRIVATE_MOUNTS"
	if os.Getenv(mark) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a private mount namespace: %v\n%s", err, out)
	}
	return false
}
