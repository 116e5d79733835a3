package early

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestSum compares with xxhsum -H1 of the reference implementation.
func TestSum(t *testing.T) {
	for text, want := range map[string]string{
		"":    "ef46db3751d8e999",
		"abc": "44bc2cf5ad770999",
	} {
		if got, err := Sum(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("Sum(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	if _, err := Sum(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an unreadable file: %v", err)
	}
}

func TestModulesAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Modules {
		if seen[m.Name] {
			t.Errorf("%s is twice in the list", m.Name)
		}
		seen[m.Name] = true
	}
}
