package modules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Subset returns the index files, by name, of a folder that holds no other
// modules than these: the lines about them, in the same order. What is said of
// built-in modules is complete, so that loading one of those stays no error.
func (ix *Index) Subset(steps []Module) (map[string]string, error) {
	keep := map[string]bool{}
	for _, m := range steps {
		keep[m.Name] = !m.Builtin
	}
	files := map[string]func(line string) string{
		"modules.dep":     func(line string) string { return nameOf(before(line, ":")) },
		"modules.alias":   func(line string) string { return line[strings.LastIndexByte(line, ' ')+1:] },
		"modules.symbols": func(line string) string { return line[strings.LastIndexByte(line, ' ')+1:] },
		"modules.softdep": func(line string) string { return normalize(before(strings.TrimPrefix(line, "softdep "), " ")) },

		"modules.builtin": nil, "modules.builtin.modinfo": nil,
	}
	out := map[string]string{}
	for name, subject := range files {
		text, err := os.ReadFile(filepath.Join(ix.dir, name))
		if err != nil {
			return nil, fmt.Errorf("cannot read module index: %w", err)
		}
		out[name] = string(text)
		if subject != nil {
			out[name] = filterLines(out[name], func(line string) bool { return keep[subject(line)] })
		}
	}
	return out, nil
}

func filterLines(text string, keep func(line string) bool) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line[0] != '#' && keep(strings.TrimSuffix(line, "\n")) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func before(s, sep string) string {
	head, _, _ := strings.Cut(s, sep)
	return head
}
