// Package modules finds and loads kernel modules by the text index that depmod
// writes: modules.dep, modules.alias, modules.softdep, modules.builtin.
//
// Use an Index to ask what a name or a device's modalias stands for, and a
// Loader to load it. To list or remove loaded modules read /proc/modules and
// call delete_module(2) instead: this package does neither.
package modules

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNotFound says that no module and no alias has the name asked for.
var ErrNotFound = errors.New("no such module or alias")

// Module is one step of a plan.
type Module struct {
	// Name is the name in the kernel's spelling, with underscores.
	Name string
	// Path is relative to the module folder; empty when built in.
	Path string
	// Builtin modules are part of the kernel: there is nothing to load.
	Builtin bool
	// Optional modules come from a soft dependency and may fail to load.
	Optional bool
}

// Index answers what there is to load. Its methods may be called from several
// goroutines.
type Index struct {
	dir  string
	deps map[string]string // name to line of modules.dep

	aliases  func() (*aliases, error)
	symbols  func() (*aliases, error)
	softdeps func() (map[string]softdep, error)
	builtin  func() (*builtin, error)
}

// Open reads the index of a kernel release below root; an empty release means
// that of the running kernel. Only modules.dep must exist; the other files are
// read when they are first needed.
func Open(root, release string) (*Index, error) {
	if release == "" {
		var err error
		if release, err = Release(); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(root, "usr/lib/modules", release)
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Join(root, "lib/modules", release)
	}
	return OpenDir(dir)
}

// OpenDir is Open with the module folder itself, e.g. /usr/lib/modules/6.1.0.
func OpenDir(dir string) (*Index, error) {
	text, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("cannot read module index: %w (depmod writes it)", err)
	}
	deps, err := parseDep(string(text))
	if err != nil {
		return nil, fmt.Errorf("cannot read module index %s: %w", filepath.Join(dir, "modules.dep"), err)
	}
	return &Index{
		dir:      dir,
		deps:     deps,
		aliases:  lazily(dir, "modules.alias", parseAlias),
		symbols:  lazily(dir, "modules.symbols", parseAlias),
		softdeps: lazily(dir, "modules.softdep", parseSoftdep),
		builtin: sync.OnceValues(func() (*builtin, error) {
			return readBuiltin(dir)
		}),
	}, nil
}

// Release returns the release of the running kernel, as uname -r prints it.
func Release() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("cannot tell kernel release: uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// lazily reads and parses a file of the index at its first use. A file that
// does not exist is an empty one.
func lazily[T any](dir, name string, parse func(string) (T, error)) func() (T, error) {
	return sync.OnceValues(func() (v T, err error) {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return v, fmt.Errorf("cannot read module index: %w", err)
		}
		if v, err = parse(string(text)); err != nil {
			return v, fmt.Errorf("cannot read module index %s: %w", path, err)
		}
		return v, nil
	})
}

// Dir is the module folder.
func (ix *Index) Dir() string { return ix.dir }

// Path returns the absolute path of a module's file, empty when built in.
func (ix *Index) Path(m Module) string {
	if m.Path == "" {
		return ""
	}
	return filepath.Join(ix.dir, m.Path)
}

// Names returns every loadable module's name in the order of modules.dep.
func (ix *Index) Names() []string {
	names := make([]string, 0, len(ix.deps))
	for name := range ix.deps {
		names = append(names, name)
	}
	return sorted(names)
}

// Resolve returns the modules that a name, an alias or a modalias stands for:
// a name stands for itself, an alias for all modules with a matching pattern.
// The error wraps ErrNotFound when there is none.
func (ix *Index) Resolve(name string) ([]string, error) {
	norm := normalize(name)
	if _, ok := ix.deps[norm]; ok {
		return []string{norm}, nil
	}
	find := ix.aliases
	if strings.HasPrefix(norm, "symbol:") {
		find = ix.symbols
	}
	table, err := find()
	if err != nil {
		return nil, err
	}
	if found := table.match(norm); len(found) > 0 {
		return found, nil
	}
	b, err := ix.builtin()
	if err != nil {
		return nil, err
	}
	if b.names[norm] {
		return []string{norm}, nil
	}
	if found := b.aliases.match(norm); len(found) > 0 {
		return found, nil
	}
	return nil, fmt.Errorf("cannot find %q in %s: %w", name, ix.dir, ErrNotFound)
}

// Plan returns what loading a name or an alias means: every module in the
// order in which it has to be loaded, each once.
func (ix *Index) Plan(name string) ([]Module, error) {
	names, err := ix.Resolve(name)
	if err != nil {
		return nil, err
	}
	return ix.plan(names)
}

func (ix *Index) plan(names []string) ([]Module, error) {
	soft, err := ix.softdeps()
	if err != nil {
		return nil, err
	}
	p := &planner{ix: ix, soft: soft, visited: map[string]bool{}, at: map[string]int{}}
	for _, n := range names {
		p.probe(n, true)
	}
	return p.steps, nil
}

// Closure returns the modules to load for all names together, in order, each
// once. It is the list of files that an initramfs needs for them.
func (ix *Index) Closure(names ...string) ([]Module, error) {
	var all []string
	for _, n := range names {
		found, err := ix.Resolve(n)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return ix.plan(all)
}

// planner walks dependencies as kmod does: soft dependencies to be loaded
// before, the module, soft dependencies to be loaded after.
type planner struct {
	ix      *Index
	soft    map[string]softdep
	visited map[string]bool
	steps   []Module
	at      map[string]int // name to index in steps
}

func (p *planner) probe(name string, required bool) {
	if p.visited[name] && !required {
		return
	}
	if p.visited[name] {
		p.require(name)
		return
	}
	p.visited[name] = true
	for _, dep := range p.ix.needs(name) {
		p.fill(dep, required)
	}
	p.fill(name, required)
}

// require marks a module, met earlier as optional, and its dependencies.
func (p *planner) require(name string) {
	for _, n := range append(p.ix.needs(name), name) {
		if i, ok := p.at[n]; ok {
			p.steps[i].Optional = false
		}
	}
}

func (p *planner) fill(name string, required bool) {
	soft := p.soft[name]
	p.probeSoft(soft.pre)
	p.add(name, required)
	p.probeSoft(soft.post)
}

// probeSoft plans what a soft dependency names; unknown names are dropped, as
// they often stand for algorithms that are built in.
func (p *planner) probeSoft(aliases []string) {
	for _, alias := range aliases {
		names, err := p.ix.Resolve(alias)
		if err != nil {
			continue
		}
		for _, n := range names {
			p.probe(n, false)
		}
	}
}

func (p *planner) add(name string, required bool) {
	if i, ok := p.at[name]; ok {
		p.steps[i].Optional = p.steps[i].Optional && !required
		return
	}
	p.at[name] = len(p.steps)
	path, ok := p.ix.path(name)
	p.steps = append(p.steps, Module{Name: name, Path: path, Builtin: !ok, Optional: !required})
}

// path returns the file of a loadable module.
func (ix *Index) path(name string) (string, bool) {
	line, ok := ix.deps[name]
	path, _, _ := strings.Cut(line, ":")
	return path, ok
}

// needs returns the names of all modules that a module depends on, the first
// to load first: depmod writes the whole closure, the last to load first.
func (ix *Index) needs(name string) []string {
	_, list, _ := strings.Cut(ix.deps[name], ":")
	fields := strings.Fields(list)
	names := make([]string, 0, len(fields)+1)
	for i := len(fields) - 1; i >= 0; i-- {
		names = append(names, nameOf(fields[i]))
	}
	return names
}
