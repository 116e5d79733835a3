// Command ichor is an operating system in one file: PID 1, the mount and the
// partition tool, the services, the debugging shell and the client. The name it
// is called by, else its first argument, says which of them to be.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"ichor/applets"
	"ichor/applets/ctl"
	"ichor/applets/image"
	"ichor/applets/modprobe"
	"ichor/applets/mount"
	"ichor/applets/partition"
	"ichor/applets/pid1"
	"ichor/applets/power"
	"ichor/applets/shell"
	"ichor/rpc"
)

// version is stamped by the linker from git.
var version = "dev"

// table is the applet table: the only list of what this binary is.
func table() applets.Table {
	return applets.Table{
		{
			Name: "init", Audience: applets.System, Summary: "the first process: boots, supervises and ends the machine",
			Run: pid1.Run, Service: "machine", Home: applets.InProcess,
			Calls:        []string{"mount", "partition"},
			Capabilities: []string{"all"},
			Links:        []string{"/usr/sbin/init"},
		},
		{
			Name: "modprobe", Audience: applets.System, Summary: "load kernel modules, for the kernel and for people",
			Run: modprobe.Run, Capabilities: []string{"sys_module"},
			Links: []string{"/usr/sbin/modprobe"},
		},
		{
			Name: "mount", Audience: applets.Operator, Summary: "attach file systems; show the mount table",
			Run: mount.Run, Service: "mount", Register: mount.Register, Home: applets.InProcess,
			Calls: []string{"mount"}, Capabilities: []string{"all"},
			Links: []string{"/usr/bin/mount"},
		},
		{
			Name: "umount", Audience: applets.Operator, Summary: "detach file systems",
			Run: mount.RunUmount, Calls: []string{"mount"},
			Links: []string{"/usr/bin/umount"},
		},
		{
			Name: "partition", Audience: applets.Operator, Summary: "show, plan and change partition tables of disks and images",
			Run: partition.Run, Service: "partition", Register: partition.Register, Home: applets.InProcess,
			Calls: []string{"partition"}, Capabilities: []string{"all"},
			Links: []string{"/usr/sbin/partition"},
		},
		{
			Name: "shell", Audience: applets.Operator, Summary: "the debugging shell of the console",
			Run: shell.Run, Calls: []string{"machine", "mount", "partition"}, Capabilities: []string{"all"},
			Links: []string{"/usr/bin/shell"},
		},
		{
			Name: "ctl", Audience: applets.Operator, Summary: "ask the machine: version, status, mounts, disks",
			Run: ctl.Run, Calls: []string{"machine", "mount", "partition"},
			Links: []string{"/usr/bin/ctl"},
		},
		{
			Name: "poweroff", Aliases: []string{"reboot", "halt"}, Audience: applets.Operator, Summary: "end the machine",
			Run: power.Run, Calls: []string{"machine"},
			Links: []string{"/usr/sbin/poweroff", "/usr/sbin/reboot", "/usr/sbin/halt"},
		},
		{
			Name: "image", Audience: applets.Builder, Summary: "build root file system, initramfs and disk images",
			Run: image.Run,
		},
	}
}

func main() {
	stdio := applets.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(run(context.Background(), os.Args, stdio))
}

// run runs the applet that args call for and returns the exit code.
func run(ctx context.Context, args []string, stdio applets.Stdio) int {
	t := table()
	name, args := filepath.Base(args[0]), args[1:]
	a, ok := t.Lookup(name)
	if !ok && len(args) > 0 {
		name, args = args[0], args[1:]
		a, ok = t.Lookup(name)
	}
	if !ok {
		return notAnApplet(t, name, args, stdio)
	}
	env := &applets.Env{Stdio: stdio, Name: name, Version: version, Table: t}
	args, stop, err := connect(env, args)
	if err == nil {
		defer stop()
		err = a.Run(ctx, env, args)
	}
	return report(env, err)
}

// report prints the error of a program, if there is something to print, and
// returns its exit code.
func report(env *applets.Env, err error) int {
	if exit, ok := err.(*applets.ExitError); err != nil && (!ok || exit.Err != nil) {
		fmt.Fprintf(env.Err, "%s: %v\n", env.Name, err)
	}
	return applets.ExitCode(err)
}

// connect gives the program its bus: the control socket it inherited from
// PID 1, or else one that serves the services in this very process.
func connect(env *applets.Env, args []string) (rest []string, stop func(), err error) {
	env.Control, rest, err = rpc.FromArguments(args)
	if err != nil {
		return nil, nil, err
	}
	if env.Control != nil {
		env.Bus = env.Control
		return rest, func() { env.Control.Close() }, nil
	}
	b := &rpc.Broker{}
	for _, a := range env.Table {
		if a.Register != nil {
			b.Serve(a.Service, a.Serve(env))
		}
	}
	env.Bus = b.As(rpc.Peer{Applet: env.Name, PID: int32(os.Getpid()), UID: uint32(os.Getuid())})
	return rest, b.Stop, nil
}

// notAnApplet answers a call by a name that is in no row.
func notAnApplet(t applets.Table, name string, args []string, stdio applets.Stdio) int {
	switch name {
	case "ichor", "--help", "-h", "help", "--list":
		t.Overview(stdio.Out, version)
		return applets.ExitOK
	case "--version":
		fmt.Fprintln(stdio.Out, "ichor", version)
		return applets.ExitOK
	case "applets":
		env := &applets.Env{Stdio: stdio, Name: name, Version: version, Table: t}
		return report(env, t.Print(env, args))
	}
	fmt.Fprintf(stdio.Err, "ichor: there is no applet %q\n\n", name)
	t.Overview(stdio.Err, version)
	return applets.ExitUnknown
}
