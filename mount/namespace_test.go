package mount

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside marks a test binary that runs in a mount namespace of its own.
const inside = "ICHOR_TEST_NAMESPACE"

// TestMain lets the test binary be the /init of a virtual machine as well, so
// that the same tests run on another kernel: it loads the modules in /modules,
// runs the tests and ends the machine.
func TestMain(m *testing.M) {
	if os.Getpid() != 1 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	report := func(err error) {
		if err != nil {
			fmt.Println("init:", err)
		}
	}
	for _, dir := range []string{"/dev", "/proc", "/sys", "/tmp"} {
		os.MkdirAll(dir, 0o755)
	}
	report(unix.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""))
	report(unix.Mount("proc", "/proc", "proc", 0, ""))
	report(unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
	names, _ := filepath.Glob("/modules/*")
	for _, name := range names {
		f, err := os.Open(name)
		report(err)
		report(unix.FinitModule(int(f.Fd()), "", 0))
		f.Close()
	}
	code := m.Run()
	fmt.Printf("tests ended with code %d\n", code)
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// need skips a test for want of something, or fails where everything has to
// be there.
func need(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// inNamespace runs a test in a mount namespace with an empty root of its own;
// it returns true there, and false to the caller outside, which has nothing
// left to do. The root holds /dev, /proc and /sys of the machine, an empty
// /tmp, and the machine's root read-only at /host.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		enterRoot(t)
		return true
	}
	if os.Getuid() != 0 {
		need(t, "root")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=0")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
	return false
}

func enterRoot(t *testing.T) {
	t.Helper()
	const root = "/tmp"
	must(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	must(t, unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID, "mode=755"))
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "host", "etc"} {
		must(t, os.Mkdir(root+"/"+dir, 0o755))
	}
	must(t, unix.Mount("/dev", root+"/dev", "", unix.MS_BIND, ""))
	must(t, unix.Mount("/sys", root+"/sys", "", unix.MS_BIND, ""))
	must(t, unix.Mount("/", root+"/host", "", unix.MS_BIND, ""))
	must(t, unix.Mount(root+"/tmp", root+"/host/tmp", "", unix.MS_BIND, ""))
	must(t, unix.Mount("proc", root+"/proc", "proc", 0, ""))
	must(t, os.Chdir(root))
	must(t, unix.Mount(".", "/", "", unix.MS_MOVE, ""))
	must(t, unix.Chroot("."))
	must(t, os.Chdir("/"))
}

// onHost runs a program of the machine; what lies in /tmp it sees as well.
func onHost(t *testing.T, name string, args ...string) {
	t.Helper()
	path := ""
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, err := os.Stat("/host" + dir + name); err == nil {
			path = dir + name
		}
	}
	if path == "" {
		need(t, name)
	}
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: "/host"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// xfsImage makes an XFS image of 300 MiB, the least that mkfs.xfs makes; the
// name, of at most 12 letters, is its label, too.
func xfsImage(t *testing.T, name string) string {
	t.Helper()
	path := "/tmp/" + name + ".img"
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(300<<20))
	must(t, f.Close())
	onHost(t, "mkfs.xfs", "-q", "-f", "-L", name, path)
	return path
}

// attached attaches an image to a loop device for the time of the test.
func attached(t *testing.T, image string) string {
	t.Helper()
	dev, err := AttachLoop(image, false)
	must(t, err)
	t.Cleanup(func() { DetachLoop(dev) })
	return dev
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
