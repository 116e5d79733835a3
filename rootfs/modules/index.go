package modules

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// normalize returns the kernel's spelling of a module name or an alias: dashes
// become underscores, but not inside the brackets of a pattern.
func normalize(s string) string {
	if !strings.Contains(s, "-") {
		return s
	}
	b := []byte(s)
	bracket := false
	for i, c := range b {
		switch {
		case c == '[':
			bracket = true
		case c == ']':
			bracket = false
		case c == '-' && !bracket:
			b[i] = '_'
		}
	}
	return string(b)
}

// nameOf returns the module name of a file, e.g. "crc32c_intel" of
// "kernel/arch/x86/crypto/crc32c-intel.ko.zst".
func nameOf(file string) string {
	base := path.Base(file)
	if i := strings.Index(base, ".ko"); i >= 0 {
		base = base[:i]
	}
	return normalize(base)
}

// lines calls fn for each line that is neither empty nor a comment. The error
// gets the line number.
func lines(text string, fn func(line string) error) error {
	for n := 1; text != ""; n++ {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := fn(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// parseDep reads modules.dep: "path: dependency ...". The values are the lines
// themselves, as few are ever looked at.
func parseDep(text string) (map[string]string, error) {
	deps := make(map[string]string, strings.Count(text, "\n"))
	err := lines(text, func(line string) error {
		file, _, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("no colon in %q", line)
		}
		if !filepath.IsLocal(file) {
			return fmt.Errorf("%q is not a path below the module folder", file)
		}
		deps[nameOf(file)] = line
		return nil
	})
	return deps, err
}

// softdep is what a module likes to have loaded before and after itself.
type softdep struct{ pre, post []string }

// parseSoftdep reads modules.softdep: "softdep name pre: a b post: c". Words
// before the first "pre:" or "post:" mean nothing and only the first line of a
// module counts, as with kmod.
func parseSoftdep(text string) (map[string]softdep, error) {
	all := map[string]softdep{}
	err := lines(text, func(line string) error {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "softdep" {
			return fmt.Errorf("not a soft dependency: %q", line)
		}
		name := normalize(f[1])
		if _, ok := all[name]; ok {
			return nil
		}
		var s softdep
		var list *[]string
		for _, word := range f[2:] {
			switch {
			case word == "pre:":
				list = &s.pre
			case word == "post:":
				list = &s.post
			case list != nil:
				*list = append(*list, word)
			}
		}
		all[name] = s
		return nil
	})
	return all, err
}

// parseAlias reads modules.alias: "alias pattern name". The pattern may hold
// no blanks, which the kernel replaces in what it asks for.
func parseAlias(text string) (*aliases, error) {
	a := newAliases(strings.Count(text, "\n"))
	err := lines(text, func(line string) error {
		rest, ok := strings.CutPrefix(line, "alias ")
		i := strings.LastIndexByte(rest, ' ')
		if !ok || i <= 0 || i == len(rest)-1 {
			return fmt.Errorf("not an alias: %q", line)
		}
		a.add(normalize(rest[:i]), rest[i+1:])
		return nil
	})
	return a, err
}

// builtin is what the kernel itself holds.
type builtin struct {
	names   map[string]bool
	aliases *aliases
}

// readBuiltin reads modules.builtin (a path per line) and the aliases in
// modules.builtin.modinfo ("name.key=value", each ended by a zero byte).
func readBuiltin(dir string) (*builtin, error) {
	b := &builtin{names: map[string]bool{}, aliases: newAliases(0)}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot read module index: %w", err)
	}
	for line := range strings.Lines(string(list)) {
		b.names[nameOf(strings.TrimSuffix(line, "\n"))] = true
	}
	info, err := os.ReadFile(filepath.Join(dir, "modules.builtin.modinfo"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot read module index: %w", err)
	}
	b.aliases.addModinfo(string(info))
	return b, nil
}

// addModinfo adds the aliases of built-in modules.
func (a *aliases) addModinfo(text string) {
	for text != "" {
		var item string
		item, text, _ = strings.Cut(text, "\x00")
		key, value, _ := strings.Cut(item, "=")
		if name, ok := strings.CutSuffix(key, ".alias"); ok && value != "" {
			a.add(normalize(value), normalize(name))
		}
	}
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
