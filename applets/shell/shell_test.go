package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ichor/applets"
)

// table is an applet table with an applet that greets and one that crashes.
func testTable() applets.Table {
	return applets.Table{
		{Name: "greet", Aliases: []string{"hello"}, Audience: applets.Operator, Summary: "greet", Run: greet},
		{Name: "crash", Audience: applets.Operator, Run: func(context.Context, *applets.Env, []string) error { panic("ouch") }},
		{Name: "fail", Audience: applets.System, Run: func(context.Context, *applets.Env, []string) error {
			return &applets.ExitError{Code: 9, Err: errors.New("cannot go on")}
		}},
		{Name: "hang", Audience: applets.Builder, Run: func(context.Context, *applets.Env, []string) error {
			time.Sleep(time.Minute)
			return nil
		}},
		{Name: "shell", Run: Run},
		{Name: "init", Run: func(context.Context, *applets.Env, []string) error { panic("init must not run in a shell") }},
		{Name: "uptime", Run: func(_ context.Context, env *applets.Env, _ []string) error {
			fmt.Fprintln(env.Out, "the applet wins")
			return nil
		}},
	}
}

func greet(_ context.Context, env *applets.Env, args []string) error {
	if slices.Contains(args, "--help") {
		fmt.Fprint(env.Out, "Usage: greet\n\nCommands:\n  warmly   with a smile\n  coldly   without\n\nFlags:\n      --loud   shout\n  -h, --help   show this help\n")
		return nil
	}
	fmt.Fprintf(env.Out, "%s from %s: %s\n", env.Name, env.Dir, strings.Join(args, ","))
	return nil
}

// buffer is a bytes.Buffer that the parts of a pipeline may share.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run runs a script with -c in a folder and returns what it printed.
func run(t *testing.T, dir, script string, args ...string) (out, errOut string, code int) {
	t.Helper()
	return runWithInput(t, dir, "", script, args...)
}

func runWithInput(t *testing.T, dir, in, script string, args ...string) (out, errOut string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var o, e buffer
	env := &applets.Env{Stdio: applets.Stdio{In: strings.NewReader(in), Out: &o, Err: &e}, Name: "shell", Dir: dir, Version: "test", Table: testTable()}
	err := Run(ctx, env, append([]string{"-c", script}, args...))
	var exit *applets.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.Err == nil) {
		fmt.Fprintln(&e, err)
	}
	return o.String(), e.String(), applets.ExitCode(err)
}

// missing skips a test that needs what is not there; not in CI.
func missing(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// write writes files into a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLanguage(t *testing.T) {
	for _, tt := range []struct {
		name, script, out, err string
		code                   int
	}{
		{name: "nothing", script: ""},
		{name: "echo", script: "echo hello", out: "hello\n"},
		{name: "exit code", script: "exit 7", code: 7},
		{name: "last code", script: "true; false", code: 1},
		{name: "pipe", script: "seq 5 | tail -n 2 | tr 4 x", out: "x\n5\n"},
		{name: "redirection", script: "echo a >f; echo b >>f; cat <f; cat f 2>&1 | wc -l", out: "a\nb\n2\n"},
		{name: "globbing", script: "touch b a c.x; echo *; echo *.x", out: "a b c.x\nc.x\n"},
		{name: "variables", script: `x=5; y="$x $((x+1))"; echo "$y" ${#y}`, out: "5 6 3\n"},
		{name: "functions", script: `f() { echo "<$1>"; return 3; }; f a; echo $?`, out: "<a>\n3\n"},
		{name: "if", script: "if grep -q x f 2>/dev/null; then echo y; else echo n; fi", out: "n\n"},
		{name: "for", script: "for i in 1 2; do echo $i; done | sort -r", out: "2\n1\n"},
		{name: "while", script: "n=0; while [ $n -lt 3 ]; do n=$((n+1)); done; echo $n", out: "3\n"},
		{name: "read", script: "printf 'a b\\nc d\\n' | while read x y; do echo $y$x; done", out: "ba\ndc\n"},
		{name: "background", script: "(sleep 0.05; echo b) & echo a; wait", out: "a\nb\n"},
		{name: "heredoc", script: "cat <<E | tr a-z A-Z\nx $((1+1))\nE\n", out: "X 2\n"},
		{name: "substitution", script: "echo $(echo a; echo b) `echo c`", out: "a b c\n"},
		{name: "cd", script: "mkdir d; cd d; touch x; ls; cd ..; ls", out: "x\nd\n"},
		{name: "set -e", script: "set -e; false; echo no", code: 1},
		{name: "syntax", script: "echo )", code: 2, err: "shell:1:6: a command can only contain words and redirects; encountered `)`\n"},
		{name: "program", script: "/bin/sh -c 'echo $0 $1' zero one", out: "zero one\n"},
		{name: "program's code", script: "/bin/sh -c 'exit 42'", code: 42},
		{name: "program's signal", script: "/bin/sh -c 'kill -9 $$'", code: 137},
		{name: "exported only", script: `a=1; export b=2; /bin/sh -c 'echo "<$a$b>"'`, out: "<2>\n"},
		{name: "program in a pipe", script: "seq 3 | /bin/cat | wc -l", out: "3\n"},
		{name: "not found", script: "nosuchthing", code: 127, err: "nosuchthing: command not found; \"help\" lists the commands\n"},
		{name: "no such path", script: "./nosuchthing", code: 127, err: "./nosuchthing: cannot run: no such file or directory\n"},
		{name: "folder", script: "mkdir d; ./d", code: 126, err: "./d: cannot run: it is a directory\n"},
		{name: "not executable", script: "touch f; ./f", code: 126, err: "./f: cannot run: it is not executable; try chmod +x\n"},
		{name: "shell that is not there", script: "printf '#!/nosuch/sh\\necho got $1\\nexit 4\\n' >s; chmod +x s; ./s it", out: "got it\n", code: 4},
		{name: "script without interpreter", script: "printf 'echo got $1\\n' >s; chmod +x s; ./s it", out: "got it\n"},
		{name: "sh -c", script: "x=1; sh -c 'echo [$x] $1; exit 3' zero one", out: "[] one\n", code: 3},
		{name: "sh script", script: "echo 'echo $1' >s; sh s a", out: "a\n"},
		{name: "sh input", script: "echo 'echo in' | sh", out: "in\n"},
		{name: "applet", script: "mkdir d; cd d; greet a b | cut -d' ' -f1,4", out: "greet a,b\n"},
		{name: "alias of applet", script: "hello | cut -d' ' -f1", out: "hello\n"},
		{name: "applet's code", script: "fail", code: 9, err: "fail: cannot go on\n"},
		{name: "applets before utilities", script: "uptime", out: "the applet wins\n"},
		{name: "no init", script: "PATH=; init", code: 127, err: "init: command not found; \"help\" lists the commands\n"},
		{name: "broken pipe", script: "set -o pipefail; seq 1000000 | head -1", out: "1\n", code: 141},
		{name: "command -v", script: "command -v ls greet cd; command -v nosuch", out: "ls\ngreet\ncd\n", code: 1},
		{name: "type", script: "type ls greet cd if", out: "ls is a utility of the shell\ngreet is an applet of Ichor\ncd is a builtin of the shell\nif is a keyword of the shell\n"},
		{name: "which", script: "PATH=/bin; which sh cat env; which mkfs.nothing", out: "sh is a utility of the shell\ncat is a utility of the shell\nenv is a utility of the shell\n", err: "which: mkfs.nothing: not found\n", code: 1},
		{name: "exec", script: "exec echo last; echo never", out: "last\n"},
		{name: "trap", script: "trap 'echo bye' EXIT; echo hi", out: "hi\nbye\n"},
		{name: "usage", script: "head -n x", code: 2, err: "head: \"x\" is not a number\nTry: head --help\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, errOut, code := run(t, t.TempDir(), tt.script)
			if out != tt.out || errOut != tt.err || code != tt.code {
				t.Errorf("%s\n got %q, %q, %d\nwant %q, %q, %d", tt.script, out, errOut, code, tt.out, tt.err, tt.code)
			}
		})
	}
}

func TestParameters(t *testing.T) {
	out, _, _ := run(t, t.TempDir(), `echo "$# $1 $2"`, "name", "a", "-b")
	if out != "2 a -b\n" {
		t.Errorf("got %q", out)
	}
}

func TestCrashOfUtility(t *testing.T) {
	out, errOut, code := run(t, t.TempDir(), "crash; echo $?; crash | cat; echo alive")
	if out != "134\nalive\n" || code != 0 || !strings.Contains(errOut, "crash: crashed: ouch") {
		t.Errorf("got %q, %q, %d", out, errOut, code)
	}
}

func TestEndlessRecursion(t *testing.T) {
	_, errOut, code := run(t, t.TempDir(), "f() { f; }; f")
	if code != 1 || !strings.Contains(errOut, "too deeply") {
		t.Errorf("got %q, %d", errOut, code)
	}
	out, _, _ := run(t, t.TempDir(), "f() { if [ $1 -gt 0 ]; then f $(($1-1)); else echo deep; fi; }; f 150")
	if out != "deep\n" {
		t.Errorf("150 nested calls: got %q", out)
	}
}

func TestHangingAppletIsLeftBehind(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	var o, e buffer
	env := &applets.Env{Stdio: applets.Stdio{In: strings.NewReader(""), Out: &o, Err: &e}, Dir: t.TempDir(), Table: testTable()}
	err := Run(ctx, env, []string{"-c", "hang"})
	if applets.ExitCode(err) != 130 || !strings.Contains(e.String(), "left behind") {
		t.Errorf("got %v, %q", err, e.String())
	}
}

func TestInterruptions(t *testing.T) {
	for _, script := range []string{"sleep 100", "while true; do :; done", "cat fifo", "read x <fifo", "tail -f file", "yes() { while :; do echo y; done; }; yes | cat >/dev/null",
		"/bin/sleep 100", "seq 1 1000000000 >/dev/null", "sleep 100 | cat", "dd if=/dev/zero of=/dev/null", "cat /dev/zero | hexdump -v >/dev/null"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{"file": "x\n"})
			if err := exec.Command("mkfifo", filepath.Join(dir, "fifo")).Run(); err != nil {
				missing(t, err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(200*time.Millisecond, cancel)
			var o, e buffer
			env := &applets.Env{Stdio: applets.Stdio{In: strings.NewReader(""), Out: &o, Err: &e}, Dir: dir, Table: testTable()}
			done := make(chan error, 1)
			go func() { done <- Run(ctx, env, []string{"-c", script}) }()
			select {
			case err := <-done:
				if applets.ExitCode(err) == 0 {
					t.Errorf("it ended by itself: %q", e.String())
				}
			case <-time.After(20 * time.Second):
				t.Error("it does not stop")
			}
			if strings.Contains(e.String(), "left behind") {
				t.Errorf("it had to be left behind: %s", e.String())
			}
		})
	}
}

func TestScriptFile(t *testing.T) {
	dir := write(t, map[string]string{"s": "echo \"$1\"; exit 5\n"})
	var o, e buffer
	env := &applets.Env{Stdio: applets.Stdio{In: strings.NewReader(""), Out: &o, Err: &e}, Dir: dir}
	err := Run(context.Background(), env, []string{"s", "arg"})
	if o.String() != "arg\n" || applets.ExitCode(err) != 5 {
		t.Errorf("got %q, %v", o.String(), err)
	}
	err = Run(context.Background(), env, []string{"nosuch"})
	if applets.ExitCode(err) != 127 || !strings.Contains(err.Error(), "cannot open the script nosuch") {
		t.Errorf("got %v", err)
	}
}

func TestScriptFromPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var o, e buffer
	env := &applets.Env{Stdio: applets.Stdio{In: r, Out: &o, Err: &e}, Dir: t.TempDir()}
	done := make(chan error, 1)
	go func() { done <- Run(context.Background(), env, nil) }()
	fmt.Fprint(w, "echo one; echo two >f\nfor i in a b\ndo cat f; done\nexit 6\necho never\n")
	w.Close()
	if err := <-done; applets.ExitCode(err) != 6 {
		t.Errorf("got %v", err)
	}
	if o.String() != "one\ntwo\ntwo\n" {
		t.Errorf("got %q", o.String())
	}
}

// TestIssueList compares the table with the list of utilities that the shell is
// asked to have.
func TestIssueList(t *testing.T) {
	const wanted = "ls cat cp mv rm mkdir ln ps kill dmesg df du free find grep head tail sort wc xargs hexdump stat id uname date sleep env lsmod ip ping " +
		"touch chmod mktemp tar gzip shasum base64 clear which sync uptime hostname readlink tee cut tr uniq seq mountpoint more less help"
	s := &shell{env: &applets.Env{}, table: utilities()}
	for _, name := range strings.Fields(wanted) {
		if _, ok := s.utility(name); !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, u := range utilities() {
		if seen[u.Name] {
			t.Errorf("%s is there twice", u.Name)
		}
		seen[u.Name] = true
		if u.Summary == "" || u.Example == "" || u.Run == nil || !slices.Contains(groups(), u.Group) {
			t.Errorf("the row of %s is not complete", u.Name)
		}
		if strings.HasSuffix(u.Summary, ".") || len(u.Summary) > 60 {
			t.Errorf("the summary of %s is not a short line without a full stop", u.Name)
		}
	}
}

// TestHelp asks every utility for help and looks at the lines.
func TestHelp(t *testing.T) {
	for _, u := range utilities() {
		name := u.Name
		if replaced([]string{name}) {
			name = ownMark + name
		}
		s := &shell{env: &applets.Env{}, table: utilities()}
		var out, errOut bytes.Buffer
		c := &call{name: name, args: []string{"--help"}, out: &out, err: &errOut, dir: "/", env: s.environ(), sh: s}
		if code := s.execute(context.Background(), c); code != 0 {
			t.Errorf("%s --help: exit code %d: %s", u.Name, code, errOut.String())
		}
		if !strings.HasPrefix(out.String(), "Usage: "+u.Name) || !strings.Contains(out.String(), "Examples:\n  ") {
			t.Errorf("%s --help is not of the common form:\n%s", u.Name, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 81 && !strings.HasPrefix(line, "Usage") {
				t.Errorf("%s --help: a line of %d characters: %s", u.Name, len(line), line)
			}
		}
	}
}

func TestHelpLists(t *testing.T) {
	out, _, code := run(t, t.TempDir(), "help")
	for line := range strings.Lines(out) {
		if len(line) > 81 {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
	words := strings.Fields(out)
	for _, name := range []string{"greet", "hello", "ls", "xargs", "cd", "poweroff"} {
		if has := slices.Contains(words, name); has != (name != "poweroff") {
			t.Errorf("help lists %s: %v", name, has)
		}
	}
	if code != 0 || slices.Contains(words, "init") {
		t.Errorf("exit code %d, or init is listed", code)
	}
	out, _, _ = run(t, t.TempDir(), "help grep; help greet; help cd; help if")
	for _, want := range []string{"Usage: grep", "Usage: greet", "cd is part of the shell", "if is part of the shell"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing from %s", want, out)
		}
	}
	if _, errOut, code := run(t, t.TempDir(), "help nosuch"); code != 1 || !strings.Contains(errOut, "no help on \"nosuch\"") {
		t.Errorf("got %q, %d", errOut, code)
	}
}
