package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/siderolabs/go-retry/retry"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	rpcstatus "google.golang.org/grpc/status"

	"ichor/mount"
	"ichor/rootfs/hardening"
	"ichor/rootfs/modules"
	"ichor/rpc"
	mountv1 "ichor/rpc/mount/v1"
	partitionv1 "ichor/rpc/partition/v1"
)

// phases is the boot, from the root file system to ready.
func (m *machine) phases() []phase {
	// The partitions of the system disk by label, from phase disk on.
	devices := map[string]string{}
	return []phase{
		{"kernel", []task{
			{"command line", m.checkCommandLine},
			{"sysctls", m.applySysctls},
			{"pseudo file systems", m.mounts(mount.PhasePseudo, nil)},
			{"loopback", loopbackUp},
			{"coldplug", m.coldplug},
		}},
		{"memory", []task{
			{"tmpfs", m.mounts(mount.PhaseTmpfs, nil)},
		}},
		{"disk", []task{
			{"modules", func(context.Context) error { return m.loadForDisks(m.loader) }},
			{"system disk", func(ctx context.Context) error { return m.provision(ctx, devices) }},
		}},
		{"volumes", []task{
			{"state", m.mounts(mount.PhaseState, devices)},
			{"ephemeral", m.ephemeral(devices)},
		}},
		{"layers", []task{
			{"overlays", m.mounts(mount.PhaseOverlays, nil)},
			{"files", m.files},
		}},
		{"services", []task{
			{"devices", m.settle},
			{"debugging shell", m.shellIfEnabled},
		}},
	}
}

// system is the second life up to ready.
func (m *machine) system(ctx context.Context) error {
	if err := m.log.open(); err != nil {
		return err
	}
	m.status.takeOver(os.Getenv(handedVar))
	os.Unsetenv(handedVar)
	for _, err := range m.readArguments() {
		m.log.printf(logErr, "%v", err)
	}
	m.watchSignals()
	ix, err := modules.Open("/", "")
	if err != nil {
		return err
	}
	m.loader = modules.NewLoader(ix)
	m.loader.Params = modules.CommandLineParams(m.cmdline)
	for _, p := range m.phases() {
		if err := m.phase(ctx, p); err != nil {
			return err
		}
	}
	m.announce()
	return nil
}

// phasePatience bounds a phase, over and above the wait for a disk.
const phasePatience = 10 * time.Minute

// phase carries out one phase and says how it went.
func (m *machine) phase(ctx context.Context, p phase) error {
	ctx, cancel := context.WithTimeout(ctx, phasePatience+m.args.diskWait)
	defer cancel()
	r, err := m.status.run(ctx, p)
	if err != nil {
		return err
	}
	m.log.printf(logNotice, "%s", r.summary())
	return nil
}

// announce says on every console that the machine is ready.
func (m *machine) announce() {
	line := fmt.Sprintf("ready in %s s", seconds(m.status.setReady()))
	m.log.printf(logNotice, "%s", line)
	if consoleLevel() > logNotice {
		return // the kernel has put it on every console
	}
	for _, tty := range consoles() {
		if f, err := os.OpenFile("/dev/"+tty, os.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK, 0); err == nil {
			fmt.Fprintf(f, "ichor: %s\r\n", line)
			f.Close()
		}
	}
}

// consoleLevel is the level below which messages are shown on the consoles.
func consoleLevel() int {
	b, err := os.ReadFile("/proc/sys/kernel/printk")
	if err != nil {
		return 0
	}
	level, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\t")
	n, _ := strconv.Atoi(level)
	return n
}

// checkCommandLine refuses to go on without the protection that the image is
// meant to have.
func (m *machine) checkCommandLine(context.Context) error {
	var required []string
	for _, a := range hardening.Absent(m.cmdline) {
		if a.Need == hardening.Required {
			required = append(required, a.Text)
		} else {
			m.log.printf(logInfo, "kernel argument %s is absent (%s), ignoring", a.Text, a.Why)
		}
	}
	if len(required) > 0 {
		return fmt.Errorf("the kernel command line lacks %s; add what is missing to the boot entry", strings.Join(required, " "))
	}
	return nil
}

func (m *machine) applySysctls(context.Context) error {
	required, advised := hardening.ApplySysctls("/proc/sys")
	for _, err := range advised {
		m.log.printf(logInfo, "%v, ignoring", err)
	}
	return errors.Join(required...)
}

// mounts is the task of having the mount service carry out a phase of its
// table.
func (m *machine) mounts(p mount.Phase, devices map[string]string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, alias := range filesystems(mount.Rows(p)) {
			m.load(m.loader, alias)
		}
		cc, err := m.bus.Dial(ctx, "mount")
		if err != nil {
			return err
		}
		defer cc.Close()
		s, err := mountv1.NewMountServiceClient(cc).Apply(ctx, &mountv1.ApplyRequest{Phase: string(p), Devices: devices})
		if err != nil {
			return plain(err)
		}
		for {
			r, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return plain(err)
			}
			if r.GetSkipped() != "" {
				m.log.printf(logInfo, "%s is not mounted: %s", r.GetTarget(), r.GetSkipped())
			}
		}
	}
}

// plain strips an error of a call down to what people read, and keeps the
// original reachable.
func plain(err error) error { return &plainError{err} }

type plainError struct{ err error }

func (e *plainError) Error() string { return rpc.Text(e.err) }
func (e *plainError) Unwrap() error { return e.err }

// Waiting for the system disk: how often to look, and how often to say so.
const (
	diskInterval = 100 * time.Millisecond
	diskSayAgain = 5 * time.Second
)

// provision has the partition service find and prepare the system disk, again
// and again while there is none: a disk may appear late.
func (m *machine) provision(ctx context.Context, devices map[string]string) error {
	var said time.Time
	start := time.Now()
	err := retry.Constant(m.args.diskWait, retry.WithUnits(diskInterval)).RetryWithContext(ctx, func(ctx context.Context) error {
		err := m.provisionOnce(ctx, devices)
		if rpcstatus.Code(err) != codes.NotFound {
			return err
		}
		if time.Since(said) > diskSayAgain {
			m.log.printf(logWarning, "%s; waiting up to %v for it", rpc.Text(err), (m.args.diskWait - time.Since(start)).Round(time.Second))
			said = time.Now()
		}
		return retry.ExpectedError(err)
	})
	var tried *retry.ErrorSet
	if errors.As(err, &tried) || retry.IsTimeout(err) {
		return fmt.Errorf("no system disk within %v: %w", m.args.diskWait, plain(m.lastProvisionError(ctx, err)))
	}
	return err
}

// lastProvisionError asks once more, for an error that tells what is there now
// and not what was there during all the tries.
func (m *machine) lastProvisionError(ctx context.Context, tried error) error {
	if err := m.provisionOnce(ctx, map[string]string{}); err != nil {
		return err
	}
	return tried
}

func (m *machine) provisionOnce(ctx context.Context, devices map[string]string) error {
	cc, err := m.bus.Dial(ctx, "partition")
	if err != nil {
		return err
	}
	defer cc.Close()
	s, err := partitionv1.NewPartitionServiceClient(cc).Provision(ctx, &partitionv1.ProvisionRequest{Disk: m.args.disk})
	if err != nil {
		return plain(err)
	}
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return plain(err)
		}
		if step := r.GetStep(); step != nil {
			m.log.printf(logNotice, "%s", step.GetText())
		}
		if res := r.GetResult(); res != nil {
			m.status.setDisk(res.GetDisk())
			for label, dev := range res.GetDevices() {
				devices[label] = dev
			}
		}
	}
}

// ephemeral mounts EPHEMERAL and grows its file system to its partition.
func (m *machine) ephemeral(devices map[string]string) func(context.Context) error {
	mounts := m.mounts(mount.PhaseEphemeral, devices)
	return func(ctx context.Context) error {
		if err := mounts(ctx); err != nil {
			return err
		}
		cc, err := m.bus.Dial(ctx, "partition")
		if err != nil {
			return err
		}
		defer cc.Close()
		r, err := partitionv1.NewPartitionServiceClient(cc).GrowFilesystem(ctx, &partitionv1.GrowFilesystemRequest{Target: "/var"})
		if err != nil {
			return plain(err)
		}
		if r.GetAfter() > r.GetBefore() {
			m.log.printf(logNotice, "the file system at /var grew from %d MiB to %d MiB", r.GetBefore()>>20, r.GetAfter()>>20)
		}
		return nil
	}
}

func (m *machine) shellIfEnabled(context.Context) error {
	if m.args.shell {
		m.startShells()
	}
	return nil
}

// loopbackUp switches the loopback link on, without which nothing can talk to
// localhost.
func loopbackUp(context.Context) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot make a socket to switch on lo: %w", err)
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("cannot switch on lo: %w", err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
