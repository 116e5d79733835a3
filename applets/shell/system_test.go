package shell

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unshared runs a script in a shell of its own with namespaces of its own. It
// skips without root.
func unshared(t *testing.T, flags uintptr, dir, script string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root is needed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{"SHELL_UNDER_TEST=1", "PATH=/usr/bin:/bin:/sbin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", script, err)
	}
	return string(out)
}

// TestNetwork sets up a network of its own and looks at it with our ip and with
// the host's, if there is one.
func TestNetwork(t *testing.T) {
	out := unshared(t, unix.CLONE_NEWNET, "/", `
		ip link set lo up
		ip addr add 10.1.2.3/24 dev lo
		ip address add fd00::1/64 dev lo
		ip route add 10.9.0.0/16 via 10.1.2.9 metric 5
		ip route add default via 10.1.2.9 dev lo
		ip link set lo mtu 4000
		echo "-- addresses"; ip -4 addr show lo
		echo "-- brief"; ip -br a
		echo "-- routes"; ip route
		echo "-- one route"; ip r | grep -c default
		ip route del 10.9.0.0/16
		ip r | grep -c 10.9
		ip addr del 10.1.2.3/24 dev lo
		ip addr del 10.1.2.3/24 dev lo; echo $?
		ip addr add nonsense dev lo; echo $?
		ip addr add 10.0.0.1/8 dev nosuch; echo $?
		ip link set lo; echo $?
		ip bogus; echo $?
		ping -c 2 -i 0.1 127.0.0.1 | grep -c 'bytes from 127.0.0.1: icmp_seq=[12] ttl=64'
		ping -c 1 -W 0.3 ::1 >/dev/null && echo six
		ping -c 1 -W 0.3 203.0.113.1; echo $?
		ping -c 1 not..valid; echo $?
		ip link set lo down; ip -br link`)
	want := `-- addresses
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 4000 state UNKNOWN
    inet 127.0.0.1/8 scope host
    inet 10.1.2.3/24 scope global
-- brief
lo               UNKNOWN    127.0.0.1/8 10.1.2.3/24 fd00::1/64 ::1/128
-- routes
default via 10.1.2.9 dev lo
10.9.0.0/16 via 10.1.2.9 dev lo metric 5
-- one route
1
0
ip: cannot del the address 10.1.2.3/24 on lo: cannot assign requested address
1
ip: "nonsense" is not an address such as 10.0.0.1/24
Try: ip --help
2
ip: cannot find the interface "nosuch": Link not found; ip link lists them
1
ip: say what to set: up, down, mtu N, address MAC, name NAME or master NAME
Try: ip --help
2
ip: unknown object "bogus"; use address, link, route or neighbour
Try: ip --help
2
2
six
`
	if !strings.HasPrefix(out, want) {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for _, part := range []string{"ping: cannot find the host \"not..valid\"", "lo               DOWN"} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is missing from\n%s", part, out)
		}
	}
}

func TestAcrossFileSystems(t *testing.T) {
	dir := write(t, map[string]string{"tree/a": "A\n", "tree/sub/b": "B\n"})
	if err := os.Symlink("a", filepath.Join(dir, "tree/link")); err != nil {
		t.Fatal(err)
	}
	unshared(t, unix.CLONE_NEWNS, dir, "/bin/true") // skips without root
	out := unshared(t, unix.CLONE_NEWNS, dir, `
		mkdir m; /bin/mount --make-rprivate / && /bin/mount -t tmpfs none m || exit
		chmod 700 tree/sub; chmod u+s tree/a; mv tree m; ls; find m/tree | sort
		stat -c '%a' m/tree/sub m/tree/a; readlink m/tree/link; cat m/tree/sub/b
		mountpoint -q m && echo mounted; df m | tail -1 | cut -d' ' -f1
		du -sx .; dd if=/dev/zero of=m/full bs=1M count=1 2>/dev/null; wc -c m/full
		rm -r m/tree; ls m; rm -rf m 2>&1 | tail -1`)
	want := "m\nm/tree\nm/tree/a\nm/tree/link\nm/tree/sub\nm/tree/sub/b\n700\n4644\na\nB\nmounted\nnone\n4\t.\n1048576 m/full\nfull\nrm: cannot remove 'm': device or resource busy\n"
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestProcesses(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "4321")
	if err := cmd.Start(); err != nil {
		missing(t, err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	pid := strconv.Itoa(cmd.Process.Pid)
	out, _, _ := run(t, "/", "ps -p "+pid)
	fields := strings.Fields(out[strings.IndexByte(out, '\n')+1:])
	if len(fields) != 8 || fields[0] != pid || fields[1] != strconv.Itoa(os.Getpid()) || strings.Join(fields[6:], " ") != "/bin/sleep 4321" {
		t.Errorf("ps shows %q", out)
	}
	if out, _, _ := run(t, "/", "ps aux | grep -c '[s]leep 4321'"); out != "1\n" {
		t.Errorf("ps aux shows %s of it", out)
	}
	if out, _, _ := run(t, "/", "pidof sleep"); !strings.Contains(" "+strings.TrimSpace(out)+" ", " "+pid+" ") {
		t.Errorf("pidof finds %q", out)
	}
	if _, errOut, code := run(t, "/", "kill -0 "+pid+" && kill -s TERM "+pid); code != 0 {
		t.Errorf("kill: %s", errOut)
	}
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGTERM {
		t.Errorf("it ended by %v", ws.Signal())
	}
	if _, errOut, code := run(t, "/", "kill "+pid); code != 1 || !strings.Contains(errOut, "cannot send signal 15 to process "+pid+": no such process") {
		t.Errorf("got %q, %d", errOut, code)
	}
	if _, errOut, code := run(t, "/", "kill -BOGUS 1; pidof nosuchprogram"); code != 1 || !strings.Contains(errOut, "\"BOGUS\" is not a signal") {
		t.Errorf("got %q, %d", errOut, code)
	}
}

// TestMachine compares numbers with what the kernel says elsewhere.
func TestMachine(t *testing.T) {
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		missing(t, err)
	}
	total := strings.Fields(string(meminfo))[1]
	for script, want := range map[string]string{
		"free | grep Mem: | tr -s ' ' | cut -d' ' -f2": total + "\n",
		"hostname":               firstLine(t, "/proc/sys/kernel/hostname"),
		"uname -r":               firstLine(t, "/proc/sys/kernel/osrelease"),
		"date -d @0 -u '+%F %T'": "1970-01-01 00:00:00\n",
		"df /proc | head -1":     "Filesystem 1K-blocks Used Available Use% Mounted on\n",
		"df -T /proc | tail -1 | tr -s ' ' | cut -d' ' -f2,7":           "proc /proc\n",
		"stat -f /proc | grep -c 'Type: 0x9fa0'":                        "1\n",
		"seq 1 3 | tee /dev/null | tac 2>/dev/null || echo 'not there'": "not there\n",
	} {
		if out, errOut, _ := run(t, "/", "PATH=/nosuch; "+script); out != want {
			t.Errorf("%s: got %q, want %q; %s", script, out, want, errOut)
		}
	}
}

func firstLine(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestKernelLog(t *testing.T) {
	if f, err := os.Open("/dev/kmsg"); err != nil {
		missing(t, err)
	} else {
		f.Close()
	}
	out, errOut, code := run(t, "/", "dmesg | tail -1; dmesg -T -x -l debug+ | wc -l; dmesg -l bogus")
	if code != 2 || !strings.HasPrefix(out, "[") || !strings.Contains(errOut, `"bogus" is not a level; use emerg, alert`) {
		t.Errorf("got %q, %q, %d", out, errOut, code)
	}
}

func TestKernelMessage(t *testing.T) {
	for _, tt := range []struct {
		record string
		want   kernelMessage
	}{
		{"6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n", kernelMessage{6, 0, 5140900 * time.Microsecond, "NET: Registered"}},
		{"30,1,2,c,caller=T1;from user", kernelMessage{6, 3, 2 * time.Microsecond, "from user"}},
		{"4,1,0,-;umlaut \\xc3\\xbc, escape \\x1b[2J, newline \\x0a", kernelMessage{4, 0, 0, "umlaut ü, escape \\x1b[2J, newline \\x0a"}},
	} {
		m, err := parseKernelMessage([]byte(tt.record))
		if err != nil || m != tt.want {
			t.Errorf("%q: got %+v, %v", tt.record, m, err)
		}
	}
	for _, bad := range []string{"", ";", "6,1;x", "x,1,2,-;text", "6,1,x,-;text", "6,1,-1,-;text"} {
		if m, err := parseKernelMessage([]byte(bad)); err == nil {
			t.Errorf("%q is accepted as %+v", bad, m)
		}
	}
}

func TestModuleTable(t *testing.T) {
	got := moduleTable("xfs 2097152 1 - Live 0x0000000000000000\nlibcrc32c 12288 2 xfs,nf_tables, Live 0x0\nbroken\n")
	want := "Module                        Size  Used by\n" +
		"xfs                        2097152  1\nlibcrc32c                    12288  2 xfs,nf_tables\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1023: "1023", 1024: "1.0K", 1025: "1.1K", 10 << 10: "10K", 10<<10 + 1: "11K", 1 << 20: "1.0M", 1<<20 - 1: "1.0M", 1536 << 20: "1.5G", 1 << 62: "4.0E"} {
		if got := humanSize(n); got != want {
			t.Errorf("%d is shown as %s, not %s", n, got, want)
		}
	}
}

func TestModes(t *testing.T) {
	for _, tt := range []struct {
		mode string
		old  uint32
		want uint32
	}{
		{"644", 0o777, 0o644}, {"u+x", 0o644, 0o744}, {"go-rw", 0o666, 0o600}, {"a=r,u+w", 0o777, 0o644}, {"+x", 0o600, 0o711}, {"u=rwx,go=", 0o644, 0o700},
		{"u+s", 0o755, 0o4755}, {"+t", 0o755, 0o1755}, {"g+X", 0o644, 0o644}, {"a+X", 0o744, 0o755}, {"a+X", 0o600 | unix.S_IFDIR, 0o711}, {"u+rw-x", 0o100, 0o600}, {"1777", 0, 0o1777},
	} {
		change, err := parseMode(tt.mode)
		if err != nil {
			t.Errorf("%s: %v", tt.mode, err)
			continue
		}
		if got := change(tt.old); got != tt.want {
			t.Errorf("%s makes %04o of %04o, want %04o", tt.mode, got, tt.old, tt.want)
		}
	}
	for _, bad := range []string{"", "x", "888", "77777", "u", "u+z", "q+x", "u+x,", ","} {
		if _, err := parseMode(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history")
	var old bytes.Buffer
	for i := range 20000 {
		fmt.Fprintf(&old, "echo line number %d\n", i)
	}
	if err := os.WriteFile(file, old.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	h := openHistory(file)
	if h.Len() != historyLines || h.At(0) != "echo line number 19999" {
		t.Errorf("%d lines, the last is %q", h.Len(), h.At(0))
	}
	if info, err := os.Stat(file); err != nil || info.Size() > historyBytes {
		t.Errorf("the file was not cut: %d bytes, %v", info.Size(), err)
	}
	h.Add("one")
	h.Add("one")
	h.Add("")
	h.Add(" secret")
	if h.At(0) != "one" || h.At(1) == "one" {
		t.Errorf("the last lines are %q and %q", h.At(0), h.At(1))
	}
	if h := openHistory(filepath.Join(t.TempDir(), "no/such/file")); h.Len() != 0 {
		t.Error("there are lines from nowhere")
	} else {
		h.Add("kept in memory")
		if h.Len() != 1 {
			t.Error("a file that cannot be written keeps lines from memory")
		}
	}
}

func TestHelpWords(t *testing.T) {
	got := strings.Join(helpWords("Usage: x\n\n  not this\n\nCommands:\n  show  prints\n  plan\n\nFlags:\n  -o, --output f  how\n      --dry   no\n  -h, --help\n\nExamples:\n  x show\n"), " ")
	if got != "show plan --output --dry --help" {
		t.Errorf("got %q", got)
	}
}

func TestInColumns(t *testing.T) {
	got := inColumns([]string{"a", "bb", "ccc", "d", "e"}, 16)
	if want := "a    ccc  e\nbb   d\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := inColumns([]string{strings.Repeat("x", 100)}, 10); got != strings.Repeat("x", 100)+"\n" {
		t.Errorf("got %q", got)
	}
}
