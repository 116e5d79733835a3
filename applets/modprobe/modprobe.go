// Package modprobe is the applet that loads kernel modules. The kernel runs it
// as /sbin/modprobe when it wants a module, so it must be quick to start.
package modprobe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"ichor/applets"
	"ichor/rootfs/modules"
)

var help = applets.Help{
	Usage: []string{"modprobe [FLAG ...] NAME [PARAMETER=VALUE ...]"},
	About: `Loads a kernel module with all that it depends on. NAME is the name of a
module, an alias of one, or a device's modalias. What is loaded already or
built into the kernel is fine.

Parameters for a module are also taken from the kernel command line:
NAME.PARAMETER=VALUE. Modules in modprobe.blacklist=NAME,... there are loaded
by their name but not for an alias.`,
	Examples: []string{
		"modprobe xfs",
		"# what would be loaded for a virtio disk?",
		"modprobe --dry-run -v virtio:d00000002v00001AF4",
		"# another kernel's modules, below a folder",
		"modprobe -d /mnt -S 6.1.0-50-cloud-amd64 --show-depends overlay",
	},
}

// options are the flags. Their names are those of kmod's modprobe, as the
// kernel and scripts use them.
type options struct {
	dryRun, show, quiet, verbose bool
	useBlacklist                 bool
	root, release                string
}

func (o *options) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("modprobe", pflag.ContinueOnError)
	f.SetInterspersed(false)
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "do everything but load")
	f.BoolVarP(&o.show, "show-depends", "D", false, "print what would be loaded, loaded already or not")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "an unknown name is not said on standard error")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print what is loaded")
	f.BoolVarP(&o.useBlacklist, "use-blacklist", "b", false, "keep to the blacklist for names, too")
	f.StringVarP(&o.root, "dirname", "d", "/", "`folder` in which usr/lib/modules is")
	f.StringVarP(&o.release, "set-version", "S", "", "kernel `release` instead of the running one's")
	return f
}

// Run is the program.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	var o options
	flags := o.flags()
	err := help.Parse(env, flags, args)
	if errors.Is(err, applets.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return applets.Usagef("no module named; see modprobe --help")
	}
	name, params := flags.Arg(0), flags.Args()[1:]
	err = o.probe(env, name, params)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, modules.ErrNotFound) && o.quiet:
		return &applets.ExitError{Code: applets.ExitFailure}
	}
	if calledByKernel() {
		logToKernel(err)
	}
	return err
}

func (o *options) probe(env *applets.Env, name string, params []string) error {
	ix, err := modules.Open(env.Path(o.root), o.release)
	if err != nil {
		return err
	}
	// Without /proc there is no command line and nothing is lost.
	cmdline, _ := os.ReadFile("/proc/cmdline")
	if err := o.checkBlacklist(ix, name, string(cmdline)); err != nil {
		return err
	}
	l := modules.NewLoader(ix)
	l.Params = modules.CommandLineParams(string(cmdline))
	if o.dryRun || o.show {
		return o.print(env, l, name, params)
	}
	if o.verbose {
		l.Log = func(m modules.Module, params string) {
			fmt.Fprintln(env.Out, step(ix, m, params))
		}
	}
	return l.Load(name, params...)
}

// checkBlacklist refuses blacklisted modules. A name that is the module's own
// is meant, unless the flag says otherwise.
func (o *options) checkBlacklist(ix *modules.Index, name, cmdline string) error {
	names, err := ix.Resolve(name)
	if err != nil {
		return err
	}
	byName := len(names) == 1 && names[0] == strings.ReplaceAll(name, "-", "_")
	if byName && !o.useBlacklist {
		return nil
	}
	for _, n := range names {
		for _, b := range modules.Blacklist(cmdline) {
			if n == b {
				return fmt.Errorf("cannot load module %s for %s: modprobe.blacklist on the kernel command line names it", n, name)
			}
		}
	}
	return nil
}

// print shows the plan as kmod does.
func (o *options) print(env *applets.Env, l *modules.Loader, name string, params []string) error {
	plan, err := l.Plan(name)
	if err != nil {
		return err
	}
	names, err := l.Resolve(name)
	if err != nil {
		return err
	}
	for _, m := range plan {
		all := l.Params[m.Name]
		for _, n := range names {
			if n == m.Name {
				all = strings.TrimSpace(all + " " + strings.Join(params, " "))
			}
		}
		if o.show || o.verbose {
			fmt.Fprintln(env.Out, step(l.Index, m, all))
		}
	}
	return nil
}

// step is a line of the plan in the words of kmod.
func step(ix *modules.Index, m modules.Module, params string) string {
	if m.Builtin {
		return "builtin " + m.Name
	}
	return "insmod " + ix.Path(m) + " " + params
}

// calledByKernel tells whether the kernel started this process: a kernel thread,
// which has no executable, is then its parent.
func calledByKernel() bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", os.Getppid()))
	return errors.Is(err, fs.ErrNotExist)
}

// logToKernel writes an error to the kernel log, the only place where a helper
// of the kernel can be heard. 3 is the priority "error".
func logToKernel(err error) {
	f, e := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if e != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "<3>ichor: modprobe: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
}
