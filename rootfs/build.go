package rootfs

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ichor/rootfs/early"
	"ichor/rootfs/modules"
)

// Inputs are what an operating system is built from.
type Inputs struct {
	// Binary is the path of the one program.
	Binary string
	// Version goes into os-release.
	Version string
	// Links are the symlinks to the binary, as the applet table has them.
	Links []string
	// Kernel is a folder with Debian's kernel package unpacked, and the
	// index of depmod: lib/modules/RELEASE.
	Kernel string
	// Foreign is a folder with Debian's xfsprogs unpacked, and the packages
	// of the libraries it needs.
	Foreign string
	// Skip are folders of modules to leave out, relative to
	// lib/modules/RELEASE/kernel.
	Skip []string
	// Time is given to all files.
	Time time.Time
	// Level is how hard zstd tries, 1 to 22.
	Level int
	// Block is the block size of the squashfs in bytes.
	Block int
}

// binaryPath is the binary's place in the read-only tree.
const binaryPath = "/usr/bin/ichor"

// moduleDir holds a folder of modules per kernel release.
const moduleDir = "/usr/lib/modules"

// indexFiles are what the running system reads of a module folder.
var indexFiles = []string{"modules.dep", "modules.alias", "modules.softdep", "modules.builtin", "modules.builtin.modinfo", "modules.symbols"}

// RootTree makes the read-only tree.
func RootTree(in Inputs) (*Tree, error) {
	t, err := NewTree(Table)
	if err != nil {
		return nil, err
	}
	steps := []func() error{
		func() error { return t.Text("/usr/lib/os-release", 0o644, osRelease(in.Version)) },
		func() error { return t.File(binaryPath, 0o755, in.Binary) },
		func() error { return t.appletLinks(in.Links) },
		func() error { return t.Program("/usr/sbin/mkfs.xfs", in.Foreign, "sbin/mkfs.xfs") },
		func() error { return t.allModules(in.Kernel, in.Skip) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// osRelease returns the content of os-release(5).
func osRelease(version string) string {
	return fmt.Sprintf("NAME=Ichor\nID=ichor\nPRETTY_NAME=\"Ichor %s\"\nVERSION_ID=%q\n", version, version)
}

// appletLinks adds relative symlinks to the binary.
func (t *Tree) appletLinks(links []string) error {
	for _, l := range links {
		real, err := t.resolve(l, maxLinks)
		if err != nil {
			return fmt.Errorf("cannot add link of applet table: %w", err)
		}
		target, err := filepath.Rel(path.Dir(real), binaryPath)
		if err != nil {
			return fmt.Errorf("cannot add link of applet table: %w", err)
		}
		if err := t.Symlink(l, target); err != nil {
			return err
		}
	}
	return nil
}

// openKernel opens the module index of an unpacked kernel package.
func openKernel(kernel string) (ix *modules.Index, release string, err error) {
	found, err := filepath.Glob(filepath.Join(kernel, "lib/modules/*/modules.dep"))
	if err != nil || len(found) != 1 {
		return nil, "", fmt.Errorf("cannot use kernel %s: found %d files lib/modules/*/modules.dep, want one (depmod writes it)", kernel, len(found))
	}
	folder := filepath.Dir(found[0])
	ix, err = modules.OpenDir(folder)
	return ix, filepath.Base(folder), err
}

// allModules adds the modules with an index of just them.
func (t *Tree) allModules(kernel string, skip []string) error {
	ix, release, err := openKernel(kernel)
	if err != nil {
		return err
	}
	var kept []modules.Module
	for _, name := range ix.Names() {
		plan, err := ix.Plan(name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(plan, func(m modules.Module) bool { return skipped(m, skip) }) {
			kept = append(kept, module(plan, name))
		}
	}
	return t.addModules(ix, release, kept, indexFiles)
}

// module finds a module in a plan.
func module(plan []modules.Module, name string) modules.Module {
	i := slices.IndexFunc(plan, func(m modules.Module) bool { return m.Name == name })
	return plan[i]
}

// skipped tells whether a module is needed and in one of the folders.
func skipped(m modules.Module, folders []string) bool {
	return !m.Optional && slices.ContainsFunc(folders, func(f string) bool {
		return strings.HasPrefix(m.Path, path.Join("kernel", f)+"/")
	})
}

// addModules adds modules and those files of the index that are named.
func (t *Tree) addModules(ix *modules.Index, release string, list []modules.Module, index []string) error {
	base := path.Join(moduleDir, release)
	for _, m := range list {
		if m.Builtin {
			continue
		}
		dst := path.Join(base, m.Path)
		if err := t.DirAll(path.Dir(dst)); err != nil {
			return err
		}
		if err := t.File(dst, 0o644, ix.Path(m)); err != nil {
			return err
		}
	}
	subset, err := ix.Subset(list)
	if err != nil {
		return err
	}
	if err := t.DirAll(base); err != nil {
		return err
	}
	for _, name := range index {
		if err := t.Text(path.Join(base, name), 0o644, subset[name]); err != nil {
			return err
		}
	}
	return nil
}

// WriteSquashfs makes a squashfs of the tree. The same tree, time, level and
// block size give the same bytes.
func (t *Tree) WriteSquashfs(file string, in Inputs) error {
	stamp := strconv.FormatInt(in.Time.Unix(), 10)
	cmd := exec.Command("mksquashfs", "-", file, "-tar", "-noappend", "-quiet", "-no-progress",
		"-no-xattrs", "-no-exports", "-root-mode", "0755", "-root-uid", "0", "-root-gid", "0",
		"-all-time", stamp, "-mkfs-time", stamp,
		"-comp", "zstd", "-Xcompression-level", strconv.Itoa(in.Level), "-b", strconv.Itoa(in.Block))
	// mksquashfs refuses to have the time from two sides.
	cmd.Env = withoutVariable(os.Environ(), "SOURCE_DATE_EPOCH")
	if err := feed(cmd, func(w io.Writer) error { return t.WriteTar(w, in.Time) }); err != nil {
		return fmt.Errorf("cannot make squashfs %s: %w", file, err)
	}
	return nil
}

func withoutVariable(env []string, name string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, name+"=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// feed runs a command with what write produces as its input. The error has
// what the command said.
func feed(cmd *exec.Cmd, write func(io.Writer) error) error {
	var said strings.Builder
	cmd.Stderr = &said
	if cmd.Stdout == nil {
		cmd.Stdout = &said
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	writeErr := write(in)
	in.Close()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, strings.TrimSpace(said.String()))
	}
	return writeErr
}

// InitTree makes the tree of the first archive of the initramfs. sum is the
// checksum of the squashfs.
func InitTree(in Inputs, sum string) (*Tree, error) {
	t, err := NewTree([]Entry{{"/", dir | 0o755, "", ""}, {"/dev", dir | 0o755, "", ""}})
	if err != nil {
		return nil, err
	}
	for _, f := range early.Folders {
		if err := t.Dir(f, 0o755); err != nil {
			return nil, err
		}
	}
	// The kernel opens the console for /init before anything is mounted.
	if err := t.Device("/dev/console", 0o600, 5, 1); err != nil {
		return nil, err
	}
	if err := t.Device("/dev/null", 0o666, 1, 3); err != nil {
		return nil, err
	}
	if err := t.File(early.Init, 0o755, in.Binary); err != nil {
		return nil, err
	}
	if err := t.Text(early.Checksum, 0o444, sum+"\n"); err != nil {
		return nil, err
	}
	return t, t.earlyModules(in.Kernel)
}

// earlyModules adds the modules that /init loads. For it modules.builtin and
// what belongs to the early modules is index enough.
func (t *Tree) earlyModules(kernel string) error {
	ix, release, err := openKernel(kernel)
	if err != nil {
		return err
	}
	var names []string
	for _, m := range early.Modules {
		names = append(names, m.Name)
	}
	list, err := ix.Closure(names...)
	if err != nil {
		return fmt.Errorf("cannot collect early modules: %w", err)
	}
	return t.addModules(ix, release, list, []string{"modules.dep", "modules.alias", "modules.softdep", "modules.builtin"})
}

// WriteInitramfs makes the initramfs with a squashfs in it. See package early
// for what it holds.
func WriteInitramfs(file, squashfs string, in Inputs) error {
	sum, err := sumFile(squashfs)
	if err != nil {
		return err
	}
	first, err := InitTree(in, sum)
	if err != nil {
		return err
	}
	second, err := NewTree([]Entry{{"/", dir | 0o755, "", ""}})
	if err != nil {
		return err
	}
	if err := second.File(early.Squashfs, 0o444, squashfs); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("cannot make initramfs: %w", err)
	}
	err = writeArchives(out, first, second, in)
	if e := out.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("cannot make initramfs %s: %w", file, err)
	}
	return nil
}

// writeArchives writes the compressed and then the plain archive.
func writeArchives(out *os.File, first, second *Tree, in Inputs) error {
	// Compressed by a fixed number of threads the bytes are the same anywhere.
	cmd := exec.Command("zstd", "-q", "-c", "--ultra", "-"+strconv.Itoa(in.Level), "-T2")
	cmd.Stdout = out
	if err := feed(cmd, func(w io.Writer) error { return first.WriteCPIO(w, in.Time) }); err != nil {
		return err
	}
	// The kernel looks for the next archive at a multiple of 4.
	end, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := out.Write(make([]byte, -end&3)); err != nil {
		return err
	}
	return second.WriteCPIO(out, in.Time)
}

func sumFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("cannot sum: %w", err)
	}
	defer f.Close()
	sum, err := early.Sum(f)
	if err != nil {
		return "", fmt.Errorf("cannot sum %s: %w", file, err)
	}
	return sum, nil
}

// Kernel returns the path of the kernel in an unpacked kernel package.
func Kernel(folder string) (string, error) {
	found, err := filepath.Glob(filepath.Join(folder, "boot/vmlinuz-*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("cannot use kernel %s: found %d files boot/vmlinuz-*, want one", folder, len(found))
	}
	return found[0], nil
}
