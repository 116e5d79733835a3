package shell

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ichor/applets"
)

// archiver is one run of tar.
type archiver struct {
	c       *call
	verbose bool
	gzip    bool
	file    string
	dir     string
	to      io.Writer // where names are listed
}

func tarFiles(ctx context.Context, c *call) error {
	if len(c.args) > 0 && c.args[0] != "" && c.args[0][0] != '-' {
		c.args = append([]string{"-" + c.args[0]}, c.args[1:]...)
	}
	a := archiver{c: c, to: c.out}
	flags := c.flags()
	create := flags.BoolP("create", "c", false, "make an archive")
	extract := flags.BoolP("extract", "x", false, "unpack an archive")
	list := flags.BoolP("list", "t", false, "list an archive")
	flags.StringVarP(&a.file, "file", "f", "-", "the archive; - is the standard input or output")
	flags.StringVarP(&a.dir, "directory", "C", ".", "the folder to pack from or to unpack into")
	flags.BoolVarP(&a.gzip, "gzip", "z", false, "compress; unpacking finds out by itself")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "print each name")
	flags.BoolP("preserve-permissions", "p", false, "does nothing: permissions are kept")
	if err := c.parse(flags); err != nil {
		return err
	}
	chosen := 0
	for _, b := range []bool{*create, *extract, *list} {
		if b {
			chosen++
		}
	}
	if chosen != 1 {
		return applets.Usagef("give one of -c, -x and -t")
	}
	if *create {
		return a.create(ctx, flags.Args())
	}
	return a.read(ctx, flags.Args(), *extract)
}

func (a *archiver) create(ctx context.Context, names []string) (err error) {
	if len(names) == 0 {
		return applets.Usagef("name the files to pack")
	}
	out := a.c.out
	if a.file == "-" {
		a.to = a.c.err
	} else {
		f, err := os.Create(a.c.path(a.file))
		if err != nil {
			return fmt.Errorf("cannot write '%s': %w", a.file, reason(err))
		}
		defer f.Close()
		out = guardedWriter{ctx, f}
	}
	if a.gzip {
		z := gzip.NewWriter(out)
		defer func() { err = errors.Join(err, z.Close()) }()
		out = z
	}
	w := tar.NewWriter(out)
	seen := map[fileID]string{}
	for _, name := range names {
		if err := a.pack(ctx, w, name, seen); err != nil {
			return err
		}
	}
	return w.Close()
}

// pack writes one file or tree. A file that cannot be read does not end the
// archive, but one that cannot be written does.
func (a *archiver) pack(ctx context.Context, w *tar.Writer, name string, seen map[fileID]string) error {
	root := filepath.Join(a.c.path(a.dir), name)
	if filepath.IsAbs(name) {
		root = name
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			a.c.cannot("read", path, err)
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		return a.packOne(ctx, w, path, strings.TrimLeft(filepath.Join(name, rel), "/"), seen)
	})
}

func (a *archiver) packOne(ctx context.Context, w *tar.Writer, path, name string, seen map[fileID]string) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSocket != 0 {
		err = errors.New("it is a socket")
	}
	if err != nil {
		a.c.cannot("pack", path, err)
		return nil
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		link, _ = os.Readlink(path)
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode().IsRegular() && st.Nlink > 1 {
		if first, ok := seen[idOf(info)]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			seen[idOf(info)] = name
		}
	}
	return a.write(ctx, w, h, path)
}

func (a *archiver) write(ctx context.Context, w *tar.Writer, h *tar.Header, path string) error {
	var content io.Reader
	if h.Typeflag == tar.TypeReg {
		f, err := os.Open(path)
		if err != nil {
			a.c.cannot("read", path, err)
			return nil
		}
		defer f.Close()
		content = f
	}
	if a.verbose {
		fmt.Fprintln(a.to, h.Name)
	}
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("cannot write the header of '%s': %w", h.Name, err)
	}
	if content == nil {
		return nil
	}
	n, err := io.CopyN(guardedWriter{ctx, w}, content, h.Size)
	if errors.Is(err, io.EOF) {
		a.c.warn("'%s' shrank while it was read; the rest is filled with zeros", path)
		_, err = io.CopyN(w, zeros{}, h.Size-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// read lists or unpacks an archive.
func (a *archiver) read(ctx context.Context, wanted []string, extract bool) error {
	in := a.c.in
	if a.file != "-" {
		f, err := a.c.open(ctx, a.file)
		if err != nil {
			return fmt.Errorf("cannot read '%s': %w", a.file, reason(err))
		}
		defer f.Close()
		in = f
	}
	plain, err := gunzipped(in)
	if err != nil {
		return fmt.Errorf("cannot read '%s': %w", a.file, err)
	}
	var root *os.Root
	if extract {
		// What an archive names cannot lie outside, whatever links it makes.
		if root, err = os.OpenRoot(a.c.path(a.dir)); err != nil {
			return fmt.Errorf("cannot unpack into '%s': %w", a.dir, reason(err))
		}
		defer root.Close()
	}
	var folders []*tar.Header
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read '%s': %w", a.file, err)
		}
		if !selected(h.Name, wanted) {
			continue
		}
		if !extract {
			a.show(h)
			continue
		}
		if a.verbose {
			fmt.Fprintln(a.c.out, h.Name)
		}
		if err := a.unpack(ctx, root, h, r); err != nil {
			if stopped(ctx, err) {
				return err
			}
			a.c.cannot("unpack", h.Name, err)
		} else if h.Typeflag == tar.TypeDir {
			folders = append(folders, h)
		}
	}
	a.finishFolders(root, folders)
	return nil
}

// finishFolders sets what writing into the folders would have undone.
func (a *archiver) finishFolders(root *os.Root, folders []*tar.Header) {
	for i := len(folders) - 1; i >= 0; i-- {
		h := folders[i]
		name := localName(h.Name)
		root.Chmod(name, h.FileInfo().Mode())
		root.Chtimes(name, time.Time{}, h.ModTime)
	}
}

func localName(name string) string {
	return strings.TrimPrefix(filepath.Clean("/"+name), "/")
}

// selected tells whether a member was asked for, by its name or a folder's.
func selected(name string, wanted []string) bool {
	name = localName(name)
	for _, w := range wanted {
		w = localName(w)
		if w == name || w == "" || strings.HasPrefix(name, w+"/") {
			return true
		}
	}
	return len(wanted) == 0
}

func (a *archiver) show(h *tar.Header) {
	if !a.verbose {
		fmt.Fprintln(a.c.out, h.Name)
		return
	}
	fmt.Fprintf(a.c.out, "%s %d/%d %10d %s %s\n", h.FileInfo().Mode(), h.Uid, h.Gid, h.Size, h.ModTime.Format("2006-01-02 15:04"), h.Name)
}

// unpack makes one member below root.
func (a *archiver) unpack(ctx context.Context, root *os.Root, h *tar.Header, content io.Reader) error {
	name := localName(h.Name)
	if name == "" {
		return nil
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(name, mode.Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		if err := writeMember(ctx, root, name, content); err != nil {
			return err
		}
	case tar.TypeSymlink:
		root.Remove(name)
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		root.Remove(name)
		return root.Link(localName(h.Linkname), name)
	default:
		return fmt.Errorf("members of type %q are not supported", h.Typeflag)
	}
	if os.Geteuid() == 0 {
		if err := root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	if err := root.Chmod(name, mode); err != nil {
		return err
	}
	return root.Chtimes(name, time.Time{}, h.ModTime)
}

func writeMember(ctx context.Context, root *os.Root, name string, content io.Reader) error {
	root.Remove(name)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(guardedWriter{ctx, f}, content); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// gunzipped decompresses a stream if it is compressed.
func gunzipped(in io.Reader) (io.Reader, error) {
	r := bufio.NewReader(in)
	magic, _ := r.Peek(6)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(r)
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")), bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return nil, errors.New("it is compressed with xz or zstd; only gzip is supported")
	}
	return r, nil
}

// compress is gzip, gunzip and zcat.
func compress(ctx context.Context, c *call) error {
	flags := c.flags()
	decompress := flags.BoolP("decompress", "d", c.name != "gzip", "decompress")
	stdout := flags.BoolP("stdout", "c", c.name == "zcat", "write to the standard output and keep the files")
	keep := flags.BoolP("keep", "k", false, "keep the files")
	force := flags.BoolP("force", "f", false, "replace files that exist")
	level := gzip.DefaultCompression
	fast := flags.BoolP("fast", "1", false, "compress fast")
	best := flags.BoolP("best", "9", false, "compress well")
	if err := c.parse(flags); err != nil {
		return err
	}
	switch {
	case *fast:
		level = gzip.BestSpeed
	case *best:
		level = gzip.BestCompression
	}
	convert := func(w io.Writer, r io.Reader) error { return deflate(w, r, level) }
	if *decompress {
		convert = inflate
	}
	if flags.NArg() == 0 || *stdout {
		return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error { return convert(c.out, r) })
	}
	for _, name := range flags.Args() {
		err := c.convertFile(ctx, name, *decompress, *force, *keep, convert)
		if err != nil && stopped(ctx, err) {
			return err
		}
		if err != nil {
			c.cannot("convert", name, err)
		}
	}
	return nil
}

func deflate(w io.Writer, r io.Reader, level int) error {
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, r); err != nil {
		return err
	}
	return z.Close()
}

func inflate(w io.Writer, r io.Reader) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, z)
	return err
}

// convertFile replaces a file by its compressed or decompressed form.
func (c *call) convertFile(ctx context.Context, name string, decompress, force, keep bool, convert func(io.Writer, io.Reader) error) error {
	target, ok := name+".gz", !strings.HasSuffix(name, ".gz")
	if decompress {
		target, ok = strings.CutSuffix(name, ".gz")
		if rest, tgz := strings.CutSuffix(name, ".tgz"); tgz {
			target, ok = rest+".tar", true
		}
	}
	if !ok {
		return errors.New("the ending .gz is not where it should be")
	}
	in, err := c.open(ctx, name)
	if err != nil {
		return err
	}
	defer in.Close()
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	info, err := in.file.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(c.path(target), flags, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("cannot write '%s': %w", target, reason(err))
	}
	err = convert(guardedWriter{ctx, out}, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(c.path(target))
		return err
	}
	os.Chtimes(c.path(target), time.Time{}, info.ModTime())
	if keep {
		return nil
	}
	return os.Remove(c.path(name))
}

// checksums is sha256sum and its like, and shasum.
func checksums(ctx context.Context, c *call) error {
	flags := c.flags()
	check := flags.BoolP("check", "c", false, "read sums and compare them")
	algorithm := flags.StringP("algorithm", "a", "1", "of shasum: 1, 256 or 512")
	if err := c.parse(flags); err != nil {
		return err
	}
	kinds := map[string]func() hash.Hash{
		"md5sum": md5.New, "sha1sum": sha1.New, "sha256sum": sha256.New, "sha512sum": sha512.New,
	}
	kind := c.name
	if kind == "shasum" {
		kind = "sha" + *algorithm + "sum"
	}
	make := kinds[kind]
	if make == nil {
		return applets.Usagef("unknown algorithm %q; use 1, 256 or 512", *algorithm)
	}
	if *check {
		return c.inputs(ctx, flags.Args(), func(_ string, r io.Reader) error { return c.checkSums(ctx, r, make) })
	}
	return c.inputs(ctx, flags.Args(), func(name string, r io.Reader) error {
		h := make()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		if r == c.in {
			name = "-"
		}
		_, err := fmt.Fprintf(c.out, "%x  %s\n", h.Sum(nil), name)
		return err
	})
}

// checkSums compares files with the sums that a list names.
func (c *call) checkSums(ctx context.Context, list io.Reader, make func() hash.Hash) error {
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		sum, name, ok := parseSum(lines.Text(), make().Size())
		if !ok {
			c.warn("not a line of sums: %q", lines.Text())
			continue
		}
		h := make()
		err := c.input(ctx, name, func(_ string, r io.Reader) error {
			_, err := io.Copy(h, r)
			return err
		})
		result := "OK"
		switch {
		case err != nil && stopped(ctx, err):
			return err
		case err != nil:
			c.cannot("read", name, err)
			result = "FAILED open or read"
		case !bytes.Equal(h.Sum(nil), sum):
			result, c.code = "FAILED", 1
		}
		fmt.Fprintf(c.out, "%s: %s\n", name, result)
	}
	return lines.Err()
}

// parseSum parses a line such as "e3b0...  name".
func parseSum(line string, size int) (sum []byte, name string, ok bool) {
	text, name, ok := strings.Cut(line, " ")
	sum, err := hex.DecodeString(text)
	if !ok || err != nil || len(sum) != size || len(name) < 2 || (name[0] != ' ' && name[0] != '*') {
		return nil, "", false
	}
	return sum, name[1:], true
}
