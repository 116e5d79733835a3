package mount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Error is a failed operation on a mount with all its arguments.
type Error struct {
	// Op is what was attempted: "mount", "remount", "unmount", …
	Op string
	// Source, Target, Type, Flags and Data are the arguments; those which the
	// operation does not have are zero.
	Source, Target, Type string
	Flags                Flags
	Data                 string
	// Kernel are the kernel's own words about it, if it gave some.
	Kernel []string
	// Err is the cause; errors.Is finds the errno in it.
	Err error
}

// Error names the operation, the arguments, the cause, what the kernel said
// and, where there is something to be done, what.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cannot %s", e.Op)
	if e.Source != "" {
		fmt.Fprintf(&b, " %s on", e.Source)
	}
	fmt.Fprintf(&b, " %s", e.Target)
	if args := e.arguments(); args != "" {
		fmt.Fprintf(&b, " (%s)", args)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if len(e.Kernel) > 0 {
		fmt.Fprintf(&b, "; the kernel says: %s", strings.Join(e.Kernel, "; "))
	}
	if a := e.advice(); a != "" {
		fmt.Fprintf(&b, " (%s)", a)
	}
	return b.String()
}

func (e *Error) arguments() string {
	var args []string
	if e.Type != "" {
		args = append(args, "type "+e.Type)
	}
	if e.Flags != 0 {
		args = append(args, "flags "+e.Flags.String())
	}
	if e.Data != "" {
		args = append(args, "data "+e.Data)
	}
	return strings.Join(args, ", ")
}

// advice says what to do about the common failures.
func (e *Error) advice() string {
	unmounting := e.Op == "unmount"
	for _, a := range []struct {
		errno unix.Errno
		when  bool
		text  string
	}{
		{unix.ENODEV, e.Type != "", "the kernel has no such file system: load its module, or see /proc/filesystems"},
		{unix.ENOTBLK, true, "the source is no block device: a file needs the option loop"},
		{unix.EUCLEAN, true, "the file system is damaged: repair it before it is mounted again"},
		{unix.EBUSY, unmounting, "something uses it; a lazy unmount detaches it all the same"},
		{unix.EINVAL, unmounting, "it is not a mount point"},
		{unix.EPERM, true, "this needs root, in the mount namespace's own user namespace"},
	} {
		if a.when && errors.Is(e.Err, a.errno) {
			return a.text
		}
	}
	return ""
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
