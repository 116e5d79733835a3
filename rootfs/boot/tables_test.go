package boot

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ichor/mount"
	"ichor/partition"
	"ichor/rootfs"
	"ichor/rootfs/qemu"
)

// TestSystem boots on either firmware and compares the machine with the three
// tables, on the first boot and after a clean reboot; between them it writes
// everywhere.
func TestSystem(t *testing.T) {
	var ids []string
	for _, firmware := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
		t.Run(firmware.String(), func(t *testing.T) {
			disk := newDisk(t, image(t), rootfs.ImageSize)
			m := start(t, onDisk(firmware, disk)).boot()
			m.checkTables(firmware)
			before := m.write()
			m.reboot()
			m.checkTables(firmware)
			m.checkWritten(before)
			m.checkRecovery()
			m.checkESP()
			m.powerOff()
			checkDisk(t, disk, 512)
			ids = append(ids, before.id)
		})
	}
	if len(ids) == 2 && ids[0] == ids[1] {
		t.Errorf("two machines made of one image have the same ID, %s", ids[0])
	}
}

// checkTables compares a machine with the tables.
func (m *machine) checkTables(firmware qemu.Firmware) {
	m.t.Helper()
	m.checkMounts(firmware)
	m.checkPartitions("/dev/vda")
	m.checkApplets()
	m.checkProcesses()
	m.checkSockets()
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

// listed is what partition show -o json prints of a disk.
type listed struct {
	Table struct {
		Kind       string
		Size       int64
		SectorSize int64 `json:"sector_size"`
		Partitions []struct {
			Number      int
			Label, Type string
			Start, Size int64
			Attributes  []string
			Filesystem  string
		}
		Problems []string
	}
}

// checkPartitions compares a disk of the machine with the layout, by our own
// tool in the machine.
func (m *machine) checkPartitions(disk string) {
	m.t.Helper()
	var l listed
	if err := json.Unmarshal([]byte(m.run("partition show -o json "+disk)), &l); err != nil {
		m.t.Fatal(err)
	}
	if l.Table.Kind != "gpt" || len(l.Table.Problems) > 0 || len(l.Table.Partitions) != len(partition.Layout) {
		m.t.Fatalf("partition show: %+v, want a GPT of %d partitions without problems", l.Table, len(partition.Layout))
	}
	for i, have := range l.Table.Partitions {
		row := partition.Layout[i]
		if have.Number != i+1 || have.Label != row.Label || have.Type != row.Type.String() || have.Filesystem != row.FS {
			m.t.Errorf("partition %+v is not row %+v", have, row)
		}
		checkSize(m.t, row, have.Start, have.Size, l.Table.Size)
	}
}

// checkSize compares the length of a partition in bytes with its row. The one
// that grows ends where the last whole MiB before the backup table does.
func checkSize(t *testing.T, row partition.Row, start, size, disk int64) {
	t.Helper()
	if !row.Grows && size != row.Size {
		t.Errorf("%s has %d bytes, want %d", row.Label, size, row.Size)
	}
	if rest := disk - start - size; row.Grows && (size < row.Size || rest < 0 || rest > 2*partition.MiB) {
		t.Errorf("%s has %d bytes and leaves %d after it, want the whole rest of %d", row.Label, size, rest, disk)
	}
}

// dump is what sfdisk -J prints.
type dump struct {
	PartitionTable struct {
		Label      string
		SectorSize int64
		Partitions []struct {
			Start, Size       int64
			Type, Name, Attrs string
		}
	}
}

// checkDisk compares the disk of a machine that is off with the layout, by
// foreign tools.
func checkDisk(t *testing.T, disk string, sectorSize int) {
	t.Helper()
	device := disk
	if sectorSize != 512 {
		device = attach(t, disk, "--sector-size", fmt.Sprint(sectorSize))
		defer detach(t, device)
	}
	info, err := os.Stat(disk)
	if err != nil {
		t.Fatal(err)
	}
	if said := command(t, "sgdisk", "-v", device); !strings.Contains(said, "No problems found") {
		t.Errorf("sgdisk -v: %s", said)
	}
	d := commandJSON[dump](t, "sfdisk", "-J", device).PartitionTable
	if d.Label != "gpt" || d.SectorSize != int64(sectorSize) || len(d.Partitions) != len(partition.Layout) {
		t.Fatalf("sfdisk -J: %+v, want a GPT of %d partitions", d, len(partition.Layout))
	}
	for i, have := range d.Partitions {
		row, attrs := partition.Layout[i], ""
		if row.Attributes == partition.LegacyBootable {
			attrs = "LegacyBIOSBootable"
		}
		if have.Name != row.Label || have.Type != row.Type.String() || have.Attrs != attrs {
			t.Errorf("partition %d is %+v, want row %+v", i+1, have, row)
		}
		start, size := have.Start*d.SectorSize, have.Size*d.SectorSize
		checkSize(t, row, start, size, info.Size())
		if row.FS == "xfs" {
			checkFileSystem(t, disk, row, start, size)
		}
	}
}

// applet is a row of the applet table as far as ichor applets -o json tells it.
type applet struct {
	Name  string
	Links []string
}

// checkApplets compares the names that lead to the binary with the applet
// table.
func (m *machine) checkApplets() {
	m.t.Helper()
	var want []string
	for _, a := range commandJSON[[]applet](m.t, product("ichor"), "applets", "-o", "json") {
		for _, link := range a.Links {
			want = append(want, "/usr/bin/"+filepath.Base(link)) // where /usr/sbin leads to
		}
	}
	have := strings.Fields(m.run(`find / -xdev -type l | while read l; do [ "$(readlink -f $l)" = /usr/bin/ichor ] && echo $l; done; true`))
	if !slices.Equal(sorted(have), sorted(want)) {
		m.t.Errorf("links to the binary are %v, want %v", have, want)
	}
	programs := append(want, "/usr/bin/ichor", "/usr/bin/mkfs.xfs", "/usr/lib64/ld-linux-x86-64.so.2")
	have = strings.Fields(m.run(`find / -xdev -perm -100 -not -type d -not -path '/usr/lib/*' -not -type l; find /usr/bin -type l`))
	if !slices.Equal(sorted(have), sorted(programs)) {
		m.t.Errorf("programs are %v, want %v", have, programs)
	}
}

// checkProcesses wants PID 1, the shell, and nothing else but the kernel's own
// threads, which have no program.
func (m *machine) checkProcesses() {
	m.t.Helper()
	have := strings.Fields(m.run(`for p in /proc/[1-9]*; do e=$(readlink $p/exe 2>/dev/null) && echo $(tr '\0' ' ' < $p/cmdline | cut -d' ' -f1)=$e; done; true`))
	if want := []string{"/sbin/init=/usr/bin/ichor", "shell=/usr/bin/ichor"}; !slices.Equal(sorted(have), want) {
		m.t.Errorf("processes are %v, want %v", have, want)
	}
}

// checkSockets wants none that somebody from outside of the process tree could
// talk to.
func (m *machine) checkSockets() {
	m.t.Helper()
	if have := m.run(`cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null | grep -v local_address; grep '[/@]' /proc/net/unix; true`); have != "" {
		m.t.Errorf("there are sockets with a name: %s", have)
	}
}
