package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"ichor/applets"
	"ichor/mount"
	"ichor/rpc"
	pb "ichor/rpc/mount/v1"
)

var mountHelp = applets.Help{
	Usage: []string{
		"mount [-t TYPE] [--output FORMAT]",
		"mount [-t TYPE] [-o OPTIONS] SOURCE TARGET",
		"mount -o remount,OPTIONS TARGET",
		"mount --bind|--rbind|--move FOLDER TARGET",
		"mount --make-private TARGET",
		"mount plan [--check] [--output FORMAT]",
	},
	About: `Without arguments it lists what is mounted. With a source and a target it
attaches the file system of a device, of an image file (over a loop device), or
of the kernel, such as tmpfs. Without -t the type is found from the signature.

A remount changes what the options name and nothing else: nosuid stays unless
suid is asked for. A bind mount has its options from the moment it can be seen.`,
	Verbs: [][2]string{{"plan", "the mount table of the OS, and how this machine agrees with it"}},
	Examples: []string{
		"# A small file system in memory",
		"ichor mount -t tmpfs -o size=1M,nosuid,nodev tmpfs /mnt",
		"# Look into an image",
		"ichor mount -o loop,ro rootfs.sqsh /mnt",
		"# Show a folder at a second place, read-only",
		"ichor mount --bind -o ro /var/log /mnt",
		"# Is everything mounted as the OS wants it, and nothing else?",
		"ichor mount plan --check",
	},
}

var planHelp = applets.Help{
	Usage: []string{"mount plan [--check] [--output FORMAT]"},
	About: `Prints the mount table of the OS: every mount of a running machine in order,
and whether each is as the table says. With --check it prints what deviates:
rows that are missing or different, and mounts that are in no row. Options which
a file system adds by itself do not count.`,
	Examples: []string{"ichor mount plan", "ichor mount plan --check && echo as it should be"},
	Exit:     "with --check, 1 also says that the machine deviates from the table",
}

var umountHelp = applets.Help{
	Usage:    []string{"umount [-l] [-f] TARGET..."},
	About:    "Detaches what is mounted at each target; a device stands for the place where it\nwas mounted last. The loop device of an image goes with its mount.",
	Examples: []string{"ichor umount /mnt", "# Detach now, and clean up when nobody uses it any more", "ichor umount -l /mnt"},
}

// request is a command line of mount.
type request struct {
	flags    *pflag.FlagSet
	format   *applets.Format
	fstype   *string
	options  *[]string
	switches []optionSwitch
}

// optionSwitch is a flag that stands for an option word.
type optionSwitch struct {
	on   *bool
	word string
}

func newRequest() *request {
	r := &request{flags: pflag.NewFlagSet("mount", pflag.ContinueOnError)}
	r.fstype = r.flags.StringP("types", "t", "", "file system `type`; in the list, show only these")
	r.options = r.flags.StringArrayP("options", "o", nil, "`options`, separated by commas")
	r.option("bind", "B", "bind", "show a folder at a second place")
	r.option("rbind", "R", "rbind", "the same with what is mounted below it")
	r.option("move", "M", "move", "move a mount")
	r.option("read-only", "r", "ro", "the same as -o ro")
	r.option("rw", "w", "rw", "the same as -o rw")
	for _, kind := range []string{"private", "shared", "slave", "unbindable"} {
		r.option("make-"+kind, "", kind, "make a mount "+kind)
		r.option("make-r"+kind, "", "r"+kind, "the same with what is mounted below it")
	}
	r.format = longOutput(r.flags)
	return r
}

// longOutput adds --output alone: -o has options, as mount always had.
func longOutput(flags *pflag.FlagSet) *applets.Format {
	f := applets.FormatTable
	flags.Var(&f, "output", "output `format`: table, json or yaml")
	return &f
}

func (r *request) option(name, short, word, usage string) {
	r.switches = append(r.switches, optionSwitch{r.flags.BoolP(name, short, false, usage), word})
}

// words returns all options that the command line asks for.
func (r *request) words() []string {
	out := slices.Clone(*r.options)
	for _, s := range r.switches {
		if *s.on {
			out = append(out, s.word)
		}
	}
	return out
}

// Run is the mount command.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	if len(args) > 0 && args[0] == "plan" {
		return runPlan(ctx, env, args[1:])
	}
	r := newRequest()
	err := mountHelp.Parse(env, r.flags, args)
	if errors.Is(err, applets.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.flags.NArg() == 0 && len(r.words()) == 0 {
		return withService(ctx, env, func(c pb.MountServiceClient) error { return list(ctx, env, c, *r.fstype, *r.format) })
	}
	req, err := r.mountRequest(env)
	if err != nil {
		return err
	}
	return withService(ctx, env, func(c pb.MountServiceClient) error {
		_, err := c.Mount(ctx, req)
		return err
	})
}

// withService calls fn with a connection to the mount service.
func withService(ctx context.Context, env *applets.Env, fn func(pb.MountServiceClient) error) error {
	conn, err := env.Bus.Dial(ctx, "mount")
	if err == nil {
		defer conn.Close()
		err = fn(pb.NewMountServiceClient(conn))
	}
	var exit *applets.ExitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return errors.New(rpc.Text(err))
}

// mountRequest turns the command line into a request. The service may run in
// another process with another working directory: paths become absolute.
func (r *request) mountRequest(env *applets.Env) (*pb.MountRequest, error) {
	req := &pb.MountRequest{Type: *r.fstype, Options: r.words()}
	o := mount.ParseOptions(strings.Join(req.Options, ","))
	if o.Set&(mount.Bind|mount.Move) != 0 && o.Set&mount.Remount == 0 && req.Type != "" && req.Type != "none" {
		return nil, applets.Usagef("a bind mount or move has no file system type; leave -t %s out", req.Type)
	}
	args := r.flags.Args()
	switch changes := o.Set&mount.Remount != 0 || !isNew(o, req.Type) && o.Set&(mount.Bind|mount.Move) == 0; {
	case len(args) == 2:
		req.Source = source(env, args[0], req.Type, o)
	case len(args) != 1:
		return nil, applets.Usagef("a source and a target are needed; mount --help shows how")
	case !changes:
		return nil, applets.Usagef("%s alone does not say what to mount: there is no fstab, give a source and a target", args[0])
	}
	var err error
	req.Target, err = filepath.Abs(env.Path(args[len(args)-1]))
	return req, err
}

// source makes the source absolute if it is a path: always for a bind mount
// and a loop device, otherwise if it starts like one or names a regular file.
// A word such as the type itself stays a word.
func source(env *applets.Env, s, fstype string, o mount.Options) string {
	path, err := filepath.Abs(env.Path(s))
	if err != nil {
		return s
	}
	if o.Set&(mount.Bind|mount.Move) != 0 || o.Loop || strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") {
		return path
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && s != fstype && s != "none" {
		return path
	}
	return s
}

// list prints what is mounted, a line each as mount(8) does.
func list(ctx context.Context, env *applets.Env, c pb.MountServiceClient, types string, format applets.Format) error {
	resp, err := c.List(ctx, &pb.ListRequest{})
	if err != nil {
		return err
	}
	if types != "" {
		only := strings.Split(types, ",")
		resp.Mounts = slices.DeleteFunc(resp.Mounts, func(m *pb.ListResponse_Mounted) bool { return !slices.Contains(only, m.GetType()) })
	}
	return format.PrintMessage(env.Out, resp, func(w io.Writer) {
		for _, m := range resp.GetMounts() {
			fmt.Fprintf(w, "%s on %s type %s (%s)\n", m.GetSource(), m.GetTarget(), m.GetType(), strings.Join(allOptions(m), ","))
		}
	})
}

// allOptions returns the options of a mount and of its file system as one list
// without repetitions; read-only counts, whichever of the two it is.
func allOptions(m *pb.ListResponse_Mounted) []string {
	out := slices.Clone(m.GetOptions())
	for _, o := range m.GetData() {
		if o != "rw" && !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	if slices.Contains(out, "ro") {
		out = slices.DeleteFunc(out, func(o string) bool { return o == "rw" })
	}
	return out
}

// runPlan is mount plan.
func runPlan(ctx context.Context, env *applets.Env, args []string) error {
	flags := pflag.NewFlagSet("mount plan", pflag.ContinueOnError)
	onlyDeviations := flags.Bool("check", false, "print only what deviates, and fail if something does")
	format := longOutput(flags)
	err := planHelp.Parse(env, flags, args)
	switch {
	case errors.Is(err, applets.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return applets.Usagef("mount plan takes no arguments, and got %q", flags.Arg(0))
	}
	return withService(ctx, env, func(c pb.MountServiceClient) error {
		resp, err := c.Table(ctx, &pb.TableRequest{})
		if err != nil {
			return err
		}
		if *onlyDeviations {
			return printDeviations(env, resp, *format)
		}
		return format.PrintMessage(env.Out, resp, func(w io.Writer) { printPlan(w, resp) })
	})
}

// printPlan prints the rows, and how many mounts are in none.
func printPlan(w io.Writer, resp *pb.TableResponse) {
	applets.Row(w, "TARGET", "TYPE", "FLAGS", "PHASE", "STATE")
	extra := 0
	for _, e := range resp.GetEntries() {
		if e.GetState() == pb.State_STATE_EXTRA {
			extra++
			continue
		}
		state := string(stateOf(e.GetState()))
		if e.GetState() == pb.State_STATE_DIFFERENT {
			state += ": " + e.GetDifference()
		}
		r := e.GetRow()
		applets.Row(w, r.GetTarget(), orDash(r.GetType()), orDash(strings.Join(r.GetFlags(), ",")), r.GetPhase(), state)
	}
	if extra > 0 {
		applets.Row(w, fmt.Sprintf("Mounts in no row: %d; --check lists them.", extra))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printDeviations prints what is not as the table says, and fails if there is
// something.
func printDeviations(env *applets.Env, resp *pb.TableResponse, format applets.Format) error {
	resp.Entries = slices.DeleteFunc(resp.Entries, func(e *pb.TableResponse_Entry) bool { return !stateOf(e.GetState()).Deviates() })
	err := format.PrintMessage(env.Out, resp, func(w io.Writer) {
		for _, e := range resp.GetEntries() {
			applets.Row(w, stateOf(e.GetState()), e.GetRow().GetTarget(), e.GetDifference())
		}
	})
	if n := len(resp.Entries); err == nil && n > 0 {
		return &applets.ExitError{Code: applets.ExitFailure, Err: fmt.Errorf("the machine deviates from the mount table in %d places", n)}
	}
	return err
}

// RunUmount is the umount command.
func RunUmount(ctx context.Context, env *applets.Env, args []string) error {
	flags := pflag.NewFlagSet("umount", pflag.ContinueOnError)
	lazy := flags.BoolP("lazy", "l", false, "detach now, clean up when no longer busy")
	force := flags.BoolP("force", "f", false, "fail pending requests of network file systems")
	err := umountHelp.Parse(env, flags, args)
	switch {
	case errors.Is(err, applets.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() == 0:
		return applets.Usagef("no mount point given; umount --help shows how")
	}
	return withService(ctx, env, func(c pb.MountServiceClient) error {
		var failed []string
		for _, arg := range flags.Args() {
			if err := unmount(ctx, env, c, &pb.UnmountRequest{Target: arg, Lazy: *lazy, Force: *force}); err != nil {
				failed = append(failed, rpc.Text(err))
			}
		}
		if len(failed) > 0 {
			return errors.New(strings.Join(failed, "\n"))
		}
		return nil
	})
}

func unmount(ctx context.Context, env *applets.Env, c pb.MountServiceClient, req *pb.UnmountRequest) error {
	target, err := filepath.Abs(env.Path(req.GetTarget()))
	if err != nil {
		return err
	}
	req.Target = target
	_, err = c.Unmount(ctx, req)
	return err
}
