package qemu

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Shell runs commands in a shell on a console. Lines of the kernel log between
// the lines of a command's output are removed.
type Shell struct {
	c    *Console
	next int // number of the next command
}

// OpenShell waits until a shell answers on the console.
func OpenShell(c *Console, timeout time.Duration) (*Shell, error) {
	s := &Shell{c: c}
	deadline := time.Now().Add(timeout)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, fmt.Errorf("no shell answers on the console within %v; its end:\n%s", timeout, c.Tail(30))
		}
		s.next++
		// What is typed before there is a shell waits for it; it may print
		// several marks, of which any will do.
		if err := c.Send("\recho " + typed("READY", 0) + "\r"); err != nil {
			return nil, err
		}
		if _, err := c.Expect(printed("READY", 0), min(left, 3*time.Second)); err == nil {
			return s, nil
		}
	}
}

// Run runs a command line and returns what it prints, standard error included,
// and its exit code. The command must be one line and must not read its input.
func (s *Shell) Run(command string, timeout time.Duration) (output string, code int, err error) {
	if strings.ContainsAny(command, "\r\n") {
		return "", 0, fmt.Errorf("cannot run %q: more than one line", command)
	}
	s.next++
	line := fmt.Sprintf("echo %s; %s; echo %s-$?", typed("BEGIN", s.next), command, typed("END", s.next))
	if err := s.c.Send(line + "\r"); err != nil {
		return "", 0, err
	}
	if _, err := s.c.Expect(printed("BEGIN", s.next), timeout); err != nil {
		return "", 0, fmt.Errorf("cannot run %q: %w", command, err)
	}
	end := regexp.MustCompile(`(?s)(.*?)` + mark("END", s.next) + `-(\d+)\r?\n`)
	m, err := s.c.Expect(end, timeout)
	if err != nil {
		return "", 0, fmt.Errorf("cannot run %q: %w", command, err)
	}
	code, err = strconv.Atoi(m[2])
	return withoutKernelLog([]byte(m[1])), code, err
}

// Must is Run for a command that is expected to succeed.
func (s *Shell) Must(command string, timeout time.Duration) (string, error) {
	out, code, err := s.Run(command, timeout)
	if err == nil && code != 0 {
		err = fmt.Errorf("%q ended with exit code %d: %s", command, code, out)
	}
	return out, err
}

// mark is a word that nothing else prints.
func mark(word string, n int) string { return fmt.Sprintf("ichor-%s-%d", word, n) }

// typed is the mark as it is typed: with quotes, so that the echo of the
// command line is not taken for its output.
func typed(word string, n int) string { return fmt.Sprintf(`ichor-"%s"-%d`, word, n) }

// printed matches the mark and the rest of its line.
func printed(word string, n int) *regexp.Regexp {
	return regexp.MustCompile(mark(word, n) + `\r?\n`)
}
