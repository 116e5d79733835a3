package pid1

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ichor/mount"
	"ichor/rootfs/modules"
	"ichor/rpc"
)

// coldplugWorkers is how many modules are loaded side by side.
const coldplugWorkers = 4

// coldplug begins to load the modules for the devices that are there, and from
// then on for those that come. Listening starts first, so that none is missed.
// It goes on beside the phases that follow; settle waits for its end.
func (m *machine) coldplug(context.Context) error {
	events, err := listenUevents()
	if err != nil {
		return err
	}
	rpc.Go("uevents", func() { m.hotplug(events) })
	aliases, err := modules.Modaliases("/sys")
	if err != nil {
		return err
	}
	aliases = append(filesystems(mount.Table), aliases...)
	work := make(chan string, len(aliases))
	for _, a := range aliases {
		work <- a
	}
	close(work)
	for range coldplugWorkers {
		m.settled.Add(1)
		rpc.Go("coldplug", func() {
			defer m.settled.Done()
			for alias := range work {
				m.load(m.loader, alias)
			}
		})
	}
	return nil
}

// filesystems returns the aliases of the modules that rows of the mount table
// need. The kernel would ask for them by itself, by starting a modprobe for each
// and waiting for it.
func filesystems(rows []mount.Row) []string {
	var aliases []string
	for _, r := range rows {
		alias := "fs-" + r.Type
		if ok, _ := r.Wanted(); ok && r.Type != "" && !slices.Contains(aliases, alias) {
			aliases = append(aliases, alias)
		}
	}
	return aliases
}

// settlePatience is how long a boot waits for devices that it can do without.
const settlePatience = 30 * time.Second

// settle waits until the devices that were there have their modules. A driver
// that hangs over its device must not keep the machine from being ready.
func (m *machine) settle(ctx context.Context) error {
	done := make(chan struct{})
	rpc.Go("settle", func() {
		m.settled.Wait()
		m.watchPowerButtons()
		close(done)
	})
	select {
	case <-done:
	case <-time.After(settlePatience):
		m.log.printf(logWarning, "some devices have no driver after %v (the kernel log may tell which), ignoring", settlePatience)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// hotplug follows the kernel's events.
func (m *machine) hotplug(events *os.File) {
	defer events.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := events.Read(buf)
		if errors.Is(err, unix.ENOBUFS) {
			m.log.printf(logWarning, "the kernel had more device events than could be kept; looking at all devices again")
			m.recoldplug()
			continue
		}
		if err != nil {
			m.log.printf(logErr, "cannot read device events: %v; new devices will not be driven", err)
			return
		}
		e, ok := parseUevent(buf[:n])
		if !ok || e["ACTION"] != "add" {
			continue
		}
		if alias := e["MODALIAS"]; alias != "" {
			rpc.Go("hotplug", func() { m.load(m.loader, alias) })
		}
		if e["SUBSYSTEM"] == "input" && strings.HasPrefix(e["DEVNAME"], "input/event") {
			m.watchPowerButton("/dev/" + e["DEVNAME"])
		}
	}
}

// recoldplug makes up for lost events.
func (m *machine) recoldplug() {
	aliases, err := modules.Modaliases("/sys")
	if err != nil {
		m.log.printf(logWarning, "%v, ignoring", err)
	}
	for _, a := range aliases {
		m.load(m.loader, a)
	}
	m.watchPowerButtons()
}

// ueventBuffer is how many bytes of events the kernel keeps for us.
const ueventBuffer = 4 << 20

func listenUevents() (*os.File, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket for device events: %w", err)
	}
	unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ueventBuffer)
	if err := unix.Bind(s, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(s)
		return nil, fmt.Errorf("cannot listen to device events: %w", err)
	}
	return os.NewFile(uintptr(s), "uevents"), nil
}

// parseUevent reads a message of NETLINK_KOBJECT_UEVENT (the kernel's
// lib/kobject_uevent.c): "action@devpath" and then KEY=value strings, each
// ended by a NUL.
func parseUevent(b []byte) (map[string]string, bool) {
	fields := bytes.Split(b, []byte{0})
	if action, _, ok := bytes.Cut(fields[0], []byte{'@'}); !ok || len(action) == 0 {
		return nil, false
	}
	e := map[string]string{}
	for _, f := range fields[1:] {
		if key, value, ok := strings.Cut(string(f), "="); ok {
			e[key] = value
		}
	}
	return e, true
}

// watchPowerButtons watches the input devices that are there.
func (m *machine) watchPowerButtons() {
	nodes, _ := filepath.Glob("/dev/input/event*")
	for _, node := range nodes {
		m.watchPowerButton(node)
	}
}

// The part of the input interface that we need (linux/input.h).
const (
	evKey         = 1
	keyPower      = 116
	pressed       = 1
	inputEventLen = 24
)

// watchPowerButton switches the machine off when the power key of an input
// device is pressed. It passes over a device without one, and one that is
// watched already.
func (m *machine) watchPowerButton(node string) {
	if _, watched := m.buttons.LoadOrStore(node, true); watched {
		return
	}
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil || !hasKey(f, keyPower) {
		if f != nil {
			f.Close()
		}
		m.buttons.Delete(node)
		return
	}
	rpc.Go("power button", func() {
		defer m.buttons.Delete(node)
		defer f.Close()
		ev := make([]byte, inputEventLen)
		for {
			if n, err := f.Read(ev); err != nil || n < inputEventLen {
				return
			}
			typ, code, value := binary.NativeEndian.Uint16(ev[16:]), binary.NativeEndian.Uint16(ev[18:]), binary.NativeEndian.Uint32(ev[20:])
			if typ == evKey && code == keyPower && value == pressed {
				m.log.printf(logNotice, "the power button was pressed")
				rpc.Go("power button", func() { m.end(unix.LINUX_REBOOT_CMD_POWER_OFF) })
			}
		}
	})
}

// hasKey asks an input device for its keys.
func hasKey(f *os.File, key int) bool {
	var bits [96]byte // KEY_CNT is 0x300
	// EVIOCGBIT(EV_KEY, len(bits)), from linux/input.h.
	req := uintptr(2)<<30 | uintptr(len(bits))<<16 | uintptr('E')<<8 | (0x20 + evKey)
	return ioctlBytes(f, req, bits[:]) == nil && bits[key/8]&(1<<(key%8)) != 0
}
