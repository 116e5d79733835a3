// Package power is the applets poweroff, reboot and halt: they ask PID 1 to end
// the machine and return. What is done then is PID 1's affair.
package power

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"ichor/applets"
	"ichor/rpc"
	machinev1 "ichor/rpc/machine/v1"
)

var endings = map[string]machinev1.Ending{
	"poweroff": machinev1.Ending_ENDING_POWEROFF,
	"reboot":   machinev1.Ending_ENDING_REBOOT,
	"halt":     machinev1.Ending_ENDING_HALT,
}

// Run is the applet; the name it was called by says what to do.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	flags := pflag.NewFlagSet(env.Name, pflag.ContinueOnError)
	err := applets.Help{
		Usage: []string{env.Name},
		About: `
Ends the machine: services are stopped in reverse order, everything is
unmounted, disks are flushed. Then poweroff switches the power off, reboot
starts the machine again, and halt stops it with the power on.`,
		Examples: []string{"# start again", "reboot"},
	}.Parse(env, flags, args)
	if errors.Is(err, applets.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return applets.Usagef("unexpected argument %q; see '%s --help'", flags.Arg(0), env.Name)
	}
	return End(ctx, env, endings[env.Name])
}

// End asks PID 1 to end the machine.
func End(ctx context.Context, env *applets.Env, ending machinev1.Ending) error {
	cc, err := env.Bus.Dial(ctx, "machine")
	if err != nil {
		return errors.New("cannot end the machine: " + rpc.Text(err))
	}
	defer cc.Close()
	if _, err := machinev1.NewMachineServiceClient(cc).Shutdown(ctx, &machinev1.ShutdownRequest{Ending: ending}); err != nil {
		return errors.New("cannot end the machine: " + rpc.Text(err))
	}
	return nil
}
