package pid1

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	rpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"ichor/applets"
	"ichor/rootfs/modules"
	"ichor/rpc"
	machinev1 "ichor/rpc/machine/v1"
)

// serviceName is the service that PID 1 provides itself.
const serviceName = "machine"

// machine is the state of PID 1.
type machine struct {
	machinev1.UnimplementedMachineServiceServer

	env     *applets.Env
	log     *logger
	status  *status
	cmdline string
	args    arguments
	reaper  *reaper
	broker  *rpc.Broker
	bus     rpc.Dialer
	loader  *modules.Loader

	signals  sync.Once
	ending   sync.Once
	children children
	settled  sync.WaitGroup // coldplug
	buttons  sync.Map       // input devices that are watched, by node
}

func newMachine(env *applets.Env) *machine {
	m := &machine{
		env:    env,
		log:    &logger{},
		status: &status{clock: uptime, stage: machinev1.Stage_STAGE_BOOTING},
		args:   defaultArguments(),
		reaper: newReaper(),
	}
	m.broker = &rpc.Broker{Granted: m.granted, Denied: func(from rpc.Peer, service string) {
		m.log.printf(logWarning, "%v asked for the service %s, which its row of the applet table does not grant", from, service)
	}}
	m.bus = m.broker.As(rpc.Peer{Applet: "init", PID: 1})
	m.provide()
	return m
}

// granted looks into the applet table.
func (m *machine) granted(applet, service string) bool {
	a, ok := m.env.Table.Lookup(applet)
	if !ok {
		return false
	}
	for _, s := range a.Calls {
		if s == service {
			return true
		}
	}
	return false
}

// provide makes the services of the table that live in this process.
func (m *machine) provide() {
	hosted := *m.env
	hosted.Bus, hosted.Exec = m.bus, m.reaper.run
	for _, a := range m.env.Table {
		switch {
		case a.Service == serviceName:
			m.broker.Serve(serviceName, func(r grpc.ServiceRegistrar) error {
				machinev1.RegisterMachineServiceServer(r, m)
				return nil
			})
		case a.Home == applets.InProcess && a.Register != nil:
			m.broker.Serve(a.Service, a.Serve(&hosted))
		}
	}
}

// readArguments reads the kernel command line and returns what is wrong in it.
func (m *machine) readArguments() []error {
	b, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return []error{err}
	}
	m.cmdline = strings.TrimSpace(string(b))
	var wrong []error
	m.args, wrong = parseArguments(m.cmdline)
	return wrong
}

// serve is what PID 1 does when there is nothing left to start.
func (m *machine) serve(ctx context.Context) {
	<-make(chan struct{})
}

// Version implements the contract.
func (m *machine) Version(context.Context, *machinev1.VersionRequest) (*machinev1.VersionResponse, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, rpcstatus.Errorf(codes.Internal, "cannot ask for the kernel's name: %v", err)
	}
	return &machinev1.VersionResponse{
		Version:      m.env.Version,
		Go:           runtime.Version(),
		Kernel:       unix.ByteSliceToString(u.Release[:]),
		Architecture: runtime.GOARCH,
	}, nil
}

// Status implements the contract.
func (m *machine) Status(context.Context, *machinev1.StatusRequest) (*machinev1.StatusResponse, error) {
	s := m.status.message()
	s.Firmware = firmware()
	s.BootedAt = timestamppb.New(time.Now().Add(-uptime()))
	return s, nil
}

func firmware() string {
	if _, err := os.Stat("/sys/firmware/efi"); err == nil {
		return "uefi"
	}
	return "bios"
}

// endings are the ways to end the machine, as arguments of reboot(2).
var endings = map[machinev1.Ending]int{
	machinev1.Ending_ENDING_POWEROFF: unix.LINUX_REBOOT_CMD_POWER_OFF,
	machinev1.Ending_ENDING_REBOOT:   unix.LINUX_REBOOT_CMD_RESTART,
	machinev1.Ending_ENDING_HALT:     unix.LINUX_REBOOT_CMD_HALT,
}

// Shutdown implements the contract.
func (m *machine) Shutdown(ctx context.Context, r *machinev1.ShutdownRequest) (*machinev1.ShutdownResponse, error) {
	cmd, ok := endings[r.GetEnding()]
	if !ok {
		return nil, rpcstatus.Errorf(codes.InvalidArgument, "no such ending: %v", r.GetEnding())
	}
	who, _ := rpc.PeerFrom(ctx)
	m.log.printf(logNotice, "%v asks to end the machine", who)
	rpc.Go("shutdown", func() { m.end(cmd) })
	return &machinev1.ShutdownResponse{}, nil
}
