package mount

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func flagsAt(t *testing.T, target string) Flags {
	t.Helper()
	m, err := Find(target)
	must(t, err)
	if m == nil {
		t.Fatalf("nothing is mounted at %s", target)
	}
	return FlagsOf(m) &^ RelATime
}

func mkdir(t *testing.T, dirs ...string) {
	t.Helper()
	for _, d := range dirs {
		must(t, os.MkdirAll(d, 0o755))
	}
}

func TestMountKinds(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	mkdir(t, "/a", "/b", "/c", "/d")
	must(t, Mount("tmpfs", "/a", "tmpfs", Options{Set: NoSUID | NoExec, Data: "size=1M,mode=700"}))
	if got := flagsAt(t, "/a"); got != NoSUID|NoExec {
		t.Errorf("new: %v", got)
	}
	mkdir(t, "/a/sub")
	must(t, Mount("tmpfs", "/a/sub", "tmpfs", Options{}))

	must(t, Mount("/a", "/b", "", Options{Set: Bind | ReadOnly | NoDev}))
	if got := flagsAt(t, "/b"); got != ReadOnly|NoSUID|NoDev|NoExec {
		t.Errorf("bind: %v", got)
	}
	if err := os.WriteFile("/b/x", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("bind is writable: %v", err)
	}
	must(t, os.WriteFile("/a/x", nil, 0o600))

	must(t, Mount("/a", "/c", "", Options{Set: Bind | Recursive | Private}))
	if m, _ := Find("/c/sub"); m == nil {
		t.Error("rbind without what is below")
	}
	must(t, Mount("", "/a", "", ParseOptions("remount,bind,exec,noatime")))
	if got := flagsAt(t, "/a"); got != NoSUID|NoATime {
		t.Errorf("remount,bind: %v", got)
	}
	must(t, Mount("", "/a", "", ParseOptions("remount,ro,size=2M")))
	if m, _ := Find("/a"); FlagsOf(m) != NoSUID|NoATime|ReadOnly || !strings.Contains(m.VFSOptions, "size=2048k") || !strings.HasPrefix(m.VFSOptions, "ro") {
		t.Errorf("remount: %+v", m)
	}
	must(t, Mount("", "/a", "", ParseOptions("remount,rw,relatime")))
	if got := flagsAt(t, "/a"); got != NoSUID {
		t.Errorf("remount,rw: %v", got)
	}
	must(t, Mount("/a", "/d", "", Options{Set: Move}))
	if m, _ := Find("/a"); m != nil {
		t.Error("the moved mount is still there")
	}
	must(t, Mount("", "/d", "", Options{Set: Shared}))
	if m, _ := Find("/d"); !isShared(m) {
		t.Errorf("not shared: %+v", m)
	}
	must(t, Unmount("/b", 0))
}

func TestErrorsSayEverything(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	mkdir(t, "/a")
	must(t, os.WriteFile("/file", make([]byte, 1<<20), 0o600))
	dev := attached(t, "/file")
	for name, c := range map[string]struct {
		err   error
		errno error
		words []string
	}{
		"option":  {Mount("tmpfs", "/a", "tmpfs", ParseOptions("nosuid,size=1Q")), unix.EINVAL, []string{"cannot mount tmpfs on /a (type tmpfs, flags nosuid, data size=1Q): fsconfig size=1Q: invalid argument; the kernel says: tmpfs: Bad value for 'size'"}},
		"target":  {Mount("tmpfs", "/missing", "tmpfs", Options{}), unix.ENOENT, []string{"/missing", "move_mount"}},
		"type":    {Mount("x", "/a", "nosuchfs", Options{}), unix.ENODEV, []string{"type nosuchfs", "load its module"}},
		"content": {Mount(dev, "/a", "squashfs", Options{Set: ReadOnly}), unix.EINVAL, []string{dev, "the kernel says: ", "SQUASHFS superblock"}},
		"file":    {Mount("/file", "/a", "squashfs", Options{Set: ReadOnly}), unix.ENOTBLK, []string{"needs the option loop"}},
		"bind":    {Mount("/missing", "/a", "", Options{Set: Bind}), unix.ENOENT, []string{"open_tree /missing"}},
		"remount": {Mount("", "/a", "", Options{Set: Remount | ReadOnly}), unix.EINVAL, []string{"cannot remount /a"}},
		"move":    {Mount("/a", "/tmp", "", Options{Set: Move}), unix.EINVAL, []string{"cannot move /a on /tmp"}},
		"unmount": {Unmount("/a", 0), unix.EINVAL, []string{"cannot unmount /a: invalid argument (it is not a mount point)"}},
	} {
		var e *Error
		if !errors.As(c.err, &e) || !errors.Is(c.err, c.errno) {
			t.Errorf("%s: %v", name, c.err)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(c.err.Error(), w) {
				t.Errorf("%s: %q lacks %q", name, c.err, w)
			}
		}
	}
}

// TestKernelLogWords damages an XFS, which says what it found to nobody but
// the kernel log.
func TestKernelLogWords(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	image := xfsImage(t, "damaged")
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 64), 100) // in the superblock
	must(t, err)
	must(t, f.Close())
	mkdir(t, "/a")
	err = Mount(attached(t, image), "/a", "xfs", Options{})
	var e *Error
	if !errors.As(err, &e) || len(e.Kernel) == 0 || !strings.Contains(strings.Join(e.Kernel, "\n"), "XFS (loop") {
		t.Errorf("got %v", err)
	}
	t.Log(err)
}

func TestContainsWord(t *testing.T) {
	for _, c := range []struct {
		line, word string
		want       bool
	}{
		{"XFS (vda5): Metadata corruption", "vda5", true},
		{"XFS (vda55): Metadata corruption", "vda5", false},
		{"SQUASHFS error: unable to read", "squashfs", true},
		{"vda55 vda5", "vda5", true},
		{"", "vda5", false},
		{"anything", "", false},
	} {
		if got := containsWord(c.line, []string{c.word}); got != c.want {
			t.Errorf("%q in %q: %v", c.word, c.line, got)
		}
	}
}

func FuzzKernelText(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;XFS (vda5): Mounting V5 Filesystem\n SUBSYSTEM=block\n"), "vda5")
	f.Fuzz(func(t *testing.T, record []byte, word string) {
		if s := kernelText(record); strings.Contains(s, "\n") {
			t.Errorf("%q has more than a line", s)
		} else if containsWord(s, []string{word}) && !strings.Contains(strings.ToLower(s), strings.ToLower(word)) {
			t.Errorf("%q is not in %q", word, s)
		}
	})
}

func TestLoop(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	mkdir(t, "/a")
	image := xfsImage(t, "loop")
	dev, err := AttachLoop(image, false)
	must(t, err)
	if got := backingFile(dev); !strings.HasSuffix(got, "/loop.img") {
		t.Errorf("backing file %q", got)
	}
	if fstype, err := Probe(dev); fstype != "xfs" || err != nil {
		t.Errorf("probe: %q, %v", fstype, err)
	}
	must(t, Mount(dev, "/a", "xfs", Options{}))
	must(t, DetachLoop(dev)) // from now on the kernel does it
	must(t, os.WriteFile("/a/x", nil, 0o600))
	must(t, Unmount("/a", 0))
	if f := backingFile(dev); strings.HasSuffix(f, "/loop.img") {
		t.Errorf("%s is still attached", dev)
	}
	must(t, DetachLoop(dev))

	dev, err = AttachLoop(image, true)
	must(t, err)
	if err := Mount(dev, "/a", "xfs", Options{}); err == nil {
		t.Error("a read-only loop device mounts writable")
	}
	must(t, DetachLoop(dev))
	if _, err := AttachLoop("/missing", true); !errors.Is(err, unix.ENOENT) {
		t.Errorf("missing file: %v", err)
	}
	if err := DetachLoop("/dev/vda"); err == nil {
		t.Error("detached what is no loop device")
	}
}

func FuzzProbe(f *testing.F) {
	f.Add([]byte("hsqs"))
	f.Add([]byte("XFSB"))
	f.Add(make([]byte, 512))
	f.Fuzz(func(t *testing.T, b []byte) {
		fstype, err := probe(bytes.NewReader(b))
		if err != nil || len(b) < 4 && fstype != "" {
			t.Errorf("%q, %v", fstype, err)
		}
	})
}
