package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"

	"ichor/applets"
	"ichor/rpc"
)

// Exit codes beyond those of package applets.
const (
	exitCannotRun   = 126
	exitNotFound    = 127
	exitInterrupted = 128 + int(syscall.SIGINT)
	exitCrash       = 128 + int(syscall.SIGABRT)
	exitPipe        = 128 + int(syscall.SIGPIPE)
)

const (
	// ownMark is put before the name of a utility that replaces a builtin
	// of the interpreter, so that it does not find its own.
	ownMark = "ichor:"
	// patience is how long an interrupted command may take to end before it
	// is left behind.
	patience = time.Second
	// maxFrames bounds the Go stack of nested shell functions: a stack that
	// outgrows Go's limit kills the process, whatever one recovers.
	maxFrames = 20000
)

var errTooDeep = errors.New("functions call each other too deeply; is one calling itself?")

// utility is a row of the shell's table of commands.
type utility struct {
	Name    string
	Group   group
	Usage   string // what follows the name
	Summary string // one line without a full stop
	Example string // one or more lines as typed
	Run     func(context.Context, *call) error
	About   string // more than fits into the summary
	Plain   bool   // takes its arguments without package pflag
}

// call is one run of a utility: all that it may use of the world.
type call struct {
	name string
	args []string
	in   io.Reader
	out  io.Writer
	err  io.Writer
	dir  string
	env  expand.Environ
	sh   *shell
	row  utility
	// code is the exit code if the utility returns no error.
	code int
	// pending is output that is flushed before the next read of an input.
	pending *bufio.Writer
}

// handleExec runs a simple command for the interpreter.
func (s *shell) handleExec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	c := &call{name: args[0], args: args[1:], in: hc.Stdin, out: hc.Stdout, err: hc.Stderr, dir: hc.Dir, env: hc.Env, sh: s}
	if code := s.execute(ctx, c); code != 0 {
		return interp.ExitStatus(uint8(code))
	}
	return nil
}

// replaced tells which builtins of the interpreter give way to utilities.
func replaced(args []string) bool {
	switch args[0] {
	case "help", "kill", "history", "umask", "type":
		return true
	case "command":
		return len(args) > 1 && (args[1] == "-v" || args[1] == "-V")
	}
	return false
}

// beforeCall sees every command, function and builtin before it runs.
func (s *shell) beforeCall(ctx context.Context, args []string) ([]string, error) {
	if runtime.Callers(maxFrames, make([]uintptr, 1)) > 0 {
		return nil, errTooDeep
	}
	if !inBackground(ctx) {
		s.waiting.Store(args[0] == "wait")
	}
	switch args[0] {
	case "exit", "exec":
		s.leave.Store(true)
	case "logout":
		s.leave.Store(true)
		args = append([]string{"exit"}, args[1:]...)
	}
	if replaced(args) {
		args = append([]string{ownMark + args[0]}, args[1:]...)
	}
	return args, nil
}

// execute runs an applet, a utility or a program, and returns its exit code.
func (s *shell) execute(ctx context.Context, c *call) int {
	c.name = strings.TrimPrefix(c.name, ownMark)
	if a, ok := s.applet(c.name); ok {
		return s.inProcess(ctx, c, func(ctx context.Context, c *call) error {
			defer interruptible(ctx, c.in).release()
			return a.Run(ctx, s.appletEnv(c), c.args)
		})
	}
	if u, ok := s.utility(c.name); ok {
		c.row = u
		return s.inProcess(ctx, c, runUtility)
	}
	return s.external(ctx, c)
}

// applet finds an applet that makes sense inside a shell.
func (s *shell) applet(name string) (applets.Applet, bool) {
	a, ok := s.env.Table.Lookup(name)
	return a, ok && a.Name != "init" && a.Name != "shell"
}

func (s *shell) utility(name string) (utility, bool) {
	for _, u := range s.table {
		if u.Name == name {
			return u, true
		}
	}
	return utility{}, false
}

func (s *shell) appletEnv(c *call) *applets.Env {
	env := *s.env
	env.Stdio = applets.Stdio{In: c.in, Out: c.out, Err: c.err}
	env.Name = c.name
	env.Dir = c.dir
	return &env
}

func runUtility(ctx context.Context, c *call) error {
	if c.row.Plain && len(c.args) > 0 && c.args[0] == "--help" {
		c.row.help().Print(c.out, nil)
		return nil
	}
	in := interruptible(ctx, c.in)
	defer in.release()
	in.owner = c
	c.in = in
	c.out = guardedWriter{ctx, c.out}
	c.err = guardedWriter{ctx, c.err}
	return c.row.Run(ctx, c)
}

// inProcess runs fn on a goroutine of its own. One that panics fails alone; one
// that does not end when it is interrupted is left behind.
func (s *shell) inProcess(ctx context.Context, c *call, fn func(context.Context, *call) error) int {
	onTerminal := s.term != nil && c.in == io.Reader(s.term.file)
	switch {
	case c.in == nil, onTerminal && inBackground(ctx):
		c.in = strings.NewReader("")
	case onTerminal:
		s.term.claim()
	}
	done := make(chan int, 1)
	name, errOut := c.name, c.err
	rpc.Go(name, func() { done <- protect(ctx, c, fn) })
	select {
	case code := <-done:
		return code
	case <-ctx.Done():
	}
	select {
	case code := <-done:
		return code
	case <-time.After(patience):
		fmt.Fprintf(errOut, "%s: does not stop; it is left behind\n", name)
		return exitInterrupted
	}
}

// protect runs fn, prints its error and returns the exit code.
func protect(ctx context.Context, c *call, fn func(context.Context, *call) error) (code int) {
	errOut := c.err
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(errOut, "%s: crashed: %v\n%s", c.name, p, debug.Stack())
			code = exitCrash
		}
	}()
	err := fn(ctx, c)
	var exit *applets.ExitError
	switch {
	case err == nil, errors.Is(err, applets.ErrHelp):
		return c.code
	case errors.Is(err, syscall.EPIPE):
		return exitPipe
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &exit) && exit.Err == nil:
		return exit.Code
	}
	fmt.Fprintf(errOut, "%s: %v\n", c.name, err)
	if errors.As(err, &exit) && exit.Code == applets.ExitUsage {
		fmt.Fprintf(errOut, "Try: %s --help\n", c.name)
	}
	return applets.ExitCode(err)
}

func (u utility) help() applets.Help {
	return applets.Help{
		Usage:    []string{strings.TrimSpace(u.Name + " " + u.Usage)},
		About:    strings.TrimSpace(capital(u.Summary) + ".\n" + u.About),
		Examples: strings.Split(u.Example, "\n"),
	}
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// flags makes the flag set of a utility.
func (c *call) flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	flags.Usage = func() {}
	return flags
}

// parse parses the arguments. It leaves -h to the utilities, which use it for
// sizes, and returns applets.ErrHelp when it has printed the help.
func (c *call) parse(flags *pflag.FlagSet) error {
	help := flags.Bool("help", false, "show this help")
	err := flags.Parse(c.args)
	if errors.Is(err, pflag.ErrHelp) || (err == nil && *help) {
		c.row.help().Print(c.out, flags)
		return applets.ErrHelp
	}
	if err != nil {
		return applets.Usagef("%w", err)
	}
	return nil
}

// numbered turns the old "-5" into "-n5" (for flag "n"), unless it is the value
// of a flag.
func numbered(args []string, flag string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		isValue := i > 0 && len(args[i-1]) == 2 && args[i-1][0] == '-' && strings.Contains("nc", args[i-1][1:])
		if !isValue && len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9' {
			a = "-" + flag + a[1:]
		}
		out[i] = a
	}
	return out
}

// path resolves a path given by the user.
func (c *call) path(p string) string {
	if p == "" || p[0] == '/' {
		return p
	}
	// Not filepath.Join, which would drop what a final slash means.
	return strings.TrimSuffix(c.dir, "/") + "/" + p
}

// getenv returns an exported or shell variable.
func (c *call) getenv(name string) string { return c.env.Get(name).String() }

// warn prints a message and makes the exit code 1, unless it is larger.
func (c *call) warn(format string, a ...any) {
	fmt.Fprintf(c.err, c.name+": "+format+"\n", a...)
	c.code = max(c.code, applets.ExitFailure)
}

// cannot is warn for an operation that failed on a file.
func (c *call) cannot(op, path string, err error) {
	c.warn("cannot %s '%s': %v", op, path, reason(err))
}

// reason strips the operation and the path that package os puts before the
// reason of a failure: our messages name them as the user gave them.
func reason(err error) error {
	var path *os.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	case errors.As(err, &call):
		return call.Err
	}
	return err
}

// stopped tells whether an error must end a utility at once: the reader of its
// output is gone or the user interrupted it.
func stopped(ctx context.Context, err error) bool {
	return errors.Is(err, syscall.EPIPE) || ctx.Err() != nil
}

// inputs calls fn for each named file, or for the standard input if there is no
// name or the name is "-". A failure on one file does not keep it from the rest.
func (c *call) inputs(ctx context.Context, names []string, fn func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if err := c.input(ctx, name, fn); err != nil {
			if stopped(ctx, err) {
				return err
			}
			c.cannot("read", name, err)
		}
	}
	return nil
}

func (c *call) input(ctx context.Context, name string, fn func(string, io.Reader) error) error {
	if name == "-" {
		return fn("standard input", c.in)
	}
	f, err := c.open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	return fn(name, f)
}
