package rootfs

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/rootfs/early"
)

// fakeKernel makes an unpacked kernel package with the early modules and some
// more.
func fakeKernel(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	base := filepath.Join(root, "lib/modules/6.1.0-0-test")
	dep := "kernel/sound/snd.ko:\nkernel/drivers/usesound.ko: kernel/sound/snd.ko\nkernel/net/other.ko:\n"
	for _, m := range early.Modules {
		if m.Name != "nvme" {
			dep += "kernel/fs/" + m.Name + ".ko:\n"
		}
	}
	files := map[string]string{
		"modules.dep": dep, "modules.alias": "alias net-other other\nalias snd snd\n", "modules.softdep": "",
		"modules.builtin": "kernel/drivers/nvme.ko\n", "modules.builtin.modinfo": "", "modules.symbols": "",
	}
	for line := range strings.Lines(dep) {
		name, _, _ := strings.Cut(line, ":")
		files[name] = "content of " + name
	}
	for name, text := range files {
		write(t, filepath.Join(base, name), text)
	}
	write(t, filepath.Join(root, "boot/vmlinuz-6.1.0-0-test"), strings.Repeat("kernel", 100000))
	return root
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestModulesOfTree(t *testing.T) {
	tree, err := NewTree(Table)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.allModules(fakeKernel(t), []string{"sound"}); err != nil {
		t.Fatal(err)
	}
	const base = "/usr/lib/modules/6.1.0-0-test"
	for name, want := range map[string]bool{
		"kernel/fs/xfs.ko":           true,
		"kernel/net/other.ko":        true,
		"kernel/sound/snd.ko":        false,
		"kernel/drivers/usesound.ko": false, // needs one that is left out
		"modules.dep":                true,
	} {
		if _, ok := tree.Find(base + "/" + name); ok != want {
			t.Errorf("%s is in the tree: %v, want %v", name, ok, want)
		}
	}
	var alias bytes.Buffer
	n, _ := tree.Find("/lib/modules/6.1.0-0-test/modules.alias")
	if err := n.copyTo(&alias); err != nil || alias.String() != "alias net-other other\n" {
		t.Errorf("modules.alias is %q, %v", alias.String(), err)
	}
}

func TestOpenKernelRefuses(t *testing.T) {
	if _, _, err := openKernel(t.TempDir()); err == nil || !strings.Contains(err.Error(), "depmod") {
		t.Errorf("error %v, want one that names depmod", err)
	}
	if _, err := Kernel(t.TempDir()); err == nil {
		t.Error("a folder without a kernel: no error")
	}
}

func TestAppletLinks(t *testing.T) {
	tree, err := NewTree(Table)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(t.TempDir(), "ichor"), "")
	if err := tree.Text(binaryPath, 0o755, "binary"); err != nil {
		t.Fatal(err)
	}
	if err := tree.appletLinks([]string{"/sbin/init", "/usr/bin/mount", "/usr/lib/helper"}); err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]string{"/usr/bin/init": "ichor", "/usr/bin/mount": "ichor", "/usr/lib/helper": "../bin/ichor"} {
		if n := tree.nodes[link]; n == nil || n.Target != want {
			t.Errorf("%s is %+v, want a symlink to %s", link, n, want)
		}
		if n, ok := tree.Find(link); !ok || n.Path != binaryPath {
			t.Errorf("%s does not lead to the binary", link)
		}
	}
	if err := tree.appletLinks([]string{"/bin/init"}); err == nil {
		t.Error("two links of the same name: no error")
	}
}

// TestInitramfs has zstd and GNU cpio take an initramfs apart, and makes it
// twice.
func TestInitramfs(t *testing.T) {
	tool(t, "zstd")
	cpio := tool(t, "cpio")
	folder := t.TempDir()
	binary, squashfs := filepath.Join(folder, "binary"), filepath.Join(folder, "squashfs")
	write(t, binary, strings.Repeat("program ", 1001))
	write(t, squashfs, strings.Repeat("file system ", 999))
	in := Inputs{Binary: binary, Kernel: fakeKernel(t), Time: when, Level: 3}
	var images [2][]byte
	for i := range images {
		file := filepath.Join(folder, "initramfs")
		if err := WriteInitramfs(file, squashfs, in); err != nil {
			t.Fatal(err)
		}
		images[i], _ = os.ReadFile(file)
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two initramfs of the same inputs differ")
	}
	at := bytes.Index(images[0], []byte("070701"))
	if at < 0 || at%4 != 0 {
		t.Fatalf("the second archive is at byte %d", at)
	}
	write(t, filepath.Join(folder, "first.zst"), string(bytes.TrimRight(images[0][:at], "\x00")))
	first, err := exec.Command("zstd", "-dc", filepath.Join(folder, "first.zst")).Output()
	if err != nil {
		t.Fatal(err)
	}
	list := func(archive []byte) []string {
		cmd := exec.Command(cpio, "-it", "--quiet")
		cmd.Stdin = bytes.NewReader(archive)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	got := list(first)
	for _, want := range []string{"init", "dev/console", "dev/null", "proc", "sys", "root", strings.TrimPrefix(early.Checksum, "/"),
		"usr/lib/modules/6.1.0-0-test/kernel/fs/xfs.ko", "usr/lib/modules/6.1.0-0-test/modules.dep"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in the first archive: %q", want, got)
		}
	}
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "other.ko") }) {
		t.Errorf("a module that is not early is in the first archive: %q", got)
	}
	if got := list(images[0][at:]); !slices.Equal(got, []string{"rootfs.sqsh"}) {
		t.Errorf("second archive has %q", got)
	}
}

// TestProgram takes a program of this machine with its libraries and runs it
// where there is nothing else.
func TestProgram(t *testing.T) {
	tool(t, "mksquashfs")
	unsquashfs := tool(t, "unsquashfs")
	mkfs := tool(t, "mkfs.xfs")
	if os.Getuid() != 0 {
		missing(t, "chroot needs root")
	}
	tree, err := NewTree(Table)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Program("/usr/sbin/mkfs.xfs", "/", strings.TrimPrefix(mkfs, "/")); err != nil {
		t.Fatal(err)
	}
	image, root := filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "root")
	if err := tree.WriteSquashfs(image, Inputs{Time: when, Level: 1, Block: 1 << 17}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(unsquashfs, "-q", "-n", "-d", root, image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command("chroot", root, "/sbin/mkfs.xfs", "-V").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "mkfs.xfs version") {
		t.Errorf("mkfs.xfs -V: %v, %q", err, out)
	}
}

func TestProgramLacksLibrary(t *testing.T) {
	mkfs := tool(t, "mkfs.xfs")
	root := t.TempDir()
	b, err := os.ReadFile(mkfs)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "sbin/mkfs.xfs"), string(b))
	tree, err := NewTree(Table)
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Program("/usr/sbin/mkfs.xfs", root, "sbin/mkfs.xfs")
	if err == nil || !strings.Contains(err.Error(), "lib") {
		t.Errorf("error %v, want one that names the library", err)
	}
}

func TestUnixMode(t *testing.T) {
	for mode, want := range map[fs.FileMode]uint32{
		0o644:                                 0o100644,
		fs.ModeDir | 0o755:                    0o040755,
		fs.ModeDir | fs.ModeSticky | 0o777:    0o041777,
		link:                                  0o120777,
		fs.ModeDevice | fs.ModeCharDevice | 6: 0o020006,
	} {
		if got := unixMode(mode); got != want {
			t.Errorf("unixMode(%v) = %o, want %o", mode, got, want)
		}
	}
}

// TestDesktopFolders looks the folders up in Debian's kernel for real hardware,
// when that was fetched.
func TestDesktopFolders(t *testing.T) {
	found, _ := filepath.Glob("../out/cache/kernel-generic/lib/modules/*/kernel")
	if len(found) == 0 {
		t.Skip("no generic kernel under out/cache: make image KERNEL=generic fetches it")
	}
	for _, f := range DesktopFolders {
		if _, err := os.Stat(filepath.Join(found[0], f)); err != nil {
			t.Error(err)
		}
	}
	tree, err := NewTree(Table)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.allModules("../out/cache/kernel-generic", DesktopFolders); err != nil {
		t.Fatal(err)
	}
	release := filepath.Base(filepath.Dir(found[0]))
	for _, name := range []string{"fs/xfs/xfs.ko", "drivers/ata/ahci.ko", "drivers/nvme/host/nvme.ko", "drivers/usb/storage/usb-storage.ko",
		"drivers/hid/usbhid/usbhid.ko", "drivers/net/ethernet/intel/ixgbe/ixgbe.ko", "drivers/net/wireguard/wireguard.ko", "drivers/watchdog/iTCO_wdt.ko"} {
		p := "/usr/lib/modules/" + release + "/kernel/" + name
		if _, ok := tree.Find(p); !ok {
			t.Errorf("a server lacks %s", p)
		}
	}
}
