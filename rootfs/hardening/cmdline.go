// Package hardening holds the two tables of the Kernel Self Protection Project's
// advice as this system follows it: the kernel command line and the sysctls.
//
// The image build writes the first into the boot loader's configuration; PID 1
// checks it and applies the second. What the command line says of consoles and
// memory is in its table, too; other sysctls do not belong here.
package hardening

import (
	"slices"
	"strings"
)

// Need says what becomes of a boot without a setting.
type Need int

// The needs.
const (
	Advised  Need = iota // said in the log, and the boot goes on
	Required             // the boot refuses to go on
)

// String returns the word for the printed table.
func (n Need) String() string {
	if n == Required {
		return "required"
	}
	return "advised"
}

// Argument is a row of the kernel command line.
type Argument struct {
	// Text is one word as it stands on the command line.
	Text string
	Need Need
	// Why is for a person who asks what the word is good for.
	Why string
}

// Arguments is the kernel command line, in order.
var Arguments = []Argument{
	{"console=tty0", Advised, "kernel messages on the screen"},
	{"console=ttyS0,115200", Advised, "and on the serial port; the last console is /dev/console"},
	{"loglevel=6", Advised, "notices and worse on the consoles; all is in the kernel log"},
	{"printk.devkmsg=on", Advised, "no rate limit on what PID 1 and its services log"},
	{"rootfstype=ramfs", Advised, "the initramfs may take more than half of a small memory"},
	{"no_timer_check", Advised, "the timer works; on a busy host the check of it can panic all the same"},
	{"panic=10", Required, "a panic ends in a reboot, and so in the boot loader's choice of slot"},
	{"oops=panic", Required, "a kernel that is known to be broken does not go on"},
	{"init_on_alloc=1", Required, "memory is zeroed when it is handed out: no leaks of what it held"},
	{"init_on_free=0", Advised, "zeroing once is enough against leaks; twice costs every workload"},
	{"slab_nomerge", Required, "objects of different kinds never share a slab"},
	{"page_alloc.shuffle=1", Advised, "the order of free pages is random"},
	{"randomize_kstack_offset=on", Required, "each system call has its stack at another offset"},
	{"pti=on", Required, "kernel page tables are hidden from user space, whatever the CPU claims"},
	{"mitigations=auto", Required, "the mitigations that this CPU needs"},
	{"vsyscall=none", Required, "no code at an address that is the same everywhere"},
	{"debugfs=off", Required, "no interface for debugging the kernel"},
	{"module.sig_enforce=1", Required, "only modules signed by who built the kernel"},
	{"proc_mem.force_override=never", Advised, "/proc/PID/mem respects memory protection"},
	{"iommu.passthrough=0", Advised, "devices reach only the memory that is mapped for them"},
	{"iommu.strict=1", Advised, "and lose it at once when it is unmapped"},
}

// CommandLine returns the table as one line, with more words at its end.
func CommandLine(more ...string) string {
	words := make([]string, 0, len(Arguments)+len(more))
	for _, a := range Arguments {
		words = append(words, a.Text)
	}
	return strings.Join(append(words, more...), " ")
}

// Absent returns the rows that do not hold on a command line, e.g. that of
// /proc/cmdline. Of an argument given twice the last one counts, as for the
// kernel; console= may be given many times. Words after "--" are not for the
// kernel.
func Absent(cmdline string) []Argument {
	words := strings.Fields(cmdline)
	if i := slices.Index(words, "--"); i >= 0 {
		words = words[:i]
	}
	var absent []Argument
	for _, a := range Arguments {
		if !holds(a.Text, words) {
			absent = append(absent, a)
		}
	}
	return absent
}

// holds reports whether text is on the command line and not overridden. The
// kernel takes dashes and underscores of a parameter's name for the same.
func holds(text string, words []string) bool {
	key, value := split(text)
	if key == "console" {
		return slices.Contains(words, text)
	}
	held := false
	for _, w := range words {
		if k, v := split(w); k == key {
			held = v == value
		}
	}
	return held
}

func split(word string) (key, value string) {
	key, value, _ = strings.Cut(word, "=")
	return strings.ReplaceAll(key, "-", "_"), value
}
