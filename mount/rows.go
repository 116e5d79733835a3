package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rows returns the rows of the table that a phase mounts, in order.
func Rows(phase Phase) []Row {
	var out []Row
	for _, r := range Table {
		if r.Phase == phase {
			out = append(out, r)
		}
	}
	return out
}

// Lookup finds a row of the table by its name.
func Lookup(name string) (Row, bool) {
	for _, r := range Table {
		if r.Name == name {
			return r, true
		}
	}
	return Row{}, false
}

// MountPoints returns the rows of the table that stand directly on what is
// mounted at target: those on "/" must exist in the image, the bound files as
// files and all others as folders.
func MountPoints(target string) []Row {
	var out []Row
	for i, r := range Table {
		if i > 0 && holder(r.Target) == target {
			out = append(out, r)
		}
	}
	return out
}

// holder returns the target of the row in whose file system path lies.
func holder(path string) string {
	best := "/"
	for _, r := range Table {
		if r.Target != path && below(path, r.Target) && len(r.Target) > len(best) {
			best = r.Target
		}
	}
	return best
}

// Groups cuts rows into groups which have to be mounted one after the other.
// The rows of one group do not depend on each other and may go side by side.
func Groups(rows []Row) [][]Row {
	var groups [][]Row
	level := make([]int, len(rows))
	for i, r := range rows {
		for j, before := range rows[:i] {
			if r.dependsOn(before) {
				level[i] = max(level[i], level[j]+1)
			}
		}
		if level[i] == len(groups) {
			groups = append(groups, nil)
		}
		groups[level[i]] = append(groups[level[i]], r)
	}
	return groups
}

// dependsOn tells whether the row needs something of another's file system.
func (r Row) dependsOn(other Row) bool {
	for _, p := range append(overlayFolders(r.Data), r.Source, r.Target) {
		if strings.HasPrefix(p, "/") && below(p, other.Target) {
			return true
		}
	}
	return false
}

// At returns the row with another target, such as the folder which will be
// the root after switch_root.
func (r Row) At(target string) Row {
	r.Target = target
	return r
}

// Wanted tells whether this machine is to have the row, and if not, why.
func (r Row) Wanted() (bool, string) {
	if !r.Optional {
		return true, ""
	}
	if _, err := os.Stat(r.Target); err != nil {
		return false, "the kernel does not offer " + r.Target
	}
	return true, ""
}

// overlayFolders returns the folders that the options of an overlay name.
func overlayFolders(data string) []string {
	var out []string
	for _, o := range splitOptions(data) {
		key, value, _ := keyValue(o)
		switch key {
		case "lowerdir", "upperdir", "workdir":
			out = append(out, strings.Split(value, ":")...)
		}
	}
	return out
}

// option returns the value of an option of the row's file system.
func (r Row) option(name string) string {
	for _, o := range splitOptions(r.Data) {
		if key, value, _ := keyValue(o); key == name {
			return value
		}
	}
	return ""
}

// diskLabel returns the label of the partition that a mount is from. The kernel
// knows it of partitions that it has read from a table; of one that was added
// while it ran (BLKPG) there is only the label of the file system, which is the
// same for what we made.
func diskLabel(m *Info) string {
	if label := partitionLabel(m.Major, m.Minor); label != "" {
		return label
	}
	return filesystemLabel(m.Mountpoint)
}

// filesystemLabel asks a mounted file system for its label
// (FS_IOC_GETFSLABEL of linux/fs.h).
func filesystemLabel(target string) string {
	const getFSLabel = 0x81009431
	fd, err := unix.Open(target, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var label [256]byte // FSLABEL_MAX
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getFSLabel, uintptr(unsafe.Pointer(&label[0]))); errno != 0 {
		return ""
	}
	return unix.ByteSliceToString(label[:])
}

// partitionLabel returns the GPT label of a block device, by its numbers.
func partitionLabel(major, minor int) string {
	b, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/uevent", major, minor))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if label, ok := strings.CutPrefix(strings.TrimSpace(line), "PARTNAME="); ok {
			return label
		}
	}
	return ""
}

// rootOf returns what the root of a bound file has to be: its path inside of
// the file system that holds it.
func (r Row) rootOf() string {
	rel, err := filepath.Rel(holder(r.Source), r.Source)
	if err != nil {
		return r.Source
	}
	return "/" + rel
}
