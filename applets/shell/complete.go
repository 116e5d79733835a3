package shell

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// word is the last word of an unfinished line.
type word struct {
	start   int    // where it starts in the line
	text    string // without quotes and backslashes
	quote   byte   // the quote it stands in, or 0
	command string // the command whose argument it is; empty: it is the command
}

// wordAt finds the word that ends where the line ends.
func wordAt(line string) word {
	w := word{}
	var text []byte
	finish := func(next int) {
		if len(text) > 0 && w.command == "" && !assignment(text) && !opensCommand(string(text)) {
			w.command = string(text)
		}
		text, w.start = nil, next
	}
	for i := 0; i < len(line); i++ {
		b := line[i]
		switch {
		case b == w.quote && w.quote != 0:
			w.quote = 0
		case w.quote == '\'':
			text = append(text, b)
		case b == '\\' && i+1 < len(line):
			i++
			text = append(text, line[i])
		case w.quote != 0:
			text = append(text, b)
		case b == '\'' || b == '"':
			w.quote = b
		case b == ' ' || b == '\t':
			finish(i + 1)
		case strings.IndexByte("<>", b) >= 0:
			finish(i + 1)
			if w.command == "" {
				w.command = string(b)
			}
		case strings.IndexByte(";|&(){`\n", b) >= 0:
			finish(i + 1)
			w.command = ""
		default:
			text = append(text, b)
		}
	}
	w.text = string(text)
	return w
}

// assignment tells whether a word is NAME=value before a command.
func assignment(text []byte) bool {
	name, _, ok := bytes.Cut(text, []byte("="))
	return ok && len(name) > 0 && !bytes.ContainsAny(name, "/-. ")
}

// opensCommand tells whether a command follows a word.
func opensCommand(text string) bool {
	switch text {
	case "if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "exec", "command", "xargs", "env":
		return true
	}
	return false
}

// quoted writes a text the way the word was begun.
func (w word) quoted(text string) string {
	switch w.quote {
	case '\'':
		return "'" + strings.ReplaceAll(text, "'", `'\''`)
	case '"':
		return `"` + escaped(text, "\"$`\\")
	}
	variable := ""
	if strings.HasPrefix(w.text, "$") || strings.HasPrefix(w.text, "~") {
		variable, text = text[:1], text[1:]
	}
	return variable + escaped(text, " \t\n'\"\\|&;<>()$`*?[]#~{}!")
}

func (w word) closing() string {
	if w.quote == 0 {
		return ""
	}
	return string(w.quote)
}

func escaped(text, special string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// candidates returns what a word may become, sorted.
func (s *shell) candidates(w word) []string {
	var names []string
	switch {
	case strings.HasPrefix(w.text, "$") && w.quote != '\'':
		names = s.variables(w.text)
	case w.command == "" && !strings.Contains(w.text, "/"):
		names = s.commands(w.text)
	default:
		names = append(s.words(w), s.files(w.text)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *shell) variables(prefix string) []string {
	var names []string
	add := func(name string) {
		if strings.HasPrefix("$"+name, prefix) {
			names = append(names, "$"+name)
		}
	}
	for name := range s.runner.Vars {
		add(name)
	}
	for name := range s.runner.Env.Each {
		add(name)
	}
	return names
}

// commands returns the names of everything that can be run.
func (s *shell) commands(prefix string) []string {
	var names []string
	add := func(name string) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	for _, a := range s.env.Table {
		if _, ok := s.applet(a.Name); ok {
			add(a.Name)
			for _, alias := range a.Aliases {
				add(alias)
			}
		}
	}
	for _, u := range s.table {
		add(u.Name)
	}
	for name := range s.runner.Funcs {
		add(name)
	}
	for _, name := range builtins() {
		add(name)
	}
	if prefix != "" {
		s.programs(add)
	}
	return names
}

// programs calls add with the name of each program in PATH.
func (s *shell) programs(add func(string)) {
	for _, dir := range filepath.SplitList(s.variable("PATH")) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if _, err := interp.LookPathDir("/", expand.ListEnviron(), filepath.Join(dir, e.Name())); err == nil {
				add(e.Name())
			}
		}
	}
}

// variable returns a variable of the interactive shell.
func (s *shell) variable(name string) string {
	if v, ok := s.runner.Vars[name]; ok {
		return v.String()
	}
	return s.runner.Env.Get(name).String()
}

// words returns the verbs and flags that a command's help names.
func (s *shell) words(w word) []string {
	if w.command == "help" || w.command == "which" || w.command == "type" {
		return s.commands(w.text)
	}
	var names []string
	for _, name := range helpWords(s.helpOf(w.command)) {
		if strings.HasPrefix(name, w.text) && (w.text != "" || name[0] != '-') {
			names = append(names, name)
		}
	}
	return names
}

// helpOf returns what a command prints for --help: the one place that knows its
// verbs and flags.
func (s *shell) helpOf(name string) string {
	_, isApplet := s.applet(name)
	_, isUtility := s.utility(name)
	if !isApplet && !isUtility {
		return ""
	}
	var out bytes.Buffer
	c := &call{name: name, args: []string{"--help"}, out: &out, err: &bytes.Buffer{}, dir: s.runner.Dir, env: s.runner.Env, sh: s}
	s.execute(context.Background(), c)
	return out.String()
}

// helpWords finds the verbs and flags in a help text: the first words of the
// indented lines under "Commands:" and "Flags:".
func helpWords(text string) []string {
	var words []string
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		fields := strings.Fields(line)
		switch {
		case line == "Commands:" || line == "Flags:":
			section = line
		case len(fields) == 0 || line[0] != ' ':
			section = ""
		case section == "Commands:":
			words = append(words, fields[0])
		case section == "Flags:":
			words = append(words, flagWords(fields)...)
		}
	}
	return words
}

// flagWords returns the long flag of a line such as "-a, --all  show all".
func flagWords(fields []string) []string {
	for _, f := range fields[:min(2, len(fields))] {
		if strings.HasPrefix(f, "--") {
			return []string{f}
		}
	}
	return nil
}

// files returns the paths that start with prefix, folders with a slash.
func (s *shell) files(prefix string) []string {
	shown, base := filepath.Split(prefix)
	dir := shown
	if rest, ok := strings.CutPrefix(dir, "~/"); ok {
		dir = filepath.Join(s.variable("HOME"), rest)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(s.runner.Dir, dir)
	}
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || (base == "" && name[0] == '.') {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			name += "/"
		}
		names = append(names, shown+name)
	}
	return names
}

// lastElement is what is shown of a path among others of the same folder.
func lastElement(name string) string {
	i := strings.LastIndexByte(strings.TrimSuffix(name, "/"), '/')
	return name[i+1:]
}

// commonPrefix returns what all names start with, in whole characters.
func commonPrefix(names []string) string {
	prefix := names[0]
	for _, n := range names[1:] {
		i := 0
		for i < len(prefix) && i < len(n) && prefix[i] == n[i] {
			i++
		}
		prefix = prefix[:i]
	}
	for len(prefix) > 0 && !utf8.ValidString(prefix) {
		prefix = prefix[:len(prefix)-1]
	}
	return prefix
}

// inColumns sets words in as many columns as fit, read downwards.
func inColumns(words []string, width int) string {
	if len(words) == 0 {
		return ""
	}
	longest := 0
	for _, w := range words {
		longest = max(longest, utf8.RuneCountInString(w))
	}
	columns := max(1, (width-1)/(longest+2))
	rows := (len(words) + columns - 1) / columns
	var b strings.Builder
	for row := range rows {
		line := ""
		for i := row; i < len(words); i += rows {
			line += words[i] + strings.Repeat(" ", longest+2-utf8.RuneCountInString(words[i]))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// builtins lists the interpreter's own commands that are worth typing.
func builtins() []string {
	return []string{".", "alias", "break", "cd", "command", "continue", "declare", "dirs", "echo", "eval", "exec", "exit",
		"export", "false", "getopts", "let", "local", "mapfile", "popd", "printf", "pushd", "pwd", "read", "readonly",
		"return", "set", "shift", "shopt", "source", "test", "times", "trap", "true", "type", "unalias", "unset", "wait"}
}
