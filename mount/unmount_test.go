package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// plainGo runs functions beside the test.
func plainGo(_ string, fn func()) { go fn() }

// layers mounts an XFS from a loop device, an overlay on it, a file system in
// a file on it, and a few more.
func layers(t *testing.T) {
	t.Helper()
	mkdir(t, "/var", "/opt", "/inner", "/a")
	must(t, Mount(attached(t, xfsImage(t, "var")), "/var", "xfs", Options{}))
	mkdir(t, "/var/upper", "/var/work")
	must(t, Mount("overlay", "/opt", "overlay", Options{Data: "lowerdir=/opt,upperdir=/var/upper,workdir=/var/work"}))
	must(t, os.Rename(xfsImageIn(t, "/var"), "/var/inner.img"))
	must(t, Mount(attached(t, "/var/inner.img"), "/inner", "xfs", Options{}))
	must(t, Mount("tmpfs", "/a", "tmpfs", Options{}))
	mkdir(t, "/a/b")
	must(t, Mount("tmpfs", "/a/b", "tmpfs", Options{}))
	must(t, Mount("tmpfs", "/a/b", "tmpfs", Options{}))
}

// xfsImageIn makes an image inside of a folder.
func xfsImageIn(t *testing.T, dir string) string {
	t.Helper()
	from, to := xfsImage(t, "inner"), dir+"/new.img"
	f, err := os.Create(to)
	must(t, err)
	defer f.Close()
	src, err := os.Open(from)
	must(t, err)
	defer src.Close()
	for at := int64(0); ; { // only what is not a hole
		data, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		must(t, err)
		end, err := unix.Seek(int(src.Fd()), data, unix.SEEK_HOLE)
		must(t, err)
		b := make([]byte, end-data)
		_, err = src.ReadAt(b, data)
		must(t, err)
		_, err = f.WriteAt(b, data)
		must(t, err)
		at = end
	}
	must(t, f.Truncate(300<<20))
	return to
}

var keepHost = []string{"/host", "/host/tmp"}

func TestUnmountAll(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	layers(t)
	u := Unmounter{Keep: keepHost, Go: plainGo}
	unmounted, busy, err := u.All(context.Background())
	must(t, err)
	if len(busy) > 0 {
		t.Errorf("busy: %+v", busy)
	}
	if slices.Index(unmounted, "/opt") > slices.Index(unmounted, "/var") || slices.Index(unmounted, "/inner") > slices.Index(unmounted, "/var") {
		t.Errorf("order: %v", unmounted)
	}
	if n := len(unmounted); n != 6 {
		t.Errorf("%d unmounted: %v", n, unmounted)
	}
	left, err := List()
	must(t, err)
	for _, m := range left {
		if !slices.Contains(append(keepHost, stay...), m.Mountpoint) {
			t.Errorf("%s is left", m.Mountpoint)
		}
	}
}

func TestUnmountAllNamesWhoIsBusy(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	layers(t)
	f, err := os.Create("/opt/open") // keeps the overlay, which keeps /var
	must(t, err)
	defer f.Close()
	g, err := os.Open("/a")
	must(t, err)
	defer g.Close()
	u := Unmounter{Keep: keepHost, Patience: 200 * time.Millisecond}
	unmounted, busy, err := u.All(context.Background())
	must(t, err)
	if slices.Contains(unmounted, "/var") || !slices.Contains(unmounted, "/inner") {
		t.Errorf("unmounted: %v", unmounted)
	}
	me := fmt.Sprintf("(pid %d)", os.Getpid())
	var targets []string
	for _, b := range busy {
		targets = append(targets, b.Target)
		if b.Err == nil || b.Target != "/var" && (!errors.Is(b.Err, unix.EBUSY) || len(b.Users) == 0 || !strings.HasSuffix(b.Users[0], me)) {
			t.Errorf("busy: %+v", b)
		}
		if b.Target != "/var" && b.ReadOnly != (b.Target == "/a") { // kernels differ on what lies below an overlay
			t.Errorf("%s: read-only is %v", b.Target, b.ReadOnly)
		}
	}
	slices.Sort(targets)
	if strings.Join(targets, " ") != "/a /opt /var" {
		t.Errorf("busy: %v", targets)
	}
	if m, _ := Find("/opt"); m != nil {
		t.Error("what is busy was not detached")
	}
}

// TestUnmountAllDoesNotHang has a system call that never returns.
func TestUnmountAllDoesNotHang(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	mkdir(t, "/a", "/b")
	must(t, Mount("tmpfs", "/a", "tmpfs", Options{}))
	must(t, Mount("tmpfs", "/b", "tmpfs", Options{}))
	hang := func(name string, fn func()) {
		if name != "unmount /b" {
			go fn()
		}
	}
	u := Unmounter{Keep: keepHost, Patience: 100 * time.Millisecond, PerCall: 50 * time.Millisecond, Go: hang}
	unmounted, busy, err := u.All(context.Background())
	if err != nil || len(unmounted) != 1 || len(busy) != 1 || !errors.Is(busy[0].Err, errStuck) || busy[0].Target != "/b" {
		t.Errorf("%v, %+v, %v", unmounted, busy, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	u = Unmounter{Keep: keepHost, Go: hang}
	if _, busy, err = u.All(ctx); err != nil || len(busy) != 1 {
		t.Errorf("when there is no time: %+v, %v", busy, err)
	}
}

func TestUnmountOrder(t *testing.T) {
	all := []*Info{
		{ID: 1, Parent: 1, Mountpoint: "/"}, {ID: 2, Parent: 5, Mountpoint: "/var/a"}, {ID: 3, Parent: 1, Mountpoint: "/opt"},
		{ID: 5, Parent: 1, Mountpoint: "/var"}, {ID: 6, Parent: 1, Mountpoint: "/etc"}, {ID: 7, Parent: 8}, {ID: 8, Parent: 7},
	}
	var got []string
	for _, m := range unmountOrder(all) {
		if m.Mountpoint != "" {
			got = append(got, m.Mountpoint)
		}
	}
	if strings.Join(got, " ") != "/var/a /etc /var /opt /" {
		t.Errorf("got %v", got)
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{{"/var/a", "/var", true}, {"/var", "/var", true}, {"/variable", "/var", false}, {"/x", "/", true}, {"/", "/", true}, {"/", "/var", false}, {"socket:[1]", "/", false}} {
		if got := below(c.path, c.dir); got != c.want {
			t.Errorf("%s below %s: %v", c.path, c.dir, got)
		}
	}
}
