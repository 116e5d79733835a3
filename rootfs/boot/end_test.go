package boot

import (
	"strings"
	"testing"
	"time"

	"ichor/rootfs"
	"ichor/rootfs/qemu"
)

// TestReleased boots the image that is released: it gets ready and offers
// nobody a shell. The power button switches it off.
func TestReleased(t *testing.T) {
	needs(t)
	disk := newDisk(t, product("ichor-amd64.raw"), rootfs.ImageSize)
	m := start(t, onDisk(qemu.BIOS, disk))
	m.ready()
	if _, err := qemu.OpenShell(m.Console, 8*time.Second); err == nil {
		t.Error("the released image has a shell on its console")
	}
	if strings.Contains(m.Log(), "debugging shell.") {
		t.Error("the released image greets with its debugging shell")
	}
	if err := m.PowerButton(); err != nil {
		t.Fatal(err)
	}
	m.down()
	m.said(`ichor: the power button was pressed`)
	m.gone()
	checkDisk(t, disk, 512)
}

// TestFirstProcess does to PID 1 and its shell what must not end them, and then
// what must.
func TestFirstProcess(t *testing.T) {
	disk := newDisk(t, image(t), rootfs.ImageSize)
	m := start(t, onDisk(qemu.BIOS, disk)).boot()
	m.run("kill -9 1")
	m.run("kill -STOP 1")
	for _, how := range []string{"exit", "kill -9 $$"} {
		before := m.run("echo $$")
		m.Skip()
		if err := m.Send(how + "\r"); err != nil {
			t.Fatal(err)
		}
		m.expect(`debugging shell\.`, commandTime)
		m.openShell()
		if after := m.run("echo $$"); before == after {
			t.Errorf("after %s the shell is the same process, %s", how, after)
		}
	}
	m.checkProcesses()
	m.run("echo kept > /var/mark")

	m.run("echo 8 > /proc/sys/kernel/printk")
	m.press("ctrl", "alt", "delete")
	m.down()
	m.said(`ending the machine on signal interrupt`)
	m.boot()
	m.checkRecovery()
	m.run("cat /var/mark")

	m.end("kill -PWR 1")
	m.said(`ending the machine on signal power failure`)
	m.gone()
	checkDisk(t, disk, 512)
}

// press presses keys of the machine's keyboard together.
func (m *machine) press(keys ...string) {
	m.t.Helper()
	var pressed []map[string]any
	for _, k := range keys {
		pressed = append(pressed, map[string]any{"type": "qcode", "data": k})
	}
	if _, err := m.QMP("send-key", map[string]any{"keys": pressed}); err != nil {
		m.t.Fatal(err)
	}
}
