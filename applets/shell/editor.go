package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Keys that the editor serves besides those of golang.org/x/term.
const (
	keyCtrlC = 0x03
	keyCtrlR = 0x12
	keyEsc   = 0x1b
)

// editor reads lines from the terminal.
type editor struct {
	sh   *shell
	out  *os.File
	line *term.Terminal
	// The running search of ctrl-R: what for, and where it stands.
	wanted string
	found  string
	next   int
}

func newEditor(s *shell, out *os.File) *editor { return &editor{sh: s, out: out} }

// keyboard is what golang.org/x/term reads from and writes to.
type keyboard struct {
	*keys
	io.Writer
}

// readLine lets the user edit a line. The error is io.EOF after ctrl-D on an
// empty line and errInterrupted after ctrl-C.
func (e *editor) readLine(ctx context.Context, prompt string) (string, error) {
	t := e.sh.term
	if err := t.raw(); err != nil {
		return "", err
	}
	// A command that was left behind may have left its deadline too.
	t.file.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { t.file.SetReadDeadline(time.Unix(1, 0)) })()
	in := &keys{r: t.file}
	e.line = term.NewTerminal(keyboard{in, e.out}, prompt)
	e.line.SetSize(t.size())
	e.line.History = e.sh.history
	e.line.AutoCompleteCallback = e.key
	e.found = ""
	line, err := e.line.ReadLine()
	switch {
	case err == nil, errors.Is(err, term.ErrPasteIndicator):
		return line, nil
	case in.interrupted:
		fmt.Fprint(e.out, "^C\r\n")
		return "", errInterrupted
	}
	fmt.Fprint(e.out, "\r\n")
	return "", err
}

// key serves the keys that golang.org/x/term does not know.
func (e *editor) key(line string, pos int, key rune) (string, int, bool) {
	switch key {
	case '\t':
		return e.complete(line, pos)
	case keyCtrlR:
		return e.search(line, pos)
	}
	return "", 0, false
}

// search replaces the line by the newest one of the history that contains what
// was typed; pressed again, by the one before that.
func (e *editor) search(line string, pos int) (string, int, bool) {
	if line != e.found || e.found == "" {
		e.wanted, e.next = line, 0
	}
	i, ok := e.sh.history.find(e.wanted, e.next)
	if !ok {
		return line, pos, true
	}
	e.found, e.next = e.sh.history.At(i), i+1
	return e.found, len(e.found), true
}

// complete completes the word before the cursor, or lists what it may become.
func (e *editor) complete(line string, pos int) (string, int, bool) {
	w := wordAt(line[:pos])
	names := e.sh.candidates(w)
	if len(names) == 0 {
		return line, pos, true
	}
	common := commonPrefix(names)
	if len(names) > 1 && common == w.text {
		e.list(names)
		return line, pos, true
	}
	insert := w.quoted(common)
	if len(names) == 1 && !strings.HasSuffix(common, "/") {
		insert += w.closing() + " "
	}
	return line[:w.start] + insert + line[pos:], w.start + len(insert), true
}

// list shows the candidates above the line.
func (e *editor) list(names []string) {
	const most = 120
	columns, _ := e.sh.term.size()
	short := make([]string, len(names))
	for i, n := range names {
		short[i] = lastElement(n)
	}
	rest := ""
	if len(short) > most {
		rest = fmt.Sprintf("... and %d more\n", len(short)-most)
		short = short[:most]
	}
	fmt.Fprintf(e.line, "%s%s", inColumns(short, columns), rest)
}

// keys reads the terminal byte by byte, so that what is typed ahead stays for
// the program that is started, and translates the sequences of other terminals
// into those that golang.org/x/term knows. Unknown ones are dropped whole.
type keys struct {
	r           io.Reader
	ready       []byte
	interrupted bool
}

// Read returns the bytes of one key.
func (k *keys) Read(p []byte) (int, error) {
	for len(k.ready) == 0 {
		b, err := k.byte()
		if err != nil {
			return 0, err
		}
		switch b {
		case keyEsc:
			if k.ready, err = k.escape(); err != nil {
				return 0, err
			}
		case keyCtrlC:
			k.interrupted = true
			fallthrough
		default:
			k.ready = []byte{b}
		}
	}
	n := copy(p, k.ready)
	k.ready = k.ready[n:]
	return n, nil
}

func (k *keys) byte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(k.r, b[:])
	return b[0], err
}

// escape reads the rest of an escape sequence.
func (k *keys) escape() ([]byte, error) {
	b, err := k.byte()
	if err != nil {
		return nil, err
	}
	switch b {
	case '[':
		return k.control()
	case 'O':
		b, err = k.byte()
		return known("", b), err
	case 'b':
		return []byte("\x1b[1;3D"), nil
	case 'f':
		return []byte("\x1b[1;3C"), nil
	case 0x7f:
		return []byte{0x17}, nil // ctrl-W
	}
	return nil, nil
}

// control reads a control sequence up to its last byte.
func (k *keys) control() ([]byte, error) {
	const longest = 16
	var parameters []byte
	for len(parameters) < longest {
		b, err := k.byte()
		if err != nil {
			return nil, err
		}
		if b >= 0x40 && b <= 0x7e {
			return known(string(parameters), b), nil
		}
		parameters = append(parameters, b)
	}
	return nil, nil
}

// known returns the sequence by which golang.org/x/term knows a key.
func known(parameters string, last byte) []byte {
	switch parameters + string(last) {
	case "A", "B", "C", "D", "H", "F", "3~":
		return []byte("\x1b[" + parameters + string(last))
	case "1~", "7~":
		return []byte("\x1b[H")
	case "4~", "8~":
		return []byte("\x1b[F")
	case "1;5C", "1;3C":
		return []byte("\x1b[1;3C")
	case "1;5D", "1;3D":
		return []byte("\x1b[1;3D")
	}
	return nil
}
