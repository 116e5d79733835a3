package rootfs

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tool returns the path of a program; a missing one skips the test at home and
// fails it in CI.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "no "+name)
	}
	return path
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

var when = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// sampleTree has one of everything.
func sampleTree(t *testing.T) *Tree {
	t.Helper()
	tree, err := NewTree([]Entry{
		{"/", dir | 0o755, "", ""},
		{"/usr", dir | 0o755, "", ""},
		{"/usr/bin", dir | 0o700, "", ""},
		{"/bin", link, "usr/bin", ""},
		{"/tmp", dir | fs.ModeSticky | 0o777, "", ""},
		{"/usr/bin-file", 0o444, "abc", ""},
		{"/bin/text", 0o640, "hello\n", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, bytes.Repeat([]byte("x"), 5001), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tree.File("/bin/big", 0o755, source); err != nil {
		t.Fatal(err)
	}
	return tree
}

func paths(tree *Tree) []string {
	var p []string
	for _, n := range tree.Nodes() {
		p = append(p, n.Path)
	}
	return p
}

func TestTree(t *testing.T) {
	tree := sampleTree(t)
	want := []string{"/", "/bin", "/tmp", "/usr", "/usr/bin", "/usr/bin/big", "/usr/bin/text", "/usr/bin-file"}
	if got := paths(tree); !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	if n, ok := tree.Find("/bin/big"); !ok || n.Path != "/usr/bin/big" || n.Size != 5001 {
		t.Errorf("Find through a symlink: %+v, %v", n, ok)
	}
	if err := tree.Dir("/bin", 0o755); err != nil {
		t.Errorf("a folder that a symlink leads to: %v", err)
	}
	if err := tree.DirAll("/bin/a/b"); err != nil {
		t.Error(err)
	}
	if n, ok := tree.Find("/usr/bin/a/b"); !ok || !n.Mode.IsDir() {
		t.Error("DirAll made no folder")
	}
}

func TestTreeRefuses(t *testing.T) {
	tree := sampleTree(t)
	if err := tree.Symlink("/loop", "loop"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a second file":         tree.Text("/bin/text", 0o644, ""),
		"a relative path":       tree.Text("bin/x", 0o644, ""),
		"no folder":             tree.Text("/none/x", 0o644, ""),
		"a file as a folder":    tree.Text("/bin/text/x", 0o644, ""),
		"a circle of symlinks":  tree.Text("/loop/x", 0o644, ""),
		"a symlink to nothing":  tree.Symlink("/x", ""),
		"a source that is gone": tree.File("/x", 0o644, "/nonexistent"),
		"a folder as a source":  tree.File("/x", 0o644, "/"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestCPIO has GNU cpio list and extract what we wrote.
func TestCPIO(t *testing.T) {
	cpio := tool(t, "cpio")
	tree := sampleTree(t)
	if err := tree.Device("/tmp/null", 0o666, 1, 3); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tree.WriteCPIO(&archive, when); err != nil {
		t.Fatal(err)
	}
	if archive.Len()%4 != 0 {
		t.Errorf("archive of %d bytes, no multiple of 4", archive.Len())
	}
	cmd := exec.Command(cpio, "-itv", "--numeric-uid-gid", "--quiet")
	cmd.Stdin = bytes.NewReader(archive.Bytes())
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[2]+":"+f[3]+" "+strings.Join(f[4:], " "))
	}
	want := []string{
		"lrwxrwxrwx 0:0 7 May 4 03:02 bin -> usr/bin",
		"drwxrwxrwt 0:0 0 May 4 03:02 tmp",
		"crw-rw-rw- 0:0 1, 3 May 4 03:02 tmp/null",
		"drwxr-xr-x 0:0 0 May 4 03:02 usr",
		"drwx------ 0:0 0 May 4 03:02 usr/bin",
		"-rwxr-xr-x 0:0 5001 May 4 03:02 usr/bin/big",
		"-rw-r----- 0:0 6 May 4 03:02 usr/bin/text",
		"-r--r--r-- 0:0 3 May 4 03:02 usr/bin-file",
	}
	if time.Since(when) > 0 && !slices.Equal(stripDates(got), stripDates(want)) {
		t.Errorf("cpio lists\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// stripDates drops the date, whose form depends on how long it is ago.
func stripDates(lines []string) []string {
	var out []string
	for _, l := range lines {
		head, tail, _ := strings.Cut(l, " May 4 ")
		_, tail, _ = strings.Cut(strings.TrimLeft(tail, " "), " ")
		out = append(out, head+" "+strings.TrimLeft(tail, " "))
	}
	return out
}

// TestSquashfs has unsquashfs list what mksquashfs made of our tree, and makes
// it twice.
func TestSquashfs(t *testing.T) {
	tool(t, "mksquashfs")
	unsquashfs := tool(t, "unsquashfs")
	tree := sampleTree(t)
	in := Inputs{Time: when, Level: 3, Block: 1 << 17}
	folder := t.TempDir()
	var images [2][]byte
	for i := range images {
		file := filepath.Join(folder, "image"+string(rune('0'+i)))
		if err := tree.WriteSquashfs(file, in); err != nil {
			t.Fatal(err)
		}
		images[i], _ = os.ReadFile(file)
		t.Setenv("SOURCE_DATE_EPOCH", "1")  // must not matter,
		time.Sleep(1100 * time.Millisecond) // nor must the clock
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of the same tree differ")
	}
	cmd := exec.Command(unsquashfs, "-lln", filepath.Join(folder, "image0"))
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, strings.Join(f, " "))
	}
	for _, want := range []string{
		"drwxr-xr-x 0/0 66 2026-05-04 03:02 squashfs-root",
		"lrwxrwxrwx 0/0 7 2026-05-04 03:02 squashfs-root/bin -> usr/bin",
		"drwxrwxrwt 0/0 3 2026-05-04 03:02 squashfs-root/tmp",
		"drwx------ 0/0 42 2026-05-04 03:02 squashfs-root/usr/bin",
		"-rwxr-xr-x 0/0 5001 2026-05-04 03:02 squashfs-root/usr/bin/big",
		"-rw-r----- 0/0 6 2026-05-04 03:02 squashfs-root/usr/bin/text",
	} {
		if !slices.ContainsFunc(got, func(l string) bool { return sameButSize(l, want) }) {
			t.Errorf("unsquashfs lists\n%s\nwithout %q", strings.Join(got, "\n"), want)
		}
	}
	if len(got) != len(tree.Nodes()) {
		t.Errorf("unsquashfs lists %d entries, the tree has %d", len(got), len(tree.Nodes()))
	}
}

// sameButSize compares lines of a listing, but for the sizes of folders, which
// are those of squashfs.
func sameButSize(a, b string) bool {
	f, g := strings.Fields(a), strings.Fields(b)
	if len(f) < 3 || len(g) < 3 {
		return false
	}
	if strings.HasPrefix(a, "d") {
		f[2] = g[2]
	}
	return slices.Equal(f, g)
}

func TestSquashfsFails(t *testing.T) {
	tool(t, "mksquashfs")
	err := sampleTree(t).WriteSquashfs("/nonexistent/image", Inputs{Time: when, Level: 3, Block: 1 << 17})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/image") {
		t.Errorf("error %v, want one with what mksquashfs said", err)
	}
}

func TestTableIsConsistent(t *testing.T) {
	tree, err := NewTree(Table)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range tree.Nodes() {
		if n.Mode&fs.ModeSymlink == 0 && n.Mode&fs.ModeSticky == 0 && n.Mode.Perm()&0o022 != 0 {
			t.Errorf("%s is writable by others: %v", n.Path, n.Mode)
		}
		if n.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s has the rights of its owner: %v", n.Path, n.Mode)
		}
	}
	for _, p := range []string{"/sbin", "/bin", "/lib", "/lib64"} {
		if n, ok := tree.Find(p); !ok || !n.Mode.IsDir() {
			t.Errorf("%s does not lead to a folder", p)
		}
	}
}
