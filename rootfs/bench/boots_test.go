package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ichor/rootfs/hardening"
	"ichor/rootfs/qemu"
)

// readyLine is what every measured machine prints at the end of its boot.
var readyLine = regexp.MustCompile(`ready in (\d+\.\d+) s`)

// machine is a running virtual machine and where to learn how much it computes.
type machine struct {
	*qemu.VM
	pidFile string
}

func (b *bench) start(c qemu.Config) (*machine, error) {
	pidFile := filepath.Join(b.scratch, "qemu.pid")
	c.Args = append([]string{"-pidfile", pidFile}, c.Args...)
	vm, err := qemu.Start(c)
	if err != nil {
		return nil, err
	}
	return &machine{vm, pidFile}, nil
}

// awaitReady takes the sample of a boot.
func (m *machine) awaitReady(within time.Duration) (sample, error) {
	said, err := m.Expect(readyLine, within)
	if err != nil {
		return sample{}, err
	}
	s := sample{Wall: time.Since(m.Started)}
	if s.Kernel, err = time.ParseDuration(said[1] + "s"); err != nil {
		return sample{}, err
	}
	s.CPU, err = computed(m.pidFile)
	return s, err
}

// powerOff presses the power button and waits.
func (m *machine) powerOff() error {
	if err := m.PowerButton(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), powerOffTime)
	defer cancel()
	return m.Wait(ctx)
}

// computed returns the processor time of the process in a PID file.
func computed(pidFile string) (time.Duration, error) {
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
	if err != nil {
		return 0, err
	}
	return processorTime(string(b))
}

// tick is the unit of times in /proc: USER_HZ is 100 on all that we run on.
const tick = 10 * time.Millisecond

// processorTime adds utime and stime of a line of /proc/PID/stat (proc(5)),
// fields 14 and 15. Field 2 is in parentheses and may hold anything.
func processorTime(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("cannot read processor time of %q", stat)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("cannot read processor time of %q", stat)
	}
	return time.Duration(user+system) * tick, nil
}

func TestProcessorTime(t *testing.T) {
	const stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 3 0 0 0 250 50 0 0 20 0 4 0 99 1 1"
	if got, err := processorTime(stat); err != nil || got != 3*time.Second {
		t.Errorf("%v, %v; want 3s", got, err)
	}
	if _, err := processorTime("7 (a) S 1"); err == nil {
		t.Error("a short line was taken")
	}
}

// direct is a machine that QEMU starts without firmware, with the command line
// of the image.
func (b *bench) direct(initrd string, words ...string) qemu.Config {
	return qemu.Config{
		Firmware: qemu.Direct, KeepOff: true,
		Kernel: b.product("vmlinuz"), Initrd: initrd, Append: hardening.CommandLine(words...),
	}
}

// flake is the panic of a kernel that counted too few ticks of an emulated timer
// while the host was busy: QEMU's fault and not the image's.
const flake = "IO-APIC + timer doesn't work"

// tries is how often a boot may end in the flake.
const tries = 3

// once boots a machine, takes its sample and switches it off in the way given.
func (b *bench) once(c qemu.Config, off func(*machine) error) (s sample, err error) {
	for range tries {
		var flaked bool
		if s, flaked, err = b.try(c, off); !flaked {
			break
		}
	}
	return s, err
}

func (b *bench) try(c qemu.Config, off func(*machine) error) (s sample, flaked bool, err error) {
	m, err := b.start(c)
	if err != nil {
		return s, false, err
	}
	defer m.Close()
	s, err = m.awaitReady(bootTime)
	if err != nil {
		return s, strings.Contains(m.Log(), flake), err
	}
	if off != nil {
		err = off(m)
	}
	return s, false, err
}

// twice boots a new disk for the first and for the second time.
func (b *bench) twice(c qemu.Config) (first, second sample, err error) {
	disk := filepath.Join(b.scratch, "disk.raw")
	if err := qemu.CopyDisk(disk, b.product("ichor-amd64.raw"), 0); err != nil {
		return first, second, err
	}
	c.KeepOff, c.Disks = true, []qemu.Disk{{File: disk}}
	if first, err = b.once(c, (*machine).powerOff); err != nil {
		return first, second, fmt.Errorf("first boot: %w", err)
	}
	if second, err = b.once(c, (*machine).powerOff); err != nil {
		return first, second, fmt.Errorf("second boot: %w", err)
	}
	return first, second, nil
}

// way is one of the ways to boot that are measured in turn. What a run adds
// goes to its series.
type way struct {
	title string
	run   func() (first, second sample, err error)
	// twice is set when both samples are of use.
	twice         bool
	first, second series
}

// inTurn runs all ways, and again, so that what disturbs the host disturbs all
// of them alike.
func (b *bench) inTurn(ways []*way) error {
	for i := range *runs {
		for _, w := range ways {
			b.progress("run %d of %d: %s", i+1, *runs, w.title)
			first, second, err := w.run()
			if err != nil {
				return fmt.Errorf("%s: %w", w.title, err)
			}
			w.first = append(w.first, first)
			if w.twice {
				w.second = append(w.second, second)
			}
		}
	}
	return nil
}

// single makes a way of a machine without a disk.
func (b *bench) single(title string, c qemu.Config) *way {
	return &way{title: title, run: func() (sample, sample, error) {
		s, err := b.once(c, nil)
		return s, sample{}, err
	}}
}

// double makes a way of a machine with our disk.
func (b *bench) double(title string, c qemu.Config) *way {
	return &way{title: title, twice: true, run: func() (sample, sample, error) { return b.twice(c) }}
}
