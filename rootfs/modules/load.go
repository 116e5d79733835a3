package modules

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// LoadError says which module could not be loaded. It unwraps to the errno.
type LoadError struct {
	Name, Path, Params string
	Err                error
}

// Error names the module, its file, its parameters and, where it is known,
// what to look at next.
func (e *LoadError) Error() string {
	s := fmt.Sprintf("cannot load module %s: finit_module(%s, %q): %v", e.Name, e.Path, e.Params, e.Err)
	return s + hint(e.Err)
}

// Unwrap returns the errno.
func (e *LoadError) Unwrap() error { return e.Err }

// hint explains the errnos that finit_module(2) uses in its own way.
func hint(err error) string {
	var open *fs.PathError
	switch {
	case errors.As(err, &open):
		return ""
	case errors.Is(err, unix.ENOEXEC):
		return " (not a module for this kernel)"
	case errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.EBADMSG):
		return " (its signature is not one that this kernel trusts)"
	case errors.Is(err, unix.ENOENT):
		return " (it lacks a symbol; the kernel log names it)"
	case errors.Is(err, unix.EINVAL):
		return " (a parameter or symbol version is wrong; the kernel log says which)"
	case errors.Is(err, unix.ENODEV):
		return " (the hardware it drives is not there)"
	case errors.Is(err, unix.EPERM):
		return " (needs CAP_SYS_MODULE, and kernel.modules_disabled=0)"
	}
	return ""
}

// Loader loads modules with what they depend on. Its methods may be called from
// several goroutines: a module that two of them want is loaded once, and both
// wait for it.
type Loader struct {
	*Index
	// Params are parameters by module name, e.g. from CommandLineParams.
	Params map[string]string
	// Log, when set, is told of each module that was loaded.
	Log func(m Module, params string)

	mu      sync.Mutex
	flights map[string]*flight
	insert  func(path, params string) error // finit_module(2)
	live    func(name string) bool
}

// flight is the loading of one module, under way.
type flight struct {
	done chan struct{}
	err  error
}

// NewLoader returns a loader into the running kernel.
func NewLoader(ix *Index) *Loader {
	return &Loader{Index: ix, flights: map[string]*flight{}, insert: finit, live: isLive}
}

// Load loads what a module name, alias or modalias stands for, with all
// dependencies. What is loaded or built in already is fine. params go to the
// modules named, not to their dependencies. An unknown name wraps ErrNotFound;
// a module that does not load gives a *LoadError, and loading goes on with the
// next one that the alias stands for.
func (l *Loader) Load(name string, params ...string) error {
	names, err := l.Resolve(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		errs = append(errs, l.loadOne(n, params))
	}
	return errors.Join(errs...)
}

func (l *Loader) loadOne(name string, params []string) error {
	steps, err := l.plan([]string{name})
	if err != nil {
		return err
	}
	for _, m := range steps {
		all := l.Params[m.Name]
		if m.Name == name {
			all = strings.TrimSpace(all + " " + strings.Join(params, " "))
		}
		if err := l.once(m, all); err != nil && !m.Optional {
			return err
		}
	}
	return nil
}

// once loads a module unless it is loaded, or waits for the caller that is
// loading it and takes its result. A later call asks the kernel again. No
// caller holds one flight while it waits for another, so circular soft
// dependencies cannot block.
func (l *Loader) once(m Module, params string) error {
	if m.Builtin {
		return nil
	}
	l.mu.Lock()
	f, ok := l.flights[m.Name]
	if ok {
		l.mu.Unlock()
		<-f.done
		return f.err
	}
	f = &flight{done: make(chan struct{})}
	l.flights[m.Name] = f
	l.mu.Unlock()

	f.err = l.loadFile(m, params)
	l.mu.Lock()
	delete(l.flights, m.Name)
	l.mu.Unlock()
	close(f.done)
	return f.err
}

func (l *Loader) loadFile(m Module, params string) error {
	if l.live(m.Name) {
		return nil
	}
	path := l.Path(m)
	err := l.insert(path, params)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return &LoadError{Name: m.Name, Path: path, Params: params, Err: err}
	}
	if l.Log != nil {
		l.Log(m, params)
	}
	return nil
}

// isLive asks sysfs whether a module is loaded and initialized. Without sysfs
// the kernel is asked by loading the module.
func isLive(name string) bool {
	b, err := os.ReadFile(filepath.Join("/sys/module", name, "initstate"))
	return err == nil && string(b) == "live\n"
}

// finit loads a file as a module.
func finit(path, params string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	return unix.FinitModule(int(f.Fd()), params, flags)
}
