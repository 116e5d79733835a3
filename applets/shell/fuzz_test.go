package shell

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/syntax"

	"ichor/applets"
)

// FuzzKeys types anything into the line editor: it must neither crash nor hang.
func FuzzKeys(f *testing.F) {
	for _, s := range []string{"echo\r", "\x1b[A\x1bOB\x1b[1;5C", "\x1b[200~paste\x1b[201~\r", "\x1b[999999999999999999999x", "\x1b\x1b\x1b[", "\x12\t\x03", "żółć\x7f\x17", "\xff\xfe\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, typed []byte) {
		h := &history{lines: []string{"old", "older line"}}
		in := &keys{r: bytes.NewReader(typed)}
		line := term.NewTerminal(keyboard{in, io.Discard}, "# ")
		line.SetSize(10, 3)
		line.History = h
		e := &editor{sh: &shell{history: h}}
		line.AutoCompleteCallback = func(l string, pos int, key rune) (string, int, bool) {
			if key == keyCtrlR {
				return e.search(l, pos)
			}
			return "", 0, false
		}
		for range len(typed) + 1 {
			if _, err := line.ReadLine(); err != nil && err != error(term.ErrPasteIndicator) {
				return
			}
		}
	})
}

// FuzzWord completes the last word of any line: what completion writes is read
// back by the shell as the very name that was meant.
func FuzzWord(f *testing.F) {
	for _, s := range []string{"cat al", "a|b 'x y", `echo "a$b`, `ls a\ b`, "x=1 y", "$HO", "> f", "\\", "if tr"} {
		f.Add(s, "na me'$\"")
	}
	f.Fuzz(func(t *testing.T, line, name string) {
		w := wordAt(line)
		if w.start < 0 || w.start > len(line) {
			t.Fatalf("the word of %q starts at %d", line, w.start)
		}
		if name == "" || strings.ContainsAny(name, "\x00\n\r") || !utf8.ValidString(name) || strings.ContainsAny(w.text, "$~`") {
			return
		}
		text := w.quoted(name) + w.closing()
		file, err := syntax.NewParser().Parse(strings.NewReader(": "+text), "")
		if err != nil || len(file.Stmts) != 1 {
			t.Fatalf("%q is written as %s, which is no word: %v", name, text, err)
		}
		out, _, _ := run(t, "/", "printf %s "+text)
		if out != name {
			t.Fatalf("%q is written as %s, which is read as %q", name, text, out)
		}
	})
}

func FuzzKernelMessage(f *testing.F) {
	for _, s := range []string{"6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n", "4,1,2,c,caller=T1;a\\x0ab\\xff", ";", "1,2;", "99999,1,99999999999999999999,-;x", "6,1,1,-;\\x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		m, err := parseKernelMessage(record)
		if err == nil && (m.level < 0 || m.level > 7 || m.since < 0) {
			t.Errorf("%q gives level %d, %v", record, m.level, m.since)
		}
	})
}

// FuzzPattern translates any pattern: what is plain text must match itself.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"a*b", `\(a\|b\)`, "[]x]", "[[:alpha:]]", "x{2}", "*", "^^$$", `\`, "[", "a{,3}", `\{`, "[\\]", "[^]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		for _, g := range []grammar{basic, extendedRE, fixedText} {
			re, err := compile([]string{p}, g, false, false, false)
			if g == fixedText && utf8.ValidString(p) && (err != nil || !strings.Contains(p, "\n") && !re.MatchString(p)) {
				t.Errorf("the text %q does not match itself: %v", p, err)
			}
		}
		if re, err := globToRegexp(p, false); err == nil && regexp.MustCompile(`^[a-z]*$`).MatchString(p) && !re.MatchString(p) {
			t.Errorf("the name %q does not match itself", p)
		}
	})
}

func FuzzFindExpression(f *testing.F) {
	for _, s := range []string{"-name\x00*.go", "(\x00-type\x00f\x00-o\x00-empty\x00)\x00-print", "!\x00!\x00-size\x00+1k", "-perm\x00-u+x", "(", "-a", "-o\x00-o"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, words string) {
		if strings.Contains(words, "-delete") || strings.Contains(words, "-exec") || words == "" || strings.IndexByte("-!(", words[0]) < 0 {
			return // it would act, or walk through the whole machine
		}
		c := &call{name: "find", args: append([]string{"."}, strings.Split(words, "\x00")...), out: io.Discard, err: io.Discard, dir: dir, sh: &shell{env: &applets.Env{}}}
		findFiles(context.Background(), c)
	})
}

// FuzzText gives anything to the small parsers.
func FuzzText(f *testing.F) {
	for _, s := range []string{"1,3-5,7-", "2.1,3nr", "u+x,g=rw", "a-z[:digit:]\\n\\101", "%Y-%10s%", "1.5d", "@12", "10.0.0.1/24", "4k", "v1.10", "Commands:\n  a b\n", "e3b0  x", "bs=1 count=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parseRanges(s)
		if k, err := parseKey(s); err == nil {
			so := sorter{keys: []sortKey{k}}
			so.compare(s, s+" x 1 y")
			so.separator = "x"
			so.compare(s, "axbxc")
		}
		if change, err := parseMode(s); err == nil && change(0o644) > 0o7777 {
			t.Errorf("the mode %q sets more than a mode", s)
		}
		parseSet(s)
		expandFormat(s, func(string) (string, bool) { return "v", true })
		parseSeconds(s)
		parseSize(s)
		parseOffset(s)
		parseTime(s, time.UTC)
		parsePrefix(s)
		parseSignal(s)
		parseLevels(s)
		parseSum(s, 32)
		parseBlocks(strings.Fields(s))
		helpWords(s)
		moduleTable(s)
		shellOf([]byte(s))
		visible([]byte(s))
		cutTo(s, 3)
		if compareVersions(s, s) != 0 || leadingNumber(s) != leadingNumber(s) {
			t.Errorf("%q differs from itself", s)
		}
		splitItems(strings.NewReader(s), false, false, func(string) error { return nil })
		splitItems(strings.NewReader(s), true, false, func(string) error { return nil })
		if parts := strings.Fields(s); len(parts) > 0 && len(commonPrefix(parts)) > len(parts[0]) {
			t.Errorf("the common prefix of %q is too long", parts)
		}
	})
}

// FuzzUntar unpacks archives: nothing may appear outside of the folder.
func FuzzUntar(f *testing.F) {
	f.Add("../evil", "", byte(tar.TypeReg), "x")
	f.Add("link", "/etc", byte(tar.TypeSymlink), "passwd")
	f.Add("link", "../..", byte(tar.TypeSymlink), "link/evil")
	f.Add("hard", "../../etc/passwd", byte(tar.TypeLink), "x")
	f.Add("/abs", "", byte(tar.TypeDir), "../x")
	f.Fuzz(func(t *testing.T, name, link string, kind byte, second string) {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		if w.WriteHeader(&tar.Header{Name: name, Linkname: link, Typeflag: kind, Mode: 0o644}) != nil {
			return
		}
		if w.WriteHeader(&tar.Header{Name: second, Typeflag: tar.TypeReg, Mode: 0o644, Size: 4}) == nil {
			w.Write([]byte("evil"))
		}
		w.Close()
		outer := t.TempDir()
		inner := filepath.Join(outer, "a", "b")
		if err := os.MkdirAll(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		c := &call{name: "tar", args: []string{"-x"}, in: &archive, out: io.Discard, err: io.Discard, dir: inner, sh: &shell{}}
		tarFiles(context.Background(), c)
		for dir, only := range map[string]string{outer: "a", filepath.Join(outer, "a"): "b"} {
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || entries[0].Name() != only {
				t.Fatalf("%q, %q, %q left the folder: %v", name, link, second, entries)
			}
		}
	})
}
