package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"ichor/applets"
	"ichor/rpc"
)

// jobs is what ctrl-C acts upon: the line that runs, and what runs behind it.
type jobs struct {
	base context.Context
	mu   sync.Mutex
	// endLine ends the statement that runs; nil at the prompt.
	endLine context.CancelCauseFunc
	// behind is the context of background statements.
	behind    context.Context
	endBehind context.CancelCauseFunc
}

type backgroundKey struct{}

func inBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }

// foreground starts a statement that ctrl-C ends. Its context is not cancelled
// when it has run: commands that it put into the background live on with it.
func (j *jobs) foreground() context.Context {
	ctx, cancel := context.WithCancelCause(j.base)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.endLine = cancel
	return ctx
}

// background is the context of statements that end with "&".
func (j *jobs) background() context.Context {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.behind == nil || j.behind.Err() != nil {
		ctx := context.WithValue(j.base, backgroundKey{}, true)
		j.behind, j.endBehind = context.WithCancelCause(ctx)
	}
	return j.behind
}

// done says that no statement runs any more.
func (j *jobs) done() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.endLine = nil
}

// interrupt ends the statement that runs.
func (j *jobs) interrupt() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.endLine != nil {
		j.endLine(errInterrupted)
	}
}

// interruptBehind ends the background statements.
func (j *jobs) interruptBehind() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.endBehind != nil {
		j.endBehind(errInterrupted)
	}
}

// interact is the interactive shell.
func (s *shell) interact(ctx context.Context, in, out *os.File) error {
	t, err := openTerminal(in)
	if err != nil {
		return err
	}
	defer t.restore()
	ctx, hangUp := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer hangUp()
	s.term = t
	s.jobs = &jobs{base: ctx}
	s.history = openHistory(historyFile())
	if s.runner, err = s.newRunner(s.env.Dir, s.environ(), t.file, out, s.env.Err, nil); err != nil {
		return err
	}
	s.runner.Reset()
	defer s.watchSignals()()
	fmt.Fprintf(out, "Ichor %s debugging shell. \"help\" lists the commands, \"help NAME\" explains one.\n"+
		"ctrl-D leaves the shell; \"poweroff\" and \"reboot\" stop the machine.\n", s.env.Version)
	return s.loop(ctx, newEditor(s, out))
}

// watchSignals passes ctrl-C and ctrl-\ on to what runs, until its result is
// called.
func (s *shell) watchSignals() (stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT)
	ended := make(chan struct{})
	rpc.Go("shell signals", func() {
		for {
			select {
			case <-signals:
				s.interrupted()
			case <-ended:
				return
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(ended)
	}
}

// interrupted serves a ctrl-C. The interpreter's wait knows no interruption, so
// what it waits for is ended instead.
func (s *shell) interrupted() {
	s.jobs.interrupt()
	if s.waiting.Load() {
		s.jobs.interruptBehind()
	}
}

// loop reads and runs lines until the user leaves.
func (s *shell) loop(ctx context.Context, ed *editor) error {
	code, text := 0, ""
	for {
		line, err := ed.readLine(ctx, s.prompt(code, text != ""))
		switch {
		case errors.Is(err, errInterrupted):
			code, text = exitInterrupted, ""
			continue
		case err != nil && text != "":
			fmt.Fprintln(ed.out, "the command is not complete")
			fallthrough
		case err != nil:
			return s.bye(ctx, err, code)
		}
		text += line + "\n"
		statements, complete, err := parse(text)
		if !complete {
			continue
		}
		text = ""
		if err != nil {
			fmt.Fprintf(s.env.Err, "%v\n", err)
			code = applets.ExitUsage
			continue
		}
		var leave bool
		if code, leave = s.runStatements(statements, code); leave {
			return exitError(status(code))
		}
	}
}

// bye ends the shell after the end of its input or a signal.
func (s *shell) bye(ctx context.Context, err error, code int) error {
	if ctx.Err() != nil {
		return &applets.ExitError{Code: 128 + int(syscall.SIGTERM)}
	}
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot read the terminal: %w", err)
	}
	return exitError(status(code))
}

func status(code int) error {
	if code == 0 {
		return nil
	}
	return interp.ExitStatus(uint8(code))
}

// parse parses what was typed so far. If more lines must follow, complete is
// false.
func parse(text string) (statements []*syntax.Stmt, complete bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			complete, err = true, fmt.Errorf("the parser crashed: %v", p)
		}
	}()
	file, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if syntax.IsIncomplete(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	body := strings.TrimSuffix(text, "\n")
	slashes := len(body) - len(strings.TrimRight(body, `\`))
	return file.Stmts, slashes%2 == 0, nil
}

// runStatements runs the statements of a line and returns the exit code of the
// last one, and whether the user left.
func (s *shell) runStatements(statements []*syntax.Stmt, code int) (int, bool) {
	if err := s.term.cooked(); err != nil {
		fmt.Fprintf(s.env.Err, "%v\n", err)
	}
	defer s.jobs.done()
	s.leave.Store(false)
	for _, st := range statements {
		ctx := s.jobs.foreground()
		if st.Background {
			ctx = s.jobs.background()
		}
		err := s.runStatement(ctx, st)
		code = s.exitCode(ctx, err)
		if s.runner.Exited() && s.leave.Load() && ctx.Err() == nil {
			return code, true
		}
		if ctx.Err() != nil {
			fmt.Fprintln(s.env.Out)
			break
		}
	}
	s.waiting.Store(false)
	return code, false
}

func (s *shell) runStatement(ctx context.Context, st *syntax.Stmt) (err error) {
	defer recoverInterpreter(&err)
	return s.runner.Run(ctx, st)
}

// exitCode returns the exit code of a statement, and prints an error that no
// command has printed.
func (s *shell) exitCode(ctx context.Context, err error) int {
	var status interp.ExitStatus
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintf(s.env.Err, "shell: %v\n", err)
	return applets.ExitCode(err)
}

// prompt shows where one is and, if it is not 0, the exit code of the last
// command. A long path is cut at its left: the prompt must leave room to type.
func (s *shell) prompt(code int, more bool) string {
	if more {
		return "> "
	}
	const longest = 40
	dir := s.runner.Dir
	if r := []rune(dir); len(r) > longest {
		dir = "..." + string(r[len(r)-longest+3:])
	}
	sign := "#"
	if os.Geteuid() != 0 {
		sign = "$"
	}
	if code != 0 {
		return fmt.Sprintf("ichor:%s [%d]%s ", dir, code, sign)
	}
	return fmt.Sprintf("ichor:%s%s ", dir, sign)
}

// historyFile returns the path of the history, empty if it stays in memory.
func historyFile() string {
	if f := os.Getenv("HISTFILE"); f != "" {
		return f
	}
	if _, err := os.Stat("/system/run"); err == nil {
		return "/system/run/shell_history"
	}
	return ""
}

// pause waits unless the context ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
