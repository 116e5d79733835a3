package pid1

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"ichor/rpc"
	machinev1 "ichor/rpc/machine/v1"
	mountv1 "ichor/rpc/mount/v1"
)

const stopping = machinev1.Stage_STAGE_STOPPING

// How long the parts of a shutdown may take.
const (
	patienceService  = 10 * time.Second // a service, from SIGTERM to SIGKILL
	patienceProcess  = 5 * time.Second  // any other process
	patienceUnmount  = 10 * time.Second // what is busy
	patienceShutdown = 90 * time.Second // all of it; then the machine ends anyhow
)

// watchSignals starts to act on signals, once.
func (m *machine) watchSignals() {
	m.signals.Do(func() {
		// Without this, ctrl-alt-del would reset the machine at once.
		unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
		ch := make(chan os.Signal, 16)
		signal.Notify(ch, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGPWR)
		rpc.Go("signals", func() {
			m.reaper.reap() // what ended before we listened
			for s := range ch {
				m.onSignal(s)
			}
		})
	})
}

func (m *machine) onSignal(s os.Signal) {
	cmd := unix.LINUX_REBOOT_CMD_POWER_OFF
	switch s {
	case unix.SIGCHLD:
		m.reaper.reap()
		return
	case unix.SIGINT:
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	m.log.printf(logNotice, "ending the machine on signal %v", s)
	rpc.Go("shutdown", func() { m.end(cmd) })
}

// end takes the machine down, once, whoever asks first. It does not return
// while the machine runs.
func (m *machine) end(cmd int) {
	m.ending.Do(func() {
		m.status.set(stopping)
		rpc.Go("end of patience", func() {
			time.Sleep(patienceShutdown)
			m.log.printf(logErr, "shutdown takes longer than %v: ending the machine as it is", patienceShutdown)
			m.reboot(cmd)
		})
		ctx := context.Background()
		m.stopChildren()
		m.stopProcesses()
		m.unmountAll(ctx)
		m.log.printf(logNotice, "down after %s s", seconds(uptime()))
		m.reboot(cmd)
	})
}

func (m *machine) reboot(cmd int) {
	unix.Sync()
	if err := unix.Reboot(cmd); err != nil {
		m.log.printf(logErr, "cannot end the machine (reboot %#x): %v", cmd, err)
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
}

// stopChildren stops the services in reverse order.
func (m *machine) stopChildren() {
	running := m.children.close()
	for i := len(running) - 1; i >= 0; i-- {
		ch := running[i]
		unix.Kill(ch.pid, unix.SIGTERM)
		unix.Kill(ch.pid, unix.SIGHUP) // what makes a shell at a terminal leave
		select {
		case <-ch.gone:
		case <-time.After(patienceService):
			m.log.printf(logWarning, "%s (pid %d) does not stop: killing it", ch.name, ch.pid)
			unix.Kill(-ch.pid, unix.SIGKILL)
			unix.Kill(ch.pid, unix.SIGKILL)
		}
	}
}

// stopProcesses stops whatever else runs.
func (m *machine) stopProcesses() {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		unix.Kill(-1, s)
		for deadline := time.Now().Add(patienceProcess); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if !othersRun() {
				return
			}
		}
	}
}

// othersRun tells whether any process but this one runs. Threads of the kernel
// and zombies have no program.
func othersRun() bool {
	exes, _ := filepath.Glob("/proc/[1-9]*/exe")
	for _, exe := range exes {
		if exe == "/proc/1/exe" {
			continue
		}
		if _, err := os.Readlink(exe); err == nil {
			return true
		}
	}
	return false
}

// unmountAll has the mount service unmount everything, and says what it could
// not.
func (m *machine) unmountAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patienceUnmount+10*time.Second)
	defer cancel()
	cc, err := m.bus.Dial(ctx, "mount")
	if err != nil {
		m.log.printf(logErr, "%v", err)
		return
	}
	defer cc.Close()
	r, err := mountv1.NewMountServiceClient(cc).UnmountAll(ctx, &mountv1.UnmountAllRequest{Patience: durationpb.New(patienceUnmount)})
	if err != nil {
		m.log.printf(logErr, "%s", rpc.Text(err))
		return
	}
	for _, b := range r.GetBusy() {
		m.log.printf(logErr, "cannot unmount %s: %s (used by %s; read-only: %v)", b.GetTarget(), b.GetError(), strings.Join(b.GetUsers(), ", "), b.GetReadOnly())
	}
	m.log.printf(logInfo, "unmounted %s", strings.Join(r.GetUnmounted(), " "))
}
