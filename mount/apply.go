package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Apply mounts rows one after the other and stops at the first error; see
// Row.Apply. Optional rows that the kernel does not offer are passed over.
func Apply(rows []Row, devices map[string]string) error {
	for _, r := range rows {
		if ok, _ := r.Wanted(); !ok {
			continue
		}
		if err := r.Apply(devices); err != nil {
			return err
		}
	}
	return nil
}

// Apply mounts the row: it makes what is needed for that, mounts, makes the
// row's folders and verifies from the kernel's list that the mount is as the
// row says. If it fails, the row is not mounted. A row that is mounted already
// as it says is left alone. devices gives the block device of each partition
// label. Rows of one group (see Groups) may be applied at the same time.
func (r Row) Apply(devices map[string]string) error {
	m, err := find(r.Target)
	if err != nil {
		return err
	}
	if m != nil {
		return r.same(m, devices[r.Source])
	}
	source, cleanup, err := r.prepare(devices)
	if err != nil {
		return err
	}
	defer cleanup()
	if err := Mount(source, r.Target, r.Type, Options{Set: r.Flags, Data: r.Data}); err != nil {
		return err
	}
	err = r.finish()
	if err == nil {
		err = r.verify(devices[r.Source])
	}
	if err != nil {
		return errors.Join(err, Unmount(r.Target, Lazy))
	}
	return nil
}

// verify compares the mount that now stands at the target with the row.
func (r Row) verify(device string) error {
	m, err := find(r.Target)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("cannot verify the mount at %s: it is not in the kernel's list", r.Target)
	}
	return r.same(m, device)
}

func (r Row) same(m *Info, device string) error {
	if d := r.differences(m, device); len(d) > 0 {
		return fmt.Errorf("the mount at %s is not as row %q says: %s", r.Target, r.Name, strings.Join(d, "; "))
	}
	return nil
}

// prepare makes what mounting needs, and returns the source for mount(2).
func (r Row) prepare(devices map[string]string) (source string, cleanup func(), err error) {
	nothing := func() {}
	switch r.Layer {
	case LayerImage:
		dev, err := AttachLoop(r.Source, r.Flags&ReadOnly != 0)
		// Detaching a device in use lets the kernel do it at unmount.
		return dev, func() { DetachLoop(dev) }, err
	case LayerDisk:
		dev := devices[r.Source]
		if dev == "" {
			return "", nothing, fmt.Errorf("cannot mount %s: no device is given for the partition %s", r.Target, r.Source)
		}
		return dev, nothing, r.makeTarget()
	case LayerFile:
		return r.Source, nothing, r.firstContent()
	case LayerOverlay:
		return r.Source, nothing, r.makeOverlay()
	}
	return r.Source, nothing, r.makeTarget()
}

// makeTarget makes the mount point where its file system can be written to.
func (r Row) makeTarget() error {
	err := os.Mkdir(r.Target, 0o755)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if _, statErr := os.Stat(r.Target); statErr == nil {
		return nil
	}
	return fmt.Errorf("cannot make the mount point %s: %w", r.Target, err)
}

// firstContent makes the file that will be bound, from what the image has in
// its place.
func (r Row) firstContent() error {
	if _, err := os.Lstat(r.Source); err == nil {
		return nil
	}
	content, err := os.ReadFile(r.Target)
	if err != nil {
		return fmt.Errorf("cannot take the first content of %s from the image: %w", r.Source, err)
	}
	return createFile(r.Source, content)
}

// makeOverlay makes the upper and work folders. The upper one takes mode and
// owner from the lower one, since it is what is seen.
func (r Row) makeOverlay() error {
	lower, upper, work := r.option("lowerdir"), r.option("upperdir"), r.option("workdir")
	like, err := os.Stat(lower)
	if err != nil {
		return fmt.Errorf("cannot make the overlay at %s: %w", r.Target, err)
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return fmt.Errorf("cannot make the overlay at %s: %w", r.Target, err)
	}
	if _, err := os.Lstat(upper); err == nil {
		return nil
	}
	if err := makeLike(upper, like); err != nil {
		return fmt.Errorf("cannot make the overlay at %s: %w", r.Target, err)
	}
	return nil
}

// makeLike makes a folder with mode and owner of another. It gets its name
// last, so that a power cut leaves no folder with the wrong mode.
func makeLike(path string, like fs.FileInfo) error {
	fresh := path + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	if s, ok := like.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(fresh, int(s.Uid), int(s.Gid)); err != nil {
			return err
		}
	}
	if err := os.Chmod(fresh, like.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// finish does what comes after mounting.
func (r Row) finish() error {
	if r.Mode != 0 {
		if err := os.Chmod(r.Target, r.Mode); err != nil {
			return fmt.Errorf("cannot set the mode of %s: %w", r.Target, err)
		}
	}
	for _, f := range r.Folders {
		if err := makeFolder(filepath.Join(r.Target, f.Path), f.Mode); err != nil {
			return err
		}
	}
	if r.Type == "cgroup2" {
		return enableControllers(r.Target)
	}
	return nil
}

// makeFolder makes a folder with a mode, whatever the umask, and corrects the
// mode of one that exists.
func makeFolder(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, mode)
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return fmt.Errorf("cannot make the folder %s: %w", path, err)
	}
	return nil
}

// enableControllers lets the children of the root cgroup use every controller
// that the kernel has. Each is asked for on its own, so that one which refuses
// does not keep the others out.
func enableControllers(root string) error {
	b, err := os.ReadFile(root + "/cgroup.controllers")
	if err != nil {
		return fmt.Errorf("cannot read the cgroup controllers: %w", err)
	}
	var errs []error
	for _, c := range strings.Fields(string(b)) {
		if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+"+c), 0); err != nil {
			errs = append(errs, fmt.Errorf("cannot enable the cgroup controller %s: %w", c, errnoOf(err)))
		}
	}
	return errors.Join(errs...)
}

// errnoOf returns the errno in an error of package os, without the path.
func errnoOf(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
