// Command ichor is an operating system in one file.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"ichor/applets"
)

// version is stamped by the linker from git.
var version = "dev"

// table is the applet table: the only list of what this binary is.
var table = applets.Table{}

func main() {
	stdio := applets.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(run(context.Background(), os.Args, stdio))
}

func run(ctx context.Context, args []string, stdio applets.Stdio) int {
	name, args := filepath.Base(args[0]), args[1:]
	a, ok := table.Lookup(name)
	if !ok && len(args) > 0 {
		name, args = args[0], args[1:]
		a, ok = table.Lookup(name)
	}
	if !ok {
		return applets.ExitUnknown
	}
	env := &applets.Env{Stdio: stdio, Name: name, Version: version, Table: table}
	err := a.Run(ctx, env, args)
	if err != nil {
		fmt.Fprintf(stdio.Err, "ichor %s: %v\n", name, err)
	}
	return applets.ExitCode(err)
}
