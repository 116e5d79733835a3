package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"ichor/applets"
)

func ownerOf(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }

// kernelMessage is a record of /dev/kmsg.
type kernelMessage struct {
	level    int
	facility int
	since    time.Duration // after the kernel's start
	text     string
}

// levels are the names of the kernel's log levels, from 0 on.
func levels() []string {
	return []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"}
}

// parseKernelMessage parses a record: "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT",
// then lines of properties which are left out. Documentation/ABI/testing/dev-kmsg
// describes it; other fields may follow the flags.
func parseKernelMessage(record []byte) (kernelMessage, error) {
	head, text, ok := bytes.Cut(record, []byte(";"))
	fields := strings.Split(string(head), ",")
	if !ok || len(fields) < 3 {
		return kernelMessage{}, fmt.Errorf("not a record of the kernel log: %.40q", record)
	}
	priority, err := strconv.ParseUint(fields[0], 10, 16)
	micros, err2 := strconv.ParseUint(fields[2], 10, 53)
	if err != nil || err2 != nil {
		return kernelMessage{}, fmt.Errorf("not a record of the kernel log: %.40q", record)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return kernelMessage{level: int(priority & 7), facility: int(priority >> 3), since: time.Duration(micros) * time.Microsecond, text: unescape(string(line))}, nil
}

// unescape decodes the \xNN that the kernel writes for bytes that it does not
// want to print; those that would steer the terminal stay as they are.
func unescape(text string) string {
	if !strings.Contains(text, `\x`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if n, err := strconv.ParseUint(text[min(i+2, len(text)):min(i+4, len(text))], 16, 8); strings.HasPrefix(text[i:], `\x`) && err == nil && n >= ' ' && n != 0x7f && i+4 <= len(text) {
			b.WriteByte(byte(n))
			i += 3
			continue
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func kernelLog(ctx context.Context, c *call) error {
	flags := c.flags()
	follow := flags.BoolP("follow", "w", false, "go on printing new messages")
	level := flags.StringP("level", "l", "", "show these levels only, e.g. err,warn; with + at the end the more severe ones too")
	clock := flags.BoolP("ctime", "T", false, "show the time of day instead of seconds")
	show := flags.BoolP("decode", "x", false, "show the level of each message")
	clearLog := flags.BoolP("clear", "C", false, "clear the log")
	if err := c.parse(flags); err != nil {
		return err
	}
	if *clearLog {
		if _, err := unix.Klogctl(unix.SYSLOG_ACTION_CLEAR, nil); err != nil {
			return fmt.Errorf("cannot clear the kernel log: %w", err)
		}
		return nil
	}
	wanted, err := parseLevels(*level)
	if err != nil {
		return err
	}
	start := time.Now().Add(-sinceStart())
	print := func(m kernelMessage) error {
		if !wanted[m.level] {
			return nil
		}
		stamp := fmt.Sprintf("%12.6f", m.since.Seconds())
		if *clock {
			stamp = start.Add(m.since).Format("Mon Jan _2 15:04:05 2006")
		}
		name := ""
		if *show {
			name = fmt.Sprintf("%-6s: ", levels()[m.level])
		}
		_, err := fmt.Fprintf(c.out, "%s[%s] %s\n", name, stamp, m.text)
		return err
	}
	return readKernelLog(ctx, *follow, print)
}

// parseLevels returns which levels a list such as "err,warn" or "err+" names.
func parseLevels(text string) (wanted [8]bool, err error) {
	if text == "" {
		return [8]bool{true, true, true, true, true, true, true, true}, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		name, more := strings.CutSuffix(name, "+")
		i := slices.Index(levels(), name)
		if i < 0 {
			return wanted, applets.Usagef("%q is not a level; use %s", name, strings.Join(levels(), ", "))
		}
		wanted[i] = true
		for j := range i {
			wanted[j] = wanted[j] || more
		}
	}
	return wanted, nil
}

// readKernelLog calls fn for each record that is there and, if follow, for each
// that comes.
func readKernelLog(ctx context.Context, follow bool, fn func(kernelMessage) error) error {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/kmsg: %w", err)
	}
	defer unix.Close(fd)
	record := make([]byte, 16<<10)
	for ctx.Err() == nil {
		n, err := unix.Read(fd, record)
		switch {
		case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR): // EPIPE: records were overwritten
			continue
		case errors.Is(err, unix.EAGAIN) && follow:
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			unix.Poll(poll, 200)
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("cannot read /dev/kmsg: %w", err)
		}
		if m, err := parseKernelMessage(record[:n]); err == nil {
			if err := fn(m); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// sinceStart returns how long the kernel has been running.
func sinceStart() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

func showMemory(_ context.Context, c *call) error {
	flags := c.flags()
	human := flags.BoolP("human", "h", false, "show sizes like 1.5G")
	mega := flags.BoolP("mebi", "m", false, "count in MiB")
	flags.BoolP("kibi", "k", false, "count in KiB, as is the default")
	if err := c.parse(flags); err != nil {
		return err
	}
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return fmt.Errorf("cannot read /proc: %w; is it mounted?", reason(err))
	}
	m, err := fs.Meminfo()
	if err != nil {
		return fmt.Errorf("cannot read /proc/meminfo: %w", reason(err))
	}
	show := func(kib uint64) string {
		switch {
		case *human:
			return humanSize(int64(kib) << 10)
		case *mega:
			return strconv.FormatUint(kib>>10, 10)
		}
		return strconv.FormatUint(kib, 10)
	}
	value := func(p *uint64) uint64 {
		if p == nil {
			return 0
		}
		return *p
	}
	row := func(name string, cells ...uint64) {
		fmt.Fprintf(c.out, "%-6s", name)
		for _, n := range cells {
			fmt.Fprintf(c.out, " %11s", show(n))
		}
		fmt.Fprintln(c.out)
	}
	total, free, available := value(m.MemTotal), value(m.MemFree), value(m.MemAvailable)
	cache := value(m.Buffers) + value(m.Cached) + value(m.SReclaimable)
	fmt.Fprintf(c.out, "%-6s %11s %11s %11s %11s %11s %11s\n", "", "total", "used", "free", "shared", "buff/cache", "available")
	row("Mem:", total, total-min(total, available), free, value(m.Shmem), cache, available)
	row("Swap:", value(m.SwapTotal), value(m.SwapTotal)-min(value(m.SwapTotal), value(m.SwapFree)), value(m.SwapFree))
	return nil
}

func showUptime(_ context.Context, c *call) error {
	flags := c.flags()
	since := flags.BoolP("since", "s", false, "print when the machine was started")
	if err := c.parse(flags); err != nil {
		return err
	}
	up := sinceStart()
	if *since {
		fmt.Fprintln(c.out, time.Now().Add(-up).Format(time.DateTime))
		return nil
	}
	load := "unknown"
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if l, err := fs.LoadAvg(); err == nil {
			load = fmt.Sprintf("%.2f, %.2f, %.2f", l.Load1, l.Load5, l.Load15)
		}
	}
	s := int(up.Seconds())
	days := ""
	if s >= 86400 {
		days = fmt.Sprintf("%d days, ", s/86400)
	}
	fmt.Fprintf(c.out, "%s up %s%d:%02d:%02d, load average: %s\n", time.Now().Format(time.TimeOnly), days, s/3600%24, s/60%60, s%60, load)
	return nil
}

func showModules(_ context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	b, err := os.ReadFile("/proc/modules")
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("cannot list the modules: the kernel has no support for them, or /proc is not mounted")
	}
	if err != nil {
		return fmt.Errorf("cannot read /proc/modules: %w", reason(err))
	}
	io.WriteString(c.out, moduleTable(string(b)))
	return nil
}

// moduleTable formats /proc/modules as lsmod does.
func moduleTable(text string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s %9s  Used by\n", "Module", "Size")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		users := strings.TrimSuffix(strings.Trim(f[3], "-"), ",")
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(fmt.Sprintf("%-24s %9s  %s %s", f[0], f[1], f[2], users), " "))
	}
	return b.String()
}

func showKernel(_ context.Context, c *call) error {
	flags := c.flags()
	all := flags.BoolP("all", "a", false, "print everything")
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("cannot read the kernel's name: %w", err)
	}
	text := func(b []byte) string { return unix.ByteSliceToString(b) }
	fields := []struct {
		name, short, usage, value string
		set                       *bool
	}{
		{"kernel-name", "s", "print the kernel's name", text(u.Sysname[:]), nil},
		{"nodename", "n", "print the host name", text(u.Nodename[:]), nil},
		{"kernel-release", "r", "print the kernel's release", text(u.Release[:]), nil},
		{"kernel-version", "v", "print the kernel's version", text(u.Version[:]), nil},
		{"machine", "m", "print the type of machine", text(u.Machine[:]), nil},
		{"operating-system", "o", "print the operating system", "GNU/Linux", nil},
	}
	for i, f := range fields {
		fields[i].set = flags.BoolP(f.name, f.short, false, f.usage)
	}
	if err := c.parse(flags); err != nil {
		return err
	}
	var parts []string
	for _, f := range fields {
		if *f.set || *all {
			parts = append(parts, f.value)
		}
	}
	if len(parts) == 0 {
		parts = []string{fields[0].value}
	}
	fmt.Fprintln(c.out, strings.Join(parts, " "))
	return nil
}

func hostName(_ context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		if err := unix.Sethostname([]byte(flags.Arg(0))); err != nil {
			return fmt.Errorf("cannot set the host name to %q: %w", flags.Arg(0), err)
		}
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("cannot read the host name: %w", err)
	}
	fmt.Fprintln(c.out, name)
	return nil
}

func showDate(_ context.Context, c *call) error {
	flags := c.flags()
	utc := flags.BoolP("utc", "u", false, "use UTC")
	given := flags.StringP("date", "d", "", "show this time: @SECONDS, 2006-01-02, \"2006-01-02 15:04:05\" or RFC 3339")
	set := flags.StringP("set", "s", "", "set the clock to such a time")
	iso := flags.BoolP("iso", "I", false, "print the day as 2006-01-02")
	if err := c.parse(flags); err != nil {
		return err
	}
	zone := time.Local
	if *utc {
		zone = time.UTC
	}
	t := time.Now()
	var err error
	if *given != "" || *set != "" {
		if t, err = parseTime(*given+*set, zone); err != nil {
			return err
		}
	}
	if *set != "" {
		tv := unix.NsecToTimeval(t.UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			return fmt.Errorf("cannot set the clock to %s: %w", t.Format(time.RFC3339), err)
		}
	}
	format := "%a %b %e %H:%M:%S %Z %Y"
	if *iso {
		format = "%F"
	}
	if f, ok := strings.CutPrefix(flags.Arg(0), "+"); ok {
		format = f
	} else if flags.NArg() > 0 {
		return applets.Usagef("a format starts with +, e.g. +%%F; -s sets the clock")
	}
	fmt.Fprintln(c.out, expandFormat(format, func(verb string) (string, bool) { return dateField(t.In(zone), verb) }))
	return nil
}

// parseTime parses the times that date -d and -s take.
func parseTime(text string, zone *time.Location) (time.Time, error) {
	if s, ok := strings.CutPrefix(text, "@"); ok {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return time.Unix(n, 0), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, applets.Usagef("%q is not a time; use @SECONDS, 2006-01-02 or \"2006-01-02 15:04:05\"", text)
}

// dateField returns what a verb of strftime stands for.
func dateField(t time.Time, verb string) (string, bool) {
	layouts := map[string]string{
		"Y": "2006", "y": "06", "m": "01", "d": "02", "e": "_2", "H": "15", "I": "03", "M": "04", "S": "05", "p": "PM",
		"a": "Mon", "A": "Monday", "b": "Jan", "B": "January", "h": "Jan", "Z": "MST", "z": "-0700", "j": "002",
		"F": "2006-01-02", "T": "15:04:05", "R": "15:04", "D": "01/02/06", "c": "Mon Jan _2 15:04:05 2006",
	}
	if layout, ok := layouts[verb]; ok {
		return t.Format(layout), true
	}
	switch verb {
	case "s":
		return strconv.FormatInt(t.Unix(), 10), true
	case "N":
		return fmt.Sprintf("%09d", t.Nanosecond()), true
	case "u":
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1), true
	case "w":
		return strconv.Itoa(int(t.Weekday())), true
	case "V":
		_, week := t.ISOWeek()
		return fmt.Sprintf("%02d", week), true
	case "n":
		return "\n", true
	case "t":
		return "\t", true
	case "%":
		return "%", true
	}
	return "", false
}

func clearScreen(_ context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	_, err := io.WriteString(c.out, "\x1b[H\x1b[2J")
	return err
}
