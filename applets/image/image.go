// Package image is the applet that builds the operating system from its binary
// and a kernel. It runs on the builder's machine, without privileges.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"ichor/applets"
	"ichor/rootfs"
)

// help is the help of the applet.
var help = applets.Help{
	Usage: []string{"ichor image COMMAND [FLAG ...]"},
	About: `Builds the operating system. Each command makes one product from the ones
before it; build makes all of them. No command needs root. The same inputs
give the same bytes.

Wanted on the machine: mksquashfs, zstd, mkfs.xfs, faketime, grub-mkimage and
GRUB's modules (Debian: squashfs-tools zstd xfsprogs faketime grub-common
grub-pc-bin grub-efi-amd64-bin).`,
	Verbs: [][2]string{
		{"tree", "print the read-only tree"},
		{"rootfs", "make the squashfs of the read-only tree"},
		{"initramfs", "make the initramfs with the squashfs in it"},
		{"disk", "make the disk image with the initramfs in it"},
		{"build", "make all three"},
		{"help", "show this help"},
	},
	Examples: []string{
		"# everything, as the Makefile does it",
		"ichor image build --kernel out/cache/kernel-cloud --out out",
		"# what is in the tree beside modules?",
		"ichor image tree | grep -v /modules/",
		"# a disk image with the debugging shell on the console",
		"ichor image disk --word ichor.shell --out /var/tmp",
	},
}

// Run is the program.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "tree":
		return run(env, args[1:], verb, "Prints what is in the read-only tree: mode, size, path.", printTree)
	case "rootfs":
		return run(env, args[1:], verb, "Makes rootfs.sqsh.", (*build).rootfs)
	case "initramfs":
		return run(env, args[1:], verb, "Makes initramfs, from rootfs.sqsh.", (*build).initramfs)
	case "disk":
		return run(env, args[1:], verb, "Makes ichor-amd64.raw, from initramfs.", (*build).disk)
	case "build":
		return run(env, args[1:], verb, "Makes rootfs.sqsh, initramfs and ichor-amd64.raw.", (*build).all)
	case "", "help", "-h", "--help":
		help.Print(env.Out, nil)
		return nil
	}
	return applets.Usagef("unknown command %q; see ichor image help", verb)
}

// build is one run: flags and where to say what is done.
type build struct {
	rootfs.Inputs
	env      *applets.Env
	format   *applets.Format
	out      string
	words    []string
	diskFile string
	epoch    int64

	noDesktop bool
}

// run parses flags and does the work of a verb.
func run(env *applets.Env, args []string, verb, about string, work func(*build) error) error {
	b := &build{env: env}
	flags := pflag.NewFlagSet("image "+verb, pflag.ContinueOnError)
	b.flags(flags)
	h := applets.Help{Usage: []string{"ichor image " + verb + " [FLAG ...]"}, About: about + " See ichor image help."}
	err := h.Parse(env, flags, args)
	if errors.Is(err, applets.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return applets.Usagef("unexpected argument %q", flags.Arg(0))
	}
	if err := b.complete(); err != nil {
		return err
	}
	return work(b)
}

func (b *build) flags(f *pflag.FlagSet) {
	f.StringVar(&b.out, "out", "out", "`folder` of the products")
	f.StringVar(&b.Binary, "binary", "", "the `program` to put in (default: this one)")
	f.StringVar(&b.Kernel, "kernel", "out/cache/kernel-cloud", "`folder` with the kernel package unpacked")
	f.StringVar(&b.Foreign, "foreign", "out/cache/foreign", "`folder` with xfsprogs and its libraries unpacked")
	f.BoolVar(&b.noDesktop, "no-desktop", false, "leave out modules for desktops and phones")
	f.IntVar(&b.Level, "level", 19, "how hard zstd tries, 1 to 22; 9 is good enough for trying things out")
	f.IntVar(&b.Block, "block", 1<<18, "block size of the squashfs in `bytes`")
	f.StringSliceVar(&b.words, "word", nil, "`word` to add to the kernel command line")
	f.StringVar(&b.diskFile, "disk-file", "", "`file` of the disk image (default: ichor-amd64.raw in the folder of the products)")
	f.Int64Var(&b.epoch, "epoch", -1, "`seconds` since 1970 to date all files (default: $SOURCE_DATE_EPOCH or 0)")
	b.format = applets.OutputFlag(f)
}

// complete fills in what depends on flags and environment.
func (b *build) complete() error {
	if b.Binary == "" {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("cannot find own binary: %w", err)
		}
		b.Binary = exe
	}
	for _, p := range []*string{&b.out, &b.Binary, &b.Kernel, &b.Foreign, &b.diskFile} {
		*p = b.env.Path(*p)
	}
	if b.diskFile == "" {
		b.diskFile = filepath.Join(b.out, "ichor-amd64.raw")
	}
	if b.Level < 1 || b.Level > 22 {
		return applets.Usagef("--level %d: want 1 to 22", b.Level)
	}
	if b.noDesktop {
		b.Skip = rootfs.DesktopFolders
	}
	b.Version = b.env.Version
	for _, a := range b.env.Table {
		b.Links = append(b.Links, a.Links...)
	}
	if s := os.Getenv("SOURCE_DATE_EPOCH"); b.epoch < 0 && s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return applets.Usagef("SOURCE_DATE_EPOCH=%s: want seconds since 1970", s)
		}
		b.epoch = n
	}
	b.Time = time.Unix(max(b.epoch, 0), 0).UTC()
	return nil
}

func (b *build) product(name string) string { return filepath.Join(b.out, name) }

// make does one step: it says so first, as it takes a while, and then how
// large the product is and how long it took.
func (b *build) make(file string, step func() error) error {
	fmt.Fprintf(b.env.Out, "%-24s ", filepath.Base(file))
	start := time.Now()
	err := step()
	if err != nil {
		fmt.Fprintln(b.env.Out, "failed")
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.env.Out, "%10s  %s s\n", applets.Size(uint64(info.Size())), strconv.FormatFloat(time.Since(start).Seconds(), 'f', 1, 64))
	return nil
}

func (b *build) rootfs() error {
	file := b.product("rootfs.sqsh")
	return b.make(file, func() error {
		t, err := rootfs.RootTree(b.Inputs)
		if err != nil {
			return err
		}
		return replace(file, func(tmp string) error { return t.WriteSquashfs(tmp, b.Inputs) })
	})
}

func (b *build) initramfs() error {
	file := b.product("initramfs")
	return b.make(file, func() error {
		return replace(file, func(tmp string) error {
			return rootfs.WriteInitramfs(tmp, b.product("rootfs.sqsh"), b.Inputs)
		})
	})
}

func (b *build) disk() error {
	return b.make(b.diskFile, func() error {
		kernel, err := rootfs.Kernel(b.Kernel)
		if err != nil {
			return err
		}
		return rootfs.WriteDisk(b.diskFile, rootfs.Disk{
			Kernel:    kernel,
			Initramfs: b.product("initramfs"),
			Words:     b.words,
			Time:      b.Time,
		})
	})
}

func (b *build) all() error {
	for _, step := range []func() error{b.rootfs, b.initramfs, b.disk} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// replace makes a file under another name first, so that an interrupted build
// leaves no half product for the next one.
func replace(file string, write func(tmp string) error) error {
	tmp := filepath.Join(filepath.Dir(file), ".new-"+filepath.Base(file))
	defer os.Remove(tmp)
	if err := write(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// row is a line of the printed tree.
type row struct {
	Mode   string `json:"mode"`
	Size   int64  `json:"size"`
	Path   string `json:"path"`
	Target string `json:"target,omitempty"`
	Why    string `json:"why,omitempty"`
}

func printTree(b *build) error {
	t, err := rootfs.RootTree(b.Inputs)
	if err != nil {
		return err
	}
	why := map[string]string{}
	for _, e := range rootfs.Table {
		why[e.Path] = e.Why
	}
	var rows []row
	for _, n := range t.Nodes() {
		rows = append(rows, row{n.Mode.String(), n.Size, n.Path, n.Target, why[n.Path]})
	}
	return b.format.Print(b.env.Out, rows, func(w io.Writer) {
		applets.Row(w, "MODE", "SIZE", "PATH", "WHY")
		for _, r := range rows {
			name := r.Path
			if r.Target != "" {
				name += " -> " + r.Target
			}
			applets.Row(w, r.Mode, r.Size, name, r.Why)
		}
	})
}
