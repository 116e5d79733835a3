package rootfs

import (
	"debug/elf"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// libraryDir is where Debian's loader looks first.
const libraryDir = "/usr/lib/x86_64-linux-gnu"

// searchDirs are the folders of an unpacked Debian in which libraries lie.
var searchDirs = []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64"}

// Program adds a dynamically linked program of an unpacked Debian, found at
// path p below root, as dst, together with its loader and every library that
// it or one of those needs.
func (t *Tree) Program(dst, root, p string) error {
	source := filepath.Join(root, p)
	if err := t.File(dst, 0o755, source); err != nil {
		return err
	}
	if err := t.DirAll(libraryDir); err != nil {
		return err
	}
	interp, err := t.libraries(root, source)
	if err != nil || interp == "" {
		return err
	}
	loader, err := findLibrary(root, path.Base(interp))
	if err != nil {
		return fmt.Errorf("cannot add loader of %s: %w", dst, err)
	}
	return t.File(interp, 0o755, loader)
}

// libraries adds what an ELF file needs and returns the loader it asks for.
func (t *Tree) libraries(root, source string) (interp string, err error) {
	f, err := elf.Open(source)
	if err != nil {
		return "", fmt.Errorf("cannot read libraries of %s: %w", source, err)
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return "", fmt.Errorf("cannot read libraries of %s: %w", source, err)
	}
	for _, name := range needed {
		if err := t.library(root, name); err != nil {
			return "", fmt.Errorf("cannot add libraries of %s: %w", source, err)
		}
	}
	return interpreter(f)
}

// library adds one library, unless it is there, and what it needs.
func (t *Tree) library(root, name string) error {
	dst := path.Join(libraryDir, name)
	if _, ok := t.Find(dst); ok || strings.HasPrefix(name, "ld-linux") {
		return nil
	}
	source, err := findLibrary(root, name)
	if err != nil {
		return err
	}
	if err := t.File(dst, 0o644, source); err != nil {
		return err
	}
	_, err = t.libraries(root, source)
	return err
}

func findLibrary(root, name string) (string, error) {
	for _, d := range searchDirs {
		p := filepath.Join(root, d, name)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("no %s in %s below %s: its Debian package is not unpacked there", name, strings.Join(searchDirs, ", "), root)
}

// interpreter returns the content of the PT_INTERP segment, empty without one.
func interpreter(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return "", fmt.Errorf("cannot read loader's name: %w", err)
		}
		return strings.TrimRight(string(b), "\x00"), nil
	}
	return "", nil
}
