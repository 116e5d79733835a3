package boot

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ichor/mount"
	"ichor/rootfs"
	"ichor/rootfs/qemu"
)

// TestTables boots on either firmware and compares the machine with the three
// tables, on the first boot and after a clean reboot.
func TestTables(t *testing.T) {
	for _, firmware := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
		t.Run(firmware.String(), func(t *testing.T) {
			disk := newDisk(t, image(t), rootfs.ImageSize)
			m := start(t, onDisk(firmware, disk)).boot()
			m.checkTables(firmware)
			m.reboot()
			m.checkTables(firmware)
			m.powerOff()
		})
	}
}

// checkTables compares a machine with the tables.
func (m *machine) checkTables(firmware qemu.Firmware) {
	m.t.Helper()
	m.checkMounts(firmware)
}

// mounted is a line of /proc/self/mountinfo as far as the table speaks of it.
type mounted struct{ root, target, options, fstype, source, super string }

// parseMountInfo reads /proc/self/mountinfo (proc(5)).
func parseMountInfo(t *testing.T, text string) []mounted {
	var all []mounted
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) != 3 {
			t.Fatalf("not a line of mountinfo: %q", line)
		}
		all = append(all, mounted{f[3], f[4], f[5], g[0], g[1], g[2]})
	}
	return all
}

// optional are the rows that not every machine has, and which have them.
func optional(name string, firmware qemu.Firmware) bool {
	return name == "efivars" && firmware != qemu.UEFI
}

// checkMounts compares what is mounted with the mount table, by our own tool
// and by the kernel's list.
func (m *machine) checkMounts(firmware qemu.Firmware) {
	m.t.Helper()
	if said := strings.TrimSpace(m.run("mount plan --check")); said != "" {
		m.t.Errorf("mount plan --check: %s", said)
	}
	have := parseMountInfo(m.t, m.run("cat /proc/self/mountinfo"))
	for _, row := range mount.Table {
		i := slices.IndexFunc(have, func(h mounted) bool { return h.target == row.Target })
		switch wanted := !optional(row.Name, firmware); {
		case i < 0 && wanted:
			m.t.Errorf("%s is not mounted", row.Target)
		case i >= 0 && !wanted:
			m.t.Errorf("%s is mounted on a machine that does not have it", row.Target)
		case i >= 0:
			m.checkMount(row, have[i])
			have = slices.Delete(have, i, i+1)
		}
	}
	for _, extra := range have {
		m.t.Errorf("mounted, and in no row: %+v", extra)
	}
}

// checkMount compares a mount with its row.
func (m *machine) checkMount(row mount.Row, have mounted) {
	m.t.Helper()
	wantType, wantSource, wantRoot := row.Type, row.Source, "/"
	switch row.Layer {
	case mount.LayerFile: // a file of the tmpfs at /system
		wantType, wantSource, wantRoot = "tmpfs", "tmpfs", strings.TrimPrefix(row.Source, "/system")
	case mount.LayerDisk:
		wantSource = m.devices()[row.Source]
	case mount.LayerImage:
		wantSource = "/dev/loop0"
	}
	if have.fstype != wantType || have.source != wantSource || have.root != wantRoot {
		m.t.Errorf("%s: %+v; want type %s, source %s, root %s", row.Target, have, wantType, wantSource, wantRoot)
	}
	if want := optionWords(row.Flags); !slices.Equal(want, sorted(strings.Split(have.options, ","))) {
		m.t.Errorf("%s has options %s, want %v", row.Target, have.options, want)
	}
	for _, option := range strings.Split(row.Data, ",") {
		if option = shown(row, option); option != "" && !slices.Contains(strings.Split(have.super, ","), option) {
			m.t.Errorf("%s has %s, without %s", row.Target, have.super, option)
		}
	}
}

// optionWords are the options that the kernel shows for a row: those of the
// row, whether it is writable, and relatime, which is the kernel's default.
func optionWords(f mount.Flags) []string {
	words := []string{"relatime"}
	for _, w := range []struct {
		flag     mount.Flags
		set, not string
	}{
		{mount.ReadOnly, "ro", "rw"}, {mount.NoSUID, "nosuid", ""}, {mount.NoDev, "nodev", ""}, {mount.NoExec, "noexec", ""},
	} {
		word := w.not
		if f&w.flag != 0 {
			word = w.set
		}
		if word != "" {
			words = append(words, word)
		}
	}
	return sorted(words)
}

// shown is how the kernel spells an option of a row; empty for one that it does
// not show.
func shown(row mount.Row, option string) string {
	key, value, _ := strings.Cut(option, "=")
	switch {
	case key == "mode" && value == "1777":
		return "" // what a tmpfs has without being asked
	case key == "size", key == "nr_inodes":
		var n int64
		var unit string
		fmt.Sscanf(value, "%d%s", &n, &unit)
		switch strings.ToLower(unit) + key {
		case "msize":
			return fmt.Sprintf("size=%dk", n<<10)
		case "ksize":
			return fmt.Sprintf("size=%dk", n)
		case "knr_inodes":
			return fmt.Sprintf("nr_inodes=%d", n<<10)
		}
	}
	return option
}

func sorted(words []string) []string {
	slices.Sort(words)
	return words
}

// devices asks sysfs for the partitions: their device nodes by label.
func (m *machine) devices() map[string]string {
	m.t.Helper()
	devices := map[string]string{}
	for line := range strings.Lines(m.run(`for f in /sys/class/block/*/uevent; do echo $(cat $f); done`)) {
		event := map[string]string{}
		for _, field := range strings.Fields(line) {
			key, value, _ := strings.Cut(field, "=")
			event[key] = value
		}
		if event["PARTNAME"] != "" {
			devices[event["PARTNAME"]] = "/dev/" + event["DEVNAME"]
		}
	}
	return devices
}
