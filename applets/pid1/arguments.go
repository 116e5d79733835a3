package pid1

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// arguments are our words on the kernel command line.
type arguments struct {
	shell    bool
	ttys     []string // for the shell; empty for the system console
	disk     string   // empty to have it found
	diskWait time.Duration
	failWait time.Duration
}

func defaultArguments() arguments {
	return arguments{diskWait: time.Minute, failWait: 30 * time.Second}
}

// prefix marks our words on the kernel command line.
const prefix = "ichor."

// argumentTable is every word we know on the kernel command line.
var argumentTable = []struct {
	name, value, meaning string
	set                  func(a *arguments, value string) error
}{
	{"ichor.shell", "[=TTY,...]", "debugging shell on the console, or on these terminals", (*arguments).setShell},
	{"ichor.disk", "=/dev/NAME", "the system disk, if there could be several", (*arguments).setDisk},
	{"ichor.disk-wait", "=DURATION", "how long a disk may take to appear (1m)", func(a *arguments, v string) error {
		return setWait(&a.diskWait, v)
	}},
	{"ichor.fail-wait", "=DURATION", "pause before the reboot after a failed boot (30s)", func(a *arguments, v string) error {
		return setWait(&a.failWait, v)
	}},
}

func argumentHelp() string {
	var b strings.Builder
	for _, row := range argumentTable {
		fmt.Fprintf(&b, "  %-26s %s\n", row.name+row.value, row.meaning)
	}
	return b.String()
}

func (a *arguments) setShell(v string) error {
	var ttys []string
	if v != "" {
		ttys = strings.Split(v, ",")
	}
	for _, t := range ttys {
		if t == "" || t != filepath.Base(t) || t == ".." || t == "." {
			return fmt.Errorf("%q is not the name of a terminal such as ttyS0", t)
		}
	}
	a.shell, a.ttys = true, ttys
	return nil
}

func (a *arguments) setDisk(v string) error {
	if !strings.HasPrefix(v, "/dev/") || filepath.Clean(v) != v {
		return fmt.Errorf("%q is not the path of a disk such as /dev/vda", v)
	}
	a.disk = v
	return nil
}

// maxWait bounds the waits that can be asked for.
const maxWait = time.Hour

func setWait(d *time.Duration, v string) error {
	w, err := time.ParseDuration(v)
	if err != nil || w < 0 || w > maxWait {
		return fmt.Errorf("%q is not a duration from 0s to %v, such as 30s", v, maxWait)
	}
	*d = w
	return nil
}

// parseArguments reads our words from a kernel command line. A wrong one is
// named in an error and otherwise passed over: a machine that could boot must
// not be lost by a slip of the pen.
func parseArguments(cmdline string) (arguments, []error) {
	a := defaultArguments()
	var wrong []error
	for _, word := range strings.Fields(cmdline) {
		if word == "--" {
			break
		}
		name, value, _ := strings.Cut(word, "=")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := a.set(name, value); err != nil {
			wrong = append(wrong, fmt.Errorf("wrong kernel argument %s: %w, ignoring", word, err))
		}
	}
	return a, wrong
}

func (a *arguments) set(name, value string) error {
	var known []string
	for _, row := range argumentTable {
		if row.name == name {
			return row.set(a, value)
		}
		known = append(known, row.name)
	}
	return fmt.Errorf("no such argument; there are %s", strings.Join(known, ", "))
}
