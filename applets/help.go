package applets

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Help is what --help prints of a command. A good one can be learned from:
// it says what the command is for and shows at least one real example.
type Help struct {
	// Usage has one line per form, without the word "Usage".
	Usage []string
	// About is one or more paragraphs.
	About string
	// Examples are lines as typed; a line that starts with # explains the next.
	Examples []string
	// Verbs are name and summary pairs of subcommands.
	Verbs [][2]string
	// Exit documents exit codes beyond 0, 1 and 2.
	Exit string
}

// Print writes the help, with the flags' own descriptions.
func (h Help) Print(w io.Writer, flags *pflag.FlagSet) {
	for i, u := range h.Usage {
		prefix := "Usage: "
		if i > 0 {
			prefix = "       "
		}
		fmt.Fprintln(w, prefix+u)
	}
	if h.About != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(h.About))
	}
	if len(h.Verbs) > 0 {
		fmt.Fprintf(w, "\nCommands:\n")
		width := 0
		for _, v := range h.Verbs {
			width = max(width, len(v[0]))
		}
		for _, v := range h.Verbs {
			fmt.Fprintf(w, "  %-*s  %s\n", width, v[0], v[1])
		}
	}
	if flags != nil && flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", flagUsages(flags))
	}
	if len(h.Examples) > 0 {
		fmt.Fprintf(w, "\nExamples:\n")
		for _, e := range h.Examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
	if h.Exit != "" {
		fmt.Fprintf(w, "\nExit codes:\n  0 done, 1 failed, 2 wrong command line; %s\n", h.Exit)
	}
}

// flagUsages lists the flags without the "[=true|false]" which pflag writes
// behind every switch.
func flagUsages(flags *pflag.FlagSet) string {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "bool" {
			f.Value = plainSwitch{f.Value}
		}
	})
	return flags.FlagUsagesWrapped(80)
}

type plainSwitch struct{ pflag.Value }

// Type returns the other name under which pflag knows switches.
func (plainSwitch) Type() string { return "boolfunc" }

// ErrHelp is returned by Parse once the help is printed; a program that gets
// it returns nil.
var ErrHelp = errors.New("help was printed")

// Parse parses args into flags, adding -h and --help. On a request for help it
// prints it to the program's output and returns ErrHelp.
func (h Help) Parse(env *Env, flags *pflag.FlagSet, args []string) error {
	flags.SetOutput(io.Discard)
	flags.SortFlags = false
	flags.Usage = func() {}
	help := flags.BoolP("help", "h", false, "show this help")
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) || (err == nil && *help) {
		h.Print(env.Out, flags)
		return ErrHelp
	}
	if err != nil {
		return Usagef("%w", err)
	}
	return nil
}
