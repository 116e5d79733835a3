package mount

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// State says how a row and the machine agree.
type State string

// The states. The last three are deviations.
const (
	Mounted   State = "mounted"
	Absent    State = "absent" // not offered by this kernel, and optional
	Missing   State = "missing"
	Different State = "different"
	Extra     State = "extra" // mounted although no row says so
)

// Deviates tells whether the machine is not as the table says.
func (s State) Deviates() bool { return s == Missing || s == Different || s == Extra }

// Entry is a row of the table and how the machine agrees with it, or a mount
// that is in no row, told in the form of a row.
type Entry struct {
	Row
	State State
	// Difference says in words what differs.
	Difference string
}

// Check compares the machine with the table: an entry for each row, then one
// for each mount that is in no row. Options that a file system adds by itself,
// such as inode64, do not count.
func Check() ([]Entry, error) {
	mounts, err := List()
	if err != nil {
		return nil, err
	}
	return check(Table, mounts), nil
}

func check(table []Row, mounts []*Info) []Entry {
	var entries []Entry
	known := map[int]bool{}
	for _, r := range table {
		m := topmost(at(mounts, r.Target))
		if m != nil {
			known[m.ID] = true
		}
		entries = append(entries, r.compare(m))
	}
	for _, m := range mounts {
		if !known[m.ID] {
			entries = append(entries, extra(table, m))
		}
	}
	return entries
}

func at(mounts []*Info, target string) []*Info {
	var out []*Info
	for _, m := range mounts {
		if m.Mountpoint == target {
			out = append(out, m)
		}
	}
	return out
}

// compare makes the entry of a row; m is what is mounted there, or nil.
func (r Row) compare(m *Info) Entry {
	wanted, why := r.Wanted()
	switch {
	case m == nil && !wanted:
		return Entry{r, Absent, why}
	case m == nil:
		return Entry{r, Missing, "nothing is mounted there"}
	}
	if d := r.Differences(m); len(d) > 0 {
		return Entry{r, Different, strings.Join(d, "; ")}
	}
	return Entry{r, Mounted, ""}
}

// extra makes the entry of a mount that is in no row.
func extra(table []Row, m *Info) Entry {
	e := Entry{State: Extra, Difference: "no row of the table says so"}
	e.Source, e.Target, e.Type, e.Flags, e.Data = m.Source, m.Mountpoint, m.FSType, FlagsOf(m), m.VFSOptions
	if slices.ContainsFunc(table, func(r Row) bool { return r.Target == m.Mountpoint }) {
		e.Difference = "it lies hidden under another mount"
	}
	return e
}

// Differences says in words in what a mount is not as the row says; nil if it
// is.
func (r Row) Differences(m *Info) []string { return r.differences(m, "") }

// differences is Differences for a disk whose device is known; without one the
// kernel is asked for the label of the partition.
func (r Row) differences(m *Info, device string) []string {
	var out []string
	if fstype := r.fstype(); m.FSType != fstype {
		return []string{fmt.Sprintf("the type is %s, not %s", m.FSType, fstype)}
	}
	if d := r.sourceDiffers(m, device); d != "" {
		out = append(out, d)
	}
	have, want := comparable(FlagsOf(m)), comparable(r.Flags)
	if lacks := want &^ have; lacks != 0 {
		out = append(out, "it lacks "+lacks.String())
	}
	if has := have &^ want; has != 0 {
		out = append(out, "it has "+has.String())
	}
	return append(out, r.dataDiffers(splitOptions(m.VFSOptions))...)
}

// comparable strips what is not stated in rows: relatime is the kernel's
// default, and a bind mount does not show that it is one.
func comparable(f Flags) Flags { return f &^ (RelATime | Bind | Recursive) }

// fstype returns the type that the mount of the row has.
func (r Row) fstype() string {
	if r.Layer != LayerFile {
		return r.Type
	}
	for _, other := range Table {
		if other.Target == holder(r.Source) {
			return other.Type
		}
	}
	return ""
}

func (r Row) sourceDiffers(m *Info, device string) string {
	switch r.Layer {
	case LayerFile:
		if want := r.rootOf(); m.Root != want {
			return fmt.Sprintf("it shows the file %s, not %s", m.Root, want)
		}
	case LayerDisk:
		if device != "" && m.Source != device {
			return fmt.Sprintf("the source is %s, not %s", m.Source, device)
		}
		if device != "" {
			return ""
		}
		if label := diskLabel(m); label != r.Source {
			return fmt.Sprintf("the source is %s with label %q, not %q", m.Source, label, r.Source)
		}
	case LayerImage:
		if !strings.HasPrefix(m.Source, "/dev/loop") {
			return fmt.Sprintf("the source is %s, not a loop device", m.Source)
		}
	default:
		if m.Source != r.Source {
			return fmt.Sprintf("the source is %s, not %s", m.Source, r.Source)
		}
	}
	return ""
}

// dataDiffers compares the row's options with those of the file system.
func (r Row) dataDiffers(have []string) []string {
	var out []string
	if r.Flags&ReadOnly != 0 && r.Layer != LayerFile && !slices.Contains(have, "ro") {
		out = append(out, "the file system is writable")
	}
	for _, option := range splitOptions(r.Data) {
		same := func(h string) bool { return normal(h) == normal(option) }
		if !slices.ContainsFunc(have, same) && !unshown(r.Type, option) {
			out = append(out, "it lacks "+option)
			if h := sameKey(have, option); h != "" {
				out[len(out)-1] += ", it has " + h
			}
		}
	}
	return out
}

// sameKey finds an option that differs only in its value.
func sameKey(have []string, option string) string {
	want, _, _ := keyValue(option)
	for _, h := range have {
		if key, _, _ := keyValue(h); key == want {
			return h
		}
	}
	return ""
}

// unshown tells whether an option is a default that the kernel does not show.
func unshown(fstype, option string) bool {
	return fstype == "tmpfs" && normal(option) == normal("mode=1777")
}

// normal writes an option so that different spellings of one value are the
// same: modes in octal, sizes and counts as plain numbers.
func normal(option string) string {
	key, value, hasValue := keyValue(option)
	if !hasValue {
		return option
	}
	var n uint64
	var err error
	switch key {
	case "mode", "ptmxmode":
		n, err = strconv.ParseUint(value, 8, 32)
	case "size", "nr_inodes":
		n, err = parseSize(value)
	default:
		return option
	}
	if err != nil {
		return option
	}
	return key + "=" + strconv.FormatUint(n, 10)
}

// parseSize reads a number with an optional binary suffix k, M, G or T.
func parseSize(s string) (uint64, error) {
	shift := 0
	if s != "" {
		if i := strings.IndexByte("kmgt", s[len(s)-1]|0x20); i >= 0 {
			shift, s = 10*(i+1), s[:len(s)-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil && n<<shift>>shift != n {
		err = strconv.ErrRange
	}
	return n << shift, err
}
