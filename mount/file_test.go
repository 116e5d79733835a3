package mount

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// boundRoot makes what SetFile needs: /system as the table has it and the
// names in /etc, on a root that is read-only as the image is.
func boundRoot(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll("/system", 0o755))
	for _, r := range Rows(PhaseFiles) {
		must(t, os.WriteFile(r.Target, []byte("of the image\n"), 0o644))
	}
	must(t, Mount("", "/", "", Options{Set: Remount | Bind | ReadOnly}))
	r, _ := Lookup("system")
	must(t, r.Apply(nil))
	must(t, Apply(Rows(PhaseFiles), nil))
}

func content(n int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%07d\n", n), 1+n%1000))
}

// whole tells whether b is exactly one of the contents.
func whole(b []byte) bool {
	var n int
	if _, err := fmt.Sscanf(string(b), "%d", &n); err != nil {
		return string(b) == "of the image\n"
	}
	return string(b) == string(content(n))
}

func TestSetFileReadersSeeWholeContents(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	boundRoot(t)
	times := 500
	if n, err := strconv.Atoi(os.Getenv("ICHOR_SOAK")); err == nil {
		times = n
	}
	replaceWhileReading(t, times)
}

func replaceWhileReading(t *testing.T, times int) {
	before, err := List()
	must(t, err)
	var stop atomic.Bool
	var reads atomic.Int64
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for !stop.Load() {
				b, err := os.ReadFile("/etc/hosts")
				if err != nil || !whole(b) {
					t.Errorf("a reader got %d bytes, %v: %.40q", len(b), err, b)
					return
				}
				reads.Add(1)
			}
		})
	}
	for n := range times {
		if err := SetFile("hosts", content(n)); err != nil {
			t.Error(err)
			break
		}
	}
	stop.Store(true)
	readers.Wait()
	after, err := List()
	must(t, err)
	if len(before) != len(after) {
		t.Errorf("%d mounts before, %d after", len(before), len(after))
	}
	b, err := os.ReadFile("/etc/hosts")
	if err != nil || string(b) != string(content(times-1)) {
		t.Errorf("the last content does not show: %v", err)
	}
	t.Logf("%d replacements, %d reads", times, reads.Load())
	assertBound(t)
}

// assertBound asserts that the bound files are as their rows say, private, and
// that nothing is left over.
func assertBound(t *testing.T) {
	t.Helper()
	for _, r := range Rows(PhaseFiles) {
		m, err := Find(r.Target)
		must(t, err)
		if m == nil {
			t.Fatalf("%s is not mounted", r.Target)
		}
		if d := r.Differences(m); len(d) > 0 {
			t.Errorf("%s: %v", r.Target, d)
		}
		if m.Optional != "" {
			t.Errorf("%s has propagation %s", r.Target, m.Optional)
		}
		if err := os.WriteFile(r.Target, nil, 0); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing to %s: %v", r.Target, err)
		}
	}
	for _, dir := range []string{"/", "/system"} {
		m, err := Find(dir)
		must(t, err)
		if m.Optional != "" {
			t.Errorf("%s has propagation %s", dir, m.Optional)
		}
	}
	names, err := os.ReadDir("/system/etc")
	must(t, err)
	if len(names) != len(Rows(PhaseFiles)) {
		t.Errorf("/system/etc holds %v", names)
	}
}

func TestSetFileConcurrently(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	boundRoot(t)
	var all sync.WaitGroup
	for _, r := range Rows(PhaseFiles) {
		for worker := range 2 {
			all.Go(func() {
				for n := range 100 {
					if err := SetFile(r.Name, content(worker*100+n)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	assertBound(t)
}

// TestSetFileWhenShared does it with everything shared, as Kubernetes wants /.
func TestSetFileWhenShared(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	boundRoot(t)
	must(t, Mount("", "/", "", Options{Set: Shared | Recursive}))
	before, err := List()
	must(t, err)
	for n := range 50 {
		must(t, SetFile("hosts", content(n)))
	}
	after, err := List()
	must(t, err)
	if len(before) != len(after) {
		t.Errorf("%d mounts before, %d after", len(before), len(after))
	}
	for _, target := range []string{"/", "/system", "/etc/hosts", "/etc/hostname"} {
		m, err := Find(target)
		must(t, err)
		if !isShared(m) {
			t.Errorf("%s is no longer shared", target)
		}
	}
	if b, _ := os.ReadFile("/etc/hosts"); string(b) != string(content(49)) {
		t.Error("the last content does not show")
	}
}

func TestSetFileFailsCleanly(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	boundRoot(t)
	for _, name := range []string{"passwd", "../hosts", "var", ""} {
		if err := SetFile(name, nil); err == nil || !strings.Contains(err.Error(), "hosts") {
			t.Errorf("%q: %v", name, err)
		}
	}
	big := make([]byte, 32<<20) // more than /system holds
	if err := SetFile("hosts", big); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("too much content: %v", err)
	}
	must(t, os.RemoveAll("/system/run"))
	must(t, os.WriteFile("/system/run", nil, 0o600)) // no place for the clone
	if err := SetFile("hosts", content(1)); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("without a place for the clone: %v", err)
	}
	if b, _ := os.ReadFile("/etc/hosts"); string(b) != "of the image\n" {
		t.Errorf("/etc/hosts is %.40q", b)
	}
	assertBound(t)
	must(t, os.Remove("/system/run"))
	must(t, SetFile("hosts", content(1)))
	assertBound(t)
}

// TestSetFileAfterABreak starts where a killed process left off: with a
// scratch mount, and with a file on top that hides the current one.
func TestSetFileAfterABreak(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	boundRoot(t)
	clone, err := openScratch()
	must(t, err)
	must(t, Mount("", "/", "", Options{Set: Shared}))
	must(t, bindOnly("/etc", clone))
	must(t, Mount("", "/", "", Options{Set: Private}))
	must(t, Mount("/system/etc/hostname", "/etc/hosts", "", Options{Set: Bind}))
	must(t, SetFile("hosts", content(5)))
	if m, _ := Find(scratch); m != nil {
		t.Errorf("the scratch mount is still there: %+v", m)
	}
	assertBound(t)
}

func TestSetFileOldReaderGoesOn(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	boundRoot(t)
	must(t, SetFile("hosts", content(1)))
	f, err := os.Open("/etc/hosts")
	must(t, err)
	defer f.Close()
	must(t, SetFile("hosts", content(2)))
	b := make([]byte, 100)
	n, err := f.Read(b)
	if err != nil || string(b[:n]) != string(content(1)) {
		t.Errorf("the old file reads %q, %v", b[:n], err)
	}
}
