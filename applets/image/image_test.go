package image

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ichor/applets"
)

// missing skips a test at home and fails it in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func call(dir string, args ...string) (string, error) {
	var out bytes.Buffer
	env := &applets.Env{
		Stdio: applets.Stdio{Out: &out, Err: &out}, Name: "image", Version: "v1.2.3", Dir: dir,
		Table: applets.Table{{Name: "init", Links: []string{"/sbin/init"}}},
	}
	err := Run(context.Background(), env, args)
	return out.String(), err
}

// inputs makes a kernel package with the early modules, and an xfsprogs.
func inputs(t *testing.T) string {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.xfs")
	if err != nil {
		missing(t, "no mkfs.xfs")
	}
	dir := t.TempDir()
	const base = "kernel/lib/modules/6.1.0-0-test/"
	var dep strings.Builder
	files := map[string]string{
		base + "modules.alias": "", base + "modules.softdep": "", base + "modules.builtin": "kernel/drivers/nvme.ko\n",
		base + "modules.builtin.modinfo": "", base + "modules.symbols": "",
		"kernel/boot/vmlinuz-6.1.0-0-test": "kernel",
		"binary":                           "binary",
		"out/.keep":                        "",
	}
	for _, m := range []string{"loop", "squashfs", "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "xfs", "overlay"} {
		dep.WriteString("kernel/" + m + ".ko:\n")
		files[base+"kernel/"+m+".ko"] = m
	}
	files[base+"modules.dep"] = dep.String()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The machine itself serves as the unpacked Debian.
	if err := os.Symlink("/", filepath.Join(dir, "foreign")); err != nil {
		t.Fatal(err)
	}
	if mkfs != "/sbin/mkfs.xfs" && mkfs != "/usr/sbin/mkfs.xfs" {
		missing(t, "mkfs.xfs is not in /sbin")
	}
	return dir
}

var common = []string{"--binary", "binary", "--kernel", "kernel", "--foreign", "foreign", "--out", "out", "--level", "1", "--epoch", "1700000000"}

func TestBuild(t *testing.T) {
	for _, name := range []string{"mksquashfs", "zstd", "faketime", "grub-mkimage"} {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, "no "+name)
		}
	}
	dir := inputs(t)
	out, err := call(dir, append([]string{"build", "--word", "ichor.shell"}, common...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rootfs.sqsh", "initramfs", "ichor-amd64.raw"} {
		info, err := os.Stat(filepath.Join(dir, "out", name))
		if err != nil || info.Size() == 0 || !strings.Contains(out, name) {
			t.Errorf("%s: %v; said %q", name, err, out)
		}
	}
	left, _ := filepath.Glob(filepath.Join(dir, "out/.[a-jl-z]*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestTree(t *testing.T) {
	dir := inputs(t)
	out, err := call(dir, append([]string{"tree"}, common...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/usr/bin/init -> ichor", "/usr/lib/os-release", "/usr/bin/mkfs.xfs", "libc.so.6"} {
		if !strings.Contains(out, want) {
			t.Errorf("tree lacks %q:\n%s", want, out)
		}
	}
	out, err = call(dir, append([]string{"tree", "-o", "json"}, common...)...)
	var rows []row
	if err != nil || json.Unmarshal([]byte(out), &rows) != nil || len(rows) == 0 || rows[0].Path != "/" {
		t.Errorf("JSON: %v, %.200s", err, out)
	}
}

func TestFailureLeavesTheOldProduct(t *testing.T) {
	dir := inputs(t)
	file := filepath.Join(dir, "out/rootfs.sqsh")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "binary")); err != nil {
		t.Fatal(err)
	}
	out, err := call(dir, append([]string{"rootfs"}, common...)...)
	if err == nil || !strings.Contains(err.Error(), "binary") || !strings.Contains(out, "failed") {
		t.Errorf("error %v, want one that names the binary; said %q", err, out)
	}
	if b, _ := os.ReadFile(file); string(b) != "old" {
		t.Errorf("the old product is gone: %q", b)
	}
}

func TestUsage(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	for _, args := range [][]string{{"what"}, {"rootfs", "x"}, {"rootfs", "--level", "23"}, {"rootfs", "--wrong"}, {"disk"}} {
		if _, err := call(t.TempDir(), args...); applets.ExitCode(err) != applets.ExitUsage {
			t.Errorf("%q: %v, want an error of usage", args, err)
		}
	}
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"rootfs", "--help"}} {
		if out, err := call(t.TempDir(), args...); err != nil || !strings.Contains(out, "Usage: ichor image") {
			t.Errorf("%q: %v, %q", args, err, out)
		}
	}
}
