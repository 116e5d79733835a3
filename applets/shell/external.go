package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"ichor/applets"
)

// termGrace is how long a program may take to end after SIGTERM when the shell
// itself is leaving.
const termGrace = 2 * time.Second

// errInterrupted is the cause of a context that ctrl-C cancelled.
var errInterrupted = errors.New("interrupted")

// external runs a program from PATH.
func (s *shell) external(ctx context.Context, c *call) int {
	path, err := interp.LookPathDir(c.dir, c.env, c.name)
	if err != nil {
		return s.notFound(c)
	}
	if script, params, ok := s.shebang(path, c.args); ok {
		return s.inProcess(ctx, c, func(ctx context.Context, c *call) error {
			return s.subshell(ctx, c, script, params)
		})
	}
	code, err := s.spawn(ctx, c, path)
	if errors.Is(err, syscall.ENOEXEC) {
		return s.inProcess(ctx, c, func(ctx context.Context, c *call) error {
			return s.subshell(ctx, c, path, c.args)
		})
	}
	if err != nil {
		fmt.Fprintf(c.err, "%s: cannot run %s: %v\n", c.name, path, reason(err))
		return exitCannotRun
	}
	return code
}

// notFound says why a command cannot be run.
func (s *shell) notFound(c *call) int {
	if strings.Contains(c.name, "/") {
		info, err := os.Stat(c.path(c.name))
		if err == nil {
			why := "it is not executable; try chmod +x"
			if info.IsDir() {
				why = "it is a directory"
			}
			fmt.Fprintf(c.err, "%s: cannot run: %s\n", c.name, why)
			return exitCannotRun
		}
		fmt.Fprintf(c.err, "%s: cannot run: %v\n", c.name, reason(err))
		return exitNotFound
	}
	fmt.Fprintf(c.err, "%s: command not found; \"help\" lists the commands\n", c.name)
	return exitNotFound
}

// shebang finds scripts whose interpreter is a shell that is not there: this
// shell takes its place.
func (s *shell) shebang(path string, args []string) (script string, params []string, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, false
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, 256)).ReadBytes('\n')
	interpreter, ok := shellOf(line)
	if !ok {
		return "", nil, false
	}
	_, err = os.Stat(interpreter)
	return path, args, errors.Is(err, os.ErrNotExist)
}

// shellOf returns the interpreter of a first line "#!/bin/sh".
func shellOf(line []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("#!"))
	words := strings.Fields(string(rest))
	if !ok || len(words) == 0 {
		return "", false
	}
	switch filepath.Base(words[0]) {
	case "sh", "bash", "ash", "dash":
		return words[0], true
	}
	return "", false
}

// subshell runs a script with an interpreter of its own in this process.
func (s *shell) subshell(ctx context.Context, c *call, path string, params []string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", path, reason(err))
	}
	defer f.Close()
	first := make([]byte, 4)
	n, _ := io.ReadFull(f, first)
	if bytes.Equal(first[:n], []byte("\x7fELF")) {
		return &applets.ExitError{Code: exitCannotRun, Err: fmt.Errorf("cannot run %s: it is for another machine", path)}
	}
	return s.runSub(ctx, c, io.MultiReader(bytes.NewReader(first[:n]), f), path, params)
}

// runSub interprets a script in a new interpreter with the call's streams.
func (s *shell) runSub(ctx context.Context, c *call, script io.Reader, name string, params []string) error {
	in := c.in
	if i, ok := in.(*input); ok {
		in = i.r
	}
	runner, err := s.newRunner(c.dir, exported(c.env), in, unguarded(c.out), unguarded(c.err), params)
	if err != nil {
		return err
	}
	return exitError(s.interpret(ctx, runner, script, name))
}

// environment lists the exported variables as programs get them.
func environment(env expand.Environ) []string {
	list := []string{}
	for name, v := range env.Each {
		if v.Exported && v.Kind == expand.String {
			list = append(list, name+"="+v.Str)
		}
	}
	return list
}

func exported(env expand.Environ) expand.Environ { return expand.ListEnviron(environment(env)...) }

// spawn starts a program and waits for it.
func (s *shell) spawn(ctx context.Context, c *call, path string) (int, error) {
	if ctx.Err() != nil {
		return exitInterrupted, nil
	}
	cmd := &exec.Cmd{
		Path: path, Args: append([]string{c.name}, c.args...), Env: environment(c.env), Dir: c.dir,
		Stdin: c.in, Stdout: unguarded(c.out), Stderr: unguarded(c.err),
		SysProcAttr: &syscall.SysProcAttr{},
	}
	if i, ok := c.in.(*input); ok {
		cmd.Stdin = i.r
	}
	start := cmd.Start
	if s.prepare(ctx, cmd) {
		start = func() error { return s.term.lend(cmd) }
	}
	if err := start(); err != nil {
		return 0, err
	}
	if s.term != nil && cmd.Stdin == io.Reader(s.term.given) {
		defer s.term.takeBack()
	}
	stop := context.AfterFunc(ctx, func() { s.end(ctx, cmd) })
	defer stop()
	return s.status(ctx, cmd.Wait())
}

// prepare gives a program that reads the terminal its own process group, which
// is going to be the terminal's foreground group, and a background program one
// that ctrl-C does not reach. Other members of a pipeline stay in the shell's.
func (s *shell) prepare(ctx context.Context, cmd *exec.Cmd) (lent bool) {
	if s.term == nil {
		return false
	}
	reads := cmd.Stdin == io.Reader(s.term.file)
	background := inBackground(ctx)
	switch {
	case reads && background:
		cmd.Stdin = nil
	case reads:
		cmd.Stdin = s.term.given
	}
	cmd.SysProcAttr.Setpgid = reads || background
	return reads && !background
}

// end asks a program to end when its context is cancelled. The terminal has
// told those of the foreground already when ctrl-C is the cause.
func (s *shell) end(ctx context.Context, cmd *exec.Cmd) {
	pid := cmd.Process.Pid
	if cmd.SysProcAttr.Setpgid {
		pid = -pid
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		syscall.Kill(pid, syscall.SIGINT)
		return
	}
	syscall.Kill(pid, syscall.SIGTERM)
	time.AfterFunc(termGrace, func() { cmd.Process.Kill() })
}

// status turns what wait returned into an exit code. A program that ctrl-C
// ended ends the whole line, as one expects of a loop.
func (s *shell) status(ctx context.Context, err error) (int, error) {
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		return 0, err
	}
	status := exit.Sys().(syscall.WaitStatus)
	if !status.Signaled() {
		return status.ExitStatus(), nil
	}
	if status.Signal() == syscall.SIGINT && s.jobs != nil && !inBackground(ctx) {
		s.jobs.interrupt()
	}
	return 128 + int(status.Signal()), nil
}
