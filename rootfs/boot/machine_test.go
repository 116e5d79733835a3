package boot

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ichor/rootfs/hardening"
	"ichor/rootfs/qemu"
)

var (
	soak = flag.String("soak", "", "run everything, and write the report to this `file`")
	seed = flag.Uint64("seed", 1, "what the random choices follow from")
	out  = flag.String("out", "../../out", "`folder` of the products of make image")
)

// How long things may take on a slow machine that has other work to do. They
// are bounds for what hangs, not measures.
const (
	bootTime    = 3 * time.Minute
	commandTime = time.Minute
	downTime    = 2 * time.Minute
)

// scratch is a folder for the images of this run.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "ichor-boot-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	code := m.Run()
	if *soak != "" {
		if err := writeReport(*soak, code == 0); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// random returns the source of random choices of a test.
func random(t *testing.T) *rand.Rand {
	t.Logf("seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

// needs skips a test at home, and fails it in CI, when something to boot or to
// look at disks with is missing.
func needs(t *testing.T) {
	t.Helper()
	var missing []string
	for _, f := range []string{"ichor", "vmlinuz", "initramfs", "rootfs.sqsh", "ichor-amd64.raw"} {
		if _, err := os.Stat(product(f)); err != nil {
			missing = append(missing, product(f)+" (make image)")
		}
	}
	for _, p := range []string{"qemu-system-x86_64", "sfdisk", "sgdisk", "losetup", "mkfs.xfs", "xfs_repair"} {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	switch {
	case os.Getuid() != 0:
		missing = append(missing, "root")
	case len(missing) == 0:
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing: %s", strings.Join(missing, ", "))
	}
	t.Skipf("missing: %s", strings.Join(missing, ", "))
}

// product returns the path of something that make image made.
func product(name string) string { return filepath.Join(*out, name) }

// command runs a program on this machine and returns what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	said, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, said)
	}
	return string(said)
}

// commandWith runs a program with some input.
func commandWith(input string, args ...string) ([]byte, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	return cmd.CombinedOutput()
}

// column returns a word of a line.
func column(line string, n int) string {
	if words := strings.Fields(line); n < len(words) {
		return words[n]
	}
	return ""
}

// commandJSON runs a program that prints JSON.
func commandJSON[T any](t *testing.T, name string, args ...string) T {
	t.Helper()
	var v T
	printed, err := exec.Command(name, args...).Output()
	if err == nil {
		err = json.Unmarshal(printed, &v)
	}
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, printed)
	}
	return v
}

// kernelFolder returns the unpacked package that the kernel of the products is
// from.
func kernelFolder(t *testing.T) string {
	t.Helper()
	files, _ := filepath.Glob(product("cache/kernel-*/boot/vmlinuz-*"))
	for _, f := range files {
		if exec.Command("cmp", "-s", f, product("vmlinuz")).Run() == nil {
			return filepath.Dir(filepath.Dir(f))
		}
	}
	t.Fatalf("no kernel in %s is %s; run make image", product("cache"), product("vmlinuz"))
	return ""
}

// images are the disk images that were made so far, by the words on their
// kernel command lines.
var images = struct {
	sync.Mutex
	made map[string]string
}{made: map[string]string{}}

// image returns a disk image with the debugging shell and more words on its
// kernel command line, made by the tool that makes the released one.
func image(t *testing.T, words ...string) string {
	t.Helper()
	needs(t)
	images.Lock()
	defer images.Unlock()
	key := strings.Join(append([]string{"ichor.shell"}, words...), ",")
	if images.made[key] == "" {
		file := filepath.Join(scratch, fmt.Sprintf("image%d.raw", len(images.made)))
		command(t, product("ichor"), "image", "disk", "--kernel", kernelFolder(t),
			"--out", *out, "--word", key, "--disk-file", file)
		images.made[key] = file
	}
	return images.made[key]
}

// newDisk returns the path of a disk with the content of an image, or of an
// empty one if image is "".
func newDisk(t *testing.T, image string, size int64) string {
	t.Helper()
	f, err := os.CreateTemp(scratch, "disk-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(f.Name()) })
	if image != "" {
		if err := qemu.CopyDisk(f.Name(), image, size); err != nil {
			t.Fatal(err)
		}
	}
	return f.Name()
}

// machine is a machine that runs.
type machine struct {
	*qemu.VM
	t     *testing.T
	shell *qemu.Shell
}

// start switches a machine on. It is gone, and the end of its log printed if
// something was wrong, when the test ends.
func start(t *testing.T, c qemu.Config) *machine {
	t.Helper()
	c.Accel = qemu.Accel(product("vmlinuz"))
	vm, err := qemu.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{VM: vm, t: t}
	t.Cleanup(m.close)
	return m
}

func (m *machine) close() {
	m.Close()
	if m.t.Failed() {
		recordFailure(m.t)
		m.t.Logf("the end of the console:\n%s", m.Tail(60))
	}
}

// direct starts kernel and initramfs without a boot loader, with the command
// line of the image and more words.
func direct(words ...string) qemu.Config {
	return qemu.Config{
		Firmware: qemu.Direct, Kernel: product("vmlinuz"), Initrd: product("initramfs"),
		Append: hardening.CommandLine(words...),
	}
}

// onDisk is a machine that boots a disk.
func onDisk(firmware qemu.Firmware, disk string) qemu.Config {
	return qemu.Config{Firmware: firmware, Disks: []qemu.Disk{{File: disk}}}
}

// expect waits until the console prints something, and returns the match.
func (m *machine) expect(pattern string, timeout time.Duration) []string {
	m.t.Helper()
	match, err := m.Expect(regexp.MustCompile(pattern), timeout)
	if err != nil {
		m.t.Fatal(err)
	}
	return match
}

// outcome is what a boot comes to.
const outcome = `ichor: (?:ready in ([0-9.]+) s|(cannot boot: [^\r\n]*)\r?\n)`

// ready waits until the machine is ready, and returns after how many seconds of
// the kernel it was.
func (m *machine) ready() string {
	m.t.Helper()
	match := m.expect(outcome, bootTime)
	if match[2] != "" {
		m.t.Fatal(match[2])
	}
	m.t.Logf("%.1f s after power on: ready in %s s", time.Since(m.Started).Seconds(), match[1])
	return match[1]
}

// fails waits until the boot has failed, and returns why.
func (m *machine) fails() string {
	m.t.Helper()
	match := m.expect(outcome, bootTime)
	if match[1] != "" {
		m.t.Fatalf("ready in %s s, although it should not be", match[1])
	}
	return match[2]
}

// boot waits until the machine is ready and its shell answers.
func (m *machine) boot() *machine {
	m.t.Helper()
	m.ready()
	m.openShell()
	return m
}

func (m *machine) openShell() {
	m.t.Helper()
	var err error
	if m.shell, err = qemu.OpenShell(m.Console, commandTime); err != nil {
		m.t.Fatal(err)
	}
}

// run runs a command in the machine's shell. If it fails, so does the test.
func (m *machine) run(command string) string {
	m.t.Helper()
	printed, err := m.shell.Must(command, commandTime)
	if err != nil {
		m.t.Fatal(err)
	}
	return printed
}

// refused runs a command that has to fail, and wants a part of what it says.
func (m *machine) refused(command, says string) {
	m.t.Helper()
	printed, code, err := m.shell.Run(command, commandTime)
	switch {
	case err != nil:
		m.t.Fatal(err)
	case code == 0 || !strings.Contains(printed, says):
		m.t.Errorf("%s: exit code %d, %q; want it to fail with %q", command, code, printed, says)
	}
}

// reboot starts the machine again and waits until it is ready.
func (m *machine) reboot() {
	m.t.Helper()
	m.end("reboot")
	m.boot()
}

// powerOff switches the machine off, and waits for it.
func (m *machine) powerOff() {
	m.t.Helper()
	m.end("poweroff")
	m.gone()
}

// end gives a command that ends the machine and waits until everything is down.
func (m *machine) end(command string) {
	m.t.Helper()
	m.run("echo 8 > /proc/sys/kernel/printk") // all of the log on the console
	if err := m.Send(command + "\r"); err != nil {
		m.t.Fatal(err)
	}
	m.down()
}

// busy is what PID 1 says of something that it could not unmount or stop.
var busy = regexp.MustCompile(`ichor: (cannot unmount|.* does not stop|shutdown takes longer)[^\r\n]*`)

// down waits until everything is stopped and unmounted.
func (m *machine) down() {
	m.t.Helper()
	match := m.expect(`reboot: (Restarting system|Power down)`, downTime)
	m.t.Logf("%.1f s after power on: %s", time.Since(m.Started).Seconds(), match[1])
	if said := busy.FindString(m.Log()); said != "" {
		m.t.Errorf("not a clean end: %s", said)
	}
}

// gone waits until the machine has switched itself off.
func (m *machine) gone() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), downTime)
	defer cancel()
	if err := m.Wait(ctx); err != nil {
		m.t.Fatal(err)
	}
}

// said wants the console to have printed something so far.
func (m *machine) said(pattern string) {
	m.t.Helper()
	if !regexp.MustCompile(pattern).MatchString(m.Log()) {
		m.t.Errorf("the console does not have %q", pattern)
	}
}
