package main

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ichor/applets"
)

func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(context.Background(), args, applets.Stdio{In: strings.NewReader(""), Out: &out, Err: &err})
	return code, out.String(), err.String()
}

func TestDispatch(t *testing.T) {
	for _, test := range []struct {
		args   []string
		code   int
		out    string // a part of it
		errOut string
	}{
		{[]string{"/usr/bin/ichor", "--list"}, 0, "For operators:", ""},
		{[]string{"ichor"}, 0, "poweroff, reboot, halt", ""},
		{[]string{"ichor", "--version"}, 0, "ichor dev", ""},
		{[]string{"ichor", "applets"}, 0, "/usr/sbin/init", ""},
		{[]string{"ichor", "applets", "-o", "json"}, 0, `"service": "machine"`, ""},
		{[]string{"ichor", "applets", "-o", "xml"}, 2, "", "use table, json or yaml"},
		{[]string{"ichor", "frobnicate"}, 127, "", `no applet "frobnicate"`},
		{[]string{"frobnicate"}, 127, "", "For operators:"},
		{[]string{"/sbin/init"}, 2, "", "as the first process only"},
		{[]string{"reboot", "--help"}, 0, "Usage: reboot", ""},
		{[]string{"ichor", "reboot", "now"}, 2, "", `unexpected argument "now"`},
		{[]string{"ichor", "reboot"}, 1, "", "machine"},
		{[]string{"ichor", "ctl", "status"}, 1, "", "is this a machine that runs Ichor?"},
		{[]string{"ichor", "partition", "--bus-fd=x"}, 1, "", "not a descriptor number"},
		{[]string{"partition", "--bus-fd=1"}, 1, "", "not a descriptor number"},
	} {
		code, out, errOut := call(test.args...)
		if code != test.code || !strings.Contains(out, test.out) || !strings.Contains(errOut, test.errOut) {
			t.Errorf("%q: exit code %d, want %d\nout: %s\nerr: %s", test.args, code, test.code, out, errOut)
		}
	}
}

// TestTable checks the applet table against itself.
func TestTable(t *testing.T) {
	tab := table()
	names, links := map[string]bool{}, map[string]bool{}
	for _, a := range tab {
		for _, n := range append([]string{a.Name}, a.Aliases...) {
			if names[n] {
				t.Errorf("two applets are called %s", n)
			}
			names[n] = true
		}
		for _, l := range a.Links {
			if links[l] {
				t.Errorf("%s leads to two applets", l)
			}
			links[l] = true
			if got, ok := tab.Lookup(filepath.Base(l)); !ok || got.Name != a.Name {
				t.Errorf("the link %s does not lead to %s", l, a.Name)
			}
		}
		for _, s := range a.Calls {
			if _, ok := tab.Provider(s); !ok {
				t.Errorf("%s may call the service %s, which nobody provides", a.Name, s)
			}
		}
		if a.Summary == "" || strings.HasSuffix(a.Summary, ".") || a.Run == nil {
			t.Errorf("the row of %s is not complete", a.Name)
		}
		if (a.Service != "") != (a.Home != applets.NoHome) {
			t.Errorf("%s has a service without a home or a home without a service", a.Name)
		}
	}
}

// TestHelp wants each applet to teach by example.
func TestHelp(t *testing.T) {
	for _, a := range table() {
		for _, n := range append([]string{a.Name}, a.Aliases...) {
			code, out, errOut := call("ichor", n, "--help")
			if code != 0 || errOut != "" || !strings.Contains(out, "Usage:") || !strings.Contains(out, "Example") {
				t.Errorf("%s --help: exit code %d, %q, without usage or examples:\n%s", n, code, errOut, out)
			}
			for line := range strings.Lines(out) {
				if len([]rune(strings.TrimRight(line, "\n"))) > 100 {
					t.Errorf("%s --help has a line of more than 100 columns: %s", n, line)
				}
			}
		}
	}
}

// source is a Go file of the tree that is not a test.
type source struct {
	path string
	file *ast.File
	fset *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (path == "out" || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		all = append(all, source{filepath.ToSlash(path), f, fset})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s source) dir() string { return filepath.ToSlash(filepath.Dir(s.path)) }

// TestImports keeps the house plan: main imports applets, applets import the
// libraries, and none the other way round.
func TestImports(t *testing.T) {
	allowed := func(from, to string) bool {
		room := func(p, r string) bool { return p == r || strings.HasPrefix(p, r+"/") }
		switch {
		case from == ".":
			return true
		case room(from, "applets") && from != "applets":
			return to == "applets" || !room(to, "applets") || room(to, from)
		case from == "applets":
			return to == "rpc"
		case room(from, "rpc"):
			return room(to, "rpc")
		case room(from, "rootfs"):
			// An image is made of partitions and has the mount points.
			return room(to, "rootfs") || to == "partition" || to == "mount"
		}
		return room(to, from)
	}
	for _, s := range sources(t) {
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			to, ours := strings.CutPrefix(path, "ichor/")
			if ours && !allowed(s.dir(), to) {
				t.Errorf("%s imports %s: main may import applets, applets the libraries, and no applet another", s.path, path)
			}
			if (path == "google.golang.org/grpc" || path == "github.com/spf13/pflag") && (s.dir() == "mount" || s.dir() == "partition") {
				t.Errorf("%s imports %s: the applet of the same name translates", s.path, path)
			}
		}
	}
}

// hosted are the packages whose code runs in PID 1.
var hosted = []string{"applets/pid1", "applets/mount", "applets/partition", "mount", "partition", "rootfs/modules"}

// TestRules keeps rules that a compiler does not know.
func TestRules(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		documented[s.dir()] = documented[s.dir()] || s.file.Doc != nil
		generated := strings.HasSuffix(s.path, ".pb.go")
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil && !generated {
					t.Errorf("%s: func init runs in PID 1 and in every applet", s.fset.Position(n.Pos()))
				}
			case *ast.GoStmt:
				for _, h := range hosted {
					if s.dir() == h {
						t.Errorf("%s: a panic in this goroutine would end PID 1: use rpc.Go", s.fset.Position(n.Pos()))
					}
				}
			case *ast.SelectorExpr:
				if n.Sel.Name == "Wait4" && s.path != "applets/pid1/reaper.go" {
					t.Errorf("%s: only the reaper waits for processes", s.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
	for dir, ok := range documented {
		if !ok && !strings.HasPrefix(dir, "rpc/") {
			t.Errorf("package %s has no package comment: say what it is for and what not", dir)
		}
	}
}

// TestNoMachinePaths keeps what is only true on one machine out of the tree.
func TestNoMachinePaths(t *testing.T) {
	for _, s := range sources(t) {
		b, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"/home/", "/work/", "/root/"} {
			if bytes.Contains(b, []byte(word)) {
				t.Errorf("%s contains %s", s.path, word)
			}
		}
	}
}
