package modules

import (
	"slices"
	"strings"
)

// keyLen is how much of a pattern's literal prefix is looked up by hash. With
// 22 bytes "pci:v00001AF4d00001041" is nearly one pattern per key.
const keyLen = 22

// aliases finds the modules whose pattern matches a name. Patterns lie in
// buckets by the literal text before their first wildcard, cut to keyLen, so
// that a search tries a few patterns and not thousands.
type aliases struct {
	rows    []alias
	buckets map[string][]int32 // indexes of rows, ascending
	// lens are the lengths of the keys in use.
	lens [keyLen + 1]bool
}

type alias struct{ pattern, module string }

func newAliases(n int) *aliases {
	return &aliases{rows: make([]alias, 0, n), buckets: make(map[string][]int32, n)}
}

func (a *aliases) add(pattern, module string) {
	key := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		key = pattern[:i]
	}
	key = key[:min(len(key), keyLen)]
	a.lens[len(key)] = true
	a.buckets[key] = append(a.buckets[key], int32(len(a.rows)))
	a.rows = append(a.rows, alias{pattern, module})
}

// match returns the modules for a name in the order of the file, each once.
func (a *aliases) match(name string) []string {
	var found []int32
	for n := range min(len(name), keyLen) + 1 {
		if !a.lens[n] {
			continue
		}
		for _, i := range a.buckets[name[:n]] {
			if fnmatch(a.rows[i].pattern, name) {
				found = append(found, i)
			}
		}
	}
	slices.Sort(found)
	var modules []string
	for _, i := range found {
		if m := a.rows[i].module; !slices.Contains(modules, m) {
			modules = append(modules, m)
		}
	}
	return modules
}

// fnmatch reports whether name matches a shell pattern with *, ?, [set] and
// backslash, as fnmatch(3) without flags does. It goes back to the last * only,
// so that its time is bounded by the product of the lengths.
func fnmatch(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, n
			p++
			continue
		}
		if size, ok := matchOne(pattern[p:], name[n]); ok {
			p += size
			n++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, n = star+1, mark
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches one character against the head of a pattern and returns
// how long that head is.
func matchOne(pattern string, c byte) (int, bool) {
	if pattern == "" {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, true
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == c
		}
	case '[':
		if size, ok, valid := matchSet(pattern, c); valid {
			return size, ok
		}
	}
	return 1, pattern[0] == c
}

// matchSet matches a character against "[a-z_]" or "[!a-z_]". A set without
// its closing bracket is not valid: the bracket then stands for itself.
func matchSet(pattern string, c byte) (size int, ok, valid bool) {
	i := 1
	negate := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negate {
		i++
	}
	for first := i; i < len(pattern); i++ {
		if pattern[i] == ']' && i > first {
			return i + 1, ok != negate, true
		}
		low := pattern[i]
		high := low
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			high = pattern[i+2]
			i += 2
		}
		ok = ok || (low <= c && c <= high)
	}
	return 0, false, false
}
