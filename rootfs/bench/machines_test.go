package bench

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ichor/rootfs"
	"ichor/rootfs/modules"
)

// busybox is Debian's, of the package busybox-static.
const busybox = "/bin/busybox"

// floorInit is the least that an init can do.
const floorInit = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "ready in $(/bin/busybox cut -d' ' -f1 /proc/uptime) s"
exec /bin/busybox sleep 86400
`

// smallTree is an initramfs with busybox, an init and what more adds.
func smallTree(init string, more func(*rootfs.Tree) error) (*rootfs.Tree, error) {
	t, err := rootfs.NewTree(nil)
	if err != nil {
		return nil, err
	}
	return t, errors.Join(
		t.DirAll("/bin"), t.Dir("/proc", 0o755), t.Dir("/dev", 0o755),
		t.Device("/dev/console", 0o600, 5, 1),
		t.File("/bin/busybox", 0o755, busybox),
		t.Text("/init", 0o755, init),
		more(t),
	)
}

func writeArchive(file string, t *rootfs.Tree) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(t.WriteCPIO(f, time.Unix(0, 0)), f.Close())
}

// makeFloor writes the initramfs of the floor.
func makeFloor(file string) error {
	t, err := smallTree(floorInit, func(*rootfs.Tree) error { return nil })
	if err != nil {
		return fmt.Errorf("cannot make the floor: %w", err)
	}
	return writeArchive(file, t)
}

func TestFloor(t *testing.T) {
	for _, tool := range []string{busybox, "cpio"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	file := filepath.Join(t.TempDir(), "floor.cpio")
	if err := makeFloor(file); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list := exec.Command("cpio", "-t", "--quiet")
	list.Stdin = f
	said, err := list.Output()
	want := "bin bin/busybox dev dev/console init proc"
	if got := strings.Join(strings.Fields(string(said)), " "); err != nil || got != want {
		t.Errorf("the floor holds %q, %v; want %q", got, err, want)
	}
}

// The Debian to compare with: what debootstrap calls a minimal one, systemd as
// its init, and udev, without which systemd waits 90 s for the console.
const (
	debianSuite    = "bookworm"
	debianPackages = "systemd-sysv,udev,kmod"
)

// debianInit mounts the squashfs with a tmpfs over it.
const debianInit = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for m in %s; do $b insmod /$m; done
$b mkdir /low /top /root
$b mount -t squashfs -o ro,loop /debian.sqsh /low
$b mount -t tmpfs top /top
$b mkdir /top/up /top/work
$b mount -t overlay -o lowerdir=/low,upperdir=/top/up,workdir=/top/work overlay /root
$b umount /proc
$b mount -o move /dev /root/dev
exec $b switch_root /root /sbin/init
`

// debianUnit starts debianReady when everything that multi-user.target wants
// has been started.
const (
	debianUnit = `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /etc/bench-ready
`
	debianReady = `echo "ready in $(cut -d' ' -f1 /proc/uptime) s" >/dev/console
`
)

// makeDebian returns the initramfs of the Debian. It is made once, and again
// when something that it is made of has changed.
func makeDebian(cache, kernel string, say io.Writer) (string, error) {
	fetched, err := os.ReadFile(filepath.Join(kernel, ".done"))
	if err != nil {
		return "", fmt.Errorf("cannot make the Debian: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{string(fetched), debianSuite, debianPackages, debianInit, debianUnit, debianReady}, "\x00")))
	file := filepath.Join(cache, fmt.Sprintf("debian-%x.cpio", sum[:6]))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if os.Getuid() != 0 {
		return "", errors.New("cannot make the Debian: debootstrap needs root")
	}
	fmt.Fprintln(say, "Making a Debian with systemd to compare with. This is done once.")
	scratch, err := os.MkdirTemp(cache, ".debian-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	if err := buildDebian(scratch, kernel, file); err != nil {
		return "", fmt.Errorf("cannot make the Debian: %w", err)
	}
	return file, nil
}

func buildDebian(scratch, kernel, file string) error {
	root, squashfs := filepath.Join(scratch, "root"), filepath.Join(scratch, "debian.sqsh")
	units := filepath.Join(root, "etc/systemd/system")
	wants := filepath.Join(units, "multi-user.target.wants")
	err := command("debootstrap", append([]string{"--variant=minbase", "--include=" + debianPackages, debianSuite, root}, mirror()...)...)
	for _, step := range []func() error{
		func() error { return os.WriteFile(filepath.Join(root, "etc/bench-ready"), []byte(debianReady), 0o644) },
		func() error { return os.WriteFile(filepath.Join(units, "bench.service"), []byte(debianUnit), 0o644) },
		func() error { return os.MkdirAll(wants, 0o755) },
		func() error { return os.Symlink("../bench.service", filepath.Join(wants, "bench.service")) },
		func() error {
			return command("mksquashfs", root, squashfs, "-quiet", "-no-progress", "-comp", "zstd", "-b", "1M",
				"-e", "var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc")
		},
		func() error { return packDebian(squashfs, kernel, file) },
	} {
		if err == nil {
			err = step()
		}
	}
	return err
}

// packDebian makes the initramfs around the squashfs.
func packDebian(squashfs, kernel, file string) error {
	list, ix, err := debianModules(kernel)
	if err != nil {
		return err
	}
	var names []string
	for _, m := range list {
		names = append(names, m.Name+".ko")
	}
	t, err := smallTree(fmt.Sprintf(debianInit, strings.Join(names, " ")), func(t *rootfs.Tree) error {
		errs := []error{t.File("/debian.sqsh", 0o444, squashfs)}
		for _, m := range list {
			errs = append(errs, t.File("/"+m.Name+".ko", 0o444, ix.Path(m)))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	if err := writeArchive(file+".new", t); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// debianModules are the modules that the Debian's /init loads, in order.
func debianModules(kernel string) ([]modules.Module, *modules.Index, error) {
	found, err := filepath.Glob(filepath.Join(kernel, "lib/modules/*/modules.dep"))
	if err != nil || len(found) != 1 {
		return nil, nil, fmt.Errorf("%d indexes of modules in %s, want one", len(found), kernel)
	}
	ix, err := modules.OpenDir(filepath.Dir(found[0]))
	if err != nil {
		return nil, nil, err
	}
	all, err := ix.Closure("loop", "squashfs", "overlay")
	var list []modules.Module
	for _, m := range all {
		if !m.Builtin {
			list = append(list, m)
		}
	}
	return list, ix, err
}

// mirror is where this machine gets its own Debian from, as an argument of
// debootstrap; if there is no telling it is for debootstrap to know.
func mirror() []string {
	said, _ := exec.Command("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Identifier: Packages").Output()
	for line := range strings.Lines(string(said)) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == debianSuite && f[2] == "main" {
			return f[:1]
		}
	}
	return nil
}

// command runs a program; the error has the end of what it said.
func command(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	said, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, said[max(0, len(said)-500):])
	}
	return nil
}
