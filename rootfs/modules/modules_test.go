package modules

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// realTree returns a folder with lib/modules/RELEASE that depmod made of
// Debian's kernel: by the build, or named by ICHOR_TEST_MODULES.
func realTree(t testing.TB) (root, release string) {
	t.Helper()
	patterns := []string{"../../out/cache/kernel-*/lib/modules/*/modules.dep.bin"}
	if dir := os.Getenv("ICHOR_TEST_MODULES"); dir != "" {
		patterns = []string{filepath.Join(dir, "lib/modules/*/modules.dep.bin")}
	}
	for _, p := range patterns {
		if found, _ := filepath.Glob(p); len(found) > 0 {
			dir := filepath.Dir(found[0])
			return filepath.Join(dir, "../../.."), filepath.Base(dir)
		}
	}
	missing(t, "no unpacked kernel under out/cache: run make image")
	return "", ""
}

// missing skips a test at home and fails it in CI.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func modprobe(t testing.TB, root, release string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("modprobe")
	if err != nil {
		missing(t, "no modprobe")
	}
	root, err = filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	// The machine's own blacklists must not show.
	empty := t.TempDir()
	cmd := exec.Command(path, append([]string{"-C", empty, "-d", root, "-S", release}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	_ = cmd.Run() // some of many names may be unknown
	return strings.ReplaceAll(out.String(), filepath.Join(root, "lib/modules", release)+"/", "")
}

// TestPlanLikeModprobe compares the plan of every module with what Debian's
// kmod would do. kmod lists some modules twice, which is not compared.
func TestPlanLikeModprobe(t *testing.T) {
	root, release := realTree(t)
	ix, err := Open(root, release)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(ix.Names(), "fs-xfs", "ext4", "net-pf-10", "fs-ext3") {
		var want []string
		for line := range strings.Lines(modprobe(t, root, release, "--show-depends", name)) {
			if line = strings.TrimSpace(line); !slices.Contains(want, line) {
				want = append(want, line)
			}
		}
		steps, err := ix.Plan(name)
		if err != nil {
			t.Errorf("Plan(%q): %v", name, err)
			continue
		}
		var got []string
		for _, m := range steps {
			if m.Builtin {
				got = append(got, "builtin "+m.Name)
			} else {
				got = append(got, "insmod "+m.Path)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Plan(%q)\n got %q\nwant %q", name, got, want)
		}
	}
}

// TestResolveLikeModprobe compares aliases: one name made of each pattern.
func TestResolveLikeModprobe(t *testing.T) {
	root, release := realTree(t)
	ix, err := Open(root, release)
	if err != nil {
		t.Fatal(err)
	}
	table, err := ix.aliases()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, row := range table.rows {
		if i%5 == 0 {
			names = append(names, strings.NewReplacer("*", "0", "?", "x").Replace(row.pattern))
		}
	}
	names = append(names, "virtio:d00000002v00001AF4", "symbol:xfs_foo", "nothing-of-this",
		"pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00", "symbol:nf_ct_delete", "ext3")
	for _, name := range names {
		want := slices.Compact(strings.Fields(modprobe(t, root, release, "-R", name)))
		got, err := ix.Resolve(name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Resolve(%q) = %q, modprobe %q", name, got, want)
		}
	}
}
