package bench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	report = flag.Bool("report", false, "measure, and write the report to bench.txt beside the products too")
	out    = flag.String("out", "../../out", "`folder` of the products of make image")
	kernel = flag.String("kernel", "cloud", "which `kernel` they were made with")
	runs   = flag.Int("runs", 5, "how often each boot is measured")
	only   = flag.String("only", "", "`sections` to print, comma separated; empty means all")
)

// bootTime bounds a boot that hangs. It is no measure.
const bootTime = 3 * time.Minute

// powerOffTime bounds a machine that does not end.
const powerOffTime = time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	if !*report {
		os.Exit(m.Run())
	}
	if err := measure(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure writes the report to the standard output and to a file.
func measure() error {
	scratch, err := os.MkdirTemp(*out, ".bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	f, err := os.Create(filepath.Join(*out, "bench.txt"))
	if err != nil {
		return err
	}
	defer f.Close()
	b := &bench{w: io.MultiWriter(os.Stdout, f), scratch: scratch}
	if err := b.takeProducts(); err != nil {
		return err
	}
	return b.report()
}
