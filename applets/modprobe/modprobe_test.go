package modprobe

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ichor/applets"
	"ichor/rootfs/modules"
)

// fakeTree has an index without modules.
func fakeTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "usr/lib/modules/1.0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"modules.dep":     "kernel/a-one.ko: kernel/b.ko\nkernel/b.ko:\n",
		"modules.alias":   "alias dev:1* a_one\nalias both a_one\nalias both b\n",
		"modules.softdep": "softdep b post: built\n",
		"modules.builtin": "kernel/built.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func call(args ...string) (out string, err error) {
	var b bytes.Buffer
	env := &applets.Env{Stdio: applets.Stdio{Out: &b, Err: &b}, Name: "modprobe"}
	err = Run(context.Background(), env, args)
	return b.String(), err
}

func TestShowDepends(t *testing.T) {
	root := fakeTree(t)
	dir := filepath.Join(root, "usr/lib/modules/1.0")
	for _, test := range []struct{ args, want string }{
		{"-D a-one", "insmod DIR/kernel/b.ko \nbuiltin built\ninsmod DIR/kernel/a-one.ko \n"},
		{"-D a_one x=1 y=2", "insmod DIR/kernel/b.ko \nbuiltin built\ninsmod DIR/kernel/a-one.ko x=1 y=2\n"},
		{"--show-depends dev:123", "insmod DIR/kernel/b.ko \nbuiltin built\ninsmod DIR/kernel/a-one.ko \n"},
		{"-n -v b", "insmod DIR/kernel/b.ko \nbuiltin built\n"},
		{"-n b", ""},
		{"-q -n -- b", ""},
		{"-v built", ""},
	} {
		got, err := call(append([]string{"-d", root, "-S", "1.0"}, strings.Fields(test.args)...)...)
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
		}
		if want := strings.ReplaceAll(test.want, "DIR", dir); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", test.args, got, want)
		}
	}
}

func TestUnknownName(t *testing.T) {
	root := fakeTree(t)
	_, err := call("-d", root, "-S", "1.0", "nothing")
	if !errors.Is(err, modules.ErrNotFound) || applets.ExitCode(err) != applets.ExitFailure {
		t.Errorf("error %v, want one that wraps ErrNotFound", err)
	}
	_, err = call("-q", "-d", root, "-S", "1.0", "--", "nothing")
	var exit *applets.ExitError
	if !errors.As(err, &exit) || exit.Err != nil || exit.Code != applets.ExitFailure {
		t.Errorf("with -q: error %v, want exit code 1 and no text", err)
	}
}

func TestUsage(t *testing.T) {
	if _, err := call(); applets.ExitCode(err) != applets.ExitUsage {
		t.Errorf("no name: exit code %d, want %d", applets.ExitCode(err), applets.ExitUsage)
	}
	if _, err := call("--wrong", "x"); applets.ExitCode(err) != applets.ExitUsage {
		t.Errorf("wrong flag: exit code %d, want %d", applets.ExitCode(err), applets.ExitUsage)
	}
	out, err := call("--help")
	if err != nil || !strings.Contains(out, "modprobe xfs") {
		t.Errorf("help: %v, %q", err, out)
	}
}

func TestBlacklist(t *testing.T) {
	ix, err := modules.Open(fakeTree(t), "1.0")
	if err != nil {
		t.Fatal(err)
	}
	const line = "ro modprobe.blacklist=a-one quiet"
	for _, test := range []struct {
		name    string
		always  bool
		refused bool
	}{
		{"dev:1", false, true},
		{"both", false, true},
		{"a-one", false, false},
		{"a-one", true, true},
		{"b", true, false},
	} {
		o := &options{useBlacklist: test.always}
		if err := o.checkBlacklist(ix, test.name, line); (err != nil) != test.refused {
			t.Errorf("%s, always %v: %v, want refused %v", test.name, test.always, err, test.refused)
		}
	}
}

// TestLoadFails loads a file that is no module into the running kernel.
func TestLoadFails(t *testing.T) {
	root := fakeTree(t)
	dir := filepath.Join(root, "usr/lib/modules/1.0/kernel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.ko"), []byte("no module"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := call("-d", root, "-S", "1.0", "b")
	var load *modules.LoadError
	if !errors.As(err, &load) || load.Name != "b" || !strings.Contains(err.Error(), filepath.Join(dir, "b.ko")) {
		t.Errorf("error %v, want a LoadError that names module and file", err)
	}
}

// TestLikeKmod compares the printed plan with Debian's modprobe.
func TestLikeKmod(t *testing.T) {
	found, _ := filepath.Glob("../../out/cache/kernel-*/lib/modules/*/modules.dep.bin")
	kmod, err := exec.LookPath("modprobe")
	if err != nil || len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("no modprobe or no kernel under out/cache")
		}
		t.Skip("no modprobe or no kernel under out/cache: run make image")
	}
	dir, err := filepath.Abs(filepath.Dir(found[0]))
	if err != nil {
		t.Fatal(err)
	}
	root, release := filepath.Join(dir, "../../.."), filepath.Base(dir)
	for _, name := range []string{"xfs", "overlay", "virtio:d00000002v00001AF4", "fs-xfs", "ext4"} {
		args := []string{"-d", root, "-S", release, "--show-depends", name}
		want, err := exec.Command(kmod, append([]string{"-C", t.TempDir()}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		got, err := call(args...)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v\n%s\nkmod\n%s", name, err, got, want)
		}
	}
}
