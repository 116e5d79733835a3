package shell

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"ichor/applets"
)

// lister is one run of ls.
type lister struct {
	c                                   *call
	all, almost, long, directory        bool
	recursive, human, reverse, byTime   bool
	bySize, classify, one, inode, plain bool
	follow                              bool
	width                               int
	blocks                              int // listings printed so far
}

// entry is a file as ls shows it.
type entry struct {
	name string
	path string
	st   unix.Stat_t
}

func listFiles(ctx context.Context, c *call) error {
	l := lister{c: c}
	flags := c.flags()
	flags.BoolVarP(&l.all, "all", "a", false, "show names that start with a dot")
	flags.BoolVarP(&l.almost, "almost-all", "A", false, "the same without . and ..")
	flags.BoolVarP(&l.long, "long", "l", false, "show mode, links, owner, group, size and time")
	flags.BoolVarP(&l.directory, "directory", "d", false, "show folders themselves, not what they hold")
	flags.BoolVarP(&l.recursive, "recursive", "R", false, "show folders in folders")
	flags.BoolVarP(&l.human, "human-readable", "h", false, "show sizes like 1.5M")
	flags.BoolVarP(&l.reverse, "reverse", "r", false, "reverse the order")
	flags.BoolVarP(&l.byTime, "time", "t", false, "sort by time of change, newest first")
	flags.BoolVarP(&l.bySize, "size", "S", false, "sort by size, largest first")
	flags.BoolVarP(&l.classify, "classify", "F", false, "mark folders with /, programs with *, links with @")
	flags.BoolVarP(&l.one, "one", "1", false, "show one name a line")
	flags.BoolVarP(&l.inode, "inode", "i", false, "show inode numbers")
	flags.BoolVarP(&l.plain, "numeric-uid-gid", "n", false, "long, with numbers for owner and group")
	flags.BoolVarP(&l.follow, "dereference", "L", false, "show what links lead to")
	if err := c.parse(flags); err != nil {
		return err
	}
	l.long = l.long || l.plain
	columns, _, terminal := c.screen()
	l.width = columns
	l.one = l.one || !terminal
	names := flags.Args()
	if len(names) == 0 {
		names = []string{"."}
	}
	return l.list(ctx, names)
}

// list shows files first, then the content of folders.
func (l *lister) list(ctx context.Context, names []string) error {
	var files, dirs []entry
	for _, name := range names {
		e, err := l.stat(name, l.c.path(name), l.follow || !l.long && !l.directory && !l.classify)
		switch {
		case err != nil:
			l.c.cannot("access", name, err)
			l.c.code = 2
		case e.isDir() && !l.directory:
			dirs = append(dirs, e)
		default:
			files = append(files, e)
		}
	}
	l.sort(files)
	l.sort(dirs)
	if len(files) > 0 {
		l.print(files)
		l.blocks++
	}
	titled := len(names) > 1 || l.recursive
	for _, d := range dirs {
		if err := l.listDir(ctx, d, titled); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) stat(name, path string, follow bool) (entry, error) {
	e := entry{name: name, path: path}
	if follow && unix.Stat(path, &e.st) == nil {
		return e, nil
	}
	err := unix.Lstat(path, &e.st)
	if err == nil && l.long && !l.directory && e.kind() == unix.S_IFLNK && strings.HasSuffix(name, "/") {
		err = unix.Stat(path, &e.st)
	}
	return e, err
}

func (e entry) kind() uint32 { return e.st.Mode & unix.S_IFMT }
func (e entry) isDir() bool  { return e.kind() == unix.S_IFDIR }

func (l *lister) listDir(ctx context.Context, dir entry, titled bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.blocks > 0 {
		fmt.Fprintln(l.c.out)
	}
	if titled {
		fmt.Fprintf(l.c.out, "%s:\n", dir.name)
	}
	l.blocks++
	entries := l.read(dir)
	if l.long {
		var blocks int64
		for _, e := range entries {
			blocks += e.st.Blocks
		}
		fmt.Fprintf(l.c.out, "total %s\n", l.size(blocks*512, blocks/2))
	}
	l.print(entries)
	if !l.recursive {
		return nil
	}
	for _, e := range entries {
		if !e.isDir() || e.name == "." || e.name == ".." {
			continue
		}
		e.name = strings.TrimSuffix(dir.name, "/") + "/" + e.name
		if err := l.listDir(ctx, e, true); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) read(dir entry) []entry {
	list, err := os.ReadDir(dir.path)
	if err != nil {
		l.c.cannot("read the folder", dir.name, err)
	}
	var names []string
	if l.all {
		names = append(names, ".", "..")
	}
	for _, e := range list {
		if l.all || l.almost || e.Name()[0] != '.' {
			names = append(names, e.Name())
		}
	}
	var entries []entry
	for _, name := range names {
		e, err := l.stat(name, strings.TrimSuffix(dir.path, "/")+"/"+name, l.follow)
		if err != nil {
			l.c.cannot("access", name, err)
			continue
		}
		entries = append(entries, e)
	}
	l.sort(entries)
	return entries
}

func (l *lister) sort(entries []entry) {
	slices.SortStableFunc(entries, func(a, b entry) int {
		order := 0
		switch {
		case l.bySize:
			order = cmp.Compare(b.st.Size, a.st.Size)
		case l.byTime:
			order = cmp.Compare(b.st.Mtim.Nano(), a.st.Mtim.Nano())
		}
		if order == 0 {
			order = strings.Compare(a.name, b.name)
		}
		if l.reverse {
			return -order
		}
		return order
	})
}

func (l *lister) print(entries []entry) {
	if l.long {
		l.printLong(entries)
		return
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = l.label(e)
		if l.inode {
			names[i] = fmt.Sprintf("%d %s", e.st.Ino, names[i])
		}
	}
	if l.one {
		for _, n := range names {
			fmt.Fprintln(l.c.out, n)
		}
		return
	}
	fmt.Fprint(l.c.out, inColumns(names, l.width))
}

// label is the name; on a terminal without what would steer it.
func (l *lister) label(e entry) string {
	name := e.name
	if !l.one {
		name = printable(name)
	}
	if !l.classify {
		return name
	}
	switch {
	case e.isDir():
		return name + "/"
	case e.kind() == unix.S_IFLNK:
		return name + "@"
	case e.kind() == unix.S_IFIFO:
		return name + "|"
	case e.kind() == unix.S_IFSOCK:
		return name + "="
	case e.kind() == unix.S_IFREG && e.st.Mode&0o111 != 0:
		return name + "*"
	}
	return name
}

// printable replaces control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

func (l *lister) printLong(entries []entry) {
	rows := make([][]string, len(entries))
	widths := make([]int, 6)
	for i, e := range entries {
		rows[i] = l.row(e)
		for j := range widths {
			widths[j] = max(widths[j], len(rows[i][j]))
		}
	}
	for _, r := range rows {
		if l.inode {
			fmt.Fprintf(l.c.out, "%*s ", widths[0], r[0])
		}
		fmt.Fprintf(l.c.out, "%s %*s %-*s %-*s %*s %s %s\n",
			r[1], widths[2], r[2], widths[3], r[3], widths[4], r[4], widths[5], r[5], r[6], r[7])
	}
}

// row returns inode, mode, links, owner, group, size, time and name.
func (l *lister) row(e entry) []string {
	owner, group := userName(e.st.Uid), groupName(e.st.Gid)
	if l.plain {
		owner, group = strconv.Itoa(int(e.st.Uid)), strconv.Itoa(int(e.st.Gid))
	}
	size := l.size(e.st.Size, e.st.Size)
	if k := e.kind(); k == unix.S_IFBLK || k == unix.S_IFCHR {
		size = fmt.Sprintf("%d, %d", unix.Major(e.st.Rdev), unix.Minor(e.st.Rdev))
	}
	name := l.label(e)
	if e.kind() == unix.S_IFLNK {
		if target, err := os.Readlink(e.path); err == nil {
			name = strings.TrimSuffix(name, "@") + " -> " + printable(target)
		}
	}
	return []string{
		strconv.FormatUint(e.st.Ino, 10), modeString(e.st.Mode), strconv.FormatUint(uint64(e.st.Nlink), 10),
		owner, group, size, lsTime(time.Unix(e.st.Mtim.Unix())), name,
	}
}

func (l *lister) size(bytes, plain int64) string {
	if l.human {
		return humanSize(bytes)
	}
	return strconv.FormatInt(plain, 10)
}

// lsTime shows the time of day of the last half year, and the year before it.
func lsTime(t time.Time) string {
	age := time.Since(t)
	if age < 0 || age > 182*24*time.Hour {
		return t.Format("Jan _2  2006")
	}
	return t.Format("Jan _2 15:04")
}

// humanSize prints a size in at most four characters, rounded up, as ls -h.
func humanSize(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	size, unit := float64(n)/1024, 0
	for size > 1023 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	if tenths := int64(size * 10); float64(tenths) < size*10 {
		size = float64(tenths+1) / 10
	}
	if size >= 10 {
		whole := int64(size)
		if float64(whole) < size {
			whole++
		}
		return fmt.Sprintf("%d%c", whole, units[unit])
	}
	return fmt.Sprintf("%.1f%c", size, units[unit])
}

// modeString prints a mode the way ls -l does.
func modeString(mode uint32) string {
	kinds := map[uint32]byte{unix.S_IFDIR: 'd', unix.S_IFLNK: 'l', unix.S_IFBLK: 'b', unix.S_IFCHR: 'c', unix.S_IFIFO: 'p', unix.S_IFSOCK: 's'}
	b := []byte("-rwxrwxrwx")
	if k, ok := kinds[mode&unix.S_IFMT]; ok {
		b[0] = k
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[i+1] = '-'
		}
	}
	special := func(bit uint32, at int, with, without byte) {
		if mode&bit == 0 {
			return
		}
		if b[at] == 'x' {
			b[at] = with
		} else {
			b[at] = without
		}
	}
	special(unix.S_ISUID, 3, 's', 'S')
	special(unix.S_ISGID, 6, 's', 'S')
	special(unix.S_ISVTX, 9, 't', 'T')
	return string(b)
}

// fileType names the type of a file.
func fileType(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFBLK:
		return "block special file"
	case unix.S_IFCHR:
		return "character special file"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	}
	if st.Size == 0 {
		return "regular empty file"
	}
	return "regular file"
}

func statFiles(_ context.Context, c *call) error {
	flags := c.flags()
	format := flags.StringP("format", "c", "", "print this instead; see above")
	follow := flags.BoolP("dereference", "L", false, "follow links")
	system := flags.BoolP("file-system", "f", false, "show the file system that the file is on")
	if err := c.parse(flags); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return applets.Usagef("name a file")
	}
	for _, name := range flags.Args() {
		if err := c.stat(name, *format, *follow, *system); err != nil {
			c.cannot("stat", name, err)
		}
	}
	return nil
}

func (c *call) stat(name, format string, follow, system bool) error {
	if system {
		return c.statSystem(name)
	}
	var st unix.Stat_t
	stat := unix.Lstat
	if follow {
		stat = unix.Stat
	}
	if err := stat(c.path(name), &st); err != nil {
		return err
	}
	if format == "" {
		format = "  File: %N\n  Size: %-10s Blocks: %-10b IO Block: %o  %F\nDevice: %Hd,%Ld  Inode: %-10i Links: %h%r\n" +
			"Access: (%04a/%A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)\nAccess: %x\nModify: %y\nChange: %z"
	}
	fmt.Fprintln(c.out, expandFormat(format, func(verb string) (string, bool) { return c.statField(verb, name, &st) }))
	return nil
}

// expandFormat replaces %verbs, which may have a width as in %-10s.
func expandFormat(format string, field func(verb string) (string, bool)) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		j := i + 1
		for j < len(format) && strings.IndexByte("-0123456789", format[j]) >= 0 {
			j++
		}
		end := min(j+1, len(format))
		if strings.HasPrefix(format[j:], "Hd") || strings.HasPrefix(format[j:], "Ld") {
			end++
		}
		value, ok := field(format[j:end])
		if !ok {
			value = format[i:end]
		}
		b.WriteString(padded(value, format[i+1:j]))
		i = end - 1
	}
	return b.String()
}

// padded pads a value to a width such as "-10" or "04".
func padded(value, width string) string {
	n, err := strconv.Atoi(width)
	if err != nil || n > 1000 || n < -1000 {
		return value
	}
	if width[0] == '0' {
		return strings.Repeat("0", max(0, n-len(value))) + value
	}
	return fmt.Sprintf("%*s", n, value)
}

func (c *call) statField(verb, name string, st *unix.Stat_t) (string, bool) {
	const full = "2006-01-02 15:04:05.000000000 -0700"
	num := func(n uint64) (string, bool) { return strconv.FormatUint(n, 10), true }
	when := func(t unix.Timespec) time.Time { return time.Unix(t.Unix()) }
	switch verb {
	case "n":
		return name, true
	case "N":
		if target, err := os.Readlink(c.path(name)); err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return fmt.Sprintf("'%s' -> '%s'", name, target), true
		}
		return name, true
	case "s":
		return num(uint64(st.Size))
	case "b":
		return num(uint64(st.Blocks))
	case "B":
		return "512", true
	case "o":
		return num(uint64(st.Blksize))
	case "i":
		return num(st.Ino)
	case "h":
		return num(uint64(st.Nlink))
	case "d":
		return num(uint64(st.Dev))
	case "Hd":
		return num(uint64(unix.Major(uint64(st.Dev))))
	case "Ld":
		return num(uint64(unix.Minor(uint64(st.Dev))))
	case "t":
		return strconv.FormatUint(uint64(unix.Major(st.Rdev)), 16), true
	case "T":
		return strconv.FormatUint(uint64(unix.Minor(st.Rdev)), 16), true
	case "r":
		if k := st.Mode & unix.S_IFMT; k != unix.S_IFBLK && k != unix.S_IFCHR {
			return "", true
		}
		return fmt.Sprintf("  Device type: %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), true
	case "a":
		return strconv.FormatUint(uint64(st.Mode&0o7777), 8), true
	case "A":
		return modeString(st.Mode), true
	case "f":
		return strconv.FormatUint(uint64(st.Mode), 16), true
	case "F":
		return fileType(st), true
	case "u":
		return num(uint64(st.Uid))
	case "g":
		return num(uint64(st.Gid))
	case "U":
		return userName(st.Uid), true
	case "G":
		return groupName(st.Gid), true
	case "x":
		return when(st.Atim).Format(full), true
	case "y":
		return when(st.Mtim).Format(full), true
	case "z":
		return when(st.Ctim).Format(full), true
	case "X":
		return strconv.FormatInt(when(st.Atim).Unix(), 10), true
	case "Y":
		return strconv.FormatInt(when(st.Mtim).Unix(), 10), true
	case "Z":
		return strconv.FormatInt(when(st.Ctim).Unix(), 10), true
	case "%":
		return "%", true
	}
	return "", false
}

func (c *call) statSystem(name string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(c.path(name), &fs); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "  File: \"%s\"\n  Type: %#x  Block size: %d  Name length: %d\n"+
		"Blocks: Total: %d  Free: %d  Available: %d\nInodes: Total: %d  Free: %d\n",
		name, uint64(fs.Type), fs.Bsize, fs.Namelen, fs.Blocks, fs.Bfree, fs.Bavail, fs.Files, fs.Ffree)
	return nil
}

// counter is one run of du.
type counter struct {
	c                         *call
	all, summary, human, same bool
	apparent                  bool
	depth                     int
	unit                      int64
	seen                      map[fileID]bool
}

func countSpace(ctx context.Context, c *call) error {
	flags := c.flags()
	d := counter{c: c, seen: map[fileID]bool{}}
	flags.BoolVarP(&d.all, "all", "a", false, "show files too")
	flags.BoolVarP(&d.summary, "summarize", "s", false, "show a total for each argument only")
	flags.BoolVarP(&d.human, "human-readable", "h", false, "show sizes like 1.5M")
	flags.BoolVarP(&d.same, "one-file-system", "x", false, "do not enter other file systems")
	bytes := flags.BoolP("bytes", "b", false, "count the bytes of files, not the space they take")
	flags.BoolP("kilobytes", "k", false, "count in KiB, as is the default")
	mega := flags.BoolP("megabytes", "m", false, "count in MiB")
	total := flags.BoolP("total", "c", false, "show a grand total")
	flags.IntVarP(&d.depth, "max-depth", "d", -1, "show folders at most `N` levels down")
	if err := c.parse(flags); err != nil {
		return err
	}
	d.unit, d.apparent = 1024, *bytes
	switch {
	case *bytes:
		d.unit = 1
	case *mega:
		d.unit = 1 << 20
	}
	if d.summary {
		d.depth = 0
	}
	names := flags.Args()
	if len(names) == 0 {
		names = []string{"."}
	}
	var sum int64
	for _, name := range names {
		n, err := d.count(ctx, name, 0, 0)
		if err != nil {
			return err
		}
		sum += n
	}
	if *total {
		d.show(sum, "total")
	}
	return nil
}

// count returns the size of a tree and shows it if it is not too deep.
func (d *counter) count(ctx context.Context, name string, level int, dev uint64) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(d.c.path(name), &st); err != nil {
		d.c.cannot("access", name, err)
		return 0, nil
	}
	id := fileID{uint64(st.Dev), st.Ino}
	if (d.same && level > 0 && uint64(st.Dev) != dev) || d.seen[id] {
		return 0, nil
	}
	directory := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Nlink > 1 || directory {
		d.seen[id] = true
	}
	size := st.Blocks * 512
	if d.apparent {
		size = st.Size
	}
	if directory {
		for _, child := range d.read(name) {
			n, err := d.count(ctx, child, level+1, uint64(st.Dev))
			if err != nil {
				return 0, err
			}
			size += n
		}
	}
	if (directory || d.all || level == 0) && (d.depth < 0 || level <= d.depth) {
		d.show(size, name)
	}
	return size, nil
}

func (d *counter) read(dir string) []string {
	entries, err := os.ReadDir(d.c.path(dir))
	if err != nil {
		d.c.cannot("read the folder", dir, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(dir, "/") + "/" + e.Name()
	}
	return names
}

func (d *counter) show(size int64, name string) {
	if d.human {
		fmt.Fprintf(d.c.out, "%s\t%s\n", humanSize(size), name)
		return
	}
	fmt.Fprintf(d.c.out, "%d\t%s\n", (size+d.unit-1)/d.unit, name)
}

// showSpace is the df utility.
func showSpace(_ context.Context, c *call) error {
	flags := c.flags()
	human := flags.BoolP("human-readable", "h", false, "show sizes like 1.5M")
	inodes := flags.BoolP("inodes", "i", false, "show inodes instead of space")
	all := flags.BoolP("all", "a", false, "show file systems without space too")
	types := flags.BoolP("print-type", "T", false, "show the type of each file system")
	flags.BoolP("kilobytes", "k", false, "count in KiB, as is the default")
	if err := c.parse(flags); err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("cannot read the mount table: %w; is /proc mounted?", reason(err))
	}
	if flags.NArg() > 0 {
		mounts, *all = c.mountsOf(flags.Args(), mounts), true
	}
	head := []string{"Filesystem", "Type", "1K-blocks", "Used", "Available", "Use%", "Mounted on"}
	if *human {
		head[2] = "Size"
	}
	if *inodes {
		copy(head[2:], []string{"Inodes", "IUsed", "IFree", "IUse%"})
	}
	rows := [][]string{head}
	shown := map[string]bool{}
	for i, m := range mounts {
		if covered(mounts[i+1:], m) {
			continue
		}
		cells, device := spaceOf(m.Mountpoint, *human, *inodes), fmt.Sprint(m.Major, ":", m.Minor)
		if !*all && (cells[0] == "0" || shown[device]) {
			continue
		}
		shown[device] = true
		rows = append(rows, append(append([]string{m.Source, m.FSType}, cells...), m.Mountpoint))
	}
	c.printSpace(rows, *types)
	return nil
}

// printSpace prints the rows of df, numbers to the right.
func (c *call) printSpace(rows [][]string, types bool) {
	widths := make([]int, 7)
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, r := range rows {
		line := fmt.Sprintf("%-*s ", widths[0], r[0])
		if types {
			line += fmt.Sprintf("%-*s ", widths[1], r[1])
		}
		for i := 2; i < 6; i++ {
			line += fmt.Sprintf("%*s ", widths[i], r[i])
		}
		fmt.Fprintln(c.out, line+r[6])
	}
}

// covered tells whether a later mount lies over a mount.
func covered(later []*mountinfo.Info, m *mountinfo.Info) bool {
	return slices.ContainsFunc(later, func(o *mountinfo.Info) bool { return o.Mountpoint == m.Mountpoint })
}

// mountsOf returns the mounts that files lie on.
func (c *call) mountsOf(names []string, mounts []*mountinfo.Info) []*mountinfo.Info {
	var found []*mountinfo.Info
	for _, name := range names {
		path, err := canonical(c.path(name))
		if err == nil {
			_, err = os.Lstat(path)
		}
		if err != nil {
			c.cannot("access", name, err)
			continue
		}
		var best *mountinfo.Info
		for _, m := range mounts {
			inside := m.Mountpoint == "/" || path == m.Mountpoint || strings.HasPrefix(path, m.Mountpoint+"/")
			if inside && (best == nil || len(m.Mountpoint) >= len(best.Mountpoint)) {
				best = m
			}
		}
		if best != nil {
			found = append(found, best)
		}
	}
	return found
}

// spaceOf returns total, used, free and percentage.
func spaceOf(mountpoint string, human, inodes bool) []string {
	var fs unix.Statfs_t
	if err := unix.Statfs(mountpoint, &fs); err != nil || fs.Blocks == 0 {
		return []string{"0", "0", "0", "-"}
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	if inodes {
		return []string{number(fs.Files), number(fs.Files - fs.Ffree), number(fs.Ffree), percent(fs.Files-fs.Ffree, fs.Files)}
	}
	size := uint64(fs.Frsize)
	if size == 0 {
		size = uint64(fs.Bsize)
	}
	used := fs.Blocks - fs.Bfree
	show := func(blocks uint64) string {
		if human {
			return humanSize(int64(blocks * size))
		}
		return number(blocks * size / 1024)
	}
	return []string{show(fs.Blocks), show(used), show(fs.Bavail), percent(used, used+fs.Bavail)}
}

// percent rounds up, as df does: 100% means full.
func percent(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", (part*100+whole-1)/whole)
}

// typeLetter returns the letter that find knows a file type by.
func typeLetter(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "f"
	case fs.ModeDir:
		return "d"
	case fs.ModeSymlink:
		return "l"
	case fs.ModeNamedPipe:
		return "p"
	case fs.ModeSocket:
		return "s"
	case fs.ModeDevice:
		return "b"
	}
	return "c"
}
