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
	must := func(err error) {
		if err != nil {
			fmt.Println("init:", err)
		}
	}
	for _, dir := range []string{"/dev", "/proc", "/sys", "/tmp"} {
		os.MkdirAll(dir, 0o755)
	}
	must(unix.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""))
	must(unix.Mount("proc", "/proc", "proc", 0, ""))
	must(unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
	names, _ := filepath.Glob("/modules/*")
	for _, name := range names {
		f, err := os.Open(name)
		must(err)
		must(unix.FinitModule(int(f.Fd()), "", 0))
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
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
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
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	root := "/tmp"
	must(unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID, "mode=755"))
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "host", "etc"} {
		must(os.Mkdir(root+"/"+dir, 0o755))
	}
	must(unix.Mount("/dev", root+"/dev", "", unix.MS_BIND, ""))
	must(unix.Mount("/sys", root+"/sys", "", unix.MS_BIND, ""))
	must(unix.Mount("/", root+"/host", "", unix.MS_BIND, ""))
	must(unix.Mount("proc", root+"/proc", "proc", 0, ""))
	must(os.Chdir(root))
	must(unix.Mount(".", "/", "", unix.MS_MOVE, ""))
	must(unix.Chroot("."))
	must(os.Chdir("/"))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
