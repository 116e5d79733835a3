package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"ichor/rootfs/qemu"
)

// bench is one run of the benchmark.
type bench struct {
	w       io.Writer
	scratch string
	// floor is the median time of the floor, from kernel start to ready.
	floor time.Duration
}

// products are the files that are measured.
var products = []string{"ichor", "vmlinuz", "rootfs.sqsh", "initramfs", "ichor-amd64.raw"}

// takeProducts copies what is measured, so that a build beside it does no harm.
func (b *bench) takeProducts() error {
	for _, name := range products {
		if err := qemu.CopyDisk(b.product(name), filepath.Join(*out, name), 0); err != nil {
			return fmt.Errorf("%w (make image makes it)", err)
		}
	}
	return errors.Join(os.Chmod(b.product("ichor"), 0o755), makeFloor(b.product("floor.cpio")))
}

func (b *bench) product(name string) string { return filepath.Join(b.scratch, name) }

func (b *bench) printf(format string, a ...any) { fmt.Fprintf(b.w, format, a...) }

// progress tells a person who waits what is done.
func (b *bench) progress(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "  ... "+format+"\n", a...)
}

// section is a part of the report.
type section struct {
	name, title string
	print       func(*bench) error
}

var sections = []section{
	{"boot", "Kernel start to ready", (*bench).boots},
	{"firmware", "Through firmware and GRUB", (*bench).firmware},
	{"phases", "Where the time of a second boot goes", (*bench).phases},
	{"sizes", "Sizes", (*bench).sizes},
	{"processes", "Memory at ready", (*bench).processes},
	{"memory", "Smallest memory", (*bench).smallestMemory},
	{"cpu", "Processor", (*bench).processors},
}

// report prints all sections. One that cannot be measured says why, and the
// others follow.
func (b *bench) report() error {
	b.head()
	var failed error
	for _, s := range sections {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		b.printf("\n%s\n%s\n", s.title, strings.Repeat("-", len(s.title)))
		if err := s.print(b); err != nil {
			b.printf("not measured: %v\n", err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	b.printf("\nload of the host at the end: %s\n", load())
	return failed
}

// head says what was measured and on what.
func (b *bench) head() {
	version, _ := exec.Command(b.product("ichor"), "--version").Output()
	emulator, _ := exec.Command("qemu-system-x86_64", "--version").Output()
	b.printf("%s; %s, %s\n", strings.TrimSpace(string(version)), qemuVersion(string(emulator)), qemu.Accel(b.product("vmlinuz")))
	b.printf("2 processors, 1024 MiB, a virtio-blk disk of 3 GiB, the command line of the image for all\n")
	b.printf("medians of %d runs taken in turn; load of the host at the start: %s\n", *runs, load())
}

func qemuVersion(said string) string {
	if m := regexp.MustCompile(`version (\d+\.\d+\.\d+)`).FindStringSubmatch(said); m != nil {
		return "QEMU " + m[1]
	}
	return "QEMU"
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// table prints lines of cells, aligned.
func (b *bench) table(fill func(row func(cells ...any))) {
	w := tabwriter.NewWriter(b.w, 0, 0, 2, ' ', 0)
	fill(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	})
	w.Flush()
}

// met words an aim.
func met(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}

// Aims of a boot, beyond the floor.
const (
	aimFirst  = 3 * time.Second
	aimSecond = time.Second
)

// boots compares with the floor and with a Debian.
func (b *bench) boots() error {
	floor := b.single("floor: busybox mounts /proc and prints", b.direct(b.product("floor.cpio")))
	ours := b.double("Ichor", b.direct(b.product("initramfs")))
	ways := []*way{floor, ours}
	initrd, err := makeDebian(filepath.Join(*out, "cache"), filepath.Join(*out, "cache", "kernel-"+*kernel), os.Stderr)
	debian := b.single("Debian with systemd, to multi-user.target", b.direct(initrd))
	if err == nil {
		ways = append(ways, debian)
	} else {
		b.printf("%v\n", err)
	}
	if err := b.inTurn(ways); err != nil {
		return err
	}
	b.floor = median(floor.first.kernel())
	b.table(func(row func(...any)) {
		row("", "median", "fastest", "slowest", "to floor", "QEMU's CPU", "aim", "")
		b.boot(row, floor.title, floor.first, 0)
		b.boot(row, "Ichor, first boot", ours.first, aimFirst)
		b.boot(row, "Ichor, second boot", ours.second, aimSecond)
		if err == nil {
			b.boot(row, debian.title, debian.first, 0)
		}
	})
	return nil
}

// boot prints a line about a series. aim is how much longer than the floor it
// may take; 0 means that there is no aim.
func (b *bench) boot(row func(...any), title string, s series, aim time.Duration) {
	all := s.kernel()
	if len(all) == 0 {
		return
	}
	m := median(all)
	wanted, ok := "", ""
	if aim > 0 {
		wanted, ok = seconds(b.floor+aim), met(m <= b.floor+aim)
	}
	row(title, seconds(m), seconds(all[0]), seconds(all[len(all)-1]), ratio(m, b.floor), seconds(median(s.cpu())), wanted, ok)
}

// ratio of two times. The second may be missing.
func ratio(a, b time.Duration) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// firmware measures what a person waits for.
func (b *bench) firmware() error {
	bios := b.double("BIOS", qemu.Config{Firmware: qemu.BIOS})
	uefi := b.double("UEFI", qemu.Config{Firmware: qemu.UEFI})
	if err := b.inTurn([]*way{bios, uefi}); err != nil {
		return err
	}
	b.table(func(row func(...any)) {
		row("", "QEMU start to ready", "kernel start to ready", "fastest", "QEMU's CPU")
		for _, w := range []*way{bios, uefi} {
			for i, s := range []series{w.first, w.second} {
				title := w.title + [...]string{", first boot", ", second boot"}[i]
				row(title, seconds(median(s.wall())), seconds(median(s.kernel())), seconds(s.wall()[0]), seconds(median(s.cpu())))
			}
		}
	})
	return nil
}

// processors compares what QEMU can emulate. Only TCG can.
func (b *bench) processors() error {
	if accel := qemu.Accel(b.product("vmlinuz")); accel != "tcg" {
		b.printf("not with %s, which passes the host's processor on\n", accel)
		return nil
	}
	var ways []*way
	for _, cpu := range []string{"qemu64,+rdrand", "qemu64", "max"} {
		c := b.direct(b.product("initramfs"))
		c.Args = []string{"-cpu", cpu}
		ways = append(ways, b.double("-cpu "+cpu, c))
	}
	if err := b.inTurn(ways); err != nil {
		return err
	}
	b.table(func(row func(...any)) {
		row("", "first boot", "second boot", "QEMU's CPU, second boot")
		for _, w := range ways {
			row(w.title, seconds(median(w.first.kernel())), seconds(median(w.second.kernel())), seconds(median(w.second.cpu())))
		}
	})
	return nil
}

// Aims of sizes, in MB.
const (
	aimBinary    = 24
	aimInitramfs = 36
)

// sizes prints what the products weigh.
func (b *bench) sizes() error {
	b.table(func(row func(...any)) {
		for _, name := range products {
			var st unix.Stat_t
			if unix.Stat(b.product(name), &st) != nil {
				continue
			}
			size, wanted, ok := float64(st.Size)/1e6, "", ""
			note := ""
			for n, aim := range map[string]float64{"ichor": aimBinary, "initramfs": aimInitramfs} {
				if n == name {
					wanted, ok = fmt.Sprintf("aim %.0f MB", aim), met(size <= aim)
				}
			}
			if name == "ichor-amd64.raw" {
				note = fmt.Sprintf("of which %.1f MB take up room", float64(st.Blocks)*512/1e6)
			}
			row(name, fmt.Sprintf("%.1f MB", size), wanted+note, ok)
		}
	})
	return nil
}
