package hardening

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandLineHoldsItself(t *testing.T) {
	line := "BOOT_IMAGE=/A/vmlinuz " + CommandLine("ichor.shell")
	if absent := Absent(line); len(absent) > 0 {
		t.Errorf("absent from its own command line: %v", absent)
	}
	if !strings.HasSuffix(line, " ichor.shell") {
		t.Errorf("more words are not at the end: %q", line)
	}
}

func TestAbsent(t *testing.T) {
	whole := CommandLine()
	for _, test := range []struct{ name, line, absent string }{
		{"left out", strings.Replace(whole, " slab_nomerge", "", 1), "slab_nomerge"},
		{"other value", strings.Replace(whole, "pti=on", "pti=off", 1), "pti=on"},
		{"overridden later", whole + " pti=off", "pti=on"},
		{"set again", whole + " pti=off pti=on", ""},
		{"longer word", strings.Replace(whole, "vsyscall=none", "vsyscall=none2", 1), "vsyscall=none"},
		{"dash in the name", strings.Replace(whole, "init_on_alloc=1", "init-on-alloc=1", 1), ""},
		{"after the dashes", strings.Replace(whole, " debugfs=off", "", 1) + " -- debugfs=off", "debugfs=off"},
		{"another console last", whole + " console=hvc0", ""},
		{"a console left out", strings.Replace(whole, "console=tty0 ", "", 1), "console=tty0"},
	} {
		var got []string
		for _, a := range Absent(test.line) {
			got = append(got, a.Text)
		}
		if strings.Join(got, " ") != test.absent {
			t.Errorf("%s: absent %q, want %q", test.name, got, test.absent)
		}
	}
	if n := len(Absent("")); n != len(Arguments) {
		t.Errorf("empty command line: %d absent, want all %d", n, len(Arguments))
	}
}

func TestTablesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Arguments {
		if a.Why == "" || seen[a.Text] || strings.ContainsAny(a.Text, " \"") {
			t.Errorf("row %q: repeated, without a reason or not one word", a.Text)
		}
		seen[a.Text] = true
	}
	for _, s := range Sysctls {
		if s.Why == "" || s.Value == "" || seen[s.Key] {
			t.Errorf("row %q: repeated, without a reason or value", s.Key)
		}
		seen[s.Key] = true
	}
}

// fakeProcSys makes a file per sysctl.
func fakeProcSys(t *testing.T, value string) string {
	dir := t.TempDir()
	for _, s := range Sysctls {
		if err := os.MkdirAll(filepath.Dir(s.Path(dir)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.Path(dir), []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestApplySysctls(t *testing.T) {
	dir := fakeProcSys(t, "77")
	if required, advised := ApplySysctls(dir); len(required)+len(advised) > 0 {
		t.Fatal(required, advised)
	}
	for _, s := range Sysctls {
		if got, err := s.read(s.Path(dir)); err != nil || got != s.Value {
			t.Errorf("%s = %q, %v; want %q", s.Key, got, err, s.Value)
		}
	}
}

func TestApplySysctlsMissing(t *testing.T) {
	dir := fakeProcSys(t, "77")
	for _, key := range []string{"kernel/kptr_restrict", "kernel/sysrq"} {
		if err := os.Remove(filepath.Join(dir, key)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, key), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	required, advised := ApplySysctls(dir)
	if len(required) != 1 || !strings.Contains(required[0].Error(), "kernel.kptr_restrict=2") {
		t.Errorf("required errors %v, want the one of kernel.kptr_restrict", required)
	}
	if len(advised) != 1 || !strings.Contains(advised[0].Error(), "kernel.sysrq=0") {
		t.Errorf("advised errors %v, want the one of kernel.sysrq", advised)
	}
}

func TestApplyUnknownKey(t *testing.T) {
	err := Sysctl{Key: "kernel.no_such", Value: "1"}.Apply(t.TempDir())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one that wraps os.ErrNotExist", err)
	}
}
