package modules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Modaliases returns the modaliases of all devices that sysfs, usually mounted
// on /sys, knows now; each once and sorted. Load takes them as they are; most
// of them stand for no module, which is no fault.
func Modaliases(sysfs string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(sysfs, "bus/*/devices/*/modalias"))
	if err != nil {
		return nil, fmt.Errorf("cannot list devices of %s: %w", sysfs, err)
	}
	var all []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if alias := strings.TrimSpace(string(b)); err == nil && alias != "" {
			all = append(all, alias)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// CommandLineParams returns the module parameters on a kernel command line:
// "name.parameter=value" words, joined by module name. The kernel itself gives
// them to built-in modules only. Words after "--" are not for the kernel.
func CommandLineParams(cmdline string) map[string]string {
	params := map[string]string{}
	for _, word := range splitQuoted(cmdline) {
		if word == "--" {
			break
		}
		key, _, _ := strings.Cut(word, "=")
		name, param, ok := strings.Cut(key, ".")
		if !ok || name == "" || param == "" {
			continue
		}
		name = normalize(name)
		if params[name] != "" {
			params[name] += " "
		}
		params[name] += word[strings.IndexByte(word, '.')+1:]
	}
	return params
}

// Blacklist returns the modules named by modprobe.blacklist= on a kernel
// command line: those must not be loaded for a device, only by name.
func Blacklist(cmdline string) []string {
	var names []string
	for _, word := range splitQuoted(cmdline) {
		list, ok := strings.CutPrefix(word, "modprobe.blacklist=")
		for name := range strings.SplitSeq(list, ",") {
			if ok && name != "" {
				names = append(names, normalize(name))
			}
		}
	}
	return names
}

// splitQuoted splits at blanks outside of double quotes, which are kept.
func splitQuoted(s string) []string {
	quoted := false
	return strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && unicode.IsSpace(r)
	})
}
