package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"ichor/mount"
	"ichor/rootfs/early"
	"ichor/rootfs/modules"
	"ichor/rpc"
)

// handedVar carries the records of the first life over to the second.
const handedVar = "ICHOR_INITRAMFS"

// initramfs is the first life. It ends in exec.
func (m *machine) initramfs(ctx context.Context) error {
	if err := m.mountEarly(); err != nil {
		return err
	}
	m.readArguments()
	ix, err := modules.Open("/", "")
	if err != nil {
		return err
	}
	loader := modules.NewLoader(ix)
	loader.Params = modules.CommandLineParams(m.cmdline)
	r, err := m.status.run(ctx, phase{"initramfs", []task{
		{"root file system", func(context.Context) error { return m.mountRoot(loader) }},
		{"checksum", func(context.Context) error { return verify(early.Squashfs, early.Checksum) }},
		{"modules", func(context.Context) error { return m.loadForDisks(loader) }},
	}})
	if err != nil {
		return err
	}
	m.log.printf(logNotice, "%s", r.summary())
	return m.switchRoot()
}

// mountEarly mounts what the first life needs and the second keeps. The kernel
// tells what is mounted in /proc only, so that comes first and by itself; the
// others find it.
func (m *machine) mountEarly() error {
	proc, ok := mount.Lookup("proc")
	if !ok {
		return errors.New("the mount table has no row \"proc\"")
	}
	if err := mount.Mount(proc.Source, proc.Target, proc.Type, mount.Options{Set: proc.Flags, Data: proc.Data}); err != nil {
		return err
	}
	for _, row := range mount.Rows(mount.PhaseEarly) {
		if row.Layer != mount.LayerPseudo {
			continue
		}
		if err := row.Apply(nil); err != nil {
			return err
		}
	}
	return m.log.open()
}

// loadForDisks loads the modules of the list that disks need, side by side. One
// that fails is said: only what follows can tell whether it was needed.
func (m *machine) loadForDisks(l *modules.Loader) error {
	var wg sync.WaitGroup
	for _, mod := range early.Modules {
		if mod.Use != early.ForDisks {
			continue
		}
		wg.Add(1)
		rpc.Go("load "+mod.Name, func() {
			defer wg.Done()
			m.load(l, mod.Name)
		})
	}
	wg.Wait()
	return nil
}

// load loads what a name or a modalias stands for. That there is no module, or
// no such device, is as it should be for most of them.
func (m *machine) load(l *modules.Loader, name string) {
	err := l.Load(name)
	switch {
	case err == nil || errors.Is(err, modules.ErrNotFound):
	case errors.Is(err, unix.ENODEV):
		m.log.printf(logInfo, "%v, ignoring", err)
	default:
		m.log.printf(logWarning, "%v, ignoring", err)
	}
}

// mountRoot mounts the squashfs, and then reads the binary from it ahead of its
// start, while modules are still being loaded.
func (m *machine) mountRoot(l *modules.Loader) error {
	for _, mod := range early.Modules {
		if mod.Use == early.ForRoot {
			if err := l.Load(mod.Name); err != nil {
				return err
			}
		}
	}
	row, ok := mount.Lookup("root")
	if !ok {
		return errors.New("the mount table has no row \"root\"")
	}
	if err := row.At(early.NewRoot).Apply(nil); err != nil {
		return err
	}
	if f, err := os.Open(filepath.Join(early.NewRoot, "sbin/init")); err == nil {
		io.Copy(io.Discard, f)
		f.Close()
	}
	return nil
}

// verify checks a file against its checksum.
func verify(file, sum string) error {
	want, err := os.ReadFile(sum)
	if err != nil {
		return fmt.Errorf("cannot verify %s: %w", file, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("cannot verify %s: %w", file, err)
	}
	defer f.Close()
	got, err := early.Sum(f)
	if err != nil {
		return fmt.Errorf("cannot verify %s: %w", file, err)
	}
	if got != strings.TrimSpace(string(want)) {
		return fmt.Errorf("cannot verify %s: its checksum is %s and should be %s; the image is damaged: install it again", file, got, strings.TrimSpace(string(want)))
	}
	return nil
}

// switchRoot frees the initramfs, makes the squashfs the root and starts the
// second life from it. The squashfs stays in memory, held by its loop device.
func (m *machine) switchRoot() error {
	for _, name := range []string{"dev", "proc", "sys"} {
		if err := mount.Mount("/"+name, filepath.Join(early.NewRoot, name), "", mount.Options{Set: mount.Move}); err != nil {
			return err
		}
	}
	if err := empty("/"); err != nil {
		return err
	}
	if err := unix.Chdir(early.NewRoot); err != nil {
		return fmt.Errorf("cannot enter %s: %w", early.NewRoot, err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("cannot move the root file system from %s to /: %w", early.NewRoot, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("cannot change the root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("cannot enter the new root: %w", err)
	}
	env := []string{"PATH=" + searchPath, "TERM=linux", handedVar + "=" + m.status.handOver()}
	err := unix.Exec("/sbin/init", []string{"/sbin/init"}, env)
	return fmt.Errorf("cannot start /sbin/init of the root file system: %w", err)
}

// empty removes what lies below dir, on its file system only. Errors other
// than on dir itself leave some memory in use and nothing else.
func empty(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("cannot look at %s: %w", dir, err)
	}
	return emptyOn(dir, st.Dev)
}

func emptyOn(dir string, dev uint64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil || st.Dev != dev {
			continue
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			emptyOn(path, dev)
		}
		os.Remove(path)
	}
	return nil
}
