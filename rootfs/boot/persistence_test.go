package boot

import (
	"regexp"
	"strings"

	"ichor/mount"
)

// Where a file that is written stays, goes with the boot, or cannot be.
var (
	staying  = []string{"/var", "/etc/kubernetes", "/opt", "/etc/cni", "/system/state"}
	leaving  = []string{"/system", "/system/run", "/system/etc", "/run", "/tmp", "/dev/shm", "/dev"}
	readOnly = []string{"/", "/usr", "/usr/bin", "/etc", "/root", "/lib"}
	// fixed are files that are there and cannot be changed.
	fixed = []string{"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/machine-id", "/etc/passwd", "/usr/bin/ichor", "/etc/os-release"}
)

// written is what a machine must still have after a reboot.
type written struct{ id string }

// write writes everywhere where it can, and tries where it cannot.
func (m *machine) write() written {
	m.t.Helper()
	for _, dir := range append(staying, leaving...) {
		m.run("echo kept > " + dir + "/mark")
	}
	const says = "read-only file system"
	for _, dir := range readOnly {
		m.refused("echo lost > "+dir+"/mark", says)
		m.refused("mkdir "+dir+"/marks", says)
	}
	for _, file := range fixed {
		m.refused("echo lost >> "+file, says)
		m.refused("chmod 666 "+file, says)
	}
	for _, file := range []string{"/etc/hosts", "/etc/passwd"} {
		m.refused("rm "+file, "")
		m.refused("mv /tmp/mark "+file, "")
	}
	m.refused("mount -o remount,rw /etc/hosts && echo lost >> /etc/hosts && false", "")
	return written{strings.TrimSpace(m.run("cat /etc/machine-id"))}
}

// checkWritten wants what was written before a clean reboot.
func (m *machine) checkWritten(before written) {
	m.t.Helper()
	for _, dir := range staying {
		if have := m.run("cat " + dir + "/mark"); have != "kept\n" {
			m.t.Errorf("%s/mark has %q after a reboot", dir, have)
		}
	}
	for _, dir := range append(leaving, readOnly...) {
		m.refused("stat "+dir+"/mark", "")
	}
	for path, want := range map[string]string{"/system/state": "700 0:0", "/var": "755 0:0", "/var/system": "700 0:0", "/system": "755 0:0", "/tmp": "1777 0:0"} {
		if have := strings.TrimSpace(m.run("stat -c '%a %u:%g' " + path)); have != want {
			m.t.Errorf("%s has mode and owner %s, want %s", path, have, want)
		}
	}
	id := strings.TrimSpace(m.run("cat /etc/machine-id"))
	if id != before.id || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		m.t.Errorf("the machine ID is %q, and was %q before the reboot", id, before.id)
	}
	name := strings.TrimSpace(m.run("hostname"))
	if hosts := m.run("cat /etc/hosts"); !strings.Contains(hosts, "127.0.0.1 localhost\n") || !strings.Contains(hosts, name) {
		m.t.Errorf("/etc/hosts is %q, want localhost and %s", hosts, name)
	}
}

// kernelLog returns the log of the kernel. Its brackets are replaced: lines with
// them are taken out of what a command prints.
func (m *machine) kernelLog() string {
	m.t.Helper()
	return m.run("dmesg | tr '[' '<'")
}

// checkRecovery wants that the boot before unmounted everything, and this one
// found nothing to repair.
func (m *machine) checkRecovery() {
	m.t.Helper()
	if found := regexp.MustCompile(`(?i)XFS.*(recovery|corrupt|error|quotacheck)`).FindAllString(m.kernelLog(), -1); found != nil {
		m.t.Errorf("after a clean reboot the kernel says %q", found)
	}
	said := m.expectedBefore(`ichor: unmounted ([^\r\n]*)`)
	for _, row := range mount.Table {
		if row.Layer == mount.LayerDisk || row.Layer == mount.LayerOverlay || row.Layer == mount.LayerTmpfs {
			if !strings.Contains(" "+said+" ", " "+row.Target+" ") {
				m.t.Errorf("the shutdown does not say that it unmounted %s, but: %s", row.Target, said)
			}
		}
	}
}

// expectedBefore finds what the console has printed already.
func (m *machine) expectedBefore(pattern string) string {
	m.t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(m.Log())
	if match == nil {
		m.t.Errorf("the console does not have %q", pattern)
		return ""
	}
	return match[1]
}
