// Package shell is the debugging shell: a POSIX-like shell with its utilities
// inside, for the serial console of a machine that holds nothing but Ichor, and
// for trying things out on any Linux.
//
// The language is mvdan.cc/sh. Utilities and applets are functions that run in
// the shell's own process with their own streams, folder and environment; one
// that panics fails alone, and one that hangs is left behind at ctrl-C. The
// utilities are a literal table, in table.go.
//
// The line editor is golang.org/x/term: it never asks the terminal anything,
// which would hang on a dumb serial line, and takes its input byte by byte, so
// that what is typed ahead reaches the program it was meant for.
// reeflective/readline asks for the cursor's position; chzyer/readline and
// peterh/liner read ahead in a goroutine, which steals input from programs.
//
// It is not a shell to write software for: no job control, and the utilities
// know only the options one needs to find out what is wrong with a machine.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/pflag"
	"golang.org/x/term"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"ichor/applets"
)

const defaultPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// help describes the applet itself; the shell's own commands are in table.go.
func help() applets.Help {
	return applets.Help{
		Usage: []string{"shell [-c COMMANDS [NAME [ARG...]]]", "shell SCRIPT [ARG...]"},
		About: `A shell with its utilities inside, for finding out what is wrong with a machine.
Without arguments it is interactive if its input is a terminal, and otherwise
runs the script it reads. In it, "help" lists the commands, "help NAME" explains
one; a command is first sought among the applets of Ichor, then among the
shell's utilities, then in PATH.

The interactive shell keeps its history in $HISTFILE, or in
/system/run/shell_history where that can be written, or else in memory.`,
		Examples: []string{
			"ichor shell",
			"ichor shell -c 'dmesg -l err | tail -5'",
			"# how large are the folders of /var?",
			"ichor shell -c 'du -hd1 /var | sort -h'",
		},
		Exit: "126 a command cannot\n  be run, 127 there is no such command, 130 interrupted, 134 a utility crashed;\n  else that of the last command",
	}
}

// shell is one running shell.
type shell struct {
	env    *applets.Env
	table  []utility
	runner *interp.Runner

	// The rest serves the interactive shell only.
	term    *terminal // nil in a script
	history *history
	jobs    *jobs
	leave   atomic.Bool // exit was called
	waiting atomic.Bool // wait was called
}

// Run is the shell applet.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	flags := pflag.NewFlagSet("shell", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	commands := flags.StringP("command", "c", "", "run `COMMANDS` and exit")
	if err := help().Parse(env, flags, args); err != nil {
		if errors.Is(err, applets.ErrHelp) {
			return nil
		}
		return err
	}
	s := &shell{env: env, table: utilities()}
	if flags.Changed("command") {
		return s.runScript(ctx, strings.NewReader(*commands), env.Name, after(flags.Args(), 1))
	}
	if flags.NArg() > 0 {
		return s.runFile(ctx, flags.Arg(0), flags.Args()[1:])
	}
	in, out, ok := console(env)
	if !ok {
		return s.runScript(ctx, env.In, "stdin", nil)
	}
	return s.interact(ctx, in, out)
}

// after returns the arguments from the nth on.
func after(args []string, n int) []string {
	return args[min(n, len(args)):]
}

// console returns the terminal that the program's streams are, if they are one.
func console(env *applets.Env) (in, out *os.File, ok bool) {
	in, isFile := env.In.(*os.File)
	out, isFile2 := env.Out.(*os.File)
	if !isFile || !isFile2 {
		return nil, nil, false
	}
	ok = term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
	return in, out, ok
}

func (s *shell) runFile(ctx context.Context, path string, args []string) error {
	f, err := os.Open(s.env.Path(path))
	if err != nil {
		return &applets.ExitError{Code: exitNotFound, Err: fmt.Errorf("cannot open the script %s: %w", path, reason(err))}
	}
	defer f.Close()
	return s.runScript(ctx, f, path, args)
}

// runScript runs a script: all of it at once, or as it comes in if it is what
// the shell was given as its input.
func (s *shell) runScript(ctx context.Context, script io.Reader, name string, args []string) error {
	in := s.env.In
	piped := script == in
	if piped {
		in = nil
	}
	runner, err := s.newRunner(s.env.Dir, s.environ(), in, s.env.Out, s.env.Err, args)
	if err != nil {
		return err
	}
	s.runner = runner
	if piped {
		err = s.interpretStream(ctx, runner, script)
	} else {
		err = s.interpret(ctx, runner, script, name)
	}
	if err == nil {
		// The last command of a pipe may well end when the first is interrupted.
		err = ctx.Err()
	}
	return exitError(err)
}

// interpret parses and runs a whole script.
func (s *shell) interpret(ctx context.Context, runner *interp.Runner, script io.Reader, name string) (err error) {
	defer recoverInterpreter(&err)
	file, err := syntax.NewParser().Parse(script, name)
	if err != nil {
		return &applets.ExitError{Code: applets.ExitUsage, Err: err}
	}
	return runner.Run(ctx, file)
}

// interpretStream runs each statement as soon as it is complete.
func (s *shell) interpretStream(ctx context.Context, runner *interp.Runner, script io.Reader) (err error) {
	defer recoverInterpreter(&err)
	parser := syntax.NewParser()
	for statements, perr := range parser.InteractiveSeq(script) {
		if perr != nil {
			return &applets.ExitError{Code: applets.ExitUsage, Err: perr}
		}
		if parser.Incomplete() {
			continue
		}
		for _, st := range statements {
			err = runner.Run(ctx, st)
			if runner.Exited() {
				return err
			}
		}
	}
	return err
}

// recoverInterpreter makes an error of a panic in the interpreter itself.
func recoverInterpreter(err *error) {
	if p := recover(); p != nil {
		*err = &applets.ExitError{Code: exitCrash, Err: fmt.Errorf("the shell's interpreter crashed: %v", p)}
	}
}

// exitError turns the interpreter's exit status into the program's, without a
// message: the command that failed has printed its own.
func exitError(err error) error {
	var status interp.ExitStatus
	var exit *applets.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return err
	case errors.As(err, &status):
		return &applets.ExitError{Code: int(status)}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &applets.ExitError{Code: exitInterrupted}
	}
	return err
}

// environ is the environment of the process with what a shell needs filled in:
// PID 1 starts the shell with next to nothing.
func (s *shell) environ() expand.Environ {
	env := os.Environ()
	for _, d := range [][2]string{{"PATH", defaultPath}, {"HOME", "/"}, {"TERM", "vt220"}} {
		if os.Getenv(d[0]) == "" {
			env = append(env, d[0]+"="+d[1])
		}
	}
	return expand.ListEnviron(env...)
}

// newRunner makes an interpreter whose commands are ours.
func (s *shell) newRunner(dir string, env expand.Environ, in io.Reader, out, errOut io.Writer, params []string) (*interp.Runner, error) {
	runner, err := interp.New(
		interp.Env(env),
		interp.Dir(dir),
		interp.Interactive(s.term != nil),
		interp.StdIO(in, out, errOut),
		interp.Params(append([]string{"--"}, params...)...),
		interp.CallHandler(s.beforeCall),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.handleExec }),
		interp.OpenHandler(openHandler),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot start the interpreter in %q: %w", dir, err)
	}
	return runner, nil
}
