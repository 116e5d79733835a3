package shell

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"ichor/applets"
)

// The commands about the shell itself.

func showHelp(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		c.listCommands()
		return nil
	}
	name := c.args[0]
	_, isApplet := c.sh.applet(name)
	_, isUtility := c.sh.utility(name)
	switch {
	case isApplet || isUtility:
		c.code = c.run(ctx, []string{name, "--help"}, nil, nil)
		return nil
	case syntax.IsKeyword(name), interp.IsBuiltin(name):
		fmt.Fprintf(c.out, "%s is part of the shell's language, as in POSIX sh and bash.\n", name)
		return nil
	}
	return fmt.Errorf("there is no help on %q; help lists the commands", name)
}

// listCommands prints all commands in groups, for a screen of 80 columns.
func (c *call) listCommands() {
	columns, _, _ := c.screen()
	columns = min(columns, 80)
	for _, audience := range []applets.Audience{applets.System, applets.Operator, applets.Builder} {
		c.listGroup("Ichor: "+audience.String(), c.appletNames(audience), columns)
	}
	for _, g := range groups() {
		var names []string
		for _, u := range c.sh.table {
			if u.Group == g && u.Name != "command" {
				names = append(names, u.Name)
			}
		}
		c.listGroup(string(g), names, columns)
	}
	c.listGroup("language", builtins(), columns)
	fmt.Fprint(c.out, "help NAME explains a command. Pipes, redirection, variables, functions, if, for,\n"+
		"while and & work as in sh. tab completes, the arrow keys go through the history,\n"+
		"ctrl-R searches it, ctrl-C interrupts, ctrl-D leaves.\n")
}

func (c *call) appletNames(audience applets.Audience) []string {
	var names []string
	for _, a := range c.sh.env.Table {
		if _, ok := c.sh.applet(a.Name); ok && a.Audience == audience {
			names = append(names, append([]string{a.Name}, a.Aliases...)...)
		}
	}
	slices.Sort(names)
	return names
}

// listGroup prints a heading and words below each other.
func (c *call) listGroup(title string, words []string, columns int) {
	if len(words) == 0 {
		return
	}
	const indent = "  "
	fmt.Fprintln(c.out, title)
	line := indent
	for _, w := range words {
		if len(line)+len(w) > columns-1 {
			fmt.Fprintln(c.out, strings.TrimRight(line, " "))
			line = indent
		}
		line += w + " "
	}
	fmt.Fprintln(c.out, strings.TrimRight(line, " "))
}

func showHistory(_ context.Context, c *call) error {
	flags := c.flags()
	forget := flags.BoolP("clear", "c", false, "forget the lines")
	if err := c.parse(flags); err != nil {
		return err
	}
	h := c.sh.history
	if h == nil {
		return fmt.Errorf("a script has no history")
	}
	if *forget {
		h.lines = nil
		if h.file != "" {
			os.Truncate(h.file, 0)
		}
		return nil
	}
	for i, line := range h.lines {
		fmt.Fprintf(c.out, "%5d  %s\n", i+1, line)
	}
	return nil
}

// whichCommand is which, type and "command -v". The names of functions are
// those of the shell's first interpreter: a subshell's own are not known here.
func whichCommand(_ context.Context, c *call) error {
	short := c.name != "type"
	for _, name := range c.args {
		if name == "-v" || name == "-V" || name == "-a" || name == "--" {
			short = short && name != "-V"
			continue
		}
		what, path := c.whatIs(name)
		switch {
		case what == "":
			c.code = 1
			if !short || c.name == "which" {
				fmt.Fprintf(c.err, "%s: %s: not found\n", c.name, name)
			}
		case short && c.name == "command":
			fmt.Fprintln(c.out, path)
		case short && what == "program":
			fmt.Fprintln(c.out, path)
		case what == "program":
			fmt.Fprintf(c.out, "%s is %s\n", name, path)
		default:
			fmt.Fprintf(c.out, "%s is %s\n", name, what)
		}
	}
	return nil
}

// whatIs tells what a word does as a command.
func (c *call) whatIs(name string) (what, path string) {
	_, isApplet := c.sh.applet(name)
	_, isUtility := c.sh.utility(name)
	switch {
	case syntax.IsKeyword(name):
		return "a keyword of the shell", name
	case c.sh.runner.Funcs[name] != nil:
		return "a function", name
	case isApplet:
		return "an applet of Ichor", name
	case isUtility && !slices.Contains(builtins(), name):
		return "a utility of the shell", name
	case interp.IsBuiltin(name):
		return "a builtin of the shell", name
	}
	if path, err := interp.LookPathDir(c.dir, c.env, name); err == nil {
		return "program", path
	}
	return "", ""
}

// runShell is the sh utility.
func runShell(ctx context.Context, c *call) error {
	flags := c.flags()
	flags.SetInterspersed(false)
	commands := flags.StringP("command", "c", "", "run `COMMANDS`")
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.Changed("command") {
		return c.sh.runSub(ctx, c, strings.NewReader(*commands), "sh", after(flags.Args(), 1))
	}
	if flags.NArg() > 0 {
		return c.sh.subshell(ctx, c, c.path(flags.Arg(0)), flags.Args()[1:])
	}
	return c.sh.runSub(ctx, c, c.in, "sh", nil)
}
