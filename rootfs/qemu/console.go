package qemu

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Console is the serial console of a machine. All that it prints is kept.
type Console struct {
	mu   sync.Mutex
	log  []byte
	pos  int           // up to where Expect has read
	more chan struct{} // closed and replaced when something was printed
	eof  bool
	in   io.Writer
	tee  io.Writer
}

func newConsole(in io.Writer, tee io.Writer) *Console {
	return &Console{in: in, tee: tee, more: make(chan struct{})}
}

// read collects what is printed until the machine ends.
func (c *Console) read(r io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		if n > 0 && c.tee != nil {
			c.tee.Write(buf[:n])
		}
		c.mu.Lock()
		c.log = append(c.log, buf[:n]...)
		c.eof = err != nil
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Log returns all that was printed so far.
func (c *Console) Log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.log)
}

// Tail returns the last lines of the log.
func (c *Console) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(c.Log(), "\r", ""), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Send types text. Enter is "\r".
func (c *Console) Send(text string) error {
	if _, err := io.WriteString(c.in, text); err != nil {
		return fmt.Errorf("cannot type on console: %w", err)
	}
	return nil
}

// Expect waits until something printed since the last match matches, and
// returns the match and its groups. The error has the end of the log.
func (c *Console) Expect(re *regexp.Regexp, timeout time.Duration) ([]string, error) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		match, more, eof := c.find(re)
		switch {
		case match != nil:
			return match, nil
		case eof:
			return nil, fmt.Errorf("console ended before it printed %q; its end:\n%s", re, c.Tail(30))
		}
		select {
		case <-more:
		case <-deadline.C:
			return nil, fmt.Errorf("console did not print %q within %v; its end:\n%s", re, timeout, c.Tail(30))
		}
	}
}

// find looks for a match in what is new, and takes it.
func (c *Console) find(re *regexp.Regexp) (match []string, more chan struct{}, eof bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := c.log[c.pos:]
	at := re.FindSubmatchIndex(fresh)
	if at == nil {
		return nil, c.more, c.eof
	}
	for i := 0; i < len(at); i += 2 {
		s := ""
		if at[i] >= 0 {
			s = string(fresh[at[i]:at[i+1]])
		}
		match = append(match, s)
	}
	c.pos += at[1]
	return match, nil, false
}

// Skip makes Expect look only at what is printed from now on.
func (c *Console) Skip() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pos = len(c.log)
}

// kernelLine is a line of the kernel log on the console. It can be in the
// middle of what a program prints.
var kernelLine = regexp.MustCompile(`\[ *\d+\.\d{6}\] [^\n]*\n`)

// withoutKernelLog removes lines of the kernel log from what a program printed,
// and the carriage returns of the terminal.
func withoutKernelLog(b []byte) string {
	return string(kernelLine.ReplaceAll(bytes.ReplaceAll(b, []byte("\r"), nil), nil))
}
