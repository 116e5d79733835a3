package shell

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ichor/applets"
)

// TestMain lets the test binary be the shell itself: the shell under test must
// lead a session of its own with a controlling terminal.
func TestMain(m *testing.M) {
	if os.Getenv("SHELL_UNDER_TEST") == "" {
		os.Exit(m.Run())
	}
	os.Unsetenv("SHELL_UNDER_TEST")
	env := &applets.Env{Stdio: applets.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, Name: "shell", Version: "v0", Table: testTable()}
	err := Run(context.Background(), env, os.Args[1:])
	if applets.ExitCode(err) != 0 {
		fmt.Printf("[left with %d]\r\n", applets.ExitCode(err))
	}
	os.Exit(applets.ExitCode(err))
}

// session is a shell on a pseudo terminal and what it has printed.
type session struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	mu     sync.Mutex
	text   bytes.Buffer
	read   int // what of text was expected already
	ended  chan struct{}
}

// openPTY opens a pseudo terminal of 80 columns; a size of 0 is what a serial
// line has.
func openPTY(t *testing.T, columns, rows uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	return master, slave
}

// start starts a shell on a terminal, in dir, with more variables.
func start(t *testing.T, dir string, env ...string) *session {
	t.Helper()
	master, slave := openPTY(t, 0, 0)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, master: master, ended: make(chan struct{})}
	s.cmd = exec.Command(self)
	s.cmd.Dir = dir
	s.cmd.Env = append([]string{"SHELL_UNDER_TEST=1", "PATH=/usr/bin:/bin", "HOME=" + dir}, env...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	go s.collect()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	s.expect("poweroff")
	s.prompt()
	return s
}

func (s *session) collect() {
	defer close(s.ended)
	buf := make([]byte, 4096)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// send types keys.
func (s *session) send(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits until a text is printed and returns what came before it.
func (s *session) expect(text string) string {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s.mu.Lock()
		all := s.text.String()[s.read:]
		i := strings.Index(all, text)
		if i >= 0 {
			s.read += i + len(text)
		}
		s.mu.Unlock()
		if i >= 0 {
			return all[:i]
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q does not come; there is %q", text, all)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *session) prompt() string { s.t.Helper(); return s.expect("# ") }

// line types a line and returns what it prints up to the next prompt.
func (s *session) line(text string) string {
	s.t.Helper()
	s.send(text + "\r")
	s.expect("\r\n")
	out := s.expect("ichor:")
	// The editor ends a line, and breaks a long one, by "\r\n"; the terminal
	// makes "\r\r\n" of it. Nothing else prints that.
	if i := strings.LastIndex(out, "\r\r\n"); i >= 0 {
		out = out[i+3:]
	}
	return strings.TrimSuffix(strings.TrimPrefix(out, "\r"), "\r\n") + s.mark()
}

// mark returns the exit code in the prompt, if there is one.
func (s *session) mark() string {
	s.t.Helper()
	p := s.prompt()
	if i := strings.Index(p, " ["); i >= 0 {
		return p[i:]
	}
	return ""
}

// wantLine types a line and compares what it prints.
func (s *session) wantLine(text, want string) {
	s.t.Helper()
	if got := s.line(text); got != want {
		s.t.Errorf("%s: got %q, want %q", text, got, want)
	}
}

// leave waits for the end of the shell.
func (s *session) leave(code int) {
	s.t.Helper()
	err := s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Errorf("the shell ended with %d, %v; want %d", got, err, code)
	}
}

func TestTyping(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.wantLine("echo hello", "hello")
	s.wantLine("x=5; echo $((x*2))", "10")
	s.wantLine("false", " [1]")
	s.wantLine("echo $?", "1")
	s.wantLine("nosuch", "nosuch: command not found; \"help\" lists the commands [127]")
	s.wantLine("echo )", "1:6: a command can only contain words and redirects; encountered `)` [2]")
	s.wantLine("crash 2>/dev/null", " [134]")
	s.wantLine("greet", "greet from "+s.cmd.Dir+": ")
	// Editing: home, right, delete, end, ctrl-W, ctrl-U.
	s.wantLine("cho X Y\x1b[He\x1b[F\x17Z", "X Z")
	s.wantLine("garbage\x15echo ok", "ok")
	s.wantLine("echo abc\x1b[D\x7f", "ac")
	s.send("\x0c")
	s.expect("\x1b[2J\x1b[H")
	s.prompt()
	s.wantLine("echo after", "after")
	s.send("exit 3\r")
	s.expect("[left with 3]")
	s.leave(3)
}

func TestLeavingWithCtrlD(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.send("\x04")
	s.leave(0)
}

func TestDirectoryInPrompt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("long", 20))
	if err := os.Mkdir(long, 0o755); err != nil {
		t.Fatal(err)
	}
	s := start(t, dir)
	s.send("cd /tmp\r")
	s.expect("ichor:/tmp# ")
	s.send("cd " + long + "\r")
	s.expect("ichor:...")
	if p := s.prompt(); len(p) != 37 {
		t.Errorf("the folder in the prompt has %d characters: %q", len(p), p)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "history")
	s := start(t, dir, "HISTFILE="+file)
	s.wantLine("echo one", "one")
	s.wantLine("echo two", "two")
	s.wantLine(" echo secret", "secret")
	s.wantLine("\x1b[A\x1b[A", "one")
	s.wantLine("\x1bOA\x1bOA", "two") // one, two, one: the second from the end
	s.wantLine("one\x12", "one")      // ctrl-R
	s.send("history\r")
	if out := s.expect("history\r\nichor:"); !strings.Contains(out, "1  echo one\r\n    2  echo two\r\n    3  echo one") {
		t.Errorf("history prints %q", out)
	}
	s.prompt()
	s.send("\x04")
	s.leave(0)

	b, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(b), "echo one\necho two\necho one\n") || strings.Contains(string(b), "secret") {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	s = start(t, dir, "HISTFILE="+file)
	s.wantLine("two\x12", "two")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"alpha.txt": "A\n", "alpine": "P\n", "with space": "S\n", "dir/inner": "I\n"})
	s := start(t, dir)
	s.wantLine("cat alph\t", "A")
	s.wantLine("cat wit\t", "S")
	s.wantLine("cat 'wi\t", "S")
	s.wantLine("cat di\tin\t", "I")
	s.wantLine("hexd\talpine | head -n 1 | cut -c 10-14", " 50 0")
	s.wantLine("greet war\t", "greet from "+dir+": warmly")
	s.wantLine("greet --lo\t", "greet from "+dir+": --loud")
	s.wantLine("gree\tx", "greet from "+dir+": x")
	s.wantLine("f_unction() { echo f; }; : ", "")
	s.wantLine("f_un\t", "f")
	s.wantLine("longvariable=3; :", "")
	s.wantLine("echo $longv\t", "3")
	// Several candidates: first what is common, then the list.
	s.send("cat al\t")
	s.expect("cat alp")
	s.send("\t")
	if list := s.expect("ichor:"); !strings.Contains(list, "alpha.txt  alpine") {
		t.Errorf("the list is %q", list)
	}
	s.expect("cat alp")
	s.wantLine("ine", "P")
}

func TestContinuation(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	for _, lines := range [][]string{
		{"for i in 1 2", "do echo $i", "done", "1\r\n2"},
		{"if true", "then", "echo yes", "fi", "yes"},
		{"echo 'a", "b'", "a\r\nb"},
		{"echo a \\", "b", "a b"},
		{"echo a |", "tr a x", "x"},
		{"cat <<E", "text", "E", "text"},
		{"f() {", "echo f", "}; f", "f"},
	} {
		last := len(lines) - 2
		for _, l := range lines[:last] {
			s.send(l + "\r")
			s.expect("> ")
		}
		s.wantLine(lines[last], lines[last+1])
	}
	s.send("if true\r")
	s.expect("> ")
	s.send("\x03")
	if p := s.expect("ichor:"); !strings.Contains(p, "^C") {
		t.Errorf("ctrl-C shows %q", p)
	}
	if m := s.mark(); m != " [130]" {
		t.Errorf("the exit code is shown as %q", m)
	}
	s.wantLine("echo fresh", "fresh")
}

// interrupt runs a line, presses ctrl-C when it has started and expects the
// prompt. As in other shells, a ctrl-C in the moment between a program's end and
// the shell's return to the foreground reaches nobody: then one presses again.
func (s *session) interrupt(line string) {
	s.t.Helper()
	s.t.Log(line)
	s.send("echo sta''rted; " + line + "\r")
	s.expect("started\r\n")
	time.Sleep(200 * time.Millisecond)
	s.send("\x03")
	for range 20 {
		if s.comes("ichor:", 2*time.Second) {
			break
		}
		s.send("\x03")
	}
	s.expect("ichor:")
	if m := s.mark(); m != " [130]" {
		s.t.Errorf("%s: the prompt shows %q", line, m)
	}
}

// comes waits for a text, but not for ever, and leaves it unread.
func (s *session) comes(text string, patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		there := strings.Contains(s.text.String()[s.read:], text)
		s.mu.Unlock()
		if there {
			return true
		}
	}
	return false
}

func TestCtrlC(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.send("garbage\x03")
	s.expect("^C\r")
	s.expect("ichor:")
	s.mark()
	for _, line := range []string{
		"sleep 100",
		"sleep 100; echo never",
		"while true; do :; done",
		"while true; do /bin/true; done",
		"for i in 1 2 3; do /bin/sleep 100; done",
		"/bin/sleep 100",
		"/bin/sleep 100 | cat",
		"sleep 100 | /bin/cat",
		"cat | /bin/cat",
		"/bin/cat | cat",
		"cat",
		"read x",
		"cat /dev/zero >/dev/null",
		"/bin/sh -c 'sleep 100'",
		"sleep 100 & wait",
		"/bin/sleep 100 & wait",
	} {
		s.interrupt(line)
	}
	s.wantLine("echo alive", "alive")
	s.wantLine("hang &", "")
	s.interrupt("hang")
	s.wantLine("echo alive", "alive")
}

// TestBackgroundSurvivesCtrlC checks that ctrl-C ends only what runs in front.
func TestBackgroundSurvivesCtrlC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	s.wantLine("{ sleep 1; echo own >own; } &", "")
	s.wantLine("/bin/sh -c 'sleep 1; echo f >f' &", "")
	s.interrupt("sleep 100")
	s.interrupt("/bin/sleep 100")
	s.wantLine("wait; cat own f", "own\r\nf")
}

// TestForeground checks that a program which reads the terminal is in its
// foreground process group, and that the shell is again afterwards.
func TestForeground(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	const show = `/bin/sh -c 'set -- $(cat /proc/$$/stat); echo $(( $5 == $8 )) $(( $5 == $1 ))'`
	s.wantLine(show, "1 1")
	s.wantLine("echo x | "+show, "1 0")
	s.wantLine(show, "1 1")
	s.wantLine("set -- $(cat /proc/self/stat); echo $(( $5 == $8 ))", "1")
	// A program reads what is typed, up to ctrl-D.
	s.echo("/bin/cat")
	s.echo("cat")
	s.echo("grep typ")
	// What runs behind does not take the terminal away.
	s.wantLine("while :; do sleep 0.01; done &", "")
	s.wantLine("cat &", "")
	s.wantLine(show, "1 1")
	s.echo("/bin/cat")
	// ctrl-Z does not stop anything.
	s.send("echo sta''rted; /bin/sleep 0.5; echo done\r")
	s.expect("started\r\n")
	s.send("\x1a")
	s.expect("done\r\n")
}

// echo runs a command that prints what is typed.
func (s *session) echo(command string) {
	s.t.Helper()
	s.send("echo sta''rted; " + command + "\r")
	s.expect("started\r\n")
	s.send("typed\r")
	s.expect("typed\r\ntyped\r\n")
	s.send("\x04")
	s.expect("ichor:")
	s.mark()
}

// TestTypeAhead checks that what is typed while a program runs reaches the next
// line.
func TestTypeAhead(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.send("echo sta''rted; sleep 0.3\r")
	s.expect("started\r\n")
	s.send("echo ahe''ad\r")
	s.expect("ahead\r\n")
	s.expect("ichor:")
	s.mark()
	s.send("read x; echo \"<$x>\"\rfor the program\r")
	s.expect("<for the program>")
}

func TestPasteOfLines(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.send("echo fir''st\recho sec''ond\r")
	s.expect("first\r\n")
	s.expect("second\r\n")
}

func TestPager(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.send("seq 1 1000 | less\r")
	s.expect("\r\n23\r\n")
	s.expect("line 23")
	s.send(" ")
	s.expect("line 45")
	s.send("b")
	s.expect("line 23")
	s.send("/777\r")
	s.expect("777\r\n")
	s.send("G")
	s.expect("\r\n1000\r\n")
	s.expect("end")
	s.send("q")
	s.expect("ichor:")
	s.mark()
	s.wantLine("seq 1 5 | less", "1\r\n2\r\n3\r\n4\r\n5")
	s.send("/bin/cat /proc/self/maps /etc/services /etc/services | less\r")
	s.expect("h for help")
	s.send("q")
	s.expect("ichor:")
	s.mark()
	s.wantLine("echo alive", "alive")
	s.send("less /dev/zero\r")
	s.expect("\r\n")
	time.Sleep(200 * time.Millisecond)
	s.send("\x03")
	s.expect("ichor:")
}

func TestColumnsOnTerminal(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"a": "", "b": "", "c": ""})
	s := start(t, dir)
	s.wantLine("ls", "a  b  c")
	s.wantLine("ls | cat", "a\r\nb\r\nc")
}

// TestHangUp checks that the shell leaves when PID 1 or a lost line says so, and
// leaves the terminal usable.
func TestHangUp(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	s.send("echo sta''rted; /bin/sleep 100\r")
	s.expect("started\r\n")
	time.Sleep(100 * time.Millisecond)
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.leave(143)

	s = start(t, t.TempDir())
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.leave(143)
}
