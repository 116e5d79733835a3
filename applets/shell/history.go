package shell

import (
	"bytes"
	"os"
	"strings"
)

const (
	historyLines = 500
	historyBytes = 256 << 10
)

// history is the list of lines typed, the newest last. It is the
// golang.org/x/term History of the line editor.
type history struct {
	lines []string
	file  string // empty: in memory only
}

// openHistory reads the history of former shells. A file that cannot be read is
// no reason not to have a shell; nor is one that cannot be written.
func openHistory(file string) *history {
	h := &history{file: file}
	if file == "" {
		return h
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return h
	}
	if len(b) > historyBytes {
		b = b[len(b)-historyBytes:]
		b = b[bytes.IndexByte(b, '\n')+1:]
		os.WriteFile(file, b, 0o600)
	}
	for line := range strings.Lines(string(b)) {
		h.remember(strings.TrimSuffix(line, "\n"))
	}
	return h
}

// remember adds a line unless it is empty, starts with a space or repeats the
// last one.
func (h *history) remember(line string) bool {
	if strings.TrimSpace(line) == "" || line[0] == ' ' {
		return false
	}
	if n := len(h.lines); n > 0 && h.lines[n-1] == line {
		return false
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > historyLines {
		h.lines = h.lines[1:]
	}
	return true
}

// Add records a line.
func (h *history) Add(line string) {
	if !h.remember(line) || h.file == "" {
		return
	}
	f, err := os.OpenFile(h.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	f.WriteString(line + "\n")
}

// Len returns the number of lines.
func (h *history) Len() int { return len(h.lines) }

// At returns a line, 0 being the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// find returns the newest line, from the ith on, that contains text.
func (h *history) find(text string, i int) (int, bool) {
	for ; i < h.Len(); i++ {
		if strings.Contains(h.At(i), text) {
			return i, true
		}
	}
	return 0, false
}
