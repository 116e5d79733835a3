package modules

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

var fakeIndex = map[string]string{
	"modules.dep": `kernel/fs/top.ko: kernel/lib/mid.ko kernel/lib/low-one.ko
kernel/lib/mid.ko: kernel/lib/low-one.ko
kernel/lib/low-one.ko:
kernel/soft/before.ko:
kernel/soft/after.ko: kernel/lib/low-one.ko
kernel/circle/x.ko:
kernel/circle/y.ko.zst:
`,
	"modules.alias": `# comment
alias fs-top top
alias pci:v00001AF4d*sv*sd*bc*sc*i* mid
alias pci:v00001AF4d00001041sv*sd*bc01sc*i* top
alias of:N*T[a-c]C* low_one
alias twice mid
alias twice after
alias twice mid
`,
	"modules.softdep": `softdep top pre: before missing-thing post: after
softdep top pre: mid
softdep x pre: y
softdep y pre: x
`,
	"modules.builtin":         "kernel/drivers/nvme/nvme-core.ko\n",
	"modules.builtin.modinfo": "nvme_core.alias=pci:nvme*\x00nvme_core.license=GPL\x00",
	"modules.symbols":         "alias symbol:top_call top\n",
}

func openFake(t testing.TB) *Index {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lib/modules/1.0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range fakeIndex {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ix, err := Open(filepath.Join(dir, "../../.."), "1.0")
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func TestResolve(t *testing.T) {
	ix := openFake(t)
	for name, want := range map[string]string{
		"top":                                   "top",
		"low-one":                               "low_one",
		"low_one":                               "low_one",
		"fs-top":                                "top",
		"fs_top":                                "top",
		"twice":                                 "mid after",
		"of:NxTbC":                              "low_one",
		"of:NxTdC":                              "",
		"nvme-core":                             "nvme_core",
		"pci:nvmeX":                             "nvme_core",
		"pci:v00001AF4d00001041sv0sd0bc01sc0i0": "mid top",
		"pci:v00001AF4d00001042sv0sd0bc01sc0i0": "mid",
		"pci:v00001AF5d00001042sv0sd0bc01sc0i0": "",
		"symbol:top_call":                       "top",
		"symbol:none":                           "",
		"":                                      "",
	} {
		got, err := ix.Resolve(name)
		if strings.Join(got, " ") != want || (want == "") != errors.Is(err, ErrNotFound) {
			t.Errorf("Resolve(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
}

// words prints a plan: optional modules in parentheses.
func words(steps []Module) string {
	var s []string
	for _, m := range steps {
		if m.Optional {
			s = append(s, "("+m.Name+")")
		} else {
			s = append(s, m.Name)
		}
	}
	return strings.Join(s, " ")
}

func TestPlan(t *testing.T) {
	ix := openFake(t)
	for name, want := range map[string]string{
		"top":       "low_one mid (before) top (after)",
		"mid":       "low_one mid",
		"nvme-core": "nvme_core",
		"x":         "(y) x",
		"y":         "(x) y",
		"twice":     "low_one mid after",
	} {
		steps, err := ix.Plan(name)
		if got := words(steps); err != nil || got != want {
			t.Errorf("Plan(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	steps, err := ix.Closure("after", "top", "nvme-core")
	if got := words(steps); err != nil || got != "low_one after mid (before) top nvme_core" {
		t.Errorf("Closure = %q, %v", got, err)
	}
	steps, err = ix.Closure("top", "after")
	if got := words(steps); err != nil || got != "low_one mid (before) top after" {
		t.Errorf("Closure = %q, %v", got, err)
	}
	if _, err := ix.Closure("top", "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Closure with an unknown name: %v", err)
	}
}

func TestSubset(t *testing.T) {
	ix := openFake(t)
	steps, err := ix.Closure("mid", "nvme-core")
	if err != nil {
		t.Fatal(err)
	}
	files, err := ix.Subset(steps)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := sub.Names(); !slices.Equal(got, []string{"low_one", "mid"}) {
		t.Errorf("names %q", got)
	}
	for name, want := range map[string]string{"twice": "low_one mid", "nvme-core": "nvme_core"} {
		steps, err := sub.Plan(name)
		if got := words(steps); err != nil || got != want {
			t.Errorf("Plan(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := sub.Resolve("fs-top"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an alias of a module that is not there: %v", err)
	}
}

// fakeKernel records loads and fails as it is told.
type fakeKernel struct {
	mu     sync.Mutex
	loaded []string
	fail   map[string]error
	hold   map[string]chan struct{}
}

func (k *fakeKernel) loader(ix *Index) *Loader {
	l := NewLoader(ix)
	l.live = func(name string) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return slices.ContainsFunc(k.loaded, func(s string) bool { return strings.Fields(s)[0] == name })
	}
	l.insert = func(file, params string) error {
		name := strings.TrimSuffix(strings.TrimSuffix(path.Base(file), ".zst"), ".ko")
		name = normalize(name)
		if c := k.hold[name]; c != nil {
			<-c
		}
		if err := k.fail[name]; err != nil {
			return err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.loaded = append(k.loaded, strings.TrimSpace(name+" "+params))
		return nil
	}
	return l
}

func TestLoadInOrder(t *testing.T) {
	k := &fakeKernel{}
	l := k.loader(openFake(t))
	l.Params = CommandLineParams("top.a=1 low-one.b quiet other.c=2")
	if err := l.Load("fs-top", "d=3"); err != nil {
		t.Fatal(err)
	}
	want := []string{"low_one b", "mid", "before", "top a=1 d=3", "after"}
	if !slices.Equal(k.loaded, want) {
		t.Errorf("loaded %q, want %q", k.loaded, want)
	}
	if err := l.Load("top"); err != nil || len(k.loaded) != len(want) {
		t.Errorf("second load: %v, loaded %q", err, k.loaded)
	}
}

func TestLoadErrors(t *testing.T) {
	k := &fakeKernel{fail: map[string]error{"before": syscall.ENODEV, "mid": syscall.ENOKEY, "x": syscall.EEXIST}}
	l := k.loader(openFake(t))
	err := l.Load("top")
	var load *LoadError
	if !errors.As(err, &load) || load.Name != "mid" || !errors.Is(err, syscall.ENOKEY) || !strings.Contains(err.Error(), "signature") {
		t.Errorf("error %v, want one about mid and ENOKEY", err)
	}
	if err := l.Load("x"); err != nil {
		t.Errorf("a module that is there: %v", err)
	}
	// The optional module's failure is none; a second try is made after one.
	k.fail["mid"] = nil
	if err := l.Load("top"); err != nil {
		t.Errorf("second try: %v", err)
	}
	// Of several modules for an alias one may fail; the others are loaded.
	k = &fakeKernel{fail: map[string]error{"mid": syscall.EINVAL}}
	err = k.loader(l.Index).Load("twice")
	if !errors.Is(err, syscall.EINVAL) || !slices.Equal(k.loaded, []string{"low_one", "after"}) {
		t.Errorf("error %v, loaded %q", err, k.loaded)
	}
}

// TestLoadMissingFile has a module in the index whose file is not there.
func TestLoadMissingFile(t *testing.T) {
	l := NewLoader(openFake(t))
	err := l.Load("mid")
	if !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "symbol") {
		t.Errorf("error %v, want one about a missing file", err)
	}
}

// TestLoadTogether has many callers for modules that depend on one another,
// among them a circle. Each module is loaded once, after what it needs.
func TestLoadTogether(t *testing.T) {
	hold := make(chan struct{})
	k := &fakeKernel{hold: map[string]chan struct{}{"low_one": hold}}
	l := k.loader(openFake(t))
	var wg sync.WaitGroup
	var waiting atomic.Int32
	for range 8 {
		for _, name := range []string{"top", "mid", "after", "x", "y", "fs-top"} {
			wg.Go(func() {
				waiting.Add(1)
				if err := l.Load(name); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for waiting.Load() < 48 {
	}
	close(hold)
	wg.Wait()
	sortedNames := slices.Sorted(slices.Values(k.loaded))
	if want := []string{"after", "before", "low_one", "mid", "top", "x", "y"}; !slices.Equal(sortedNames, want) {
		t.Errorf("loaded %q, want each of %q once", k.loaded, want)
	}
	at := func(name string) int { return slices.Index(k.loaded, name) }
	if at("low_one") > at("mid") || at("mid") > at("top") {
		t.Errorf("loaded in the order %q", k.loaded)
	}
}

func TestFnmatch(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"*", "", true}, {"**", "a", true},
		{"a*c", "abbbc", true}, {"a*c", "abbb", false}, {"*a*b*", "xaybz", true}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"[a-c]x", "bx", true}, {"[a-c]x", "dx", false}, {"[!a-c]x", "dx", true}, {"[^a-c]x", "ax", false},
		{"[]]", "]", true}, {"[]-a]", "^", true}, {"[a-]", "-", true}, {"[a", "[a", true}, {"[a", "a", false},
		{`\*`, "*", true}, {`\*`, "x", false}, {`a\`, `a\`, true}, {"*.ko", "a/b.ko", true},
		{"a*a*a*a*b", strings.Repeat("a", 2000), false},
	} {
		if got := fnmatch(test.pattern, test.name); got != test.want {
			t.Errorf("fnmatch(%q, %q) = %v", test.pattern, test.name, got)
		}
	}
}

// FuzzFnmatch compares with the standard library where the two mean the same.
func FuzzFnmatch(f *testing.F) {
	f.Add("pci:v00001AF4d*sv*", "pci:v00001AF4d00001041sv0")
	f.Add("[a-c]*?", "bxx")
	f.Add(`[\]a]`, "a")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := fnmatch(pattern, name)
		if strings.ContainsAny(pattern+name, `!/\[`) || !ascii(pattern+name) {
			return
		}
		want, err := path.Match(pattern, name)
		if err == nil && got != want {
			t.Errorf("fnmatch(%q, %q) = %v, path.Match %v", pattern, name, got, want)
		}
	})
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// FuzzIndex parses foreign text as each of the files and looks a name up.
func FuzzIndex(f *testing.F) {
	for _, text := range fakeIndex {
		f.Add(text, "fs-top")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		deps, _ := parseDep(text)
		a, err := parseAlias(text)
		if err != nil {
			a = newAliases(0)
		}
		soft, _ := parseSoftdep(text)
		a.addModinfo(text)
		ix := &Index{
			deps:     deps,
			aliases:  func() (*aliases, error) { return a, nil },
			symbols:  func() (*aliases, error) { return a, nil },
			softdeps: func() (map[string]softdep, error) { return soft, nil },
			builtin:  func() (*builtin, error) { return &builtin{aliases: a}, nil },
		}
		steps, err := ix.Plan(name)
		seen := map[string]bool{}
		for _, m := range steps {
			if seen[m.Name] {
				t.Errorf("%s is twice in the plan", m.Name)
			}
			seen[m.Name] = true
		}
		if err == nil && len(steps) == 0 {
			t.Errorf("Plan(%q): neither a plan nor an error", name)
		}
	})
}

func FuzzCommandLine(f *testing.F) {
	f.Add(`xfs.a="b c" modprobe.blacklist=x,y -- z.q=1`)
	f.Fuzz(func(t *testing.T, line string) {
		for name, params := range CommandLineParams(line) {
			if name == "" || params == "" {
				t.Errorf("module %q, parameters %q", name, params)
			}
		}
		Blacklist(line)
	})
}

func TestCommandLine(t *testing.T) {
	const line = `BOOT_IMAGE=/A/vmlinuz a-b.c=1 a_b.d="x y" quiet .e=1 f.=2 modprobe.blacklist=g-h,i -- j.k=1`
	got := CommandLineParams(line)
	if len(got) != 2 || got["a_b"] != `c=1 d="x y"` || got["modprobe"] != "blacklist=g-h,i" {
		t.Errorf("parameters %q", got)
	}
	if got := Blacklist(line); !slices.Equal(got, []string{"g_h", "i"}) {
		t.Errorf("blacklist %q", got)
	}
}

func TestModaliases(t *testing.T) {
	sys := t.TempDir()
	for i, alias := range []string{"pci:b", "acpi:a", "pci:b", ""} {
		dir := filepath.Join(sys, "bus/x/devices", fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "modalias"), []byte(alias+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Modaliases(sys)
	if err != nil || !slices.Equal(got, []string{"acpi:a", "pci:b"}) {
		t.Errorf("Modaliases = %q, %v", got, err)
	}
}

func BenchmarkOpenAndResolve(b *testing.B) {
	root, release := realTree(b)
	for b.Loop() {
		ix, err := Open(root, release)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ix.Resolve("virtio:d00000002v00001AF4"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	root, release := realTree(b)
	ix, err := Open(root, release)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ix.Resolve("pci:v00008086d00001237sv00001AF4sd00001100bc06sc00i00")
	}
}
