// Package rootfs builds the operating system: the read-only tree, the squashfs
// and the initramfs made of it, and the disk image that boots them.
//
// It is for the build side. What PID 1 needs to know of the result is in the
// packages early, hardening and modules below; it must not import this one.
package rootfs

import "io/fs"

// Entry is a row of the table of the read-only tree: a folder, a symlink or a
// small file.
type Entry struct {
	// Path is absolute, without symlinks in front of its last part.
	Path string
	// Mode has the type: fs.ModeDir, fs.ModeSymlink, or neither for a file.
	Mode fs.FileMode
	// Content is a file's text or a symlink's target.
	Content string
	// Why says what the entry is for.
	Why string
}

const (
	dir  = fs.ModeDir
	link = fs.ModeSymlink | 0o777
)

// Table is the read-only tree. Beside it there are only the binary, the
// symlinks of the applet table, the kernel's modules, and mkfs.xfs with its
// libraries. Everything belongs to root and nothing is writable: a row's place
// is where something is mounted, or what it holds is for good.
var Table = []Entry{
	{"/", dir | 0o755, "", ""},
	{"/usr", dir | 0o755, "", ""},
	{"/usr/bin", dir | 0o755, "", "the binary and the names of its applets"},
	{"/usr/lib", dir | 0o755, "", ""},
	{"/usr/lib64", dir | 0o755, "", ""},
	{"/usr/sbin", link, "bin", "one folder for programs"},
	{"/bin", link, "usr/bin", "names that the kernel and people expect"},
	{"/sbin", link, "usr/bin", ""},
	{"/lib", link, "usr/lib", ""},
	{"/lib64", link, "usr/lib64", "mkfs.xfs asks for its loader here"},

	{"/dev", dir | 0o755, "", "mounted"},
	{"/proc", dir | 0o555, "", "mounted"},
	{"/sys", dir | 0o555, "", "mounted"},
	{"/run", dir | 0o755, "", "mounted"},
	{"/tmp", dir | fs.ModeSticky | 0o777, "", "mounted"},
	{"/system", dir | 0o755, "", "mounted"},
	{"/var", dir | 0o755, "", "mounted"},
	{"/opt", dir | 0o755, "", "mounted"},
	{"/root", dir | 0o700, "", "home of root, without content"},

	{"/etc", dir | 0o755, "", ""},
	{"/etc/kubernetes", dir | 0o755, "", "mounted"},
	{"/etc/cni", dir | 0o755, "", "mounted"},
	{"/etc/hosts", 0o644, "", "mounted"},
	{"/etc/resolv.conf", 0o644, "", "mounted"},
	{"/etc/hostname", 0o644, "", "mounted"},
	{"/etc/machine-id", 0o444, "", "mounted"},
	{"/etc/mtab", link, "../proc/self/mounts", "mkfs.xfs looks there for what is in use"},
	{"/etc/os-release", link, "../usr/lib/os-release", "os-release(5); written with the version"},
	{"/etc/passwd", 0o644, "root:x:0:0:root:/root:/usr/bin/ichor\nnobody:x:65534:65534:nobody:/:/usr/bin/ichor\n", "names of users; there is no login"},
	{"/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n", "names of groups"},
	{"/etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n", "/etc/hosts before DNS"},
}

// DesktopFolders are the folders of modules, below kernel/ in a folder of
// modules, that no server needs: what Debian's kernel for real hardware has for
// desktops, phones, laboratories and amateurs. Modules that need one of theirs
// are left out, too.
var DesktopFolders = []string{
	"sound",
	"drivers/accessibility", "drivers/atm", "drivers/bluetooth", "drivers/comedi", "drivers/firewire",
	"drivers/gpu", "drivers/iio", "drivers/input/joystick", "drivers/input/tablet", "drivers/input/touchscreen",
	"drivers/isdn", "drivers/leds", "drivers/media", "drivers/memstick", "drivers/mtd", "drivers/parport",
	"drivers/pcmcia", "drivers/platform", "drivers/soundwire", "drivers/staging", "drivers/thunderbolt",
	"drivers/usb/gadget", "drivers/usb/misc", "drivers/usb/serial", "drivers/video", "drivers/w1",
	"drivers/net/arcnet", "drivers/net/can", "drivers/net/fddi", "drivers/net/hamradio",
	"drivers/net/ieee802154", "drivers/net/plip", "drivers/net/slip", "drivers/net/wireless", "drivers/net/wwan",
	"net/6lowpan", "net/appletalk", "net/atm", "net/ax25", "net/batman-adv", "net/bluetooth", "net/can",
	"net/ieee802154", "net/lapb", "net/mac80211", "net/mac802154", "net/netrom", "net/nfc", "net/phonet",
	"net/rose", "net/wireless",
}
