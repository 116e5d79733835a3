// Package mount attaches and detaches file systems: a thin typed layer over the
// kernel's interface that says exactly what failed and in the kernel's own
// words, the mount table of the OS (table.go) and what carries it out, the
// files that are bound over names in /etc, loop devices, and the unmounting of
// everything at shutdown.
//
// It is not for mounting what an fstab(5) lists, for network file systems that
// need a helper program, or for other systems than Linux 5.12 and later.
package mount

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// attach serialises the moments in which mounts appear in the tree, so that
// none appears while SetFile has the tree in a passing state.
var attach sync.Mutex

// Mount does what mount(2) does, by the flags in o.Set:
//
//   - Remount changes an existing mount, and with Bind only that mount and not
//     the file system behind it. What is neither set nor cleared stays.
//   - Bind shows source, a folder or file, at target too; Recursive with what
//     is mounted below it. The flags are those of the mount that holds source,
//     changed by o, and are in force from the moment it can be seen.
//   - Move moves the mount at source to target.
//   - A propagation type without fstype changes only that.
//   - Otherwise a file system of the given type is attached.
//
// A propagation type beside one of the others takes effect after it. o.Loop is
// for the caller to see to. The error is an *Error.
func Mount(source, target, fstype string, o Options) error {
	e := &Error{Op: "mount", Source: source, Target: target, Type: fstype, Flags: o.Set, Data: o.Data}
	kind := o.Set & propagation
	switch {
	case o.Set&Remount != 0:
		e.Op = "remount"
		e.Err = remount(e, o)
	case o.Set&Bind != 0:
		e.Err = bind(e, o)
	case o.Set&Move != 0:
		e.Op = "move"
		e.Err = move(source, target)
	case kind != 0 && fstype == "":
		e.Op = "change the propagation of"
	default:
		e.Err = attachNew(e, o)
	}
	if e.Err == nil && kind != 0 {
		e.Err = propagate(target, kind|o.Set&Recursive)
	}
	if e.Err != nil {
		return e
	}
	return nil
}

// attachNew makes a file system and attaches it at the target.
func attachNew(e *Error, o Options) error {
	log := watchKernelLog()
	defer log.close()
	fs, err := unix.Fsopen(e.Type, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return step("fsopen", err)
	}
	defer unix.Close(fs)
	m, err := create(fs, e, o)
	if err != nil {
		e.Kernel = contextLog(fs)
		if len(e.Kernel) == 0 {
			e.Kernel = log.about(kernelWords(e.Source, e.Type))
		}
		return err
	}
	defer unix.Close(m)
	return attachAt(m, e.Target)
}

// create configures a file system and returns a mount of it that is attached
// nowhere yet: closing it undoes all.
func create(fs int, e *Error, o Options) (int, error) {
	if e.Source != "" {
		if err := unix.FsconfigSetString(fs, "source", e.Source); err != nil {
			return -1, step("fsconfig source", err)
		}
	}
	if err := configure(fs, superblock(o.Set, 0), o.Data); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, step("fsconfig create", err)
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(o.Set.attributes()))
	if err != nil {
		return -1, step("fsmount", err)
	}
	return m, nil
}

// configure hands options to a file system context.
func configure(fs int, flags []string, data string) error {
	for _, option := range append(flags, splitOptions(data)...) {
		key, value, hasValue := keyValue(option)
		var err error
		switch {
		case key == "":
			continue
		case hasValue:
			err = unix.FsconfigSetString(fs, key, value)
		default:
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return step("fsconfig "+option, err)
		}
	}
	return nil
}

// attachAt attaches a mount that is nowhere yet.
func attachAt(m int, target string) error {
	attach.Lock()
	defer attach.Unlock()
	return attachLocked(m, target)
}

func attachLocked(m int, target string) error {
	return step("move_mount", unix.MoveMount(m, "", unix.AT_FDCWD, target,
		unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS))
}

// cloneTree returns a copy of a mount that is attached nowhere yet, with flags
// set and cleared.
func cloneTree(path string, set, clear Flags) (int, error) {
	how := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if set&Recursive != 0 {
		how |= unix.AT_RECURSIVE
	}
	m, err := unix.OpenTree(unix.AT_FDCWD, path, how)
	if err != nil {
		return -1, step("open_tree "+path, err)
	}
	if err := setAttributes(m, "", set, clear, how&unix.AT_RECURSIVE); err != nil {
		unix.Close(m)
		return -1, err
	}
	return m, nil
}

func bind(e *Error, o Options) error {
	m, err := cloneTree(e.Source, o.Set, o.Clear)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	return attachAt(m, e.Target)
}

// setAttributes changes the flags of one mount, or of all below it.
func setAttributes(dir int, path string, set, clear Flags, how uint) error {
	attr := unix.MountAttr{Attr_set: set.attributes(), Attr_clr: clear.attributes()}
	if (set|clear)&accessTimes != 0 { // the kernel wants them changed as one value
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	if attr.Attr_set == 0 && attr.Attr_clr == 0 {
		return nil
	}
	if path == "" {
		how |= unix.AT_EMPTY_PATH
	}
	return step("mount_setattr", unix.MountSetattr(dir, path, how, &attr))
}

// remount changes the file system, unless only the mount is meant, and then
// the mount.
func remount(e *Error, o Options) error {
	if o.Set&Bind == 0 {
		if err := reconfigure(e, o); err != nil {
			return err
		}
	}
	how := uint(0)
	if o.Set&Recursive != 0 {
		how = unix.AT_RECURSIVE
	}
	return setAttributes(unix.AT_FDCWD, e.Target, o.Set, o.Clear, how)
}

func reconfigure(e *Error, o Options) error {
	flags := superblock(o.Set, o.Clear)
	if len(flags) == 0 && o.Data == "" {
		return nil
	}
	log := watchKernelLog()
	defer log.close()
	fs, err := unix.Fspick(unix.AT_FDCWD, e.Target, unix.FSPICK_CLOEXEC|unix.FSPICK_NO_AUTOMOUNT)
	if err != nil {
		return step("fspick", err)
	}
	defer unix.Close(fs)
	err = configure(fs, flags, o.Data)
	if err == nil {
		err = step("fsconfig reconfigure", unix.FsconfigReconfigure(fs))
	}
	if err != nil {
		e.Kernel = contextLog(fs)
		if m, _ := Find(e.Target); m != nil && len(e.Kernel) == 0 {
			e.Kernel = log.about(kernelWords(m.Source, m.FSType))
		}
	}
	return err
}

func move(source, target string) error {
	attach.Lock()
	defer attach.Unlock()
	return step("move_mount", unix.MoveMount(unix.AT_FDCWD, source, unix.AT_FDCWD, target,
		unix.MOVE_MOUNT_F_SYMLINKS|unix.MOVE_MOUNT_T_SYMLINKS))
}

// propagate changes how mounts below target are passed on to its copies
// (mount_namespaces(7)).
func propagate(target string, kind Flags) error {
	err := unix.Mount("", target, "", uintptr(kind), "")
	return step("mount "+strings.Join(kind.Words(), ","), err)
}
