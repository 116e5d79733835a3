package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"ichor/applets"
)

// lines calls fn for each line with its newline, if it has one. A line is as
// long as it is: memory is the only limit.
func lines(r io.Reader, fn func(line []byte) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			long = append(long, part...)
			continue
		}
		line := part
		if long != nil {
			line, long = append(long, part...), nil
		}
		if len(line) > 0 {
			if ferr := fn(line); ferr != nil {
				return ferr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// buffered gives a utility a buffered output. flush must be called at its end.
func (c *call) buffered() (w *bufio.Writer, flush func(*error)) {
	w = bufio.NewWriterSize(c.out, 32<<10)
	c.pending = w
	return w, func(err *error) {
		if ferr := w.Flush(); *err == nil {
			*err = ferr
		}
	}
}

func chomp(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\n")) }

func catFiles(ctx context.Context, c *call) error {
	flags := c.flags()
	number := flags.BoolP("number", "n", false, "number the lines")
	show := flags.BoolP("show-all", "A", false, "show what cannot be printed, and the ends of lines")
	if err := c.parse(flags); err != nil {
		return err
	}
	n, atStart := 0, true
	return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error {
		if !*number && !*show {
			_, err := io.Copy(c.out, r)
			return err
		}
		return lines(r, func(line []byte) error {
			prefix, text := "", string(line)
			if *number && atStart {
				n++
				prefix = fmt.Sprintf("%6d\t", n)
			}
			atStart = bytes.HasSuffix(line, []byte("\n"))
			if *show {
				text = visible(line)
			}
			_, err := io.WriteString(c.out, prefix+text)
			return err
		})
	})
}

// visible writes bytes the way cat -A does.
func visible(line []byte) string {
	var b strings.Builder
	for _, x := range line {
		if x >= 0x80 {
			b.WriteString("M-")
			x -= 0x80
			if x == '\n' {
				b.WriteString("^J")
				continue
			}
		}
		switch {
		case x == '\n':
			b.WriteString("$\n")
		case x < ' ':
			b.WriteByte('^')
			b.WriteByte(x + '@')
		case x == 0x7f:
			b.WriteString("^?")
		default:
			b.WriteByte(x)
		}
	}
	return b.String()
}

// extent is what head and tail were asked for.
type extent struct {
	n       int64
	bytes   bool
	fromTop bool // tail -n +5
	but     bool // head -n -5
}

// extentFlags are the flags that head and tail share.
type extentFlags struct {
	count, size    *string
	quiet, verbose *bool
}

func addExtentFlags(flags *pflag.FlagSet) extentFlags {
	return extentFlags{
		count:   flags.StringP("lines", "n", "10", "how many lines"),
		size:    flags.StringP("bytes", "c", "", "how many bytes instead; k, M and G are allowed"),
		quiet:   flags.BoolP("quiet", "q", false, "print no file names"),
		verbose: flags.BoolP("verbose", "v", false, "always print file names"),
	}
}

// extent returns what was asked for, and whether file names are printed.
func (f extentFlags) extent(files int) (e extent, titles bool, err error) {
	text := *f.count
	if *f.size != "" {
		text, e.bytes = *f.size, true
	}
	e.fromTop = strings.HasPrefix(text, "+")
	e.but = strings.HasPrefix(text, "-")
	e.n, err = parseSize(strings.TrimLeft(text, "+-"))
	if err != nil || e.n < 0 {
		return e, false, applets.Usagef("%q is not a number", text)
	}
	return e, !*f.quiet && (*f.verbose || files > 1), nil
}

// titled wraps fn so that it prints "==> name <==" before each file.
func (c *call) titled(titles bool, fn func(io.Reader) error) func(string, io.Reader) error {
	first := true
	return func(name string, r io.Reader) error {
		if titles {
			if !first {
				fmt.Fprintln(c.out)
			}
			fmt.Fprintf(c.out, "==> %s <==\n", name)
		}
		first = false
		return fn(r)
	}
}

var errEnough = errors.New("enough was read")

func headFiles(ctx context.Context, c *call) error {
	c.args = numbered(c.args, "n")
	flags := c.flags()
	asked := addExtentFlags(flags)
	if err := c.parse(flags); err != nil {
		return err
	}
	e, titles, err := asked.extent(flags.NArg())
	if err != nil {
		return err
	}
	return c.inputs(ctx, flags.Args(), c.titled(titles, func(r io.Reader) error {
		switch {
		case e.but:
			return c.headBut(r, e)
		case e.bytes:
			_, err := io.CopyN(c.out, r, e.n)
			return ignoring(err, io.EOF)
		case e.n == 0:
			return nil
		}
		return c.headLines(r, e.n)
	}))
}

func ignoring(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func (c *call) headLines(r io.Reader, n int64) (err error) {
	w, flush := c.buffered()
	defer flush(&err)
	err = lines(r, func(line []byte) error {
		w.Write(line)
		if n--; n == 0 {
			return errEnough
		}
		return nil
	})
	return ignoring(err, errEnough)
}

// headBut prints all but the last n lines or bytes.
func (c *call) headBut(r io.Reader, e extent) (err error) {
	w, flush := c.buffered()
	defer flush(&err)
	if e.bytes {
		all, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		_, err = w.Write(all[:max(0, int64(len(all))-e.n)])
		return err
	}
	var held [][]byte
	return lines(r, func(line []byte) error {
		held = append(held, bytes.Clone(line))
		if int64(len(held)) > e.n {
			if _, err := w.Write(held[0]); err != nil {
				return err
			}
			held = held[1:]
		}
		return nil
	})
}

func tailFiles(ctx context.Context, c *call) error {
	c.args = numbered(c.args, "n")
	flags := c.flags()
	asked := addExtentFlags(flags)
	follow := flags.BoolP("follow", "f", false, "go on printing what is added")
	again := flags.BoolP("retry", "F", false, "the same as -f")
	if err := c.parse(flags); err != nil {
		return err
	}
	e, titles, err := asked.extent(flags.NArg())
	if err != nil {
		return err
	}
	*follow = *follow || *again
	if *follow && flags.NArg() > 1 {
		return applets.Usagef("only one file can be followed")
	}
	return c.inputs(ctx, flags.Args(), c.titled(titles, func(r io.Reader) error {
		if err := c.tail(r, e); err != nil {
			return err
		}
		if *follow {
			return c.follow(ctx, r)
		}
		return nil
	}))
}

func (c *call) tail(r io.Reader, e extent) error {
	switch {
	case e.fromTop && e.bytes:
		_, err := io.CopyN(io.Discard, r, max(0, e.n-1))
		if err == nil {
			_, err = io.Copy(c.out, r)
		}
		return ignoring(err, io.EOF)
	case e.fromTop:
		return c.tailFrom(r, e.n)
	case e.bytes:
		return c.tailBytes(r, e.n)
	}
	return c.tailLines(r, e.n)
}

func (c *call) tailFrom(r io.Reader, first int64) (err error) {
	w, flush := c.buffered()
	defer flush(&err)
	n := int64(0)
	return lines(r, func(line []byte) error {
		if n++; n < first {
			return nil
		}
		_, err := w.Write(line)
		return err
	})
}

// tailBytes prints the last n bytes, seeking there if that is possible.
func (c *call) tailBytes(r io.Reader, n int64) error {
	if in, ok := r.(*input); ok && in.own {
		if size, err := in.file.Seek(0, io.SeekEnd); err == nil && size > 0 {
			if _, err := in.file.Seek(max(0, size-n), io.SeekStart); err != nil {
				return err
			}
			_, err := io.Copy(c.out, r)
			return err
		}
	}
	var kept []byte
	buf := make([]byte, 32<<10)
	for {
		m, err := r.Read(buf)
		kept = append(kept, buf[:m]...)
		if int64(len(kept)) > n {
			kept = kept[int64(len(kept))-n:]
		}
		if err == io.EOF {
			_, err = c.out.Write(kept)
			return err
		}
		if err != nil {
			return err
		}
	}
}

// tailLines prints the last n lines. It finds them from the end of a file that
// can seek, however large.
func (c *call) tailLines(r io.Reader, n int64) (err error) {
	if in, ok := r.(*input); ok && in.own {
		if size, err := in.file.Seek(0, io.SeekEnd); err == nil && size > 0 {
			start, err := startOfTail(in.file, size, n)
			if err != nil {
				return err
			}
			if _, err := in.file.Seek(start, io.SeekStart); err != nil {
				return err
			}
			_, err = io.Copy(c.out, r)
			return err
		}
	}
	w, flush := c.buffered()
	defer flush(&err)
	var held [][]byte
	err = lines(r, func(line []byte) error {
		held = append(held, bytes.Clone(line))
		if int64(len(held)) > n {
			held[0] = nil
			held = held[1:]
		}
		return nil
	})
	for _, line := range held {
		w.Write(line)
	}
	return err
}

// startOfTail returns where the last n lines of a file start.
func startOfTail(r io.ReaderAt, size, n int64) (int64, error) {
	if n == 0 {
		return size, nil
	}
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(buf)))
		part := buf[:end-start]
		if _, err := r.ReadAt(part, start); err != nil && err != io.EOF {
			return 0, err
		}
		for i := len(part) - 1; i >= 0; i-- {
			at := start + int64(i)
			if part[i] != '\n' || at == size-1 {
				continue
			}
			if n--; n == 0 {
				return at + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}

// follow prints what is added to a file until it is interrupted. A file that
// became shorter is printed from its start.
func (c *call) follow(ctx context.Context, r io.Reader) error {
	in, _ := r.(*input)
	for {
		n, err := io.Copy(c.out, r)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := pause(ctx, 300*time.Millisecond); err != nil {
				return err
			}
		}
		if in == nil || in.file == nil {
			continue
		}
		info, err := in.file.Stat()
		at, serr := in.file.Seek(0, io.SeekCurrent)
		if err == nil && serr == nil && info.Mode().IsRegular() && info.Size() < at {
			in.file.Seek(0, io.SeekStart)
		}
	}
}

// counts is what wc counts.
type counts struct{ lines, words, chars, bytes, longest int64 }

func (t *counts) add(o counts) {
	t.lines += o.lines
	t.words += o.words
	t.chars += o.chars
	t.bytes += o.bytes
	t.longest = max(t.longest, o.longest)
}

func countWords(ctx context.Context, c *call) error {
	flags := c.flags()
	l := flags.BoolP("lines", "l", false, "count lines")
	w := flags.BoolP("words", "w", false, "count words")
	m := flags.BoolP("chars", "m", false, "count characters")
	b := flags.BoolP("bytes", "c", false, "count bytes")
	longest := flags.BoolP("max-line-length", "L", false, "show the length of the longest line")
	if err := c.parse(flags); err != nil {
		return err
	}
	wanted := [5]bool{*l, *w, *m, *b, *longest}
	if wanted == [5]bool{} {
		wanted = [5]bool{0: true, 1: true, 3: true}
	}
	var all []counts
	var names []string
	var total counts
	width, known := 1, int64(0)
	err := c.inputs(ctx, flags.Args(), func(name string, r io.Reader) error {
		size, regular := sizeOfInput(r)
		if known += size; !regular {
			width = 7
		}
		n, err := count(r)
		total.add(n)
		all, names = append(all, n), append(names, name)
		return err
	})
	if err != nil {
		return err
	}
	if flags.NArg() > 1 {
		all, names = append(all, total), append(names, "total")
	}
	width = max(width, len(strconv.FormatInt(known, 10)))
	if flags.NArg() == 0 {
		names = []string{""}
	}
	if flags.NArg() < 2 && strings.Count(fmt.Sprint(wanted), "true") == 1 {
		width = 1
	}
	for i, n := range all {
		fmt.Fprintln(c.out, n.row(wanted, width, names[i]))
	}
	return nil
}

// sizeOfInput returns the size of an input if it is a regular file: wc makes its
// columns as wide as the sum needs.
func sizeOfInput(r io.Reader) (size int64, regular bool) {
	in, ok := r.(*input)
	if !ok || in.file == nil {
		return 0, false
	}
	info, err := in.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// row prints the wanted counts and the name.
func (t counts) row(wanted [5]bool, width int, name string) string {
	var cells []string
	for i, n := range []int64{t.lines, t.words, t.chars, t.bytes, t.longest} {
		if wanted[i] {
			cells = append(cells, fmt.Sprintf("%*d", width, n))
		}
	}
	if name != "" {
		cells = append(cells, name)
	}
	return strings.Join(cells, " ")
}

// count counts what a stream holds.
func count(r io.Reader) (counts, error) {
	var n counts
	var length int64
	inWord := false
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		ch, size, err := br.ReadRune()
		if err == io.EOF {
			n.longest = max(n.longest, length)
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n.bytes += int64(size)
		if ch != utf8.RuneError || size > 1 {
			n.chars++
		}
		space := unicode.IsSpace(ch)
		if !space && !inWord && (ch > ' ' || ch == 0) {
			n.words++
		}
		inWord = !space
		switch {
		case ch == '\n':
			n.lines++
			n.longest, length = max(n.longest, length), 0
		case ch == '\t':
			length += 8 - length%8
		case unicode.IsPrint(ch):
			length++
		}
	}
}

// ranges is a list such as 1,3-5,7-.
type ranges [][2]int

func parseRanges(text string) (ranges, error) {
	var list ranges
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		r := [2]int{1, math.MaxInt}
		var err error
		if from != "" {
			r[0], err = strconv.Atoi(from)
		}
		if err == nil && to != "" {
			r[1], err = strconv.Atoi(to)
		}
		if !isRange {
			r[1] = r[0]
		}
		if err != nil || part == "" || part == "-" || r[0] < 1 || r[1] < r[0] {
			return nil, applets.Usagef("%q is not a list such as 1,3-5,7-", text)
		}
		list = append(list, r)
	}
	return list, nil
}

func (l ranges) has(n int) bool {
	for _, r := range l {
		if n >= r[0] && n <= r[1] {
			return true
		}
	}
	return false
}

// cutter is one run of cut.
type cutter struct {
	list                 ranges
	delimiter, out       string
	fields, only, invert bool
	runes                bool
}

func cutLines(ctx context.Context, c *call) (err error) {
	flags := c.flags()
	var k cutter
	fields := flags.StringP("fields", "f", "", "print these fields")
	octets := flags.StringP("bytes", "b", "", "print these bytes")
	chars := flags.StringP("characters", "c", "", "print these characters")
	flags.StringVarP(&k.delimiter, "delimiter", "d", "\t", "the character between fields")
	flags.StringVar(&k.out, "output-delimiter", "", "what to put between fields instead")
	flags.BoolVarP(&k.only, "only-delimited", "s", false, "leave out lines without a delimiter")
	flags.BoolVar(&k.invert, "complement", false, "print the others")
	if err := c.parse(flags); err != nil {
		return err
	}
	k.fields, k.runes = *fields != "", *chars != ""
	if k.list, err = parseRanges(*fields + *octets + *chars); err != nil {
		return err
	}
	if utf8.RuneCountInString(k.delimiter) != 1 {
		return applets.Usagef("the delimiter must be one character")
	}
	if !flags.Changed("output-delimiter") && k.fields {
		k.out = k.delimiter
	}
	w, flush := c.buffered()
	defer flush(&err)
	return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error {
		return lines(r, func(line []byte) error {
			if text, ok := k.cut(string(chomp(line))); ok {
				w.WriteString(text)
				return w.WriteByte('\n')
			}
			return nil
		})
	})
}

// cut returns the wanted part of a line.
func (k cutter) cut(line string) (string, bool) {
	var parts []string
	switch {
	case k.fields && !strings.Contains(line, k.delimiter):
		return line, !k.only
	case k.fields:
		parts = strings.Split(line, k.delimiter)
	case k.runes:
		parts = strings.Split(line, "")
	default:
		for i := range len(line) {
			parts = append(parts, line[i:i+1])
		}
	}
	var kept []string
	for i, p := range parts {
		if k.list.has(i+1) != k.invert {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, k.out), true
}

// parseSet expands a set of tr, such as a-z, [:digit:] or \n.
func parseSet(text string) ([]rune, error) {
	var set []rune
	rs := []rune(text)
	for i := 0; i < len(rs); i++ {
		if class, n := className(rs[i:]); n > 0 {
			members, ok := classMembers(class)
			if !ok {
				return nil, applets.Usagef("[:%s:] is not a class of characters", class)
			}
			set = append(set, members...)
			i += n - 1
			continue
		}
		r, n := setRune(rs[i:])
		i += n - 1
		if i+2 < len(rs) && rs[i+1] == '-' {
			last, n := setRune(rs[i+2:])
			if last < r || last-r > 0xffff {
				return nil, applets.Usagef("%q is not a range", string(rs[i:i+2+n]))
			}
			for ; r <= last; r++ {
				set = append(set, r)
			}
			i += 1 + n
			continue
		}
		set = append(set, r)
	}
	return set, nil
}

func className(rs []rune) (string, int) {
	if len(rs) < 5 || rs[0] != '[' || rs[1] != ':' {
		return "", 0
	}
	for i := 2; i+1 < len(rs); i++ {
		if rs[i] == ':' && rs[i+1] == ']' {
			return string(rs[2:i]), i + 2
		}
	}
	return "", 0
}

func classMembers(name string) ([]rune, bool) {
	tests := map[string]func(rune) bool{
		"alpha": unicode.IsLetter, "digit": unicode.IsDigit, "upper": unicode.IsUpper, "lower": unicode.IsLower,
		"space": unicode.IsSpace, "punct": func(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) },
		"cntrl": unicode.IsControl, "print": unicode.IsPrint,
		"alnum":  func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) },
		"blank":  func(r rune) bool { return r == ' ' || r == '\t' },
		"graph":  func(r rune) bool { return r > ' ' && unicode.IsPrint(r) },
		"xdigit": func(r rune) bool { return strings.ContainsRune("0123456789abcdefABCDEF", r) },
	}
	test, ok := tests[name]
	var members []rune
	for r := rune(0); ok && r < 0x80; r++ {
		if test(r) {
			members = append(members, r)
		}
	}
	return members, ok
}

// setRune returns the first character of a set and how long it is written.
func setRune(rs []rune) (rune, int) {
	if rs[0] != '\\' || len(rs) == 1 {
		return rs[0], 1
	}
	if i := strings.IndexRune("abfnrtv\\", rs[1]); i >= 0 {
		return rune("\a\b\f\n\r\t\v\\"[i]), 2
	}
	n, value := 1, rune(0)
	for n < len(rs) && n < 4 && rs[n] >= '0' && rs[n] <= '7' {
		value = value*8 + rs[n] - '0'
		n++
	}
	if n == 1 {
		return rs[1], 2
	}
	return value & 0xff, n
}

func translate(_ context.Context, c *call) (err error) {
	flags := c.flags()
	flags.SetInterspersed(false)
	remove := flags.BoolP("delete", "d", false, "delete the characters of the first set")
	squeeze := flags.BoolP("squeeze-repeats", "s", false, "write repeated characters of the last set once")
	complement := flags.BoolP("complement", "c", false, "take what is not in the first set")
	upper := flags.BoolP("Complement", "C", false, "the same as -c")
	if err := c.parse(flags); err != nil {
		return err
	}
	need := 2
	if *remove != *squeeze {
		need = 1
	}
	if flags.NArg() < need || flags.NArg() > 2 || (*remove && !*squeeze && flags.NArg() > 1) {
		return applets.Usagef("give %d sets of characters", need)
	}
	from, err := parseSet(flags.Arg(0))
	if err != nil {
		return err
	}
	to, err := parseSet(flags.Arg(1))
	if err != nil {
		return err
	}
	t := newTranslator(from, to, *complement || *upper, *remove, *squeeze)
	w, flush := c.buffered()
	defer flush(&err)
	return t.copy(w, c.in)
}

// translator is one run of tr.
type translator struct {
	member   map[rune]int
	to       []rune
	invert   bool
	remove   bool
	squeezed map[rune]bool
	// squeezeFrom squeezes what is in the first set; there is no second one.
	squeezeFrom bool
}

func newTranslator(from, to []rune, invert, remove, squeeze bool) translator {
	t := translator{member: map[rune]int{}, to: to, invert: invert, remove: remove, squeezed: map[rune]bool{}}
	for i, r := range from {
		t.member[r] = i
	}
	if squeeze {
		for _, r := range to {
			t.squeezed[r] = true
		}
		t.squeezeFrom = len(to) == 0
	}
	return t
}

func (t translator) copy(w *bufio.Writer, r io.Reader) error {
	br := bufio.NewReader(r)
	last := rune(-1)
	for {
		ch, size, err := br.ReadRune()
		if err != nil {
			return ignoring(err, io.EOF)
		}
		if ch == utf8.RuneError && size == 1 {
			br.UnreadRune()
			b, _ := br.ReadByte()
			w.WriteByte(b)
			last = -1
			continue
		}
		i, in := t.member[ch]
		in = in != t.invert
		if in && t.remove {
			continue
		}
		if in && len(t.to) > 0 {
			if t.invert {
				i = len(t.to) - 1
			}
			ch = t.to[min(i, len(t.to)-1)]
		}
		if ch == last && (t.squeezed[ch] || (t.squeezeFrom && in)) {
			continue
		}
		last = ch
		if _, err := w.WriteRune(ch); err != nil {
			return err
		}
	}
}

// uniquer is one run of uniq.
type uniquer struct {
	count, repeated, unique, fold bool
	fields, chars                 int
}

func uniqueLines(ctx context.Context, c *call) (err error) {
	flags := c.flags()
	var u uniquer
	flags.BoolVarP(&u.count, "count", "c", false, "print how often each line is repeated")
	flags.BoolVarP(&u.repeated, "repeated", "d", false, "print repeated lines only")
	flags.BoolVarP(&u.unique, "unique", "u", false, "print lines only that are not repeated")
	flags.BoolVarP(&u.fold, "ignore-case", "i", false, "ignore upper and lower case")
	flags.IntVarP(&u.fields, "skip-fields", "f", 0, "ignore the first `N` fields")
	flags.IntVarP(&u.chars, "skip-chars", "s", 0, "ignore the first `N` characters")
	if err := c.parse(flags); err != nil {
		return err
	}
	w, flush := c.buffered()
	defer flush(&err)
	return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error {
		n, first, key := 0, "", ""
		err := lines(r, func(line []byte) error {
			text := string(chomp(line))
			if k := u.key(text); n == 0 || k != key {
				u.print(w, n, first)
				n, first, key = 0, text, k
			}
			n++
			return nil
		})
		u.print(w, n, first)
		return err
	})
}

// key is what of a line is compared.
func (u uniquer) key(line string) string {
	for range u.fields {
		line = strings.TrimLeft(line, " \t")
		i := strings.IndexAny(line, " \t")
		if i < 0 {
			i = len(line)
		}
		line = line[i:]
	}
	for range u.chars {
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
	}
	if u.fold {
		line = strings.ToLower(line)
	}
	return line
}

func (u uniquer) print(w *bufio.Writer, n int, line string) {
	if n == 0 || (u.repeated && n < 2) || (u.unique && n > 1) {
		return
	}
	if u.count {
		fmt.Fprintf(w, "%7d ", n)
	}
	w.WriteString(line + "\n")
}

func countUp(ctx context.Context, c *call) (err error) {
	flags := c.flags()
	flags.SetInterspersed(false)
	separator := flags.StringP("separator", "s", "\n", "what to print between numbers")
	equal := flags.BoolP("equal-width", "w", false, "pad with zeros")
	c.args = negativeNumbers(c.args)
	if err := c.parse(flags); err != nil {
		return err
	}
	s, err := parseSequence(flags.Args())
	if err != nil {
		return err
	}
	w, flush := c.buffered()
	defer flush(&err)
	return s.print(ctx, w, *separator, *equal)
}

// negativeNumbers ends the flags before the first number, which may be negative.
func negativeNumbers(args []string) []string {
	for i, a := range args {
		if i > 0 && args[i-1] == "-s" {
			continue
		}
		if _, err := strconv.ParseFloat(a, 64); err == nil {
			return slices.Insert(slices.Clone(args), i, "--")
		}
	}
	return args
}

// sequence is the numbers that seq prints.
type sequence struct {
	first, step, last float64
	decimals          int
}

func parseSequence(args []string) (sequence, error) {
	s := sequence{first: 1, step: 1}
	targets := map[int][]*float64{1: {&s.last}, 2: {&s.first, &s.last}, 3: {&s.first, &s.step, &s.last}}[len(args)]
	if targets == nil {
		return s, applets.Usagef("give one to three numbers: [FIRST [STEP]] LAST")
	}
	for i, a := range args {
		n, err := strconv.ParseFloat(a, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			return s, applets.Usagef("%q is not a number", a)
		}
		*targets[i] = n
		if _, fraction, ok := strings.Cut(a, "."); ok && targets[i] != &s.last {
			s.decimals = max(s.decimals, len(fraction))
		}
	}
	if s.step == 0 {
		return s, applets.Usagef("the step must not be 0")
	}
	return s, nil
}

func (s sequence) print(ctx context.Context, w *bufio.Writer, separator string, equal bool) error {
	width := 0
	if equal {
		width = max(len(s.format(s.first, 0)), len(s.format(s.last, 0)))
	}
	for i := 0; ; i++ {
		n := s.first + float64(i)*s.step
		if (s.step > 0 && n > s.last+s.step*1e-9) || (s.step < 0 && n < s.last+s.step*1e-9) {
			break
		}
		if i > 0 {
			w.WriteString(separator)
		}
		if _, err := w.WriteString(s.format(n, width)); err != nil {
			return err
		}
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if w.Buffered() > 0 || s.first <= s.last {
		return w.WriteByte('\n')
	}
	return nil
}

func (s sequence) format(n float64, width int) string {
	return fmt.Sprintf("%0*.*f", width, s.decimals, n)
}

func teeFiles(ctx context.Context, c *call) error {
	flags := c.flags()
	appending := flags.BoolP("append", "a", false, "add to the files instead of replacing them")
	if err := c.parse(flags); err != nil {
		return err
	}
	how := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if *appending {
		how = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	writers := []io.Writer{c.out}
	for _, name := range flags.Args() {
		f, err := openFile(ctx, c.path(name), how, 0o666)
		if err != nil {
			c.cannot("write", name, err)
			continue
		}
		defer f.Close()
		writers = append(writers, f)
	}
	_, err := io.Copy(io.MultiWriter(writers...), c.in)
	return err
}

// dumpHex prints what hexdump -C prints.
func dumpHex(ctx context.Context, c *call) (err error) {
	flags := c.flags()
	flags.BoolP("canonical", "C", true, "does nothing: this is the format")
	limit := flags.StringP("length", "n", "", "print at most so many bytes; k, M and G are allowed")
	skip := flags.StringP("skip", "s", "0", "skip so many bytes first")
	every := flags.BoolP("no-squeezing", "v", false, "print repeated lines too")
	if err := c.parse(flags); err != nil {
		return err
	}
	from, err := parseOffset(*skip)
	if err != nil {
		return applets.Usagef("%v", err)
	}
	length := int64(math.MaxInt64)
	if *limit != "" {
		if length, err = parseOffset(*limit); err != nil {
			return applets.Usagef("%v", err)
		}
	}
	w, flush := c.buffered()
	defer flush(&err)
	return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error {
		if err := skipTo(r, from); err != nil {
			return ignoring(err, io.EOF)
		}
		return hexLines(w, io.LimitReader(r, length), from, *every)
	})
}

// parseOffset parses a size that may be hexadecimal.
func parseOffset(text string) (int64, error) {
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		return strconv.ParseInt(hex, 16, 63)
	}
	n, err := parseSize(text)
	if err == nil && n < 0 {
		err = fmt.Errorf("%q is negative", text)
	}
	return n, err
}

// skipTo skips bytes, by seeking where that is possible.
func skipTo(r io.Reader, n int64) error {
	if in, ok := r.(*input); ok && in.own {
		if _, err := in.file.Seek(n, io.SeekStart); err == nil {
			return nil
		}
	}
	_, err := io.CopyN(io.Discard, r, n)
	return err
}

func hexLines(w *bufio.Writer, r io.Reader, offset int64, every bool) error {
	br := bufio.NewReaderSize(r, 64<<10)
	row, last := make([]byte, 16), []byte(nil)
	starred := false
	for {
		n, err := io.ReadFull(br, row)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if n == 0 {
			break
		}
		if !every && n == 16 && bytes.Equal(row, last) {
			if !starred {
				w.WriteString("*\n")
			}
			starred = true
		} else {
			starred = false
			if _, err := w.WriteString(hexLine(offset, row[:n])); err != nil {
				return err
			}
		}
		last = append(last[:0], row[:n]...)
		offset += int64(n)
	}
	if last != nil {
		fmt.Fprintf(w, "%08x\n", offset)
	}
	return nil
}

func hexLine(offset int64, row []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%08x ", offset)
	for i := range 16 {
		if i%8 == 0 {
			b.WriteByte(' ')
		}
		if i < len(row) {
			fmt.Fprintf(&b, "%02x ", row[i])
		} else {
			b.WriteString("   ")
		}
	}
	b.WriteString(" |")
	for _, x := range row {
		if x < ' ' || x > '~' {
			x = '.'
		}
		b.WriteByte(x)
	}
	b.WriteString("|\n")
	return b.String()
}
