package mount

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Info is a line of /proc/self/mountinfo (proc(5)).
type Info = mountinfo.Info

// List returns what is mounted, in the order of the kernel, which is that of
// mounting but for mounts that were moved or placed beneath another.
func List() ([]*Info, error) {
	all, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("cannot list the mounts: %w", err)
	}
	return all, nil
}

// Find returns what is mounted at target: the topmost mount if there are
// several, nil if there is none. The target is resolved first.
func Find(target string) (*Info, error) {
	path, err := filepath.Abs(target)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return find(path)
}

// find is Find for a path without symlinks; it touches no file system.
func find(path string) (*Info, error) {
	all, err := mountinfo.GetMounts(func(m *Info) (skip, stop bool) { return m.Mountpoint != path, false })
	if err != nil {
		return nil, fmt.Errorf("cannot find the mount at %s: %w", path, err)
	}
	return topmost(all), nil
}

// topmost returns the one of several mounts at the same path on which none of
// the others stands.
func topmost(all []*Info) *Info {
	covered := map[int]bool{}
	for _, m := range all {
		covered[m.Parent] = true
	}
	for i := len(all) - 1; i >= 0; i-- {
		if !covered[all[i].ID] {
			return all[i]
		}
	}
	return nil
}

// FlagsOf returns the flags of a mount as the kernel tells them.
func FlagsOf(m *Info) Flags { return ParseOptions(m.Options).Set }

// below tells whether path is dir or lies in it.
func below(path, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}
