package qemu

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// missing skips a test at home and fails it in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

const vmlinuz = "../../out/vmlinuz"

// busyboxInitrd makes an initramfs with a shell on the console.
func busyboxInitrd(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		missing(t, "no busybox")
	}
	dir := t.TempDir()
	const init = `#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
exec setsid cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1
`
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"init": []byte(init), "bin/busybox": b} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", "find . | busybox cpio -o -H newc")
	cmd.Dir = dir
	image, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(out, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMachine starts a machine, runs commands in it, attaches a disk and powers
// it off.
func TestMachine(t *testing.T) {
	if _, err := os.Stat(vmlinuz); err != nil {
		missing(t, "no kernel: run make image")
	}
	if _, err := exec.LookPath(program); err != nil {
		missing(t, "no "+program)
	}
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(disk, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 64<<20); err != nil {
		t.Fatal(err)
	}
	vm, err := Start(Config{
		Firmware: Direct, Kernel: vmlinuz, Initrd: busyboxInitrd(t), Append: "console=ttyS0 panic=-1",
		Memory: 256, KeepOff: true, Disks: []Disk{{File: disk, Kind: NVMe, SectorSize: 4096}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	sh, err := OpenShell(vm.Console, 60*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		command, want string
		code          int
	}{
		{"echo one; echo two", "one\ntwo\n", 0},
		{"false", "", 1},
		{"sh -c 'echo err >&2; exit 7'", "err\n", 7},
		{"printf 'no newline'", "no newline", 0},
		{"printf abc; echo log >/dev/kmsg; echo def", "abcdef\n", 0},
		{"cat /sys/class/block/nvme0n1/queue/logical_block_size", "", 1},
		{"mkdir /sys && mount -t sysfs sys /sys && cat /sys/class/block/nvme0n1/queue/logical_block_size", "4096\n", 0},
	} {
		out, code, err := sh.Run(test.command, 30*time.Second)
		if test.want == "" && code == 1 {
			out = ""
		}
		if err != nil || out != test.want || code != test.code {
			t.Errorf("%s: %q, exit code %d, %v; want %q, %d", test.command, out, code, err, test.want, test.code)
		}
	}
	if _, err := sh.Must("false", 30*time.Second); err == nil {
		t.Error("Must did not object to exit code 1")
	}
	if err := vm.AddDisk(Disk{File: disk}); err == nil {
		t.Error("a disk that is in use could be attached a second time")
	}
	if err := vm.Send("poweroff -f\r"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := vm.Wait(ctx); err != nil {
		t.Error(err)
	}
	if vm.Running() || !strings.Contains(vm.Log(), "Linux version") {
		t.Error("machine runs after Wait, or its log is lost")
	}
}

func TestStartFails(t *testing.T) {
	if _, err := exec.LookPath(program); err != nil {
		missing(t, "no "+program)
	}
	_, err := Start(Config{Accel: "tcg", Disks: []Disk{{File: "/nonexistent/disk.raw"}}})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/disk.raw") {
		t.Errorf("error %v, want QEMU's own words about the disk", err)
	}
}

func TestExpect(t *testing.T) {
	r, w := io.Pipe()
	var tee bytes.Buffer
	c := newConsole(io.Discard, &tee)
	go c.read(r)
	io.WriteString(w, "booting\r\nready in 3.")
	go io.WriteString(w, "21 s\r\n")
	m, err := c.Expect(regexp.MustCompile(`ready in ([0-9.]+) s`), 5*time.Second)
	if err != nil || m[1] != "3.21" {
		t.Errorf("match %q, %v", m, err)
	}
	if _, err := c.Expect(regexp.MustCompile("booting"), 10*time.Millisecond); err == nil {
		t.Error("what was read is matched again")
	}
	w.Close()
	if _, err := c.Expect(regexp.MustCompile("never"), time.Minute); err == nil || !strings.Contains(err.Error(), "ready in 3.21 s") {
		t.Errorf("error %v, want one with the end of the log", err)
	}
	if tee.String() != c.Log() {
		t.Errorf("tee got %q, log has %q", tee.String(), c.Log())
	}
}

func TestWithoutKernelLog(t *testing.T) {
	const in = "abc[   12.345678] loop: module loaded\r\ndef\r\n[1] 2.0 list\r\n[    0.000001] first\r\n"
	if got, want := withoutKernelLog([]byte(in)), "abcdef\n[1] 2.0 list\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCopyDisk(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	f, err := os.Create(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 1 << 20, 9 << 20} {
		if _, err := f.WriteAt([]byte("data"), off); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	for _, size := range []int64{0, 16 << 20} {
		if err := CopyDisk(dst, src, size); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(src)
		got, _ := os.ReadFile(dst)
		if len(got) != max(len(want), int(size)) || !bytes.Equal(got[:len(want)], want) {
			t.Errorf("size %d: copy of %d bytes differs from %d bytes", size, len(got), len(want))
		}
	}
}
