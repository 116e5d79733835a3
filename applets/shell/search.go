package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"ichor/applets"
)

// grepper is one run of grep.
type grepper struct {
	c                                           *call
	re                                          *regexp.Regexp
	invert, number, count, list, without, quiet bool
	only, names, noNames, recursive, silent     bool
	before, after, most                         int
	include, exclude                            []string
	found                                       bool
}

func grepFiles(ctx context.Context, c *call) error {
	g := grepper{c: c}
	flags := c.flags()
	fold := flags.BoolP("ignore-case", "i", false, "ignore upper and lower case")
	flags.BoolVarP(&g.invert, "invert-match", "v", false, "select the lines that do not match")
	flags.BoolVarP(&g.number, "line-number", "n", false, "print line numbers")
	flags.BoolVarP(&g.count, "count", "c", false, "print how many lines match")
	flags.BoolVarP(&g.list, "files-with-matches", "l", false, "print the names of files with a match")
	flags.BoolVarP(&g.without, "files-without-match", "L", false, "print the names of files without one")
	flags.BoolVarP(&g.quiet, "quiet", "q", false, "print nothing; the exit code tells")
	flags.BoolVarP(&g.only, "only-matching", "o", false, "print only what matches")
	flags.BoolVarP(&g.recursive, "recursive", "r", false, "search folders")
	upper := flags.BoolP("dereference-recursive", "R", false, "the same as -r")
	extended := flags.BoolP("extended-regexp", "E", false, "the pattern is an extended regular expression")
	fixed := flags.BoolP("fixed-strings", "F", false, "the pattern is plain text")
	words := flags.BoolP("word-regexp", "w", false, "match whole words")
	whole := flags.BoolP("line-regexp", "x", false, "match whole lines")
	flags.BoolVarP(&g.names, "with-filename", "H", false, "print file names")
	flags.BoolVarP(&g.noNames, "no-filename", "h", false, "print no file names")
	flags.BoolVarP(&g.silent, "no-messages", "s", false, "do not tell of files that cannot be read")
	flags.IntVarP(&g.after, "after-context", "A", 0, "print `N` lines after a match")
	flags.IntVarP(&g.before, "before-context", "B", 0, "print `N` lines before a match")
	around := flags.IntP("context", "C", 0, "print `N` lines around a match")
	flags.IntVarP(&g.most, "max-count", "m", 0, "stop after `N` matching lines")
	patterns := flags.StringArrayP("regexp", "e", nil, "a `PATTERN`; may be given several times")
	flags.StringArrayVar(&g.include, "include", nil, "with -r, search files of such a `NAME` only")
	flags.StringArrayVar(&g.exclude, "exclude", nil, "with -r, leave out files of such a `NAME`")
	if err := c.parse(flags); err != nil {
		return err
	}
	names := flags.Args()
	if len(*patterns) == 0 {
		if len(names) == 0 {
			return applets.Usagef("give a pattern")
		}
		*patterns, names = names[:1], names[1:]
	}
	g.recursive = g.recursive || *upper
	g.before, g.after = max(g.before, *around), max(g.after, *around)
	var err error
	if g.re, err = compile(*patterns, syntaxOf(*extended || c.name == "egrep", *fixed || c.name == "fgrep"), *fold, *words, *whole); err != nil {
		return applets.Usagef("%w", err)
	}
	return g.run(ctx, names)
}

// grammar is a syntax of regular expressions.
type grammar int

const (
	basic grammar = iota
	extendedRE
	fixedText
)

func syntaxOf(extended, fixed bool) grammar {
	switch {
	case fixed:
		return fixedText
	case extended:
		return extendedRE
	}
	return basic
}

// compile makes one expression of all patterns; each may hold several lines.
func compile(patterns []string, syntax grammar, fold, words, whole bool) (*regexp.Regexp, error) {
	var parts []string
	for p := range strings.SplitSeq(strings.Join(patterns, "\n"), "\n") {
		switch syntax {
		case fixedText:
			p = regexp.QuoteMeta(p)
		case extendedRE:
			p = fromPOSIX(p, true)
		default:
			p = fromPOSIX(p, false)
		}
		parts = append(parts, "(?:"+p+")")
	}
	text := strings.Join(parts, "|")
	switch {
	case whole:
		text = "^(?:" + text + ")$"
	case words:
		text = `\b(?:` + text + `)\b`
	}
	if fold {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("cannot understand the pattern %q: %v", strings.Join(patterns, "\n"), errors.Unwrap(fmt.Errorf("%w", err)))
	}
	re.Longest()
	return re, nil
}

// fromPOSIX turns a basic or extended regular expression into one of Go. They
// differ in which characters a backslash gives or takes their meaning.
func fromPOSIX(p string, extended bool) string {
	var b strings.Builder
	for i := 0; i < len(p); {
		switch ch := p[i]; {
		case ch == '[':
			n := bracketEnd(p[i:])
			b.WriteString(bracket(p[i : i+n]))
			i += n
		case ch == '\\' && i+1 < len(p):
			b.WriteString(escape(p[i+1], extended))
			i += 2
		case ch == '\\':
			b.WriteString(`\\`)
			i++
		case ch == '*' && startsBranch(p[:i], extended):
			b.WriteString(`\*`)
			i++
		case !extended && strings.IndexByte("+?(){}|", ch) >= 0,
			!extended && ch == '^' && (!startsBranch(p[:i], false) || strings.HasSuffix(p[:i], "^")),
			!extended && ch == '$' && i+1 < len(p) && !strings.HasPrefix(p[i+1:], `\)`) && !strings.HasPrefix(p[i+1:], `\|`),
			extended && ch == '{' && !repetition(p[i:]):
			b.WriteByte('\\')
			b.WriteByte(ch)
			i++
		default:
			b.WriteByte(ch)
			i++
		}
	}
	return b.String()
}

// startsBranch tells whether an expression could start anew after before.
func startsBranch(before string, extended bool) bool {
	if before == "" || before == "^" {
		return true
	}
	for _, open := range []string{"(", "|", "(^", "|^"} {
		if !extended {
			open = `\` + open
		}
		if strings.HasSuffix(before, open) {
			return true
		}
	}
	return false
}

// repetition tells whether a brace begins a count such as {2,3}.
func repetition(p string) bool {
	end := strings.IndexByte(p, '}')
	return end > 1 && strings.Trim(p[1:end], "0123456789,") == "" && p[1] != ','
}

// escape returns what a character after a backslash stands for.
func escape(ch byte, extended bool) string {
	switch {
	case ch == '<' || ch == '>':
		return `\b`
	case strings.IndexByte("wWsSbB", ch) >= 0:
		return `\` + string(ch)
	case !extended && strings.IndexByte("+?(){}|", ch) >= 0:
		return string(ch)
	case strings.IndexByte(`\.+*?()|[]{}^$/-`, ch) >= 0:
		return regexp.QuoteMeta(string(ch))
	}
	return regexp.QuoteMeta(string(rune(ch)))
}

// bracketEnd returns the length of the bracket expression that p starts with,
// or 1 if it is not closed.
func bracketEnd(p string) int {
	i := 1
	if i < len(p) && p[i] == '^' {
		i++
	}
	if i < len(p) && p[i] == ']' {
		i++
	}
	for ; i < len(p); i++ {
		if p[i] == '[' && i+1 < len(p) && p[i+1] == ':' {
			if end := strings.Index(p[i+2:], ":]"); end >= 0 {
				i += end + 3
				continue
			}
		}
		if p[i] == ']' {
			return i + 1
		}
	}
	return 1
}

// bracket writes a bracket expression for Go, in which a backslash is special.
func bracket(p string) string {
	if p == "[" {
		return `\[`
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '\\':
			b.WriteString(`\\`)
		case p[i] == '[' && i > 0 && p[i+1] != ':':
			b.WriteString(`\[`)
		default:
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

func (g *grepper) run(ctx context.Context, names []string) error {
	titled := len(names) > 1 || g.recursive
	if len(names) == 0 && g.recursive {
		names = []string{"."}
	}
	g.names = (titled || g.names) && !g.noNames
	var err error
	if g.recursive {
		err = g.walk(ctx, names)
	} else {
		err = g.each(ctx, names)
	}
	switch {
	case errors.Is(err, errEnough):
		g.c.code = 0
	case err != nil:
		return err
	case g.c.code != 0:
		g.c.code = 2
	case !g.found:
		g.c.code = 1
	}
	return nil
}

func (g *grepper) each(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return g.search(ctx, "-")
	}
	for _, name := range names {
		if err := g.search(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (g *grepper) walk(ctx context.Context, names []string) error {
	for _, name := range names {
		root := g.c.path(name)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			shown := name + strings.TrimPrefix(p, root)
			switch {
			case err != nil:
				g.complain(shown, err)
				return nil
			case d.IsDir() || (p != root && !d.Type().IsRegular()) || !g.included(d.Name()):
				return ctx.Err()
			}
			return g.search(ctx, shown)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *grepper) included(name string) bool {
	matches := func(patterns []string) bool {
		for _, p := range patterns {
			if ok, _ := path.Match(p, name); ok {
				return true
			}
		}
		return false
	}
	return (len(g.include) == 0 || matches(g.include)) && !matches(g.exclude)
}

func (g *grepper) complain(name string, err error) {
	if g.silent {
		g.c.code = 2
		return
	}
	g.c.cannot("read", name, err)
}

// search searches one file. The error errEnough ends the whole search.
func (g *grepper) search(ctx context.Context, name string) error {
	err := g.c.input(ctx, name, func(shown string, r io.Reader) error {
		if name == "-" {
			shown = "(standard input)"
		}
		s := &searcher{grepper: g, name: shown}
		return s.run(r)
	})
	if err == nil || errors.Is(err, errEnough) || stopped(ctx, err) {
		return err
	}
	g.complain(name, err)
	return nil
}

// searcher is the search of one file.
type searcher struct {
	*grepper
	name    string
	out     *bufio.Writer
	line    int
	matches int
	held    [][]byte // lines before, in case a match follows
	follow  int      // lines after a match still to print
	printed int      // number of the last line printed
	binary  bool
}

func (s *searcher) run(r io.Reader) (err error) {
	br := bufio.NewReaderSize(r, 32<<10)
	br.Peek(1) // no more than one read: more may be long in coming
	head, _ := br.Peek(br.Buffered())
	s.binary = bytes.IndexByte(head, 0) >= 0
	w, flush := s.c.buffered()
	defer flush(&err)
	s.out = w
	done := errors.New("done with this file")
	err = lines(br, func(line []byte) error {
		s.line++
		if s.match(chomp(line)) {
			return s.hit(line, done)
		}
		if s.most > 0 && s.matches >= s.most && s.follow == 0 {
			return done
		}
		s.miss(line)
		return nil
	})
	if err != nil && err != done {
		return err
	}
	s.summary()
	return nil
}

func (s *searcher) match(line []byte) bool {
	if s.most > 0 && s.matches >= s.most {
		return false
	}
	return s.re.Match(line) != s.invert
}

// hit serves a selected line; it returns done if no more need be read.
func (s *searcher) hit(line []byte, done error) error {
	s.matches++
	s.found = s.found || !s.without
	switch {
	case s.quiet:
		return errEnough
	case s.list || s.without:
		return done
	case s.count:
		return nil
	case s.binary:
		fmt.Fprintf(s.c.err, "%s: %s: binary file matches\n", s.c.name, s.name)
		return done
	case s.only:
		s.printOnly(line)
		return nil
	}
	if (s.before > 0 || s.after > 0) && s.printed > 0 && s.line-len(s.held) > s.printed+1 {
		s.out.WriteString("--\n")
	}
	for i, h := range s.held {
		s.print(s.line-len(s.held)+i, '-', h)
	}
	s.held, s.follow = nil, s.after
	s.print(s.line, ':', line)
	return nil
}

// miss serves a line that was not selected.
func (s *searcher) miss(line []byte) {
	if s.quiet || s.list || s.without || s.count || s.only || s.binary {
		return
	}
	if s.follow > 0 {
		s.follow--
		s.print(s.line, '-', line)
		return
	}
	if s.before > 0 {
		s.held = append(s.held, bytes.Clone(line))
		if len(s.held) > s.before {
			s.held = s.held[1:]
		}
	}
}

func (s *searcher) print(number int, mark byte, line []byte) {
	s.prefix(number, mark)
	s.out.Write(chomp(line))
	s.out.WriteByte('\n')
	s.printed = number
}

func (s *searcher) prefix(number int, mark byte) {
	if s.names {
		s.out.WriteString(s.name)
		s.out.WriteByte(mark)
	}
	if s.number {
		s.out.WriteString(strconv.Itoa(number))
		s.out.WriteByte(mark)
	}
}

func (s *searcher) printOnly(line []byte) {
	if s.invert {
		return
	}
	for _, m := range s.re.FindAll(chomp(line), -1) {
		if len(m) > 0 {
			s.prefix(s.line, ':')
			s.out.Write(m)
			s.out.WriteByte('\n')
		}
	}
}

func (s *searcher) summary() {
	switch {
	case s.list && s.matches > 0, s.without && s.matches == 0:
		fmt.Fprintln(s.out, s.name)
		s.found = true
	case s.count && !s.list && !s.without:
		s.line = 0
		if s.names {
			fmt.Fprintf(s.out, "%s:", s.name)
		}
		fmt.Fprintln(s.out, s.matches)
	}
}

// finder is one run of find.
type finder struct {
	c          *call
	expression test
	minDepth   int
	maxDepth   int
	depthFirst bool
	sameDevice bool
	acts       bool // an action was given; else -print is meant
	ctx        context.Context
}

// visit is one file that find looks at.
type visit struct {
	shown string // as printed
	path  string
	info  fs.FileInfo
	prune bool
}

// test is a node of an expression of find: it tells whether the file passes.
type test func(*visit) bool

func findFiles(ctx context.Context, c *call) error {
	f := &finder{c: c, maxDepth: -1, ctx: ctx}
	n := 0
	for n < len(c.args) && (c.args[n] == "" || strings.IndexByte("-!(", c.args[n][0]) < 0) {
		n++
	}
	roots := c.args[:n]
	if n == 0 {
		roots = []string{"."}
	}
	p := &findParser{f: f, words: c.args[n:]}
	expression, err := p.all()
	if err != nil {
		return applets.Usagef("%w", err)
	}
	f.expression = expression
	for _, root := range roots {
		if err := f.walk(root, c.path(root), 0, 0); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) walk(shown, path string, depth int, device uint64) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		f.c.cannot("examine", shown, err)
		return nil
	}
	v := &visit{shown: shown, path: path, info: info}
	if !f.depthFirst && depth >= f.minDepth {
		f.expression(v)
	}
	own := idOf(info).dev
	deeper := f.maxDepth < 0 || depth < f.maxDepth
	if info.IsDir() && deeper && !v.prune && (!f.sameDevice || depth == 0 || own == device) {
		if err := f.children(v, depth, own); err != nil {
			return err
		}
	}
	if f.depthFirst && depth >= f.minDepth {
		f.expression(v)
	}
	return nil
}

func (f *finder) children(v *visit, depth int, device uint64) error {
	entries, err := os.ReadDir(v.path)
	if err != nil {
		f.c.cannot("read the folder", v.shown, err)
	}
	for _, e := range entries {
		name := "/" + e.Name()
		if err := f.walk(strings.TrimSuffix(v.shown, "/")+name, strings.TrimSuffix(v.path, "/")+name, depth+1, device); err != nil {
			return err
		}
	}
	return nil
}

// findParser parses an expression of find by recursive descent.
type findParser struct {
	f     *finder
	words []string
	depth int
}

func (p *findParser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *findParser) next() (string, bool) {
	if len(p.words) == 0 {
		return "", false
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w, true
}

// all parses the whole expression and adds the -print that is meant.
func (p *findParser) all() (test, error) {
	t := test(func(*visit) bool { return true })
	if len(p.words) > 0 {
		var err error
		if t, err = p.or(); err != nil {
			return nil, err
		}
		if len(p.words) > 0 {
			return nil, fmt.Errorf("unexpected %q", p.peek())
		}
	}
	if p.f.acts {
		return t, nil
	}
	return func(v *visit) bool { return t(v) && p.f.print(v, "\n") }, nil
}

func (p *findParser) or() (test, error) {
	left, err := p.and()
	for err == nil && (p.peek() == "-o" || p.peek() == "-or") {
		p.next()
		var right test
		right, err = p.and()
		l := left
		left = func(v *visit) bool { return l(v) || right(v) }
	}
	return left, err
}

func (p *findParser) and() (test, error) {
	left, err := p.not()
	for err == nil && len(p.words) > 0 && p.peek() != ")" && p.peek() != "-o" && p.peek() != "-or" {
		if p.peek() == "-a" || p.peek() == "-and" {
			p.next()
		}
		var right test
		right, err = p.not()
		l := left
		left = func(v *visit) bool { return l(v) && right(v) }
	}
	return left, err
}

func (p *findParser) not() (test, error) {
	word, ok := p.next()
	switch {
	case !ok:
		return nil, errors.New("the expression ends too early")
	case word == "!" || word == "-not":
		p.depth++
		defer func() { p.depth-- }()
		if p.depth > 100 {
			return nil, errors.New("the expression is nested too deeply")
		}
		t, err := p.not()
		return func(v *visit) bool { return !t(v) }, err
	case word == "(":
		p.depth++
		defer func() { p.depth-- }()
		if p.depth > 100 {
			return nil, errors.New("the expression is nested too deeply")
		}
		t, err := p.or()
		if end, _ := p.next(); err == nil && end != ")" {
			err = errors.New("a ( is not closed")
		}
		return t, err
	}
	return p.primary(word)
}

// primary parses one test, option or action.
func (p *findParser) primary(word string) (test, error) {
	always := func(*visit) bool { return true }
	switch word {
	case "-print":
		p.f.acts = true
		return func(v *visit) bool { return p.f.print(v, "\n") }, nil
	case "-print0":
		p.f.acts = true
		return func(v *visit) bool { return p.f.print(v, "\x00") }, nil
	case "-prune":
		return func(v *visit) bool { v.prune = true; return true }, nil
	case "-delete":
		p.f.acts, p.f.depthFirst = true, true
		return p.f.delete, nil
	case "-depth":
		p.f.depthFirst = true
		return always, nil
	case "-xdev", "-mount":
		p.f.sameDevice = true
		return always, nil
	case "-empty":
		return empty, nil
	case "-true":
		return always, nil
	case "-exec":
		return p.exec()
	}
	value, ok := p.next()
	if !ok {
		return nil, fmt.Errorf("%s is unknown or lacks its value", word)
	}
	return p.valued(word, value)
}

// valued parses a test or option with a value.
func (p *findParser) valued(word, value string) (test, error) {
	always := func(*visit) bool { return true }
	switch word {
	case "-name", "-iname", "-path", "-ipath", "-wholename":
		return nameTest(word, value)
	case "-type":
		if value == "" || strings.Trim(value, "fdlpsbc,") != "" {
			return nil, fmt.Errorf("%q is not a file type; use f, d, l, p, s, b or c", value)
		}
		return func(v *visit) bool { return strings.Contains(value, typeLetter(v.info.Mode())) }, nil
	case "-maxdepth", "-mindepth":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a depth", value)
		}
		if word == "-maxdepth" {
			p.f.maxDepth = n
		} else {
			p.f.minDepth = n
		}
		return always, nil
	case "-size":
		return sizeTest(value)
	case "-mtime", "-mmin":
		unit := 24 * time.Hour
		if word == "-mmin" {
			unit = time.Minute
		}
		now := time.Now()
		return numberTest(value, func(v *visit) int64 { return int64(now.Sub(v.info.ModTime()) / unit) })
	case "-newer":
		info, err := os.Stat(p.f.c.path(value))
		if err != nil {
			return nil, fmt.Errorf("cannot examine %q: %w", value, reason(err))
		}
		return func(v *visit) bool { return v.info.ModTime().After(info.ModTime()) }, nil
	case "-perm":
		return permTest(value)
	case "-user", "-group":
		return ownerTest(word, value)
	case "-links":
		return numberTest(value, func(v *visit) int64 { return int64(v.info.Sys().(*syscall.Stat_t).Nlink) })
	case "-inum":
		return numberTest(value, func(v *visit) int64 { return int64(idOf(v.info).ino) })
	}
	return nil, fmt.Errorf("unknown test or action %q", word)
}

func nameTest(word, pattern string) (test, error) {
	re, err := globToRegexp(pattern, strings.HasPrefix(word, "-i"))
	if err != nil {
		return nil, fmt.Errorf("%q is not a pattern: %w", pattern, err)
	}
	if strings.HasSuffix(word, "name") && word != "-wholename" {
		return func(v *visit) bool { return re.MatchString(path.Base(v.shown)) }, nil
	}
	return func(v *visit) bool { return re.MatchString(v.shown) }, nil
}

// globToRegexp turns a pattern of file names, in which * matches a slash too.
func globToRegexp(glob string, fold bool) (*regexp.Regexp, error) {
	text := "(?s)^"
	if fold {
		text = "(?si)^"
	}
	for i := 0; i < len(glob); {
		switch ch := glob[i]; {
		case ch == '*':
			text += ".*"
		case ch == '?':
			text += "."
		case ch == '[' && bracketEnd(glob[i:]) > 1:
			n := bracketEnd(glob[i:])
			text += bracket(strings.Replace(glob[i:i+n], "[!", "[^", 1))
			i += n - 1
		case ch == '\\' && i+1 < len(glob):
			i++
			_, size := utf8.DecodeRuneInString(glob[i:])
			text += regexp.QuoteMeta(glob[i : i+size])
			i += size - 1
		default:
			text += regexp.QuoteMeta(glob[i : i+1])
		}
		i++
	}
	return regexp.Compile(text + "$")
}

// numberTest compares a number with 5, +5 (more) or -5 (less).
func numberTest(value string, of func(*visit) int64) (test, error) {
	n, err := strconv.ParseInt(strings.TrimLeft(value, "+-"), 10, 64)
	if err != nil || value == "" {
		return nil, fmt.Errorf("%q is not a number such as 5, +5 or -5", value)
	}
	switch value[0] {
	case '+':
		return func(v *visit) bool { return of(v) > n }, nil
	case '-':
		return func(v *visit) bool { return of(v) < n }, nil
	}
	return func(v *visit) bool { return of(v) == n }, nil
}

// sizeTest compares the size in units, rounded up.
func sizeTest(value string) (test, error) {
	units := map[byte]int64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
	unit := int64(512)
	if value != "" {
		if u, ok := units[value[len(value)-1]]; ok {
			unit, value = u, value[:len(value)-1]
		}
	}
	return numberTest(value, func(v *visit) int64 { return (v.info.Size() + unit - 1) / unit })
}

// permTest compares permissions: exactly, -all of them or /any of them.
func permTest(value string) (test, error) {
	text := strings.TrimLeft(value, "-/")
	change, err := parseMode(text)
	if err != nil {
		return nil, err
	}
	want := change(0)
	bits := func(v *visit) uint32 { return v.info.Sys().(*syscall.Stat_t).Mode & 0o7777 }
	switch {
	case strings.HasPrefix(value, "-"):
		return func(v *visit) bool { return bits(v)&want == want }, nil
	case strings.HasPrefix(value, "/"):
		return func(v *visit) bool { return want == 0 || bits(v)&want != 0 }, nil
	}
	return func(v *visit) bool { return bits(v) == want }, nil
}

func ownerTest(word, value string) (test, error) {
	lookup := userID
	if word == "-group" {
		lookup = groupID
	}
	id, err := lookupID(value, lookup)
	if err != nil {
		return nil, err
	}
	return func(v *visit) bool {
		st := v.info.Sys().(*syscall.Stat_t)
		if word == "-group" {
			return int(st.Gid) == id
		}
		return int(st.Uid) == id
	}, nil
}

func empty(v *visit) bool {
	if v.info.IsDir() {
		entries, err := os.ReadDir(v.path)
		return err == nil && len(entries) == 0
	}
	return v.info.Mode().IsRegular() && v.info.Size() == 0
}

func (f *finder) print(v *visit, end string) bool {
	io.WriteString(f.c.out, v.shown+end)
	return true
}

func (f *finder) delete(v *visit) bool {
	if err := os.Remove(v.path); err != nil {
		f.c.cannot("remove", v.shown, err)
		return false
	}
	return true
}

// exec parses "-exec COMMAND {} ;". The form with + runs the command for each
// file too, which is slower and the same to the eye.
func (p *findParser) exec() (test, error) {
	var command []string
	for {
		w, ok := p.next()
		if !ok {
			return nil, errors.New(`-exec is not ended by \;`)
		}
		if w == ";" || (w == "+" && len(command) > 0 && command[len(command)-1] == "{}") {
			break
		}
		command = append(command, w)
	}
	if len(command) == 0 {
		return nil, errors.New("-exec lacks a command")
	}
	p.f.acts = true
	return func(v *visit) bool {
		args := make([]string, len(command))
		for i, w := range command {
			args[i] = strings.ReplaceAll(w, "{}", v.shown)
		}
		return p.f.ctx.Err() == nil && p.f.c.run(p.f.ctx, args, nil, nil) == 0
	}, nil
}

// run runs another command with the streams of this one; in replaces its input
// and set adds variables to its environment.
func (c *call) run(ctx context.Context, args []string, in io.Reader, set []string) int {
	sub := &call{name: args[0], args: args[1:], in: in, out: unguarded(c.out), err: unguarded(c.err), dir: c.dir, env: c.env, sh: c.sh}
	if in == nil {
		sub.in = c.in
		if i, ok := c.in.(*input); ok {
			sub.in = i.r
		}
	}
	if set != nil {
		sub.env = environOf(set)
	}
	return c.sh.execute(ctx, sub)
}

// runWith is the xargs utility.
func runWith(ctx context.Context, c *call) error {
	flags := c.flags()
	flags.SetInterspersed(false)
	null := flags.BoolP("null", "0", false, "items end with a zero byte, as find -print0 writes them")
	most := flags.IntP("max-args", "n", 1000, "at most `N` items a command")
	replace := flags.StringP("replace", "I", "", "run the command for each line, which replaces `TEXT` in it")
	skip := flags.BoolP("no-run-if-empty", "r", false, "do nothing if there are no items")
	trace := flags.BoolP("verbose", "t", false, "print the commands")
	if err := c.parse(flags); err != nil {
		return err
	}
	if *most < 1 {
		return applets.Usagef("-n must be at least 1")
	}
	command := flags.Args()
	if len(command) == 0 {
		command = []string{"echo"}
	}
	x := xargs{c: c, command: command, replace: *replace, trace: *trace, most: *most}
	if x.replace != "" {
		x.most = 1
	}
	if err := splitItems(c.in, *null, x.replace != "", func(item string) error { return x.add(ctx, item) }); err != nil {
		return err
	}
	if len(x.items) > 0 || (x.runs == 0 && !*skip && x.replace == "") {
		return x.run(ctx)
	}
	return nil
}

// xargs is one run of the utility.
type xargs struct {
	c       *call
	command []string
	replace string
	trace   bool
	most    int
	items   []string
	size    int
	runs    int
}

func (x *xargs) add(ctx context.Context, item string) error {
	const most = 96 << 10
	if len(x.items) > 0 && x.size+len(item) > most {
		if err := x.run(ctx); err != nil {
			return err
		}
	}
	x.items, x.size = append(x.items, item), x.size+len(item)+1
	if len(x.items) == x.most {
		return x.run(ctx)
	}
	return nil
}

// run runs the command with the items that are there.
func (x *xargs) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	args := append([]string{}, x.command...)
	if x.replace == "" {
		args = append(args, x.items...)
	} else {
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], x.replace, x.items[0])
		}
	}
	x.items, x.size, x.runs = nil, 0, x.runs+1
	if x.trace {
		fmt.Fprintln(x.c.err, strings.Join(args, " "))
	}
	switch code := x.c.run(ctx, args, strings.NewReader(""), nil); {
	case code == exitNotFound || code == exitCannotRun:
		return &applets.ExitError{Code: code}
	case code == 255:
		return &applets.ExitError{Code: 124}
	case code > 128:
		return &applets.ExitError{Code: 125}
	case code != 0:
		x.c.code = 123
	}
	return nil
}

// splitItems splits the input of xargs and calls add for each item.
func splitItems(r io.Reader, null, byLine bool, add func(string) error) error {
	br := bufio.NewReader(r)
	var item []byte
	var quote byte
	begun := false
	end := func() error {
		if !begun {
			return nil
		}
		text := string(item)
		item, begun = item[:0], false
		return add(text)
	}
	for {
		b, err := br.ReadByte()
		if err == io.EOF {
			if quote != 0 {
				return fmt.Errorf("a quote %c is not closed; use -0 for names with quotes", quote)
			}
			return end()
		}
		if err != nil {
			return err
		}
		switch {
		case null && b == 0, !null && quote == 0 && b == '\n', !null && !byLine && quote == 0 && (b == ' ' || b == '\t'):
			if err := end(); err != nil {
				return err
			}
		case null:
			item, begun = append(item, b), true
		case byLine && !begun && (b == ' ' || b == '\t'):
		case quote != 0 && b == quote:
			quote = 0
		case quote == 0 && (b == '\'' || b == '"'):
			quote, begun = b, true
		case quote == 0 && b == '\\':
			if b, err = br.ReadByte(); err == nil {
				item, begun = append(item, b), true
			}
		default:
			item, begun = append(item, b), true
		}
	}
}
