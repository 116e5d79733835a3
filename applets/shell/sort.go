package shell

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"ichor/applets"
)

// ordering is how sort compares two keys.
type ordering struct {
	numeric, human, version, fold, blanks, reverse bool
}

func (o ordering) none() bool { return o == ordering{} }

// sortKey is a key of sort -k, e.g. 2,3n or 1.3,1.5: fields and characters from
// 1 on, an end of 0 being the end of the line or field.
type sortKey struct {
	from, fromChar, to, toChar int
	ordering
}

// parseKey parses a key such as 2.1,3nr.
func parseKey(text string) (sortKey, error) {
	bad := applets.Usagef("%q is not a key such as 2, 2,3n or 1.3,1.5r", text)
	first, last, hasEnd := strings.Cut(text, ",")
	var k sortKey
	var ok bool
	if k.from, k.fromChar, ok = k.position(first); !ok || k.from < 1 {
		return k, bad
	}
	if !hasEnd {
		return k, nil
	}
	if k.to, k.toChar, ok = k.position(last); !ok || k.to < 1 {
		return k, bad
	}
	return k, nil
}

// position parses F[.C][letters]; the letters change how the key is compared.
func (k *sortKey) position(text string) (field, char int, ok bool) {
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	if !k.letters(text[end:]) {
		return 0, 0, false
	}
	f, c, hasChar := strings.Cut(text[:end], ".")
	field, err := strconv.Atoi(f)
	if err == nil && hasChar {
		char, err = strconv.Atoi(c)
	}
	return field, char, err == nil
}

func (o *ordering) letters(text string) bool {
	flags := map[rune]*bool{'n': &o.numeric, 'g': &o.numeric, 'h': &o.human, 'V': &o.version, 'f': &o.fold, 'b': &o.blanks, 'r': &o.reverse}
	for _, r := range text {
		if flags[r] == nil {
			return false
		}
		*flags[r] = true
	}
	return true
}

// sorter is one run of sort.
type sorter struct {
	c              *call
	keys           []sortKey
	whole          ordering
	separator      string
	unique, stable bool
	zero           bool
}

func sortLines(ctx context.Context, c *call) error {
	s := sorter{c: c}
	flags := c.flags()
	flags.BoolVarP(&s.whole.numeric, "numeric-sort", "n", false, "compare numbers")
	general := flags.BoolP("general-numeric-sort", "g", false, "the same as -n")
	flags.BoolVarP(&s.whole.human, "human-numeric-sort", "h", false, "compare sizes such as 2K and 1G")
	flags.BoolVarP(&s.whole.version, "version-sort", "V", false, "compare numbers inside of text as such")
	flags.BoolVarP(&s.whole.fold, "ignore-case", "f", false, "ignore upper and lower case")
	flags.BoolVarP(&s.whole.blanks, "ignore-leading-blanks", "b", false, "ignore blanks before a key")
	flags.BoolVarP(&s.whole.reverse, "reverse", "r", false, "reverse the order")
	flags.BoolVarP(&s.unique, "unique", "u", false, "print the first of equal lines only")
	flags.BoolVarP(&s.stable, "stable", "s", false, "leave lines with equal keys in their order")
	flags.BoolVarP(&s.zero, "zero-terminated", "z", false, "lines end with a zero byte")
	flags.StringVarP(&s.separator, "field-separator", "t", "", "the character between fields; default: blanks")
	check := flags.BoolP("check", "c", false, "only tell whether the input is sorted")
	keys := flags.StringArrayP("key", "k", nil, "compare this part of lines, e.g. 2,2n; may be given several times")
	output := flags.StringP("output", "o", "", "write to this file, which may be one of the inputs")
	if err := c.parse(flags); err != nil {
		return err
	}
	s.whole.numeric = s.whole.numeric || *general
	for _, text := range *keys {
		k, err := parseKey(text)
		if err != nil {
			return err
		}
		if k.none() {
			k.ordering = s.whole
		}
		s.keys = append(s.keys, k)
	}
	list, err := s.read(ctx, flags.Args())
	if err != nil {
		return err
	}
	if *check {
		return s.check(list)
	}
	slices.SortStableFunc(list, s.compare)
	if s.unique {
		list = slices.CompactFunc(list, func(a, b string) bool { return s.compareKeys(a, b) == 0 })
	}
	return s.write(list, *output)
}

func (s *sorter) read(ctx context.Context, names []string) ([]string, error) {
	var list []string
	err := s.c.inputs(ctx, names, func(_ string, r io.Reader) error {
		if s.zero {
			all, err := io.ReadAll(r)
			for part := range bytes.SplitSeq(bytes.TrimSuffix(all, []byte{0}), []byte{0}) {
				list = append(list, string(part))
			}
			return err
		}
		return lines(r, func(line []byte) error {
			list = append(list, string(chomp(line)))
			return nil
		})
	})
	if err == nil && s.c.code != 0 {
		err = &applets.ExitError{Code: 2}
	}
	return list, err
}

func (s *sorter) check(list []string) error {
	for i := 1; i < len(list); i++ {
		order := s.compare(list[i-1], list[i])
		if order > 0 || (order == 0 && s.unique) {
			return fmt.Errorf("disorder at line %d: %s", i+1, list[i])
		}
	}
	return nil
}

func (s *sorter) write(list []string, output string) (err error) {
	if output != "" {
		f, err := os.Create(s.c.path(output))
		if err != nil {
			return fmt.Errorf("cannot write '%s': %w", output, reason(err))
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		s.c.out = f
	}
	w, flush := s.c.buffered()
	defer flush(&err)
	end := byte('\n')
	if s.zero {
		end = 0
	}
	for _, line := range list {
		w.WriteString(line)
		if err := w.WriteByte(end); err != nil {
			return err
		}
	}
	return nil
}

// compare orders two lines; equal keys are told apart by the whole lines.
func (s *sorter) compare(a, b string) int {
	order := s.compareKeys(a, b)
	if order != 0 || s.stable || s.unique {
		return order
	}
	if s.whole.reverse {
		return strings.Compare(b, a)
	}
	return strings.Compare(a, b)
}

func (s *sorter) compareKeys(a, b string) int {
	if len(s.keys) == 0 {
		return s.whole.compare(a, b)
	}
	for _, k := range s.keys {
		if order := k.compare(s.part(k, a), s.part(k, b)); order != 0 {
			return order
		}
	}
	return 0
}

// part returns the part of a line that a key names.
func (s *sorter) part(k sortKey, line string) string {
	fields := s.fields(line)
	start := place(line, fields, k.from, max(1, k.fromChar), k.blanks)
	end := len(line)
	switch {
	case k.to > 0 && k.toChar > 0:
		end = min(len(line), place(line, fields, k.to, k.toChar, k.blanks)+1)
	case k.to > 0 && k.to <= len(fields):
		end = fields[k.to-1][1]
	}
	if start >= end {
		return ""
	}
	return line[start:end]
}

// place returns the offset of a character of a field.
func place(line string, fields [][2]int, field, char int, blanks bool) int {
	if field > len(fields) {
		return len(line)
	}
	at := fields[field-1][0]
	for blanks && at < len(line) && (line[at] == ' ' || line[at] == '\t') {
		at++
	}
	return min(len(line), at+char-1)
}

// fields returns where fields start and end. Without a separator the blanks
// before a field belong to it, as POSIX has it.
func (s *sorter) fields(line string) [][2]int {
	var list [][2]int
	start := 0
	if s.separator != "" {
		for {
			i := strings.Index(line[start:], s.separator)
			if i < 0 {
				return append(list, [2]int{start, len(line)})
			}
			list = append(list, [2]int{start, start + i})
			start += i + len(s.separator)
		}
	}
	for start < len(line) {
		end := start
		for end < len(line) && (line[end] == ' ' || line[end] == '\t') {
			end++
		}
		for end < len(line) && line[end] != ' ' && line[end] != '\t' {
			end++
		}
		list = append(list, [2]int{start, end})
		start = end
	}
	return list
}

// compare orders two keys.
func (o ordering) compare(a, b string) int {
	if o.reverse {
		a, b = b, a
	}
	if o.blanks {
		a, b = strings.TrimLeft(a, " \t"), strings.TrimLeft(b, " \t")
	}
	switch {
	case o.human:
		return cmp.Compare(humanNumber(a), humanNumber(b))
	case o.numeric:
		return cmp.Compare(leadingNumber(a), leadingNumber(b))
	case o.version:
		return compareVersions(a, b)
	case o.fold:
		return strings.Compare(strings.ToUpper(a), strings.ToUpper(b))
	}
	return strings.Compare(a, b)
}

// numberEnd returns where the number that a text starts with ends.
func numberEnd(text string) int {
	end, dot := 0, false
	for end < len(text) {
		ch := text[end]
		switch {
		case ch >= '0' && ch <= '9', ch == '-' && end == 0:
		case ch == '.' && !dot:
			dot = true
		default:
			return end
		}
		end++
	}
	return end
}

func leadingNumber(text string) float64 {
	text = strings.TrimLeft(text, " \t")
	n, _ := strconv.ParseFloat(text[:numberEnd(text)], 64)
	return n
}

// humanNumber reads sizes as ls -h and du -h print them.
func humanNumber(text string) float64 {
	text = strings.TrimLeft(text, " \t")
	end := numberEnd(text)
	n, _ := strconv.ParseFloat(text[:end], 64)
	if end < len(text) {
		for range strings.IndexRune(" KMGTPE", unicode.ToUpper(rune(text[end]))) {
			n *= 1024
		}
	}
	return n
}

// compareVersions compares runs of digits as numbers and the rest as text.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if order := cmp.Or(cmp.Compare(len(na), len(nb)), strings.Compare(na, nb)); order != 0 {
				return order
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}
