// Package ctl is the client: it asks the services of a machine and prints what
// they answer. For now it speaks to the machine it runs on only.
package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"ichor/applets"
	"ichor/rpc"
	machinev1 "ichor/rpc/machine/v1"
	mountv1 "ichor/rpc/mount/v1"
	partitionv1 "ichor/rpc/partition/v1"
)

// verb is something to ask a machine for.
type verb struct {
	name, summary string
	// service is what the verb talks to.
	service string
	// ask makes the call.
	ask func(context.Context, grpc.ClientConnInterface) (proto.Message, error)
	// table prints the answer for people; cells are separated by tabs.
	table func(io.Writer, proto.Message)
}

var verbs = []verb{
	{"version", "what runs on the machine", "machine", askVersion, tableVersion},
	{"status", "how the boot went, phase by phase", "machine", askStatus, tableStatus},
	{"mounts", "what is mounted", "mount", askMounts, tableMounts},
	{"disks", "disks and what is on them", "partition", askDisks, tableDisks},
	{"reboot", "start the machine again", "machine", askEnding(machinev1.Ending_ENDING_REBOOT), nil},
	{"shutdown", "switch the machine off", "machine", askEnding(machinev1.Ending_ENDING_POWEROFF), nil},
}

func help() applets.Help {
	h := applets.Help{
		Usage: []string{"ctl COMMAND [-o table|json|yaml]"},
		About: "Asks the machine it runs on.",
		Examples: []string{
			"# where did the time of the boot go?",
			"ctl status",
			"# for a script",
			"ctl status -o json",
		},
	}
	for _, v := range verbs {
		h.Verbs = append(h.Verbs, [2]string{v.name, v.summary})
	}
	return h
}

// Run is the applet.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	flags := pflag.NewFlagSet("ctl", pflag.ContinueOnError)
	format := applets.OutputFlag(flags)
	if err := help().Parse(env, flags, args); err != nil {
		if errors.Is(err, applets.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() != 1 {
		return applets.Usagef("one command is needed, not %d; see 'ctl --help'", flags.NArg())
	}
	for _, v := range verbs {
		if v.name == flags.Arg(0) {
			return v.run(ctx, env, *format)
		}
	}
	return applets.Usagef("no command %q; see 'ctl --help'", flags.Arg(0))
}

func (v verb) run(ctx context.Context, env *applets.Env, format applets.Format) error {
	cc, err := env.Bus.Dial(ctx, v.service)
	if err != nil {
		return fmt.Errorf("cannot reach the service %s: %s; is this a machine that runs Ichor?", v.service, rpc.Text(err))
	}
	defer cc.Close()
	m, err := v.ask(ctx, cc)
	if err != nil {
		return fmt.Errorf("cannot ask for %s: %s", v.name, rpc.Text(err))
	}
	if v.table == nil {
		return nil
	}
	return format.PrintMessage(env.Out, m, func(w io.Writer) { v.table(w, m) })
}

func askVersion(ctx context.Context, cc grpc.ClientConnInterface) (proto.Message, error) {
	return machinev1.NewMachineServiceClient(cc).Version(ctx, &machinev1.VersionRequest{})
}

func tableVersion(w io.Writer, m proto.Message) {
	v := m.(*machinev1.VersionResponse)
	applets.Row(w, "ICHOR", "KERNEL", "ARCH", "GO")
	applets.Row(w, v.GetVersion(), v.GetKernel(), v.GetArchitecture(), v.GetGo())
}

func askStatus(ctx context.Context, cc grpc.ClientConnInterface) (proto.Message, error) {
	return machinev1.NewMachineServiceClient(cc).Status(ctx, &machinev1.StatusRequest{})
}

func tableStatus(w io.Writer, m proto.Message) {
	s := m.(*machinev1.StatusResponse)
	applets.Row(w, "PHASE", "TASK", "STARTED", "TOOK", "ERROR")
	for _, p := range s.GetPhases() {
		applets.Row(w, p.GetName(), "", seconds(p.GetStarted()), seconds(p.GetTook()), p.GetError())
		for _, t := range p.GetTasks() {
			applets.Row(w, "", t.GetName(), seconds(t.GetStarted()), seconds(t.GetTook()), t.GetError())
		}
	}
	stage := strings.ToLower(strings.TrimPrefix(s.GetStage().String(), "STAGE_"))
	applets.Row(w, stage, "", seconds(s.GetReadyAfter()), "", "")
}

// seconds prints a duration of a message, "-" for one that is absent.
func seconds(d interface {
	AsDuration() time.Duration
	IsValid() bool
}) string {
	if !d.IsValid() {
		return "-"
	}
	return fmt.Sprintf("%.2f s", d.AsDuration().Seconds())
}

func askMounts(ctx context.Context, cc grpc.ClientConnInterface) (proto.Message, error) {
	return mountv1.NewMountServiceClient(cc).List(ctx, &mountv1.ListRequest{})
}

func tableMounts(w io.Writer, m proto.Message) {
	applets.Row(w, "SOURCE", "TARGET", "TYPE", "OPTIONS")
	for _, e := range m.(*mountv1.ListResponse).GetMounts() {
		applets.Row(w, e.GetSource(), e.GetTarget(), e.GetType(), strings.Join(e.GetOptions(), ","))
	}
}

func askDisks(ctx context.Context, cc grpc.ClientConnInterface) (proto.Message, error) {
	return partitionv1.NewPartitionServiceClient(cc).List(ctx, &partitionv1.ListRequest{})
}

func tableDisks(w io.Writer, m proto.Message) {
	applets.Row(w, "DISK", "SIZE", "SECTOR", "TRANSPORT", "MODEL", "SYSTEM", "CONTENT")
	for _, d := range m.(*partitionv1.ListResponse).GetDisks() {
		system := ""
		if d.GetSystem() {
			system = "*"
		}
		applets.Row(w, d.GetPath(), applets.Size(d.GetSize()), d.GetSectorSize(), d.GetTransport(), d.GetModel(), system, d.GetContent())
	}
}

func askEnding(e machinev1.Ending) func(context.Context, grpc.ClientConnInterface) (proto.Message, error) {
	return func(ctx context.Context, cc grpc.ClientConnInterface) (proto.Message, error) {
		return machinev1.NewMachineServiceClient(cc).Shutdown(ctx, &machinev1.ShutdownRequest{Ending: e})
	}
}
