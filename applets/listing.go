package applets

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// listing is a row of the applet table as it is printed.
type listing struct {
	Name         string   `json:"name"`
	Aliases      []string `json:"aliases,omitempty"`
	Audience     string   `json:"audience"`
	Summary      string   `json:"summary"`
	Service      string   `json:"service,omitempty"`
	Home         string   `json:"home,omitempty"`
	Calls        []string `json:"calls,omitempty"`
	UID          uint32   `json:"uid"`
	Capabilities []string `json:"capabilities,omitempty"`
	Links        []string `json:"links,omitempty"`
}

// Print is the command "ichor applets": it prints the whole applet table.
func (t Table) Print(env *Env, args []string) error {
	flags := pflag.NewFlagSet("applets", pflag.ContinueOnError)
	format := OutputFlag(flags)
	err := Help{
		Usage:    []string{"ichor applets [-o table|json|yaml]"},
		About:    "Prints the applet table: every program in the binary, what it serves, which\nservices it may call, and as whom it runs when PID 1 starts it.",
		Examples: []string{"ichor applets -o json"},
	}.Parse(env, flags, args)
	if err == nil {
		rows := listings(t)
		err = format.Print(env.Out, rows, func(w io.Writer) { tabulate(w, rows) })
	}
	if errors.Is(err, ErrHelp) {
		return nil
	}
	return err
}

func listings(t Table) []listing {
	rows := make([]listing, len(t))
	for i, a := range t {
		rows[i] = listing{a.Name, a.Aliases, a.Audience.String(), a.Summary, a.Service, a.Home.String(), a.Calls, a.UID, a.Capabilities, a.Links}
	}
	return rows
}

func tabulate(w io.Writer, rows []listing) {
	Row(w, "APPLET", "SERVES", "HOME", "CALLS", "UID", "CAPABILITIES", "LINKS")
	for _, r := range rows {
		name := strings.Join(append([]string{r.Name}, r.Aliases...), ",")
		Row(w, name, dash(r.Service), r.Home, dash(strings.Join(r.Calls, ",")), r.UID, dash(strings.Join(r.Capabilities, ",")), dash(strings.Join(r.Links, " ")))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Overview prints the applets in the groups of their audiences.
func (t Table) Overview(w io.Writer, version string) {
	fmt.Fprintf(w, `Ichor %s: an operating system in one file

Usage: ichor APPLET [ARGUMENT ...]
       APPLET [ARGUMENT ...]         by way of a link of that name
       ichor --list | --version | applets [-o table|json|yaml]
`, version)
	for _, audience := range []Audience{System, Operator, Builder} {
		fmt.Fprintf(w, "\nFor %s:\n", audience)
		for _, a := range t {
			if a.Audience == audience {
				fmt.Fprintf(w, "  %-24s %s\n", strings.Join(append([]string{a.Name}, a.Aliases...), ", "), a.Summary)
			}
		}
	}
	fmt.Fprintf(w, "\n'ichor APPLET --help' teaches each of them.\n")
}
