package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// scratch is where the holder of a bound file is cloned for a moment. It lies
// in the tmpfs that holds the files.
const scratch = "/system/run/tuck"

// maxStack bounds how many mounts may lie on top of each other at a bound file.
const maxStack = 16

// SetFile replaces the content of a bound file, such as "hosts". Whoever opens
// /etc/hosts gets the old content or the new one, whole, and never an error.
// The name must be that of a row of the file layer whose phase is done, or
// whose target at least exists in the image.
//
// A rename in /system/etc is not enough: the mount over /etc/hosts shows an
// inode and not a name. A new mount on top of the old one would do, but the
// mounts would pile up; and taking the old one away first would show what the
// image has. So the new file is tucked in beneath the mount that is there,
// with the one rule of the kernel that has a mount appear beneath another: a
// mount that arrives by propagation gives way to one that stands in its place
// already, and is put under it (mount_namespaces(7); MOVE_MOUNT_BENEATH does
// the same, from Linux 6.5 on).
//
//	1  /system/etc/hosts.new is written, and a copy of the mount of /system
//	   that shows only this file is made: read-only, nosuid, nodev, noexec,
//	   and attached nowhere yet.
//	2  The mount that holds /etc, which is /, is made shared, and /etc of it
//	   without what is mounted there is attached at /system/run/tuck/etc, in
//	   a private mount of its own. The two are peers now.
//	3  The copy is attached over hosts in the clone. It propagates to the peer,
//	   with its flags, and lands beneath the mount over /etc/hosts.
//	4  The clone is made private, so that what happens to it stays there, and
//	   goes away; / becomes what it was.
//	5  The old mount is detached from /etc/hosts. In that step, and no sooner,
//	   the new one shows. Who has the old file open may read on.
//	6  The new file gets its name, and the mount the propagation of the old.
//
// If anything fails up to step 3, all is as before. After that the next call
// clears away whatever lies on top. Calls are serialised, in one process.
func SetFile(name string, content []byte) error {
	r, ok := Lookup(name)
	if !ok || r.Layer != LayerFile {
		return fmt.Errorf("cannot set the file %q: the bound files are %s", name, strings.Join(boundFiles(), ", "))
	}
	attach.Lock()
	defer attach.Unlock()
	if err := r.replace(content); err != nil {
		return fmt.Errorf("cannot set the file %s: %w", name, err)
	}
	return nil
}

func boundFiles() []string {
	var names []string
	for _, r := range Table {
		if r.Layer == LayerFile {
			names = append(names, r.Name)
		}
	}
	return names
}

func (r Row) replace(content []byte) (err error) {
	fresh := r.Source + ".new"
	if err := createFile(fresh, content); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(fresh)
		}
	}()
	m, err := cloneTree(fresh, r.Flags&^Bind, 0)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	old, err := find(r.Target)
	if err != nil {
		return err
	}
	if old == nil {
		err = attachLocked(m, r.Target)
	} else {
		err = r.exchange(m, fresh, old)
	}
	if err != nil {
		return err
	}
	return os.Rename(fresh, r.Source)
}

// exchange puts m in the place of the mount old, steps 2 to 5.
func (r Row) exchange(m int, fresh string, old *Info) error {
	if err := tuck(m, r.Target); err != nil {
		return err
	}
	if err := uncover(r.Target, Row{Source: fresh}.rootOf()); err != nil {
		return err
	}
	kind := Private
	if isShared(old) {
		kind = Shared
	}
	return propagate(r.Target, kind)
}

// createFile makes a file of mode 0644 in place of any of that name.
func createFile(path string, content []byte) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o644) // whatever the umask
	}
	return errors.Join(err, f.Close())
}

// tuck places m beneath what is mounted at target, steps 2 to 4.
func tuck(m int, target string) (err error) {
	dir := filepath.Dir(target)
	parent, err := holding(dir)
	if err != nil {
		return err
	}
	if !isShared(parent) {
		if err := propagate(parent.Mountpoint, Shared); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, propagate(parent.Mountpoint, kindOf(parent))) }()
	}
	clone, err := openScratch()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeScratch(clone)) }()
	if err := bindOnly(dir, clone); err != nil {
		return err
	}
	return attachLocked(m, filepath.Join(clone, filepath.Base(target)))
}

// openScratch mounts the scratch folder on itself, as a private mount: a clone
// that is attached in there does not spread, even if /system is shared. It
// returns the folder for the clone.
func openScratch() (string, error) {
	clone := filepath.Join(scratch, "etc")
	if m, _ := find(scratch); m != nil { // a call that was killed left it
		if err := closeScratch(clone); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(clone, 0o700); err != nil {
		return "", err
	}
	if err := bindOnly(scratch, scratch); err != nil {
		return "", err
	}
	if err := propagate(scratch, Private); err != nil {
		return "", errors.Join(err, detach(scratch))
	}
	return clone, nil
}

// closeScratch takes away the scratch mount with all that is in it. The clone
// has to be private before: detaching what is in it would spread otherwise.
func closeScratch(clone string) error {
	if m, err := find(clone); err != nil {
		return err
	} else if m != nil {
		if err := propagate(clone, Private); err != nil {
			return err
		}
	}
	return detach(scratch)
}

// bindOnly attaches a copy of the mount at or around from, without submounts.
func bindOnly(from, to string) error {
	m, err := cloneTree(from, 0, 0)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	return attachLocked(m, to)
}

// uncover detaches what lies on top at target until the mount shows whose root
// is the file root. Nothing is detached if there is no such mount: then the
// file of the image would come to light.
func uncover(target, root string) error {
	for range maxStack {
		all, err := List()
		if err != nil {
			return err
		}
		stack := at(all, target)
		if !slices.ContainsFunc(stack, func(m *Info) bool { return m.Root == root }) {
			return fmt.Errorf("the new file did not arrive beneath %s", target)
		}
		if topmost(stack).Root == root {
			return nil
		}
		if err := detach(target); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s is covered by more than %d mounts", target, maxStack)
}

func detach(path string) error {
	return step("umount2 "+path, unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
}

// holding returns the mount that a folder lies in.
func holding(dir string) (*Info, error) {
	for {
		m, err := find(dir)
		if m != nil || err != nil {
			return m, err
		}
		if dir == "/" {
			return nil, fmt.Errorf("the kernel lists no mount at /")
		}
		dir = filepath.Dir(dir)
	}
}

func isShared(m *Info) bool { return strings.Contains(" "+m.Optional, " shared:") }

// kindOf returns the propagation of a mount that is not shared.
func kindOf(m *Info) Flags {
	if strings.Contains(" "+m.Optional, " master:") {
		return Slave
	}
	return Private
}
