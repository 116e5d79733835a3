package mount

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Flags are the flags of a mount, with the values of the MS_ constants of
// mount(2). The zero value is a writable mount with everything allowed.
type Flags uint64

// The flags. Bind, Move, Remount and the propagation types say what to do, the
// others how the mount is.
const (
	ReadOnly    Flags = unix.MS_RDONLY
	NoSUID      Flags = unix.MS_NOSUID
	NoDev       Flags = unix.MS_NODEV
	NoExec      Flags = unix.MS_NOEXEC
	NoSymFollow Flags = unix.MS_NOSYMFOLLOW
	NoATime     Flags = unix.MS_NOATIME
	NoDirATime  Flags = unix.MS_NODIRATIME
	RelATime    Flags = unix.MS_RELATIME
	StrictATime Flags = unix.MS_STRICTATIME
	Sync        Flags = unix.MS_SYNCHRONOUS
	DirSync     Flags = unix.MS_DIRSYNC
	LazyTime    Flags = unix.MS_LAZYTIME

	Remount    Flags = unix.MS_REMOUNT
	Bind       Flags = unix.MS_BIND
	Move       Flags = unix.MS_MOVE
	Recursive  Flags = unix.MS_REC // with Bind or a propagation type
	Private    Flags = unix.MS_PRIVATE
	Shared     Flags = unix.MS_SHARED
	Slave      Flags = unix.MS_SLAVE
	Unbindable Flags = unix.MS_UNBINDABLE

	accessTimes Flags = NoATime | RelATime | StrictATime
	propagation Flags = Private | Shared | Slave | Unbindable
)

// word is an option word that stands for flags.
type word struct {
	text string
	set  Flags
	// clear is what the word takes away, before set is added.
	clear Flags
}

// words are the option words in the order in which String writes them. Of
// words with the same meaning the first is written.
var words = []word{
	{"ro", ReadOnly, 0},
	{"rw", 0, ReadOnly},
	{"nosuid", NoSUID, 0},
	{"suid", 0, NoSUID},
	{"nodev", NoDev, 0},
	{"dev", 0, NoDev},
	{"noexec", NoExec, 0},
	{"exec", 0, NoExec},
	{"nosymfollow", NoSymFollow, 0},
	{"symfollow", 0, NoSymFollow},
	{"noatime", NoATime, accessTimes},
	{"atime", 0, NoATime},
	{"relatime", RelATime, accessTimes},
	{"norelatime", 0, RelATime},
	{"strictatime", StrictATime, accessTimes},
	{"nostrictatime", 0, StrictATime},
	{"nodiratime", NoDirATime, 0},
	{"diratime", 0, NoDirATime},
	{"sync", Sync, 0},
	{"async", 0, Sync},
	{"dirsync", DirSync, 0},
	{"lazytime", LazyTime, 0},
	{"nolazytime", 0, LazyTime},
	{"remount", Remount, 0},
	{"move", Move, 0},
	{"rbind", Bind | Recursive, 0},
	{"bind", Bind, 0},
	{"rprivate", Private | Recursive, propagation},
	{"private", Private, propagation},
	{"rshared", Shared | Recursive, propagation},
	{"shared", Shared, propagation},
	{"rslave", Slave | Recursive, propagation},
	{"slave", Slave, propagation},
	{"runbindable", Unbindable | Recursive, propagation},
	{"unbindable", Unbindable, propagation},
}

// Words returns the option words of the flags, such as "ro" and "nosuid". The
// words for what is absent, such as "rw", are left out.
func (f Flags) Words() []string {
	var out []string
	rest := f
	for _, w := range words {
		// Recursive belongs to every word that has it, not to the first.
		if w.set != 0 && f&w.set == w.set && rest&w.set&^Recursive != 0 {
			out = append(out, w.text)
			rest &^= w.set &^ Recursive
		}
	}
	return out
}

// String joins the words with commas; of no flags it returns "rw".
func (f Flags) String() string {
	if w := f.Words(); len(w) > 0 {
		return strings.Join(w, ",")
	}
	return "rw"
}

// attributes returns the flags as MOUNT_ATTR_ bits, as fsmount(2) and
// mount_setattr(2) take them.
func (f Flags) attributes() uint64 {
	var attr uint64
	for _, a := range []struct {
		flag Flags
		attr uint64
	}{
		{ReadOnly, unix.MOUNT_ATTR_RDONLY},
		{NoSUID, unix.MOUNT_ATTR_NOSUID},
		{NoDev, unix.MOUNT_ATTR_NODEV},
		{NoExec, unix.MOUNT_ATTR_NOEXEC},
		{NoSymFollow, unix.MOUNT_ATTR_NOSYMFOLLOW},
		{NoATime, unix.MOUNT_ATTR_NOATIME},
		{StrictATime, unix.MOUNT_ATTR_STRICTATIME},
		{NoDirATime, unix.MOUNT_ATTR_NODIRATIME},
	} {
		if f&a.flag != 0 {
			attr |= a.attr
		}
	}
	return attr
}

// superblockWords are the words which fsconfig(2) takes for a whole file
// system rather than for one mount of it.
var superblockWords = []word{
	{"ro", ReadOnly, 0},
	{"rw", 0, ReadOnly},
	{"sync", Sync, 0},
	{"async", 0, Sync},
	{"dirsync", DirSync, 0},
	{"lazytime", LazyTime, 0},
	{"nolazytime", 0, LazyTime},
}

// superblock returns the words for fsconfig(2) that set and clear stand for.
func superblock(set, clear Flags) []string {
	var out []string
	for _, w := range superblockWords {
		if set&w.set != 0 || clear&w.clear != 0 {
			out = append(out, w.text)
		}
	}
	return out
}

// Options are the options of a mount: what follows -o.
type Options struct {
	// Set are the flags that are asked for, Clear those which are asked not to
	// be there; only a remount or a bind mount can have something to clear.
	Set, Clear Flags
	// Data are the options of the file system, separated by commas.
	Data string
	// Loop asks for the source to be attached to a loop device.
	Loop bool
}

// ParseOptions reads a list of option words such as "ro,nosuid,size=1M". Of
// words that contradict each other the last one counts. Words that are no
// flags go to Data as they are, in order; those which only mean something in
// an fstab, such as "noauto", are passed over. A comma inside double quotes or
// after a backslash does not separate. There is no malformed input: what the
// file system does not know, it says itself.
func ParseOptions(s string) Options {
	var o Options
	var data []string
	for _, text := range splitOptions(s) {
		switch {
		case text == "loop":
			o.Loop = true
		case o.flag(text) || forFstab(text):
		default:
			data = append(data, text)
		}
	}
	o.Data = strings.Join(data, ",")
	return o
}

// flag takes in a word if it stands for flags.
func (o *Options) flag(text string) bool {
	for _, w := range words {
		if w.text == text {
			o.Set = o.Set&^w.clear | w.set
			o.Clear = o.Clear&^w.set | w.clear&^w.set
			return true
		}
	}
	return false
}

// forFstab tells whether a word is for programs that read fstab(5), or has no
// meaning in the interface we use.
func forFstab(text string) bool {
	switch text {
	case "", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "silent", "loud":
		return true
	}
	for _, prefix := range []string{"x-", "X-", "comment="} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// String writes the options so that ParseOptions reads the same.
func (o Options) String() string {
	out := o.Set.Words()
	for _, w := range words {
		if w.set == 0 && w.clear&o.Clear != 0 {
			out = append(out, w.text)
		}
	}
	if o.Loop {
		out = append(out, "loop")
	}
	if o.Data != "" {
		out = append(out, o.Data)
	}
	if len(out) == 0 {
		return "defaults"
	}
	return strings.Join(out, ",")
}

// splitOptions splits at commas that are neither quoted nor escaped.
func splitOptions(s string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		escaped := i > start && s[i-1] == '\\'
		switch {
		case s[i] == '"' && !escaped:
			quoted = !quoted
		case s[i] == ',' && !quoted && !escaped:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

// keyValue splits an option of a file system; quotes around the value go.
func keyValue(option string) (key, value string, hasValue bool) {
	key, value, hasValue = strings.Cut(option, "=")
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	return key, value, hasValue
}
