package mount

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inMachine tells whether the test has a kernel to itself.
func inMachine() bool { return os.Getppid() == 1 }

// makeImage makes a squashfs with the mount points of the table.
func makeImage(t *testing.T) string {
	t.Helper()
	const tree = "/tmp/tree"
	for _, r := range MountPoints("/") {
		p := tree + r.Target
		if r.Layer != LayerFile {
			mkdir(t, p)
			continue
		}
		mkdir(t, filepath.Dir(p))
		must(t, os.WriteFile(p, []byte("of the image\n"), 0o644))
	}
	must(t, os.Chmod(tree+"/etc/cni", 0o750))
	must(t, os.WriteFile(tree+"/opt/program", []byte("#!/bin/x\n"), 0o755))
	onHost(t, "mksquashfs", tree, "/tmp/rootfs.sqsh", "-noappend", "-quiet", "-no-progress")
	must(t, os.RemoveAll(tree))
	return "/tmp/rootfs.sqsh"
}

// gentle returns the row as it may be mounted on a kernel shared with others:
// without the options that change file systems there is only one of, and
// without quotas, which not every kernel can.
func gentle(r Row) Row {
	if !inMachine() && (r.Type == "devtmpfs" || r.Type == "cgroup2" || r.Type == "xfs") {
		r.Data = ""
	}
	return r
}

// enterImage does what the initramfs does: it mounts the early rows and makes
// the image the root.
func enterImage(t *testing.T) {
	t.Helper()
	const root = "/sysroot"
	mkdir(t, root)
	for i, r := range Rows(PhaseEarly) {
		r = gentle(r)
		if i == 0 {
			r.Source = makeImage(t)
			must(t, r.At(root).Apply(nil))
			continue
		}
		must(t, r.At(root+r.Target).Apply(nil))
	}
	must(t, os.Chdir(root))
	must(t, unix.Mount(".", "/", "", unix.MS_MOVE, ""))
	must(t, unix.Chroot("."))
	must(t, os.Chdir("/"))
}

// TestTableOnAMachine carries out the whole table, and compares.
func TestTableOnAMachine(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	devices := map[string]string{"STATE": attached(t, xfsImage(t, "STATE")), "EPHEMERAL": attached(t, xfsImage(t, "EPHEMERAL"))}
	enterImage(t)
	for _, phase := range []Phase{PhasePseudo, PhaseTmpfs, PhaseFiles, PhaseState, PhaseEphemeral, PhaseOverlays} {
		for _, group := range Groups(Rows(phase)) {
			for _, r := range group {
				if ok, why := r.Wanted(); !ok {
					t.Logf("%s: %s", r.Name, why)
					continue
				}
				must(t, gentle(r).Apply(devices))
				must(t, gentle(r).Apply(devices)) // once more changes nothing
			}
		}
	}
	agrees(t)
	looksRight(t)
	persists(t, devices)
	agrees(t)
}

// agrees asserts that the machine is as the table says, but for what gentle
// leaves out.
func agrees(t *testing.T) {
	t.Helper()
	entries, err := Check()
	must(t, err)
	for _, e := range entries {
		shared := !inMachine() && (e.Type == "devtmpfs" || e.Type == "cgroup2") && onlyLacksData(e)
		noQuota := !inMachine() && e.Source == "EPHEMERAL" && e.Difference == "it lacks prjquota"
		if e.State.Deviates() && !noQuota && !shared {
			t.Errorf("%s is %s: %s", e.Target, e.State, e.Difference)
		}
	}
}

func onlyLacksData(e Entry) bool {
	return strings.HasPrefix(e.Difference, "it lacks ") && !strings.Contains(e.Difference, "it lacks no")
}

func looksRight(t *testing.T) {
	t.Helper()
	for path, mode := range map[string]os.FileMode{
		"/system/state": 0o700, "/system/run/tuck": 0o700, "/system/etc": 0o755, "/var": 0o755, "/var/system": 0o700,
		"/etc/kubernetes": 0o755, "/etc/cni": 0o750, "/tmp": 0o777, "/dev/shm": 0o777, "/run": 0o755, "/dev": 0o755,
	} {
		if s, err := os.Stat(path); err != nil || s.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, s.Mode(), err)
		}
	}
	for _, path := range []string{"/x", "/etc/x", "/etc/hosts", "/usr", "/sys/x"} {
		err := os.WriteFile(path, nil, 0o600)
		if !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
			t.Errorf("writing to %s: %v", path, err)
		}
	}
	if m, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		t.Errorf("no terminal to be had: %v", err)
	} else {
		m.Close()
	}
	have, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	enabled, _ := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control")
	if string(have) != string(enabled) {
		t.Errorf("cgroup controllers %q, enabled %q", have, enabled)
	}
	must(t, SetFile("hosts", []byte("new\n")))
	if b, err := os.ReadFile("/etc/hosts"); string(b) != "new\n" {
		t.Errorf("/etc/hosts: %q, %v", b, err)
	}
}

// persists writes to the overlays and mounts them again, and everything else
// that comes after the disks.
func persists(t *testing.T, devices map[string]string) {
	t.Helper()
	must(t, os.WriteFile("/etc/kubernetes/admin.conf", []byte("kept"), 0o600))
	must(t, os.Remove("/opt/program"))
	rows := append(append(Rows(PhaseState), Rows(PhaseEphemeral)...), Rows(PhaseOverlays)...)
	slices.Reverse(rows)
	for _, r := range rows {
		must(t, Unmount(r.Target, 0))
	}
	if _, err := os.Stat("/opt/program"); err != nil {
		t.Error("the image has changed")
	}
	slices.Reverse(rows)
	for i := range rows {
		rows[i] = gentle(rows[i])
	}
	must(t, Apply(rows, devices))
	if b, err := os.ReadFile("/etc/kubernetes/admin.conf"); string(b) != "kept" {
		t.Errorf("not kept: %q, %v", b, err)
	}
	if _, err := os.Stat("/opt/program"); err == nil {
		t.Error("what was removed is there again")
	}
}

func TestApplyRefuses(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r, _ := Lookup("tmp")
	must(t, Mount("tmpfs", "/tmp", "tmpfs", Options{}))
	if err := r.Apply(nil); err == nil || !strings.Contains(err.Error(), "it lacks nosuid,nodev,noexec") {
		t.Errorf("a different mount: %v", err)
	}
	disk, _ := Lookup("state")
	if err := disk.Apply(nil); err == nil || !strings.Contains(err.Error(), "no device is given for the partition STATE") {
		t.Errorf("no device: %v", err)
	}
	disk.Target = "/missing/deep"
	if err := disk.Apply(map[string]string{"STATE": "/dev/null"}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no mount point: %v", err)
	}
	r.Target, r.Data = "/a", "size=1Q"
	if err := r.Apply(nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("bad option: %v", err)
	}
	if m, _ := Find("/a"); m != nil {
		t.Error("a failed row is mounted")
	}
}
