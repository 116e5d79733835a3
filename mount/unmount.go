package mount

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// UnmountFlags say how to unmount (umount2(2)).
type UnmountFlags int

// The flags of Unmount.
const (
	// Lazy takes the mount out of the tree at once, whoever uses it.
	Lazy UnmountFlags = unix.MNT_DETACH
	// Force fails pending requests of network file systems.
	Force UnmountFlags = unix.MNT_FORCE
)

// Unmount detaches the topmost mount at target. The error is an *Error.
func Unmount(target string, flags UnmountFlags) error {
	for {
		err := unix.Unmount(target, int(flags))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &Error{Op: "unmount", Target: target, Err: err}
		}
		return nil
	}
}

// Busy is a mount that could not be unmounted in order.
type Busy struct {
	Target string
	// ReadOnly tells whether it could be made read-only, so that nothing is
	// lost.
	ReadOnly bool
	// Users are who uses it, such as "etcd (pid 812)".
	Users []string
	// Err is why it could not be unmounted.
	Err error
}

// Unmounter unmounts everything for a shutdown.
type Unmounter struct {
	// Keep are further mount points that stay. /, /dev, /proc and /sys always
	// do: they have nothing to lose, and unmounting needs them.
	Keep []string
	// Patience is how long to go on trying what is busy; 0 means 3 seconds.
	Patience time.Duration
	// PerCall is how long to wait for one system call; 0 means 5 seconds. It
	// needs Go.
	PerCall time.Duration
	// Go runs a function beside the caller and recovers from its panics. It is
	// what lets an Unmounter leave behind a system call that does not return,
	// as with a device that has died. Without it such a call blocks.
	Go func(name string, fn func())

	unmounted []string
	errs      map[string]error // by mount point
	stuck     map[string]bool
}

// All unmounts everything but what is kept: children before parents, the
// latest first, overlays before the file systems they lie on. What is busy is
// tried again until the patience is over or ctx is done. What then remains is
// made read-only and detached lazily. The loop devices of unmounted file
// systems, and those whose files lie on one, are detached. It returns what was
// unmounted, in order, and what could not be.
func (u *Unmounter) All(ctx context.Context) (unmounted []string, busy []Busy, err error) {
	u.errs, u.stuck = map[string]error{}, map[string]bool{}
	if u.Patience == 0 {
		u.Patience = 3 * time.Second
	}
	if u.PerCall == 0 {
		u.PerCall = 5 * time.Second
	}
	var left []*Info
	waitWhileBusy(ctx, u.Patience, func() error {
		left, err = u.pass(ctx)
		if err == nil && len(left) > 0 {
			return unix.EBUSY
		}
		return err
	})
	if err != nil {
		return u.unmounted, nil, err
	}
	return u.unmounted, u.giveUp(ctx, left), nil
}

// pass tries everything until nothing moves any more, and returns what is left.
func (u *Unmounter) pass(ctx context.Context) ([]*Info, error) {
	for {
		left, err := u.candidates()
		if err != nil {
			return nil, err
		}
		gone := map[int]bool{}
		for i, m := range left {
			if u.stuck[m.Mountpoint] || ctx.Err() != nil || underOverlay(m, left[:i], gone) {
				continue
			}
			gone[m.ID] = u.try(ctx, m)
		}
		if !slices.ContainsFunc(left, func(m *Info) bool { return gone[m.ID] }) {
			return u.candidates()
		}
	}
}

// stay are the mount points that are never unmounted.
var stay = []string{"/", "/dev", "/proc", "/sys"}

// candidates returns what is to be unmounted, in order.
func (u *Unmounter) candidates() ([]*Info, error) {
	all, err := List()
	if err != nil {
		return nil, err
	}
	var out []*Info
	for _, m := range unmountOrder(all) {
		if !slices.Contains(stay, m.Mountpoint) && !slices.Contains(u.Keep, m.Mountpoint) {
			out = append(out, m)
		}
	}
	return out, nil
}

// unmountOrder sorts mounts so that each stands before the one it stands on,
// and otherwise the latest first.
func unmountOrder(all []*Info) []*Info {
	parents := map[int]int{}
	for _, m := range all {
		parents[m.ID] = m.Parent
	}
	depth := func(m *Info) int {
		n := 0
		for id := m.ID; n < len(all); n++ {
			parent, ok := parents[id]
			if !ok || parent == id {
				break
			}
			id = parent
		}
		return n
	}
	out := slices.Clone(all)
	slices.Reverse(out)
	sort.SliceStable(out, func(i, j int) bool { return depth(out[i]) > depth(out[j]) })
	return out
}

// underOverlay tells whether one of the overlays before it still needs a file
// system. The kernel would let it go, and keep it in use unseen.
func underOverlay(m *Info, before []*Info, gone map[int]bool) bool {
	for _, o := range before {
		if o.FSType != "overlay" || gone[o.ID] {
			continue
		}
		for _, folder := range overlayFolders(o.VFSOptions) {
			if m.Mountpoint != o.Mountpoint && below(folder, m.Mountpoint) {
				return true
			}
		}
	}
	return false
}

// try unmounts a mount and what hangs on it.
func (u *Unmounter) try(ctx context.Context, m *Info) bool {
	unmount := func() error { return Unmount(m.Mountpoint, unix.UMOUNT_NOFOLLOW) }
	err := u.guard(ctx, m.Mountpoint, unmount)
	if errors.Is(err, unix.EBUSY) && detachLoopsOn(m) {
		err = u.guard(ctx, m.Mountpoint, unmount)
	}
	if err != nil {
		u.errs[m.Mountpoint] = err
		return false
	}
	u.unmounted = append(u.unmounted, m.Mountpoint)
	if strings.HasPrefix(m.Source, "/dev/loop") {
		DetachLoop(m.Source)
	}
	return true
}

// errStuck says that the kernel did not answer.
var errStuck = errors.New("the kernel does not answer")

// guard runs a system call so that it cannot hold up the rest.
func (u *Unmounter) guard(ctx context.Context, target string, fn func() error) error {
	if u.Go == nil {
		return fn()
	}
	done := make(chan error, 1)
	u.Go("unmount "+target, func() { done <- fn() })
	timer := time.NewTimer(u.PerCall)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	case <-ctx.Done():
	}
	u.stuck[target] = true
	return &Error{Op: "unmount", Target: target, Err: errStuck}
}

// giveUp makes the rest harmless: who uses it is noted, then it is made
// read-only, then detached.
func (u *Unmounter) giveUp(ctx context.Context, left []*Info) []Busy {
	var busy []Busy
	for _, m := range left {
		b := Busy{Target: m.Mountpoint, Err: u.errs[m.Mountpoint]}
		if b.Err == nil {
			b.Err = &Error{Op: "unmount", Target: m.Mountpoint, Err: unix.EBUSY}
		}
		if !u.stuck[m.Mountpoint] {
			b.Users = Users(m.Mountpoint)
		}
		busy = append(busy, b)
	}
	for i, m := range left {
		if u.stuck[m.Mountpoint] {
			continue
		}
		busy[i].ReadOnly = nil == u.guard(ctx, m.Mountpoint, func() error {
			return Mount("", m.Mountpoint, "", Options{Set: Remount | ReadOnly})
		})
	}
	for _, m := range left {
		if !u.stuck[m.Mountpoint] {
			u.guard(ctx, m.Mountpoint, func() error { return Unmount(m.Mountpoint, Lazy|unix.UMOUNT_NOFOLLOW) })
		}
	}
	return busy
}

const (
	maxUsers     = 32      // users named
	maxProcesses = 32768   // processes looked at
	maxFiles     = 4096    // open files looked at in a process
	maxMapBytes  = 4 << 20 // bytes of /proc/PID/maps looked at
)

// Users returns which processes use what lies below path, such as
// "etcd (pid 812)". It follows no link, so that a dead file system cannot hold
// it up, looks at a bounded number of processes and files, and leaves out what
// it may not see.
func Users(path string) []string {
	var users []string
	for i, pid := range processes() {
		if i == maxProcesses || len(users) == maxUsers {
			break
		}
		if uses(pid, path) {
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			users = append(users, fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(comm)), pid))
		}
	}
	return users
}

func processes() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func uses(pid int, path string) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	for _, link := range []string{"cwd", "root", "exe"} {
		if linksBelow(filepath.Join(dir, link), path) {
			return true
		}
	}
	return opens(dir+"/fd", path) || maps(dir+"/maps", path)
}

func linksBelow(link, path string) bool {
	to, err := os.Readlink(link)
	return err == nil && below(strings.TrimSuffix(to, " (deleted)"), path)
}

func opens(dir, path string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	names, _ := d.Readdirnames(maxFiles)
	return slices.ContainsFunc(names, func(n string) bool { return linksBelow(filepath.Join(dir, n), path) })
}

func maps(file, path string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	s := bufio.NewScanner(io.LimitReader(f, maxMapBytes))
	for s.Scan() {
		if i := strings.IndexByte(s.Text(), '/'); i >= 0 && below(s.Text()[i:], path) {
			return true
		}
	}
	return false
}
