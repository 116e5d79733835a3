package rootfs

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// WriteTar writes the tree as a tar archive in which every node belongs to
// root and has the given time.
func (t *Tree) WriteTar(w io.Writer, when time.Time) error {
	tw := tar.NewWriter(w)
	for _, n := range t.Nodes() {
		if n.Path == "/" {
			continue // mksquashfs is told about the root by flags
		}
		h := &tar.Header{
			Name:     strings.TrimPrefix(n.Path, "/"),
			Mode:     int64(unixMode(n.Mode) & 0o7777),
			Size:     n.Size,
			Linkname: n.Target,
			ModTime:  when,
			Typeflag: tarType(n.Mode),
			Devmajor: int64(n.Major),
			Devminor: int64(n.Minor),
			Format:   tar.FormatGNU,
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("cannot write %s to tar archive: %w", n.Path, err)
		}
		if n.Mode.IsRegular() {
			if err := n.copyTo(tw); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}

func tarType(m fs.FileMode) byte {
	switch {
	case m.IsDir():
		return tar.TypeDir
	case m&fs.ModeSymlink != 0:
		return tar.TypeSymlink
	case m&fs.ModeCharDevice != 0:
		return tar.TypeChar
	}
	return tar.TypeReg
}

// Bits of a mode as the kernel stores it (inode(7)).
const (
	modeChar    = 0o020000
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeSymlink = 0o120000
	modeSticky  = 0o001000
)

func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		mode |= modeSticky
	}
	switch {
	case m.IsDir():
		return mode | modeDir
	case m&fs.ModeSymlink != 0:
		return mode | modeSymlink
	case m&fs.ModeCharDevice != 0:
		return mode | modeChar
	}
	return mode | modeRegular
}

// cpioTrailer is the name of the entry that ends an archive.
const cpioTrailer = "TRAILER!!!"

// WriteCPIO writes the tree as an archive of the format "newc" (the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst), in which every
// node belongs to root and has the given time. Its length is a multiple of 4,
// so that another archive may follow.
func (t *Tree) WriteCPIO(w io.Writer, when time.Time) error {
	c := &cpioWriter{w: w, time: uint32(when.Unix())}
	for _, n := range t.Nodes() {
		if n.Path == "/" {
			continue
		}
		c.node(n)
	}
	c.header(cpioTrailer, 0, 0, 0, 0)
	if c.err != nil {
		return fmt.Errorf("cannot write cpio archive: %w", c.err)
	}
	return nil
}

// cpioWriter keeps the first error and the position for padding.
type cpioWriter struct {
	w    io.Writer
	time uint32
	ino  uint32
	n    int64
	err  error
}

func (c *cpioWriter) Write(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.err = err
	return n, err
}

func (c *cpioWriter) pad() {
	c.Write(make([]byte, -c.n&3))
}

func (c *cpioWriter) node(n *Node) {
	name := strings.TrimPrefix(n.Path, "/")
	size := n.Size + int64(len(n.Target))
	if size > 1<<32-1 {
		c.fail(fmt.Errorf("%s is too large for the format", n.Path))
		return
	}
	c.header(name, unixMode(n.Mode), uint32(size), n.Major, n.Minor)
	switch {
	case n.Mode.IsRegular():
		c.fail(n.copyTo(c))
	case n.Target != "":
		io.WriteString(c, n.Target)
	}
	c.pad()
}

// header writes magic, inode, mode, uid, gid, links, time, size, device,
// device numbers of the node, length of the name, checksum, and the name.
func (c *cpioWriter) header(name string, mode, size, major, minor uint32) {
	c.ino++
	fmt.Fprintf(c, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.ino, mode, 0, 0, 1, c.time, size, 0, 0, major, minor, len(name)+1, 0, name)
	c.pad()
}

func (c *cpioWriter) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}
