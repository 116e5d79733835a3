package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/touch"
	"golang.org/x/sys/unix"

	"ichor/applets"
)

// fromLibrary runs a command of u-root's pkg/core. Two of them serve. Of the
// others cp, mv, rm, mkdir and gzip return success after a failure, look up a
// target in the folder of the process or read its standard input; mktemp and
// chmod know no path in a template and no setuid bit; xargs and find start
// programs and goroutines past the shell. Those are our own.
func fromLibrary(ctx context.Context, c *call, command core.Command) error {
	command.SetIO(c.in, c.out, c.err)
	command.SetWorkingDir(c.dir)
	command.SetLookupEnv(func(name string) (string, bool) {
		v := c.env.Get(name)
		return v.String(), v.IsSet()
	})
	err := command.RunContext(ctx, c.args...)
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("cannot %s '%s': %w", path.Op, path.Path, path.Err)
	}
	return err
}

func touchFiles(ctx context.Context, c *call) error { return fromLibrary(ctx, c, touch.New()) }

// base64Lines breaks the lines of encoded data: what is copied from a terminal
// must not be one line of a megabyte.
func base64Lines(ctx context.Context, c *call) error {
	decode := len(c.args) > 0 && (c.args[0] == "-d" || c.args[0] == "--decode")
	if decode {
		c.args[0] = "-d"
	} else {
		c.out = &lineBreaker{w: c.out, width: 76}
	}
	return fromLibrary(ctx, c, base64.New())
}

// lineBreaker breaks lines after width bytes.
type lineBreaker struct {
	w             io.Writer
	width, column int
}

func (l *lineBreaker) Write(p []byte) (int, error) {
	written := 0
	if l.column == 0 && string(p) == "\n" {
		return 1, nil // the library ends even an empty output with a newline
	}
	for len(p) > 0 {
		n := min(l.width-l.column, len(p))
		if n == 0 && p[0] != '\n' {
			if _, err := io.WriteString(l.w, "\n"); err != nil {
				return written, err
			}
			l.column = 0
			continue
		}
		n = max(n, 1)
		if _, err := l.w.Write(p[:n]); err != nil {
			return written, err
		}
		l.column += n
		written += n
		p = p[n:]
	}
	return written, nil
}

func makeDirectories(_ context.Context, c *call) error {
	flags := c.flags()
	parents := flags.BoolP("parents", "p", false, "make parent folders too, and accept ones that exist")
	verbose := flags.BoolP("verbose", "v", false, "print each folder made")
	mode := flags.StringP("mode", "m", "", "permissions, as of chmod")
	if err := c.parse(flags); err != nil {
		return err
	}
	change, err := parseMode(*mode)
	if err != nil && *mode != "" {
		return err
	}
	if flags.NArg() == 0 {
		return applets.Usagef("name a folder to make")
	}
	for _, name := range flags.Args() {
		make := os.Mkdir
		if *parents {
			make = os.MkdirAll
		}
		if err := make(c.path(name), 0o777); err != nil {
			c.cannot("make the folder", name, err)
			continue
		}
		if *mode != "" {
			if err := unix.Chmod(c.path(name), change(0o777|unix.S_IFDIR)); err != nil {
				c.cannot("change the mode of", name, err)
			}
		}
		if *verbose {
			fmt.Fprintf(c.out, "made '%s'\n", name)
		}
	}
	return nil
}

func removeDirectories(_ context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return applets.Usagef("name a folder to remove")
	}
	for _, name := range flags.Args() {
		if err := unix.Rmdir(c.path(name)); err != nil {
			c.cannot("remove the folder", name, err)
		}
	}
	return nil
}

// remover is one run of rm.
type remover struct {
	c                         *call
	recursive, force, verbose bool
}

func removeFiles(ctx context.Context, c *call) error {
	flags := c.flags()
	r := remover{c: c}
	flags.BoolVarP(&r.recursive, "recursive", "r", false, "remove folders with all they hold")
	upper := flags.BoolP("Recursive", "R", false, "the same as -r")
	flags.BoolVarP(&r.force, "force", "f", false, "accept files that do not exist")
	flags.BoolVarP(&r.verbose, "verbose", "v", false, "print each file removed")
	if err := c.parse(flags); err != nil {
		return err
	}
	r.recursive = r.recursive || *upper
	if flags.NArg() == 0 && !r.force {
		return applets.Usagef("name a file to remove")
	}
	for _, name := range flags.Args() {
		base := filepath.Base(name)
		if base == "." || base == ".." || base == "/" {
			c.warn("cannot remove '%s': refusing to remove the root, '.' or '..'", name)
			continue
		}
		if err := r.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// remove removes one file or tree; the error is that of an interruption.
func (r remover) remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := os.Lstat(r.c.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist) && r.force:
		return nil
	case err != nil:
		r.c.cannot("remove", name, err)
		return nil
	case info.IsDir() && !r.recursive:
		r.c.warn("cannot remove '%s': it is a folder; use rm -r", name)
		return nil
	case info.IsDir():
		return r.removeTree(ctx, name)
	}
	r.report(name, unix.Unlink(r.c.path(name)))
	return nil
}

func (r remover) removeTree(ctx context.Context, name string) error {
	entries, err := os.ReadDir(r.c.path(name))
	if err != nil {
		r.c.cannot("read the folder", name, err)
	}
	for _, e := range entries {
		if err := r.remove(ctx, strings.TrimSuffix(name, "/")+"/"+e.Name()); err != nil {
			return err
		}
	}
	r.report(name, unix.Rmdir(r.c.path(name)))
	return nil
}

func (r remover) report(name string, err error) {
	if err != nil {
		r.c.cannot("remove", name, err)
	} else if r.verbose {
		fmt.Fprintf(r.c.out, "removed '%s'\n", name)
	}
}

// copier is one run of cp, or the part of mv that crosses file systems.
type copier struct {
	c                                     *call
	recursive, keep, links, force, noOver bool
	verbose                               bool
	// seen keeps a tree from being copied into itself.
	seen map[fileID]bool
}

type fileID struct{ dev, ino uint64 }

func idOf(info fs.FileInfo) fileID {
	st := info.Sys().(*syscall.Stat_t)
	return fileID{uint64(st.Dev), st.Ino}
}

func copyFiles(ctx context.Context, c *call) error {
	flags := c.flags()
	cp := copier{c: c, seen: map[fileID]bool{}}
	flags.BoolVarP(&cp.recursive, "recursive", "r", false, "copy folders with all they hold")
	upper := flags.BoolP("Recursive", "R", false, "the same as -r")
	archive := flags.BoolP("archive", "a", false, "the same as -r -p -P")
	flags.BoolVarP(&cp.keep, "preserve", "p", false, "keep owner, mode and times")
	flags.BoolVarP(&cp.links, "no-dereference", "P", false, "copy symbolic links as such")
	flags.BoolVarP(&cp.force, "force", "f", false, "replace targets that cannot be written")
	flags.BoolVarP(&cp.noOver, "no-clobber", "n", false, "keep targets that exist")
	flags.BoolVarP(&cp.verbose, "verbose", "v", false, "print each file copied")
	if err := c.parse(flags); err != nil {
		return err
	}
	cp.recursive = cp.recursive || *upper || *archive
	cp.keep = cp.keep || *archive
	cp.links = cp.links || cp.recursive
	return c.eachTarget(flags.Args(), func(from, to string) error {
		err := cp.copy(ctx, from, to)
		if err != nil && !stopped(ctx, err) {
			c.cannot("copy", from, err)
			err = nil
		}
		return err
	})
}

// eachTarget calls fn for each source with its target, which lies in the last
// argument if that is a folder.
func (c *call) eachTarget(args []string, fn func(from, to string) error) error {
	if len(args) < 2 {
		return applets.Usagef("name at least one source and a target")
	}
	last := args[len(args)-1]
	info, err := os.Stat(c.path(last))
	into := err == nil && info.IsDir()
	if !into && (len(args) > 2 || strings.HasSuffix(last, "/")) {
		return fmt.Errorf("the target '%s' is not a folder", last)
	}
	for _, from := range args[:len(args)-1] {
		to := last
		if into {
			to = strings.TrimSuffix(last, "/") + "/" + filepath.Base(from)
		}
		if err := fn(from, to); err != nil {
			return err
		}
	}
	return nil
}

// copy copies one file or tree.
func (cp copier) copy(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stat := os.Stat
	if cp.links {
		stat = os.Lstat
	}
	info, err := stat(cp.c.path(from))
	if err != nil {
		return err
	}
	target, err := os.Stat(cp.c.path(to))
	switch {
	case err == nil && os.SameFile(info, target):
		return fmt.Errorf("'%s' is the same file", to)
	case err == nil && cp.noOver && !target.IsDir():
		return nil
	case info.IsDir():
		return cp.copyTree(ctx, from, to, info)
	}
	if err := cp.copyOne(ctx, from, to, info); err != nil {
		return err
	}
	if cp.verbose {
		fmt.Fprintf(cp.c.out, "'%s' -> '%s'\n", from, to)
	}
	return nil
}

func (cp copier) copyTree(ctx context.Context, from, to string, info fs.FileInfo) error {
	if !cp.recursive {
		return errors.New("it is a folder; use cp -r")
	}
	if cp.seen[idOf(info)] {
		return fmt.Errorf("'%s' lies inside it", to)
	}
	entries, err := os.ReadDir(cp.c.path(from))
	if err != nil {
		return err
	}
	// Writable while we fill it, whatever it is going to be.
	if err := os.Mkdir(cp.c.path(to), info.Mode().Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make '%s': %w", to, reason(err))
	}
	if made, err := os.Stat(cp.c.path(to)); err == nil {
		cp.seen[idOf(made)] = true
	}
	for _, e := range entries {
		child := from + "/" + e.Name()
		if err := cp.copy(ctx, child, to+"/"+e.Name()); err != nil {
			if stopped(ctx, err) {
				return err
			}
			cp.c.cannot("copy", child, err)
		}
	}
	return cp.attributes(to, info)
}

// copyOne copies what is not a folder.
func (cp copier) copyOne(ctx context.Context, from, to string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	var err error
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		err = cp.copyLink(from, to)
	case fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		if !cp.recursive {
			err = cp.copyContent(ctx, from, to, info)
			break
		}
		os.Remove(cp.c.path(to))
		err = unix.Mknod(cp.c.path(to), st.Mode, int(st.Rdev))
	case 0:
		err = cp.copyContent(ctx, from, to, info)
	default:
		return errors.New("sockets cannot be copied")
	}
	if err != nil {
		return err
	}
	return cp.attributes(to, info)
}

func (cp copier) copyLink(from, to string) error {
	target, err := os.Readlink(cp.c.path(from))
	if err != nil {
		return err
	}
	if info, err := os.Lstat(cp.c.path(to)); err == nil && !info.IsDir() {
		os.Remove(cp.c.path(to))
	}
	return os.Symlink(target, cp.c.path(to))
}

func (cp copier) copyContent(ctx context.Context, from, to string, info fs.FileInfo) error {
	in, err := cp.c.open(ctx, from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := cp.create(ctx, to, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("cannot write '%s': %w", to, reason(err))
	}
	if _, err := io.Copy(guardedWriter{ctx, out}, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

func (cp copier) create(ctx context.Context, to string, mode fs.FileMode) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	out, err := openFile(ctx, cp.c.path(to), flags, mode)
	if err != nil && cp.force && os.Remove(cp.c.path(to)) == nil {
		out, err = os.OpenFile(cp.c.path(to), flags, mode)
	}
	return out, err
}

// attributes gives the copy the owner, mode and times of the original.
func (cp copier) attributes(to string, info fs.FileInfo) error {
	if !cp.keep {
		return nil
	}
	path, st := cp.c.path(to), info.Sys().(*syscall.Stat_t)
	if err := os.Lchown(path, int(st.Uid), int(st.Gid)); err != nil && os.Geteuid() == 0 {
		return fmt.Errorf("cannot set the owner of '%s': %w", to, reason(err))
	}
	times := []unix.Timespec{unix.Timespec(st.Atim), unix.Timespec(st.Mtim)}
	if info.Mode()&fs.ModeSymlink == 0 {
		if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
			return fmt.Errorf("cannot set the mode of '%s': %w", to, err)
		}
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("cannot set the times of '%s': %w", to, err)
	}
	return nil
}

func moveFiles(ctx context.Context, c *call) error {
	flags := c.flags()
	flags.BoolP("force", "f", false, "does nothing: there are no questions")
	keep := flags.BoolP("no-clobber", "n", false, "keep targets that exist")
	verbose := flags.BoolP("verbose", "v", false, "print each file moved")
	if err := c.parse(flags); err != nil {
		return err
	}
	return c.eachTarget(flags.Args(), func(from, to string) error {
		target, err := os.Lstat(c.path(to))
		if err == nil && *keep {
			return nil
		}
		if source, serr := os.Lstat(c.path(from)); err == nil && serr == nil && os.SameFile(source, target) {
			c.warn("cannot move '%s': '%s' is the same file", from, to)
			return nil
		}
		err = c.move(ctx, from, to)
		switch {
		case err != nil && stopped(ctx, err):
			return err
		case err != nil:
			c.cannot("move", from, err)
		case *verbose:
			fmt.Fprintf(c.out, "'%s' -> '%s'\n", from, to)
		}
		return nil
	})
}

// move renames, or copies and removes between file systems.
func (c *call) move(ctx context.Context, from, to string) error {
	err := unix.Rename(c.path(from), c.path(to))
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	before := c.code
	c.code = 0
	cp := copier{c: c, recursive: true, keep: true, links: true, force: true, seen: map[fileID]bool{}}
	if err := cp.copy(ctx, from, to); err != nil {
		return err
	}
	if c.code != 0 {
		return errors.New("not all of it could be copied; the original is kept")
	}
	c.code = before
	return remover{c: c, recursive: true}.remove(ctx, from)
}

func linkFiles(_ context.Context, c *call) error {
	flags := c.flags()
	symbolic := flags.BoolP("symbolic", "s", false, "make symbolic links")
	force := flags.BoolP("force", "f", false, "replace a target that exists")
	noFollow := flags.BoolP("no-dereference", "n", false, "treat a target that is a link to a folder as a file")
	verbose := flags.BoolP("verbose", "v", false, "print each link made")
	if err := c.parse(flags); err != nil {
		return err
	}
	link := os.Link
	if *symbolic {
		link = os.Symlink
	}
	args := flags.Args()
	if len(args) == 1 {
		args = append(args, ".")
	}
	one := func(from, to string) error {
		if *force {
			if info, err := os.Lstat(c.path(to)); err == nil && !info.IsDir() {
				os.Remove(c.path(to))
			}
		}
		source := from
		if !*symbolic {
			source = c.path(from)
		}
		if err := link(source, c.path(to)); err != nil {
			c.cannot("make the link", to, err)
		} else if *verbose {
			fmt.Fprintf(c.out, "'%s' -> '%s'\n", to, from)
		}
		return nil
	}
	if len(args) == 2 && *noFollow {
		if info, err := os.Lstat(c.path(args[1])); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return one(args[0], args[1])
		}
	}
	return c.eachTarget(args, one)
}

// parseMode parses the modes of chmod, such as 644, u+s or a=r,u+w, into a
// function from old mode bits to new ones. The old ones carry the file type,
// which tells X whether the file is a folder.
func parseMode(text string) (func(uint32) uint32, error) {
	if n, err := strconv.ParseUint(text, 8, 32); err == nil && n <= 0o7777 {
		return func(uint32) uint32 { return uint32(n) }, nil
	}
	var steps []func(uint32) uint32
	for clause := range strings.SplitSeq(text, ",") {
		step, err := parseClause(clause)
		if err != nil {
			return nil, applets.Usagef("%q is not a mode; use one like 644, u+x or a=r,u+w", text)
		}
		steps = append(steps, step...)
	}
	return func(mode uint32) uint32 {
		for _, step := range steps {
			mode = step(mode)
		}
		return mode & 0o7777
	}, nil
}

// parseClause parses one of the clauses, e.g. "go-w+x".
func parseClause(clause string) (steps []func(uint32) uint32, err error) {
	i := strings.IndexAny(clause, "+-=")
	if i < 0 {
		return nil, errors.New("no operator")
	}
	who, err := parseWho(clause[:i])
	if err != nil {
		return nil, err
	}
	for rest := clause[i:]; rest != ""; {
		op, n := rest[0], 1+len(rest[1:])
		if j := strings.IndexAny(rest[1:], "+-="); j >= 0 {
			n = 1 + j
		}
		letters := rest[1:n]
		if strings.Trim(letters, "rwxXst") != "" {
			return nil, errors.New("unknown letter")
		}
		steps = append(steps, func(mode uint32) uint32 { return applyMode(mode, who, op, letters) })
		rest = rest[n:]
	}
	return steps, nil
}

// parseWho returns the mask of the bits that ugoa stand for.
func parseWho(letters string) (uint32, error) {
	var mask uint32
	for _, r := range letters {
		switch r {
		case 'u':
			mask |= 0o4700
		case 'g':
			mask |= 0o2070
		case 'o':
			mask |= 0o0007
		case 'a':
			mask |= 0o6777
		default:
			return 0, errors.New("unknown user letter")
		}
	}
	if letters == "" {
		mask = 0o6777
	}
	return mask | 0o1000, nil
}

func applyMode(mode, who uint32, op byte, letters string) uint32 {
	var bits uint32
	for _, r := range letters {
		switch r {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if mode&0o111 != 0 || mode&unix.S_IFMT == unix.S_IFDIR {
				bits |= 0o111
			}
		case 's':
			bits |= 0o6000
		case 't':
			bits |= 0o1000
		}
	}
	bits &= who
	switch op {
	case '+':
		return mode | bits
	case '-':
		return mode &^ bits
	}
	return mode&^(who&0o777) | bits
}

func changeModes(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		return applets.Usagef("name a mode and files")
	}
	recursive := false
	args := c.args
	for len(args) > 0 && (args[0] == "-R" || args[0] == "--recursive" || args[0] == "--") {
		recursive = recursive || args[0] != "--"
		args = args[1:]
	}
	if len(args) < 2 {
		return applets.Usagef("name a mode and files")
	}
	change, err := parseMode(args[0])
	if err != nil {
		return err
	}
	return c.eachFile(ctx, args[1:], recursive, func(name string, st *unix.Stat_t) error {
		return unix.Chmod(c.path(name), change(st.Mode))
	}, "change the mode of")
}

// eachFile calls fn for files, and in folders if recursive; it warns of what
// fails.
func (c *call) eachFile(ctx context.Context, names []string, recursive bool, fn func(string, *unix.Stat_t) error, op string) error {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		var st unix.Stat_t
		err := unix.Stat(c.path(name), &st)
		if err == nil {
			err = fn(name, &st)
		}
		if err != nil {
			c.cannot(op, name, err)
			continue
		}
		if recursive && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			if err := c.eachFile(ctx, c.children(name), true, fn, op); err != nil {
				return err
			}
		}
	}
	return nil
}

// children lists what a folder holds, without symbolic links.
func (c *call) children(dir string) []string {
	entries, err := os.ReadDir(c.path(dir))
	if err != nil {
		c.cannot("read the folder", dir, err)
	}
	var names []string
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			names = append(names, strings.TrimSuffix(dir, "/")+"/"+e.Name())
		}
	}
	return names
}

func changeOwners(ctx context.Context, c *call) error {
	flags := c.flags()
	recursive := flags.BoolP("recursive", "R", false, "folders with all they hold")
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return applets.Usagef("name an owner and files")
	}
	owner, group, both := strings.Cut(flags.Arg(0), ":")
	uid, err := lookupID(owner, userID)
	if err != nil {
		return err
	}
	gid := -1
	if both {
		if gid, err = lookupID(group, groupID); err != nil {
			return err
		}
	}
	return c.eachFile(ctx, flags.Args()[1:], *recursive, func(name string, _ *unix.Stat_t) error {
		return unix.Chown(c.path(name), uid, gid)
	}, "change the owner of")
}

func makeTemporary(_ context.Context, c *call) error {
	flags := c.flags()
	directory := flags.BoolP("directory", "d", false, "make a folder")
	parent := flags.StringP("tmpdir", "p", "", "the folder to make it in; default $TMPDIR or /tmp")
	if err := c.parse(flags); err != nil {
		return err
	}
	template := flags.Arg(0)
	dir := *parent
	if template == "" || dir != "" {
		for _, d := range []string{c.getenv("TMPDIR"), "/tmp"} {
			if dir == "" {
				dir = d
			}
		}
		dir += "/"
	}
	if template == "" {
		template = "tmp.XXXXXXXXXX"
	}
	end := strings.LastIndex(template, "XXX") + 3
	start := len(strings.TrimRight(template[:max(end, 0)], "X"))
	if end < 3 {
		return applets.Usagef("the template %q must have at least three X in a row", template)
	}
	for range 100 {
		name := dir + template[:start] + randomName(end-start) + template[end:]
		err := makeNew(c.path(name), *directory)
		if err == nil {
			fmt.Fprintln(c.out, name)
			return nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot make '%s': %w", name, reason(err))
		}
	}
	return fmt.Errorf("cannot find a free name for %q", template)
}

func makeNew(path string, directory bool) error {
	if directory {
		return os.Mkdir(path, 0o700)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func randomName(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

func readLinks(_ context.Context, c *call) error {
	flags := c.flags()
	follow := flags.BoolP("canonicalize", "f", c.name == "realpath", "resolve all links on the way")
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return applets.Usagef("name a link")
	}
	for _, name := range flags.Args() {
		target, err := os.Readlink(c.path(name))
		if *follow {
			target, err = canonical(c.path(name))
		}
		if err != nil {
			c.cannot("resolve", name, err)
			continue
		}
		fmt.Fprintln(c.out, target)
	}
	return nil
}

// canonical resolves all links; the last element need not exist.
func canonical(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(filepath.Clean(path)))
	return filepath.Join(dir, filepath.Base(path)), err
}

func baseName(_ context.Context, c *call) error {
	if len(c.args) == 0 || len(c.args) > 2 {
		return applets.Usagef("name a path, and a suffix to cut off if there is one")
	}
	name := filepath.Base(c.args[0])
	if len(c.args) == 2 && name != c.args[1] {
		name = strings.TrimSuffix(name, c.args[1])
	}
	fmt.Fprintln(c.out, name)
	return nil
}

func dirName(_ context.Context, c *call) error {
	if len(c.args) == 0 {
		return applets.Usagef("name a path")
	}
	for _, a := range c.args {
		short := strings.TrimRight(a, "/")
		if short == "" && a != "" {
			short = "/"
		}
		fmt.Fprintln(c.out, filepath.Dir(short))
	}
	return nil
}

// isMountPoint is the mountpoint utility.
func isMountPoint(_ context.Context, c *call) error {
	flags := c.flags()
	quiet := flags.BoolP("quiet", "q", false, "print nothing")
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return applets.Usagef("name one folder")
	}
	name := flags.Arg(0)
	if _, err := os.Stat(c.path(name)); err != nil {
		return fmt.Errorf("cannot examine '%s': %w", name, reason(err))
	}
	mounted, err := mountinfo.Mounted(c.path(name))
	if err != nil {
		return fmt.Errorf("cannot examine '%s': %w", name, reason(err))
	}
	word := "is"
	if !mounted {
		word, c.code = "is not", 32
	}
	if !*quiet {
		fmt.Fprintf(c.out, "%s %s a mountpoint\n", name, word)
	}
	return nil
}

// syncDisks is the sync utility.
func syncDisks(ctx context.Context, c *call) error {
	flags := c.flags()
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		unix.Sync()
	}
	for _, name := range flags.Args() {
		f, err := openFile(ctx, c.path(name), os.O_RDONLY, 0)
		if err == nil {
			err = f.Sync()
			f.Close()
		}
		if err != nil {
			c.cannot("write out", name, err)
		}
	}
	return nil
}

// copyBlocks is the dd utility.
func copyBlocks(ctx context.Context, c *call) error {
	d, err := parseBlocks(c.args)
	if err != nil {
		return err
	}
	in, err := d.source(ctx, c)
	if err != nil {
		return fmt.Errorf("cannot read '%s': %w", d.from, reason(err))
	}
	out, err := d.target(ctx, c)
	if err != nil {
		return fmt.Errorf("cannot write '%s': %w", d.to, reason(err))
	}
	start := time.Now()
	n, err := d.copy(guardedWriter{ctx, out}, in)
	if f, ok := out.(*os.File); ok && d.to != "" {
		if serr := f.Sync(); err == nil && !errors.Is(serr, unix.EINVAL) && serr != nil {
			err = serr
		}
		f.Close()
	}
	seconds := time.Since(start).Seconds()
	fmt.Fprintf(c.err, "%d bytes (%s) copied, %.3f s, %s/s\n", n, applets.Size(uint64(n)), seconds, applets.Size(uint64(float64(n)/max(seconds, 1e-9))))
	if err != nil {
		return fmt.Errorf("cannot copy: %w", reason(err))
	}
	return nil
}

// blocks are the operands of dd.
type blocks struct {
	from, to               string
	size, count, skip, pos int64
	keep                   bool // conv=notrunc
}

func parseBlocks(args []string) (blocks, error) {
	d := blocks{size: 512, count: -1}
	numbers := map[string]*int64{"bs": &d.size, "count": &d.count, "skip": &d.skip, "seek": &d.pos}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		switch {
		case name == "if":
			d.from = value
		case name == "of":
			d.to = value
		case name == "conv":
			d.keep = strings.Contains(value, "notrunc")
		case name == "status":
		case numbers[name] != nil:
			n, err := parseSize(value)
			if err != nil || n < 0 {
				return d, applets.Usagef("%q is not a number of %s", value, name)
			}
			*numbers[name] = n
		default:
			return d, applets.Usagef("unknown operand %q; use if, of, bs, count, skip, seek, conv=notrunc", a)
		}
	}
	if d.size < 1 || d.size > 256<<20 {
		return d, applets.Usagef("bs must be between 1 and 256M")
	}
	return d, nil
}

// parseSize parses a number with a suffix k, M, G or T, all binary.
func parseSize(text string) (int64, error) {
	const suffixes = "KMGT"
	upper := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(text), "B"), "I")
	shift := 0
	if upper != "" {
		if i := strings.IndexByte(suffixes, upper[len(upper)-1]); i >= 0 {
			shift, upper = 10*(i+1), upper[:len(upper)-1]
		}
	}
	n, err := strconv.ParseInt(upper, 10, 64)
	if err != nil || n<<shift>>shift != n {
		return 0, fmt.Errorf("%q is not a size; use one like 512, 4k or 1G", text)
	}
	return n << shift, nil
}

func (d blocks) source(ctx context.Context, c *call) (io.Reader, error) {
	in := c.in
	if d.from != "" {
		f, err := c.open(ctx, d.from)
		if err != nil {
			return nil, err
		}
		in = f
		if _, err := f.file.Seek(d.skip*d.size, io.SeekStart); err == nil {
			d.skip = 0
		}
	}
	if _, err := io.CopyN(io.Discard, in, d.skip*d.size); err != nil && err != io.EOF {
		return nil, err
	}
	if d.count >= 0 {
		in = io.LimitReader(in, d.count*d.size)
	}
	return in, nil
}

func (d blocks) target(ctx context.Context, c *call) (io.Writer, error) {
	if d.to == "" {
		return c.out, nil
	}
	flags := os.O_WRONLY | os.O_CREATE
	if d.pos == 0 && !d.keep {
		flags |= os.O_TRUNC
	}
	f, err := openFile(ctx, c.path(d.to), flags, 0o666)
	if err != nil {
		return nil, err
	}
	if d.pos > 0 {
		if _, err := f.Seek(d.pos*d.size, io.SeekStart); err != nil {
			f.Close()
			return nil, err
		}
		if !d.keep {
			f.Truncate(d.pos * d.size)
		}
	}
	return f, nil
}

// copy copies in blocks of the given size, which tapes and raw devices mind.
func (d blocks) copy(out io.Writer, in io.Reader) (total int64, err error) {
	buf := make([]byte, d.size)
	for {
		n, rerr := io.ReadFull(in, buf)
		w, werr := out.Write(buf[:n])
		total += int64(w)
		switch {
		case werr != nil:
			return total, werr
		case rerr == io.EOF || rerr == io.ErrUnexpectedEOF:
			return total, nil
		case rerr != nil:
			return total, rerr
		}
	}
}
