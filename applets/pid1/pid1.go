// Package pid1 is the applet init: the first process. It lives twice. As /init
// of the initramfs it mounts the root file system and makes way for itself;
// as /sbin/init it carries out the three tables of the OS, phase by phase,
// serves the in-process services, starts the others as children, reaps, and
// takes the machine down in the end. It never exits.
//
// What a phase does is in boot.go. Work that a service can do belongs into that
// service: PID 1 asks for it over the bus like everybody else.
package pid1

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime/debug"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"ichor/applets"
	"ichor/rootfs/early"
	"ichor/rpc"
)

var help = applets.Help{
	Usage: []string{"init"},
	About: `
The first process of an Ichor machine; the kernel starts it. It reads the kernel
command line for what the image leaves open:

` + argumentHelp() + `
Signals: SIGINT (ctrl-alt-del) reboots; SIGTERM, SIGPWR and the power button
switch off.`,
	Examples: []string{
		"# kernel command line of a machine to look into",
		"... ichor.shell ichor.disk=/dev/nvme0n1",
	},
}

// Run is the applet. As PID 1 it does not return.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	if os.Getpid() != 1 {
		flags := pflag.NewFlagSet("init", pflag.ContinueOnError)
		if err := help.Parse(env, flags, args); err != nil {
			return ignoreHelp(err)
		}
		return applets.Usagef("init runs as the first process only; see 'init --help'")
	}
	m := newMachine(env)
	collectLater()
	if _, err := os.Lstat(early.Squashfs); err == nil {
		m.live(ctx, m.initramfs)
	}
	m.live(ctx, m.system)
	panic("unreachable: PID 1 must not end")
}

// bootHeap is how much memory, in bytes, a boot may take before garbage is
// collected.
const bootHeap = 48 << 20

// collectLater lets a boot go on without collecting the little garbage that it
// makes; collectNow ends that.
func collectLater() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(bootHeap)
}

func collectNow() {
	debug.SetGCPercent(100)
	debug.SetMemoryLimit(math.MaxInt64)
	debug.FreeOSMemory()
}

func ignoreHelp(err error) error {
	if err == applets.ErrHelp {
		return nil
	}
	return err
}

// live runs one of the two lives. If it fails, the policy for failures takes
// over, and it does not return.
func (m *machine) live(ctx context.Context, life func(context.Context) error) {
	if err := guarded(life)(ctx); err != nil {
		m.failed(ctx, err)
	}
	collectNow()
	m.serve(ctx)
}

// failed follows the one policy for a boot that cannot go on: say it, then
// the debugging shell if it is enabled, else reboot after a wait that leaves
// time to read.
func (m *machine) failed(ctx context.Context, err error) {
	m.status.fail()
	m.log.printf(logErr, "cannot boot: %v", err)
	if m.args.shell {
		m.log.printf(logErr, "the debugging shell is on the console; 'reboot' tries again")
		m.watchSignals()
		m.startShells()
		return
	}
	m.log.printf(logErr, "rebooting in %v; the kernel argument ichor.shell gives a shell instead", m.args.failWait)
	m.watchSignals()
	rpc.Go("reboot after failure", func() {
		sleep(ctx, m.args.failWait)
		m.end(unix.LINUX_REBOOT_CMD_RESTART)
	})
}

// guarded turns a panic into an error.
func guarded(fn func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("internal error: %v", r)
			}
		}()
		return fn(ctx)
	}
}
