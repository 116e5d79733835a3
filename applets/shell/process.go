package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/expand"

	"ichor/applets"
)

// clockTick is the unit of process times in /proc; it is 100 on all of Linux's
// architectures that we know.
const clockTick = time.Second / 100

// proc is a process as ps shows it.
type proc struct {
	pid, ppid, threads int
	user, state        string
	rss                uint64 // bytes
	cpu                time.Duration
	start              uint64 // ticks after the kernel's start
	name, command      string
}

// processes lists the processes, in the order of their numbers.
func processes() ([]proc, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc: %w; is it mounted?", reason(err))
	}
	all, err := fs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes: %w", reason(err))
	}
	var list []proc
	for _, p := range all {
		if one, ok := process(p); ok {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b proc) int { return a.pid - b.pid })
	return list, nil
}

// process reads one process, which may have ended meanwhile.
func process(p procfs.Proc) (proc, bool) {
	st, err := p.Stat()
	if err != nil {
		return proc{}, false
	}
	one := proc{
		pid: p.PID, ppid: st.PPID, threads: st.NumThreads, state: st.State, name: st.Comm, user: "?",
		rss: uint64(max(0, st.ResidentMemory())), cpu: time.Duration(st.UTime+st.STime) * clockTick, start: st.Starttime,
	}
	if info, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID)); err == nil {
		one.user = userName(uint32(ownerOf(info)))
	}
	args, _ := p.CmdLine()
	one.command = printable(strings.Join(args, " "))
	if one.command == "" {
		one.command = "[" + st.Comm + "]"
	}
	return one, true
}

func showProcesses(_ context.Context, c *call) error {
	c.args = slices.DeleteFunc(slices.Clone(c.args), func(a string) bool {
		return a != "" && a != "-p" && strings.Trim(a, "-aAeflxuw") == ""
	})
	flags := c.flags()
	pids := flags.IntSliceP("pid", "p", nil, "show these processes only")
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return applets.Usagef("unknown argument %q", flags.Arg(0))
	}
	list, err := processes()
	if err != nil {
		return err
	}
	columns, _, terminal := c.screen()
	fmt.Fprintf(c.out, "%5s %5s %-8s %s %6s %8s %s\n", "PID", "PPID", "USER", "S", "RSS", "TIME", "COMMAND")
	c.code = min(len(*pids), 1)
	for _, p := range list {
		if len(*pids) > 0 && !slices.Contains(*pids, p.pid) {
			continue
		}
		c.code = 0
		line := fmt.Sprintf("%5d %5d %-8s %s %6s %8s %s", p.pid, p.ppid, cutTo(p.user, 8), p.state, humanSize(int64(p.rss)), cpuTime(p.cpu), p.command)
		if terminal {
			line = cutTo(line, columns-1)
		}
		fmt.Fprintln(c.out, line)
	}
	return nil
}

// cutTo shortens a text to n characters.
func cutTo(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:max(0, n)])
	}
	return text
}

func cpuTime(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

func showPIDs(_ context.Context, c *call) error {
	if len(c.args) == 0 {
		return applets.Usagef("name a program")
	}
	list, err := processes()
	if err != nil {
		return err
	}
	var found []string
	for _, p := range list {
		first, _, _ := strings.Cut(p.command, " ")
		for _, name := range c.args {
			if p.name == name || filepath.Base(first) == name || first == name {
				found = append([]string{strconv.Itoa(p.pid)}, found...)
			}
		}
	}
	if len(found) == 0 {
		c.code = 1
		return nil
	}
	fmt.Fprintln(c.out, strings.Join(found, " "))
	return nil
}

func sendSignal(_ context.Context, c *call) error {
	if len(c.args) > 0 && c.args[0] == "-l" {
		return listSignals(c)
	}
	sig, pids, err := killArguments(c.args)
	if err != nil {
		return err
	}
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		if err != nil {
			c.warn("%q is not a process number; pidof NAME finds it", text)
			continue
		}
		if err := unix.Kill(pid, sig); err != nil {
			c.warn("cannot send signal %d to process %d: %v", int(sig), pid, err)
		}
	}
	return nil
}

// killArguments parses "-9 PID...", "-s TERM PID..." and the like.
func killArguments(args []string) (sig unix.Signal, pids []string, err error) {
	sig = unix.SIGTERM
	switch {
	case len(args) > 1 && (args[0] == "-s" || args[0] == "-n"):
		sig, err = parseSignal(args[1])
		args = args[2:]
	case len(args) > 0 && args[0] == "--":
		args = args[1:]
	case len(args) > 0 && strings.HasPrefix(args[0], "-"):
		sig, err = parseSignal(args[0][1:])
		args = args[1:]
		if len(args) > 0 && args[0] == "--" {
			args = args[1:]
		}
	}
	if err == nil && len(args) == 0 {
		err = applets.Usagef("name a process by its number")
	}
	return sig, args, err
}

func parseSignal(text string) (unix.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, applets.Usagef("%q is not a signal; kill -l lists them", text)
}

func listSignals(c *call) error {
	var names []string
	for n := range unix.Signal(32) {
		if name := unix.SignalName(n); name != "" {
			names = append(names, fmt.Sprintf("%2d %s", n, strings.TrimPrefix(name, "SIG")))
		}
	}
	columns, _, _ := c.screen()
	fmt.Fprint(c.out, inColumns(names, columns))
	return nil
}

func sleepFor(ctx context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return applets.Usagef("say how long, e.g. 1.5 or 2m")
	}
	var total time.Duration
	for _, text := range flags.Args() {
		d, err := parseSeconds(text)
		if err != nil {
			return err
		}
		total += d
	}
	return pause(ctx, total)
}

// parseSeconds parses seconds such as 1.5, or minutes, hours, days with m, h, d.
func parseSeconds(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	number, unit := text, time.Second
	if text != "" {
		if u, ok := units[text[len(text)-1]]; ok {
			number, unit = text[:len(text)-1], u
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*float64(unit) < float64(1<<62)) {
		return 0, applets.Usagef("%q is not a time; use one like 1.5, 2m or 1h", text)
	}
	return time.Duration(n * float64(unit)), nil
}

func environOf(list []string) expand.Environ { return expand.ListEnviron(list...) }

// withEnvironment is the env utility.
func withEnvironment(ctx context.Context, c *call) error {
	flags := c.flags()
	flags.SetInterspersed(false)
	ignore := flags.BoolP("ignore-environment", "i", false, "start with an empty environment")
	unset := flags.StringArrayP("unset", "u", nil, "remove a variable")
	if err := c.parse(flags); err != nil {
		return err
	}
	list := environment(c.env)
	if *ignore {
		list = []string{}
	}
	list = slices.DeleteFunc(list, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(*unset, name)
	})
	args := flags.Args()
	for len(args) > 0 && strings.Contains(args[0], "=") {
		list, args = append(list, args[0]), args[1:]
	}
	if len(args) == 0 {
		for _, v := range environment(environOf(list)) {
			fmt.Fprintln(c.out, v)
		}
		return nil
	}
	c.code = c.run(ctx, args, nil, list)
	return nil
}

func showProcessors(_ context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	fmt.Fprintln(c.out, runtime.NumCPU())
	return nil
}

// setUmask shows or sets the mask of the shell, which is that of its utilities
// and of the programs it starts.
func setUmask(_ context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		old := unix.Umask(0)
		unix.Umask(old)
		fmt.Fprintf(c.out, "%04o\n", old)
		return nil
	}
	mask, err := strconv.ParseUint(flags.Arg(0), 8, 9)
	if err != nil {
		return applets.Usagef("%q is not a mask; use one like 022", flags.Arg(0))
	}
	unix.Umask(int(mask))
	return nil
}

// userName returns the name of a user, or the number if it has none.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	if uid == 0 {
		return "root"
	}
	return id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	if gid == 0 {
		return "root"
	}
	return id
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", errors.New("there is no such user")
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", errors.New("there is no such group")
	}
	return g.Gid, nil
}

// lookupID returns the number of a user or group; empty means -1, "as it is".
func lookupID(name string, lookup func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(n), nil
	}
	id, err := lookup(name)
	if err != nil && name != "root" {
		return 0, applets.Usagef("cannot find %q: %w; use a number", name, err)
	}
	n, _ := strconv.Atoi(id)
	return n, nil
}

func showIdentity(_ context.Context, c *call) error {
	flags := c.flags()
	onlyUser := flags.BoolP("user", "u", false, "print the user only")
	onlyGroup := flags.BoolP("group", "g", false, "print the group only")
	onlyGroups := flags.BoolP("groups", "G", false, "print all groups only")
	names := flags.BoolP("name", "n", false, "with one of those, print names instead of numbers")
	if err := c.parse(flags); err != nil {
		return err
	}
	uid, gid, groups, err := identity(flags.Arg(0))
	if err != nil {
		return err
	}
	one := func(id int, name func(uint32) string) string {
		if *names {
			return name(uint32(id))
		}
		return strconv.Itoa(id)
	}
	both := func(id int, name string) string { return fmt.Sprintf("%d(%s)", id, name) }
	var list []string
	for _, g := range groups {
		if *onlyGroups {
			list = append(list, one(g, groupName))
		} else {
			list = append(list, both(g, groupName(uint32(g))))
		}
	}
	switch {
	case *onlyUser:
		fmt.Fprintln(c.out, one(uid, userName))
	case *onlyGroup:
		fmt.Fprintln(c.out, one(gid, groupName))
	case *onlyGroups:
		fmt.Fprintln(c.out, strings.Join(list, " "))
	default:
		fmt.Fprintf(c.out, "uid=%s gid=%s groups=%s\n", both(uid, userName(uint32(uid))), both(gid, groupName(uint32(gid))), strings.Join(list, ","))
	}
	return nil
}

// identity returns the ids of a user, or of the shell.
func identity(name string) (uid, gid int, groups []int, err error) {
	if name == "" {
		groups, _ = os.Getgroups()
		uid, gid = os.Geteuid(), os.Getegid()
	} else {
		u, err := user.Lookup(name)
		if err != nil {
			return 0, 0, nil, fmt.Errorf("there is no user %q", name)
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
		ids, _ := u.GroupIds()
		for _, id := range ids {
			n, _ := strconv.Atoi(id)
			groups = append(groups, n)
		}
	}
	groups = slices.DeleteFunc(groups, func(g int) bool { return g == gid })
	return uid, gid, append([]int{gid}, groups...), nil
}
