package boot

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// heads are the sections of the report and their columns, in order.
var heads = []struct{ name, columns string }{
	{"Hardware", "disk in GiB|attached by|memory in MiB|firmware|sector|ready after s|size of /var"},
	{"Growth", "attached by|firmware|sector|disk in GiB, from 3"},
	{"Power cuts", "boot|firmware|attached by|cut after s|what was going on|written before and there after|next boot ready after s"},
}

// report is what the soak run found out: a line for each thing that went well,
// and the tests that failed.
var report = struct {
	sync.Mutex
	started time.Time
	lines   map[string][]string
	failed  []string
}{started: time.Now(), lines: map[string][]string{}}

// record adds a line to a section, if nothing has failed.
func record(t *testing.T, section string, cells ...any) {
	t.Helper()
	report.Lock()
	defer report.Unlock()
	if t.Failed() {
		report.failed = append(report.failed, fmt.Sprintf("%s: %v", t.Name(), cells))
		return
	}
	words := make([]string, len(cells))
	for i, c := range cells {
		words[i] = fmt.Sprint(c)
	}
	report.lines[section] = append(report.lines[section], "| "+strings.Join(words, " | ")+" |")
}

func printed(name string, args ...string) string {
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// writeReport writes what was found out as Markdown.
func writeReport(file string, passed bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# The soak run

What %s found out. It is made by the tests of rootfs/boot and not edited.

- System: %s with kernel %s
- Emulator: %s
- Seed: %d
- Took: %v
- Result: %s
`, "`make soak`", printed(product("ichor"), "--version"), kernelVersion(), printed("qemu-system-x86_64", "--version"), *seed,
		time.Since(report.started).Round(time.Second), map[bool]string{true: "everything passed", false: "**something failed**"}[passed])
	for _, f := range report.failed {
		fmt.Fprintf(&b, "  - %s\n", f)
	}
	for _, h := range heads {
		fmt.Fprintf(&b, "\n## %s: %d\n\n", h.name, len(report.lines[h.name]))
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.ReplaceAll(h.columns, "|", " | "), strings.Repeat("---|", strings.Count(h.columns, "|")+1))
		for _, l := range report.lines[h.name] {
			fmt.Fprintln(&b, l)
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func kernelVersion() string {
	return printed("sh", "-c", "file -b "+product("vmlinuz")+" | sed 's/.*version \\([^ ]*\\).*/\\1/'")
}
