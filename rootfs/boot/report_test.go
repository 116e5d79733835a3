package boot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// heads are the sections of the report in order: what they are about, and their
// columns.
var heads = []struct{ name, about, columns string }{
	{"Hardware", "The same image on every combination. Each machine got ready, its mounts and partitions were as the tables\nsay, EPHEMERAL and its file system took the whole rest of the disk, and sgdisk and xfs_repair had nothing\nto object to afterwards.",
		"disk in GiB|attached by|memory in MiB|firmware|sector|ready after s|size of /var"},
	{"Growth", "A disk was made larger while the machine was off. The backup table had moved, the partition and its file\nsystem had grown, and the data was still there.",
		"attached by|firmware|sector|disk in GiB"},
	{"Power cuts", "QEMU was killed at a random moment between the start of the kernel and one second after ready, or up to\nfour seconds into a load that writes to /var, /opt and /system/state. The next boot got ready, with all\nthat was synced before; no disk was formatted a second time.",
		"boot|firmware of the next boot|attached by|cut after s|what was going on|files synced, and there after|next boot ready after s"},
	{"Lost writes", "The writes and flushes of a first boot were recorded up to its shutdown. Disks were made that end at a random one of\nthem and lack half of what came after the last flush, as after a power cut of a disk with a cache of its\nown. The next boot got ready.",
		"cut after writes and flushes|lost of them|next boot ready after s"},
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
		return
	}
	words := make([]string, len(cells))
	for i, c := range cells {
		words[i] = fmt.Sprint(c)
	}
	report.lines[section] = append(report.lines[section], "| "+strings.Join(words, " | ")+" |")
}

// recordFailure notes a test that has failed.
func recordFailure(t *testing.T) {
	report.Lock()
	defer report.Unlock()
	if !slices.Contains(report.failed, t.Name()) {
		report.failed = append(report.failed, t.Name())
	}
}

// printed returns the first line that a program prints.
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

What %[1]smake soak%[1]s found out. It is written by the tests of rootfs/boot and not edited. %[1]smake soak SEED=n%[1]s
repeats a run, %[1]smake soak KERNEL=generic%[1]s makes one with the kernel for real hardware. %[1]smake test%[1]s runs a
sample of the same tests.

- System: %[2]s with kernel %[3]s
- Emulator: %[4]s
- Seed: %[5]d
- Took: %[6]v
- Result: %[7]s
`, "`", printed(product("ichor"), "--version"), kernelVersion(), printed("qemu-system-x86_64", "--version"), *seed,
		time.Since(report.started).Round(time.Second), map[bool]string{true: "everything passed", false: "**something failed**"}[passed])
	for _, f := range report.failed {
		fmt.Fprintf(&b, "  - %s\n", f)
	}
	for _, h := range heads {
		fmt.Fprintf(&b, "\n## %s: %d\n\n%s\n\n", h.name, len(report.lines[h.name]), h.about)
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.ReplaceAll(h.columns, "|", " | "), strings.Repeat("---|", strings.Count(h.columns, "|")+1))
		for _, l := range report.lines[h.name] {
			fmt.Fprintln(&b, l)
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// kernelVersion is in the name that the kernel has in its package.
func kernelVersion() string {
	files, _ := filepath.Glob(product("cache/kernel-*/boot/vmlinuz-*"))
	for _, f := range files {
		if exec.Command("cmp", "-s", f, product("vmlinuz")).Run() == nil {
			return strings.TrimPrefix(filepath.Base(f), "vmlinuz-")
		}
	}
	return "of unknown version"
}
