// Package applets says what a program of the binary is given when it runs, and
// what a row of the applet table holds. The table itself is in main.go.
//
// Each folder below is one applet. An applet never imports another: they speak
// gRPC over the connections that the table grants.
package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"google.golang.org/grpc"

	"ichor/rpc"
)

// Stdio is the three standard streams of a program.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Env is what a program is given when it runs. An applet uses nothing of its
// process that is not in here, so that the shell can run it in its own process.
type Env struct {
	Stdio
	// Name is the word the program was called by, e.g. "reboot".
	Name string
	// Dir is the folder that relative paths are relative to; empty means the
	// working directory of the process.
	Dir string
	// Version is the version of the binary, stamped at build time.
	Version string
	// Table is the applet table.
	Table Table
	// Bus gives connections to the services which the applet's row grants.
	Bus rpc.Dialer
	// Exec runs a foreign program to its end and returns what it printed. It
	// is nil in an ordinary process, where os/exec does it; PID 1 sets it,
	// since it reaps every child by itself.
	Exec func(ctx context.Context, program string, args ...string) (output []byte, err error)
	// Control is the inherited end of the control socket, when PID 1 started
	// the program, else nil.
	Control *rpc.Control
}

// Path resolves a path given by the user against Dir.
func (e *Env) Path(p string) string {
	if e.Dir == "" || p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(e.Dir, p)
}

// Audience says whom an applet is for; the table is printed in groups of it.
type Audience int

// The audiences, in the order in which they are printed.
const (
	System   Audience = iota // started by the kernel or by PID 1
	Operator                 // people who run machines
	Builder                  // people and scripts that build images
)

// String returns the heading under which the audience's applets are listed.
func (a Audience) String() string {
	switch a {
	case System:
		return "the system itself"
	case Operator:
		return "operators"
	case Builder:
		return "image builders"
	}
	return fmt.Sprintf("audience %d", int(a))
}

// Home says where a service runs.
type Home int

// The homes of a service.
const (
	NoHome    Home = iota // serves nothing
	InProcess             // goroutines of PID 1
	Child                 // a process that PID 1 starts and supervises
)

// String returns the word for the home used in the printed table.
func (h Home) String() string {
	switch h {
	case NoHome:
		return "-"
	case InProcess:
		return "pid 1"
	case Child:
		return "child"
	}
	return fmt.Sprintf("home %d", int(h))
}

// Applet is a row of the applet table.
type Applet struct {
	// Name is the word on the command line and, by Links, the name of a
	// symlink in the root file system.
	Name string
	// Aliases are further names of the same program.
	Aliases  []string
	Audience Audience
	// Summary is one line without a full stop.
	Summary string
	// Run is the program. Its error is printed by the caller, once.
	Run func(ctx context.Context, env *Env, args []string) error

	// Service is the name of the service the applet provides, or empty.
	Service string
	// Register makes the service and registers it. It is nil for a service
	// that lives with the state of PID 1.
	Register func(env *Env, r grpc.ServiceRegistrar) error
	// Home is where the service runs.
	Home Home
	// Calls names the services that the applet may call.
	Calls []string
	// UID is the user the applet runs as when PID 1 starts it.
	UID uint32
	// Capabilities are the ones it keeps then; "all" keeps all.
	Capabilities []string
	// Links are the paths in the root file system that lead to it.
	Links []string
}

// Serve returns what registers the applet's service on a server.
func (a Applet) Serve(env *Env) func(grpc.ServiceRegistrar) error {
	return func(r grpc.ServiceRegistrar) error { return a.Register(env, r) }
}

// Table is the applet table.
type Table []Applet

// Lookup finds an applet by its name or an alias.
func (t Table) Lookup(name string) (Applet, bool) {
	for _, a := range t {
		if a.Name == name {
			return a, true
		}
		for _, alias := range a.Aliases {
			if alias == name {
				return a, true
			}
		}
	}
	return Applet{}, false
}

// Provider finds the applet that serves a service.
func (t Table) Provider(service string) (Applet, bool) {
	for _, a := range t {
		if a.Service == service && service != "" {
			return a, true
		}
	}
	return Applet{}, false
}

// ExitError ends a program with a given exit code. A nil Err prints nothing.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the text of the wrapped error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the wrapped error.
func (e *ExitError) Unwrap() error { return e.Err }

// Exit codes shared by all applets. An applet may define more in its help.
const (
	ExitOK      = 0
	ExitFailure = 1   // the work failed
	ExitUsage   = 2   // the command line is wrong; nothing was done
	ExitUnknown = 127 // no applet of that name
)

// Usagef makes the error for a wrong command line.
func Usagef(format string, a ...any) error {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, a...)}
}

// ExitCode gives the exit code that an error of a program stands for.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.Code
	}
	return ExitFailure
}
