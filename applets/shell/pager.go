package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// pager shows a stream page by page. It reads as far as it shows, and keeps
// what it has read to go back.
type pager struct {
	c       *call
	source  *bufio.Reader
	ended   bool
	lines   []string
	top     int // first line shown
	columns int
	rows    int
	wanted  string
	note    string
	partial []byte // of a line that an interruption cut
}

// page is less and more.
func page(ctx context.Context, c *call) error {
	flags := c.flags()
	flags.BoolP("RAW-CONTROL-CHARS", "R", false, "does nothing: control characters are never shown")
	if err := c.parse(flags); err != nil {
		return err
	}
	columns, rows, terminal := c.screen()
	if !terminal {
		return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error {
			_, err := io.Copy(c.out, r)
			return err
		})
	}
	keys, restore, err := c.keyboard(ctx)
	if err != nil {
		return err
	}
	defer restore()
	return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error {
		p := &pager{c: c, source: bufio.NewReaderSize(r, 64<<10), columns: columns, rows: rows}
		return p.run(keys)
	})
}

// keyboard opens the terminal for single keys. The standard input may be the
// very thing that is shown.
func (c *call) keyboard(ctx context.Context) (io.Reader, func(), error) {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open the terminal: %w", err)
	}
	f := os.NewFile(uintptr(fd), "/dev/tty")
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("cannot read the settings of the terminal: %w", err)
	}
	release := func() {}
	if c.sh.term != nil {
		c.sh.term.hold()
		release = c.sh.term.release
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO | unix.ICANON
	quiet.Cc[unix.VMIN], quiet.Cc[unix.VTIME] = 1, 0
	unix.IoctlSetTermios(fd, unix.TCSETS, &quiet)
	in := interruptible(ctx, f)
	return in, func() {
		unix.IoctlSetTermios(fd, unix.TCSETS, old)
		in.release()
		f.Close()
		release()
	}, nil
}

// run shows pages until the user has seen enough. A text that fits on the
// screen is only printed.
func (p *pager) run(keyboard io.Reader) error {
	if err := p.readTo(p.rows); err != nil {
		return err
	}
	if p.ended && len(p.lines) < p.rows && p.height(0, len(p.lines)) < p.rows {
		return p.show(0, len(p.lines))
	}
	in := &keys{r: keyboard}
	buf := make([]byte, 16)
	for {
		if err := p.draw(); err != nil {
			return err
		}
		n, err := in.Read(buf)
		if err != nil {
			return err
		}
		leave, err := p.key(string(buf[:n]), in)
		if leave || err != nil {
			io.WriteString(p.c.out, "\r\x1b[K")
			return err
		}
	}
}

// key serves a key and tells whether the user leaves.
func (p *pager) key(key string, in *keys) (leave bool, err error) {
	page := max(1, p.rows-2)
	switch key {
	case "q", "Q", "\x03", "\x04":
		return true, nil
	case " ", "f", "\x06", "\x1b[C":
		return p.move(page)
	case "b", "\x02", "\x1b[D":
		return p.move(-page)
	case "d":
		return p.move(page / 2)
	case "u":
		return p.move(-page / 2)
	case "\r", "\n", "j", "\x1b[B":
		return p.move(1)
	case "k", "y", "\x1b[A":
		return p.move(-1)
	case "g", "<", "\x1b[H":
		p.top = 0
	case "G", ">", "\x1b[F":
		return false, p.end()
	case "/":
		text, err := p.ask(in)
		if err != nil || text == "" {
			return false, err
		}
		p.wanted = text
		return false, p.find(p.top)
	case "n":
		return false, p.find(p.top + 1)
	case "h", "?":
		p.note = "space next, b back, enter line, / search, n again, g start, G end, q leave"
	}
	return false, nil
}

// move moves by lines. Going on at the end of the text leaves, as more does.
func (p *pager) move(n int) (leave bool, err error) {
	if err := p.readTo(p.top + n + p.rows); err != nil {
		return false, err
	}
	if n > 0 && p.ended && p.top+p.fitting() >= len(p.lines) {
		return true, nil
	}
	p.top = max(0, min(p.top+n, len(p.lines)-1))
	return false, nil
}

// end shows the last page.
func (p *pager) end() error {
	for !p.ended {
		if err := p.readTo(len(p.lines) + 10000); err != nil {
			return err
		}
	}
	p.top = len(p.lines) - 1
	for p.top > 0 && p.height(p.top-1, len(p.lines)) < p.rows {
		p.top--
	}
	p.top = max(0, p.top)
	return nil
}

// find moves to the next line, from one on, that contains what is wanted.
func (p *pager) find(from int) error {
	if p.wanted == "" {
		return nil
	}
	for i := from; ; i++ {
		if err := p.readTo(i + 1); err != nil {
			return err
		}
		if i >= len(p.lines) {
			p.note = "not found: " + p.wanted
			return nil
		}
		if strings.Contains(p.lines[i], p.wanted) {
			p.top = i
			return nil
		}
	}
}

// ask reads the text to search for.
func (p *pager) ask(in *keys) (string, error) {
	text := ""
	buf := make([]byte, 16)
	for {
		fmt.Fprintf(p.c.out, "\r\x1b[K/%s", printable(text))
		n, err := in.Read(buf)
		if err != nil {
			return "", err
		}
		switch key := string(buf[:n]); {
		case key == "\r" || key == "\n":
			return text, nil
		case key == "\x7f" || key == "\b":
			_, size := utf8.DecodeLastRuneInString(text)
			text = text[:len(text)-size]
		case key[0] >= ' ':
			text += key
		}
	}
}

// readTo reads until there are n lines or the text ends.
func (p *pager) readTo(n int) error {
	for !p.ended && len(p.lines) < n {
		part, err := p.source.ReadSlice('\n')
		p.partial = append(p.partial, part...)
		const longest = 64 << 10
		if errors.Is(err, bufio.ErrBufferFull) && len(p.partial) < longest {
			continue
		}
		if err == nil || errors.Is(err, bufio.ErrBufferFull) || len(p.partial) > 0 {
			text := bytes.TrimRight(p.partial, "\r\n")
			p.lines = append(p.lines, printable(untabbed(string(text))))
			p.partial = p.partial[:0]
		}
		if err == io.EOF {
			p.ended = true
		} else if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	return nil
}

// untabbed replaces tabs by the spaces up to the next stop.
func untabbed(text string) string {
	var b strings.Builder
	for i, part := range strings.Split(text, "\t") {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", 8-utf8.RuneCountInString(b.String())%8))
		}
		b.WriteString(part)
	}
	return b.String()
}

// height returns how many rows of the screen lines take.
func (p *pager) height(from, to int) int {
	rows := 0
	for _, line := range p.lines[from:to] {
		rows += max(1, (utf8.RuneCountInString(line)+p.columns-1)/p.columns)
	}
	return rows
}

// fitting returns how many lines fit on the screen from the top one on.
func (p *pager) fitting() int {
	n := 0
	for p.top+n < len(p.lines) && p.height(p.top, p.top+n+1) < p.rows {
		n++
	}
	return max(1, n)
}

func (p *pager) draw() error {
	if err := p.readTo(p.top + p.rows); err != nil {
		return err
	}
	io.WriteString(p.c.out, "\x1b[H\x1b[2J")
	last := min(p.top+p.fitting(), len(p.lines))
	if err := p.show(p.top, last); err != nil {
		return err
	}
	note := p.note
	if note == "" && p.ended && last == len(p.lines) {
		note = "end"
	} else if note == "" {
		note = fmt.Sprintf("line %d; h for help", last)
	}
	p.note = ""
	_, err := fmt.Fprintf(p.c.out, "\x1b[7m%s\x1b[m", cutTo(note, p.columns-1))
	return err
}

func (p *pager) show(from, to int) error {
	_, err := io.WriteString(p.c.out, strings.Join(append(p.lines[from:to:to], ""), "\n"))
	return err
}
