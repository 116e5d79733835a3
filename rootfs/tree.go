package rootfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// maxLinks bounds how many symlinks a path may lead through.
const maxLinks = 16

// Node is one thing in a Tree.
type Node struct {
	// Path is absolute and clean.
	Path string
	Mode fs.FileMode
	// Target is what a symlink points at.
	Target string
	// Size is the length of a file in bytes.
	Size int64
	// Major and Minor are the numbers of a device node.
	Major, Minor uint32

	open func() (io.ReadCloser, error)
}

// Tree is a file tree in the making. Nothing is written to the disk of the
// builder, so neither root nor the builder's umask and clock have a say.
type Tree struct {
	nodes map[string]*Node
}

// NewTree returns a tree of the given entries.
func NewTree(table []Entry) (*Tree, error) {
	t := &Tree{nodes: map[string]*Node{}}
	for _, e := range table {
		var err error
		switch {
		case e.Mode.IsDir():
			err = t.Dir(e.Path, e.Mode)
		case e.Mode&fs.ModeSymlink != 0:
			err = t.Symlink(e.Path, e.Content)
		default:
			err = t.Text(e.Path, e.Mode, e.Content)
		}
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Nodes returns all nodes sorted by path, each folder before what is in it.
func (t *Tree) Nodes() []*Node {
	nodes := slices.Collect(maps.Values(t.nodes))
	slices.SortFunc(nodes, func(a, b *Node) int {
		return strings.Compare(strings.ReplaceAll(a.Path, "/", "\x00"), strings.ReplaceAll(b.Path, "/", "\x00"))
	})
	return nodes
}

// Find returns the node that a path leads to, following symlinks.
func (t *Tree) Find(p string) (*Node, bool) {
	real, err := t.resolve(p, maxLinks)
	if err != nil {
		return nil, false
	}
	n, ok := t.nodes[real]
	if ok && n.Mode&fs.ModeSymlink != 0 {
		return t.Find(join(real, n.Target))
	}
	return n, ok
}

// Dir adds a folder. One that is there already is left as it is.
func (t *Tree) Dir(p string, mode fs.FileMode) error {
	if n, ok := t.Find(p); ok && n.Mode.IsDir() {
		return nil
	}
	return t.add(&Node{Path: p, Mode: mode | fs.ModeDir})
}

// DirAll adds a folder with mode 0755 and the missing ones above it.
func (t *Tree) DirAll(p string) error {
	if p != "/" {
		if err := t.DirAll(path.Dir(p)); err != nil {
			return err
		}
	}
	return t.Dir(p, 0o755)
}

// Symlink adds a symlink.
func (t *Tree) Symlink(p, target string) error {
	if target == "" {
		return fmt.Errorf("cannot add symlink %s: no target", p)
	}
	return t.add(&Node{Path: p, Mode: link, Target: target})
}

// Device adds a character device.
func (t *Tree) Device(p string, perm fs.FileMode, major, minor uint32) error {
	return t.add(&Node{Path: p, Mode: perm | fs.ModeDevice | fs.ModeCharDevice, Major: major, Minor: minor})
}

// Text adds a file with the content given.
func (t *Tree) Text(p string, mode fs.FileMode, text string) error {
	return t.add(&Node{Path: p, Mode: mode, Size: int64(len(text)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}})
}

// File adds a file with the content of a file of the builder, which is read
// when the tree is written.
func (t *Tree) File(p string, mode fs.FileMode, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("cannot add %s: %w", p, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("cannot add %s: %s is not a plain file", p, source)
	}
	return t.add(&Node{Path: p, Mode: mode, Size: info.Size(), open: func() (io.ReadCloser, error) {
		return os.Open(source)
	}})
}

// add puts a node where its path leads through the symlinks of the tree.
func (t *Tree) add(n *Node) error {
	real, err := t.resolve(n.Path, maxLinks)
	if err != nil {
		return fmt.Errorf("cannot add %s: %w", n.Path, err)
	}
	if _, ok := t.nodes[real]; ok {
		return fmt.Errorf("cannot add %s: there is one already", n.Path)
	}
	n.Path = real
	t.nodes[real] = n
	return nil
}

// resolve follows the symlinks in the folders of a path, which must be there.
func (t *Tree) resolve(p string, links int) (string, error) {
	if !path.IsAbs(p) {
		return "", fmt.Errorf("%q is not an absolute path", p)
	}
	p = path.Clean(p)
	if p == "/" {
		return p, nil
	}
	parent, err := t.resolve(path.Dir(p), links)
	if err != nil {
		return "", err
	}
	n, ok := t.nodes[parent]
	switch {
	case !ok:
		return "", fmt.Errorf("no folder %s", parent)
	case n.Mode.IsDir():
		return path.Join(parent, path.Base(p)), nil
	case n.Mode&fs.ModeSymlink == 0:
		return "", fmt.Errorf("%s is not a folder", parent)
	case links == 0:
		return "", fmt.Errorf("too many symlinks at %s", parent)
	}
	return t.resolve(path.Join(join(parent, n.Target), path.Base(p)), links-1)
}

// join applies the target of a symlink at p.
func join(p, target string) string {
	if path.IsAbs(target) {
		return path.Clean(target)
	}
	return path.Join(path.Dir(p), target)
}

// copyTo writes a file's content, which must have the size announced.
func (n *Node) copyTo(w io.Writer) error {
	r, err := n.open()
	if err != nil {
		return fmt.Errorf("cannot read content of %s: %w", n.Path, err)
	}
	defer r.Close()
	copied, err := io.Copy(w, r)
	if err != nil {
		return fmt.Errorf("cannot copy content of %s: %w", n.Path, err)
	}
	if copied != n.Size {
		return fmt.Errorf("cannot copy content of %s: it changed from %d to %d bytes while it was read", n.Path, n.Size, copied)
	}
	return nil
}
