package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"ichor/applets"
	"ichor/rpc"
	pb "ichor/rpc/partition/v1"
)

// verb is a subcommand.
type verb struct {
	name, summary string
	help          applets.Help
	// least and most are the numbers of arguments.
	least, most int
	// flags adds the flags that not all subcommands have; it may be nil.
	flags func(*call)
	run   func(context.Context, *call) error
}

// verbs are the subcommands in the order in which they are listed.
var verbs = []verb{
	{"list", "list the disks and what is on them", listHelp, 0, 0, nil, list},
	{"show", "show the partition table of a disk or an image file", showHelp, 1, 1, targetFlags, show},
	{"plan", "print the partition table of the OS, or what would be done to a disk", planHelp, 0, 1, targetFlags, plan},
	{"apply", "make a disk agree with the partition table of the OS", applyHelp, 1, 1, writeFlags, apply},
	{"repair", "put right what is wrong with a GPT, whoever made it", repairHelp, 1, 1, writeFlags, repair},
	{"create", "write the partition table of the OS onto a disk", createHelp, 1, 1, createFlags, create},
	{"grow", "grow a mounted XFS to the size of its partition", growHelp, 1, 1, nil, grow},
}

// targetFlags are for subcommands that take a disk or a file.
func targetFlags(c *call) {
	c.flags.Uint32Var(&c.sectorSize, "sector-size", 0, "sector size of an image file in `bytes`, 512 or 4096; found out if not given")
}

// writeFlags are for those that also write to it.
func writeFlags(c *call) {
	targetFlags(c)
	c.flags.BoolVar(&c.yes, "yes", false, "do it")
}

// createFlags are for create.
func createFlags(c *call) {
	writeFlags(c)
	c.flags.BoolVar(&c.takeOver, "take-over", false, "use the disk even if what it holds is lost")
}

// help is what the command says without a subcommand.
func help() applets.Help {
	h := applets.Help{
		Usage: []string{"partition COMMAND [FLAGS] [ARGUMENTS]"},
		About: `Reads and changes GUID partition tables, on disks and in image files alike.
Nothing is ever shrunk, moved or deleted, and partitions that are not in the
table of the OS are left alone. Commands that write show what they would do,
and do it with --yes.`,
		Examples: []string{
			"# What is in an image?",
			"ichor partition show disk.img",
			"# What would the next boot do to a disk?",
			"ichor partition plan /dev/vda",
		},
	}
	for _, v := range verbs {
		h.Verbs = append(h.Verbs, [2]string{v.name, v.summary})
	}
	return h
}

// call is one run of a subcommand.
type call struct {
	env    *applets.Env
	flags  *pflag.FlagSet
	format *applets.Format

	sectorSize uint32
	yes        bool
	takeOver   bool

	client pb.PartitionServiceClient
}

// Run is the partition command.
func Run(ctx context.Context, env *applets.Env, args []string) error {
	if len(args) > 0 {
		for _, v := range verbs {
			if v.name == args[0] {
				return v.start(ctx, env, args[1:])
			}
		}
	}
	flags := pflag.NewFlagSet("partition", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	switch err := help().Parse(env, flags, args); {
	case errors.Is(err, applets.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() == 0:
		return applets.Usagef("no command given; ichor partition --help lists them")
	}
	return applets.Usagef("unknown command %q; ichor partition --help lists them", flags.Arg(0))
}

// start parses the command line of a subcommand, connects to the service and
// runs it.
func (v verb) start(ctx context.Context, env *applets.Env, args []string) error {
	c := v.newCall(env)
	err := v.help.Parse(env, c.flags, args)
	if errors.Is(err, applets.ErrHelp) {
		return nil
	}
	if err == nil {
		err = v.checkArgs(c.flags.NArg())
	}
	if err != nil {
		return err
	}
	conn, err := env.Bus.Dial(ctx, "partition")
	if err != nil {
		return plain(err)
	}
	defer conn.Close()
	c.client = pb.NewPartitionServiceClient(conn)
	return plain(v.run(ctx, c))
}

// newCall makes the flags of a subcommand.
func (v verb) newCall(env *applets.Env) *call {
	c := &call{env: env, flags: pflag.NewFlagSet(v.name, pflag.ContinueOnError)}
	if v.flags != nil {
		v.flags(c)
	}
	c.format = applets.OutputFlag(c.flags)
	return c
}

// checkArgs checks the number of arguments.
func (v verb) checkArgs(n int) error {
	if n < v.least || n > v.most {
		return applets.Usagef("wrong number of arguments; usage: %s", strings.Join(v.help.Usage, " or "))
	}
	return nil
}

// plain takes the gRPC code off an error.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(rpc.Text(err))
}

// target is the disk or file that the command line names. The service may run
// in another process with another working directory.
func (c *call) target() (*pb.Target, error) {
	path, err := filepath.Abs(c.env.Path(c.flags.Arg(0)))
	return &pb.Target{Path: path, SectorSize: c.sectorSize}, err
}

var listHelp = applets.Help{
	Usage:    []string{"partition list [-o FORMAT]"},
	About:    "Lists the whole disks of the machine. The system disk is the one which has the\npartitions of the OS.",
	Examples: []string{"ichor partition list", "ichor partition list -o json | jq -r '.disks[].path'"},
}

// list lists the disks.
func list(ctx context.Context, c *call) error {
	resp, err := c.client.List(ctx, &pb.ListRequest{})
	if err != nil {
		return err
	}
	return c.format.Print(c.env.Out, resp, func(w io.Writer) {
		applets.Row(w, "DISK", "SIZE", "SECTOR", "BUS", "MODEL", "SYSTEM", "CONTENT")
		for _, d := range resp.GetDisks() {
			applets.Row(w, d.GetPath(), applets.Size(d.GetSize()), d.GetSectorSize(), dash(d.GetTransport()), dash(d.GetModel()), yesNo(d.GetSystem()), d.GetContent())
		}
	})
}

var showHelp = applets.Help{
	Usage:    []string{"partition show [--sector-size BYTES] [-o FORMAT] DISK|FILE"},
	About:    "Shows the partition table of a disk or an image file, what the partitions hold,\nand what is wrong with the table. A damaged table is read from its backup.",
	Examples: []string{"ichor partition show /dev/vda", "ichor partition show --sector-size 4096 disk.img"},
}

// show shows a partition table.
func show(ctx context.Context, c *call) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	resp, err := c.client.Show(ctx, &pb.ShowRequest{Target: target})
	if err != nil {
		return err
	}
	return c.format.Print(c.env.Out, resp, func(w io.Writer) { printTable(w, target.GetPath(), resp.GetTable()) })
}

// printTable prints a table for people.
func printTable(w io.Writer, path string, t *pb.Table) {
	fmt.Fprintf(w, "%s: %s, sectors of %d bytes, %s", path, applets.Size(t.GetSize()), t.GetSectorSize(), t.GetKind())
	if t.GetId() != "" {
		fmt.Fprintf(w, " %s", t.GetId())
	}
	fmt.Fprintln(w)
	for _, p := range t.GetProblems() {
		fmt.Fprintf(w, "problem: %s\n", p)
	}
	if len(t.GetPartitions()) == 0 {
		return
	}
	applets.Row(w, "NO", "LABEL", "START", "SIZE", "TYPE", "HOLDS", "ATTRIBUTES", "DEVICE")
	for _, p := range t.GetPartitions() {
		typ := p.GetTypeName()
		if typ == "" {
			typ = p.GetType()
		}
		applets.Row(w, p.GetNumber(), dash(p.GetLabel()), applets.Size(p.GetStart()), applets.Size(p.GetSize()), typ,
			dash(strings.TrimSpace(p.GetFilesystem()+" "+p.GetFilesystemLabel())), dash(strings.Join(p.GetAttributes(), ",")), dash(p.GetDevice()))
	}
}

var planHelp = applets.Help{
	Usage: []string{"partition plan [-o FORMAT]", "partition plan [--sector-size BYTES] [-o FORMAT] DISK|FILE"},
	About: `Without a disk, prints the partition table of the OS. With one, prints what
would be done to make it agree with that table, which is what the next boot
does. Nothing is written.`,
	Examples: []string{"ichor partition plan", "ichor partition plan /dev/vda"},
}

// plan prints the layout or the plan for a disk.
func plan(ctx context.Context, c *call) error {
	if c.flags.NArg() == 0 {
		return layout(ctx, c)
	}
	resp, target, err := c.plan(ctx, false)
	if err != nil {
		return err
	}
	return c.format.Print(c.env.Out, resp, func(w io.Writer) { printSteps(w, target.GetPath(), resp.GetSteps()) })
}

// plan asks for the plan for the disk on the command line.
func (c *call) plan(ctx context.Context, repairOnly bool) (*pb.PlanResponse, *pb.Target, error) {
	target, err := c.target()
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.client.Plan(ctx, &pb.PlanRequest{Target: target, RepairOnly: repairOnly})
	return resp, target, err
}

// layout prints the partition table of the OS.
func layout(ctx context.Context, c *call) error {
	resp, err := c.client.Layout(ctx, &pb.LayoutRequest{})
	if err != nil {
		return err
	}
	return c.format.Print(c.env.Out, resp, func(w io.Writer) {
		applets.Row(w, "LABEL", "TYPE", "SIZE", "FILE SYSTEM", "MOUNTED AT", "RECREATED BY", "ATTRIBUTES")
		for _, r := range resp.GetRows() {
			size := applets.Size(r.GetSize())
			if r.GetGrows() {
				size += " or more"
			}
			applets.Row(w, r.GetLabel(), r.GetType(), size, dash(r.GetFilesystem()), dash(r.GetTarget()), r.GetRecreatedBy(), dash(strings.Join(r.GetAttributes(), ",")))
		}
	})
}

// printSteps prints a plan for people.
func printSteps(w io.Writer, path string, steps []*pb.Step) {
	if len(steps) == 0 {
		fmt.Fprintf(w, "%s: nothing to do\n", path)
		return
	}
	applets.Row(w, "ACTION", "PARTITION", "WHAT")
	for _, s := range steps {
		applets.Row(w, s.GetAction(), dash(s.GetLabel()), s.GetText())
	}
}

var applyHelp = applets.Help{
	Usage: []string{"partition apply [--yes] [--sector-size BYTES] [-o FORMAT] DISK|FILE"},
	About: `Makes a disk of the OS agree with its partition table: repairs, creates, grows
and, on a disk but not in a file, formats what was created. Works while
partitions are mounted. Without --yes it only shows what it would do.`,
	Examples: []string{"ichor partition apply disk.img", "ichor partition apply --yes /dev/vda"},
}

// apply carries out a plan.
func apply(ctx context.Context, c *call) error { return c.apply(ctx, false) }

var repairHelp = applets.Help{
	Usage: []string{"partition repair [--yes] [--sector-size BYTES] [-o FORMAT] DISK|FILE"},
	About: `Puts right what is wrong with a GUID partition table: a damaged primary or
backup copy, a backup that is not at the end of a disk which has grown, a
missing protective MBR. The partitions stay as they are, whoever made them.
Without --yes it only shows what it would do.`,
	Examples: []string{"ichor partition repair /dev/sdb", "ichor partition repair --yes /dev/sdb"},
}

// repair carries out the repairs of a plan.
func repair(ctx context.Context, c *call) error { return c.apply(ctx, true) }

// apply shows the plan, or carries it out.
func (c *call) apply(ctx context.Context, repairOnly bool) error {
	if !c.yes {
		resp, target, err := c.plan(ctx, repairOnly)
		if err != nil {
			return err
		}
		return c.preview(resp.GetSteps(), target.GetPath())
	}
	target, err := c.target()
	if err != nil {
		return err
	}
	stream, err := c.client.Apply(ctx, &pb.ApplyRequest{Target: target, RepairOnly: repairOnly})
	if err != nil {
		return err
	}
	return c.follow(target.GetPath(), func() (*pb.Step, error) {
		resp, err := stream.Recv()
		return resp.GetStep(), err
	})
}

// stepList is what -o json prints of steps.
type stepList struct {
	Done  bool       `json:"done"`
	Steps []*pb.Step `json:"steps"`
}

// preview prints steps that would be done.
func (c *call) preview(steps []*pb.Step, path string) error {
	return c.format.Print(c.env.Out, stepList{false, steps}, func(w io.Writer) {
		printSteps(w, path, steps)
		if len(steps) > 0 {
			fmt.Fprintln(w, "nothing was done; add --yes to do it")
		}
	})
}

// follow prints steps as they are done; in other formats than the table, at
// the end.
func (c *call) follow(path string, next func() (*pb.Step, error)) error {
	steps := []*pb.Step{}
	for {
		step, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		steps = append(steps, step)
		if *c.format == applets.FormatTable {
			fmt.Fprintf(c.env.Out, "done: %s\n", step.GetText())
		}
	}
	return c.format.Print(c.env.Out, stepList{true, steps}, func(w io.Writer) {
		if len(steps) == 0 {
			printSteps(w, path, nil)
		}
	})
}

var createHelp = applets.Help{
	Usage: []string{"partition create [--take-over] [--yes] [--sector-size BYTES] [-o FORMAT] DISK|FILE"},
	About: `Writes the partition table of the OS onto a whole disk. The partitions are
empty: STATE and EPHEMERAL are formatted by the first boot, the others are
filled from an image. A disk that is not blank is refused unless it is taken
over, and what it holds is then lost. Nothing on it may be mounted. Without
--yes it only shows what would be lost.`,
	Examples: []string{
		"# A blank disk",
		"ichor partition create --yes /dev/vdb",
		"# A disk that somebody else has used",
		"ichor partition create --take-over /dev/sdb",
		"ichor partition create --take-over --yes /dev/sdb",
	},
}

// create writes the layout onto a disk.
func create(ctx context.Context, c *call) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	req := &pb.CreateRequest{Target: target, TakeOver: c.takeOver, DryRun: !c.yes}
	stream, err := c.client.Create(ctx, req)
	if err != nil {
		return err
	}
	next := func() (*pb.Step, error) {
		resp, err := stream.Recv()
		return resp.GetStep(), err
	}
	if c.yes {
		return c.follow(target.GetPath(), next)
	}
	steps, err := collect(next)
	if err != nil {
		return err
	}
	return c.preview(steps, target.GetPath())
}

// collect reads all steps of a stream.
func collect(next func() (*pb.Step, error)) ([]*pb.Step, error) {
	steps := []*pb.Step{}
	for {
		step, err := next()
		if errors.Is(err, io.EOF) {
			return steps, nil
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
}

var growHelp = applets.Help{
	Usage:    []string{"partition grow [-o FORMAT] DIRECTORY"},
	About:    "Grows the XFS that is mounted at a directory to the size of the partition or\nother device that it is on, while it is in use.",
	Examples: []string{"ichor partition grow /var"},
}

// grow grows a file system.
func grow(ctx context.Context, c *call) error {
	path, err := filepath.Abs(c.env.Path(c.flags.Arg(0)))
	if err != nil {
		return err
	}
	resp, err := c.client.GrowFilesystem(ctx, &pb.GrowFilesystemRequest{Target: path})
	if err != nil {
		return err
	}
	return c.format.Print(c.env.Out, resp, func(w io.Writer) {
		if resp.GetBefore() == resp.GetAfter() {
			fmt.Fprintf(w, "%s: nothing to do, it has %s\n", path, applets.Size(resp.GetAfter()))
			return
		}
		fmt.Fprintf(w, "%s: grown from %s to %s\n", path, applets.Size(resp.GetBefore()), applets.Size(resp.GetAfter()))
	})
}

// dash stands for an empty cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// yesNo prints a boolean for people.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
