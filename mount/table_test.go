package mount

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

func TestTableNamesAndTargetsAreUnique(t *testing.T) {
	names, targets := map[string]bool{}, map[string]bool{}
	for _, r := range Table {
		if r.Name == "" || names[r.Name] || targets[r.Target] || path.Clean(r.Target) != r.Target {
			t.Errorf("row %q at %q", r.Name, r.Target)
		}
		names[r.Name], targets[r.Target] = true, true
	}
}

func TestTableIsInOrder(t *testing.T) {
	phases := []Phase{PhaseEarly, PhasePseudo, PhaseTmpfs, PhaseFiles, PhaseState, PhaseEphemeral, PhaseOverlays}
	for i, r := range Table {
		if !slices.Contains(phases, r.Phase) || i > 0 && slices.Index(phases, r.Phase) < slices.Index(phases, Table[i-1].Phase) {
			t.Errorf("row %q is in phase %q", r.Name, r.Phase)
		}
		for _, later := range Table[i+1:] {
			if r.dependsOn(later) {
				t.Errorf("row %q needs row %q, which comes later", r.Name, later.Name)
			}
		}
	}
}

// TestTableForbids holds the table to its policy: the exceptions are here, by
// name, and nothing else may be executed, hold devices or raise privileges.
func TestTableForbids(t *testing.T) {
	exec := []string{"/", "/var", "/opt"}
	dev := []string{"/dev", "/dev/pts"}
	for _, r := range Table {
		if r.Flags&NoSUID == 0 {
			t.Errorf("%s lacks nosuid", r.Target)
		}
		if r.Flags&NoExec == 0 != slices.Contains(exec, r.Target) {
			t.Errorf("%s: noexec is %v", r.Target, r.Flags&NoExec != 0)
		}
		if r.Flags&NoDev == 0 != slices.Contains(dev, r.Target) {
			t.Errorf("%s: nodev is %v", r.Target, r.Flags&NoDev != 0)
		}
		if readOnly := r.Layer == LayerImage || r.Layer == LayerFile || r.Type == "efivarfs"; readOnly && r.Flags&ReadOnly == 0 {
			t.Errorf("%s is writable", r.Target)
		}
		if memory := r.Type == "tmpfs" || r.Type == "devtmpfs"; memory && (r.option("size") == "" || r.option("nr_inodes") == "" || r.option("mode") == "") {
			t.Errorf("%s has no bound or no mode", r.Target)
		}
	}
}

func TestTableLayers(t *testing.T) {
	for _, r := range Table {
		switch r.Layer {
		case LayerFile:
			if r.Source != "/system/etc/"+r.Name || r.Target != "/etc/"+r.Name || r.Type != "" {
				t.Errorf("row %+v", r)
			}
		case LayerOverlay:
			if r.option("lowerdir") != r.Target || r.option("upperdir") != "/var/system/overlays/"+r.Name+"/upper" || r.option("workdir") != "/var/system/overlays/"+r.Name+"/work" {
				t.Errorf("row %+v", r)
			}
		case LayerImage, LayerDisk, LayerPseudo, LayerTmpfs:
			if r.Type == "" || r.Source == "" {
				t.Errorf("row %+v", r)
			}
		default:
			t.Errorf("row %q has the layer %q", r.Name, r.Layer)
		}
		if inSys := strings.HasPrefix(r.Target, "/sys/"); r.Optional && !inSys {
			t.Errorf("row %q is optional, but its folder is not the kernel's", r.Name)
		}
	}
}

func TestGroups(t *testing.T) {
	names := func(groups [][]Row) string {
		var out []string
		for _, g := range groups {
			var names []string
			for _, r := range g {
				names = append(names, r.Name)
			}
			out = append(out, strings.Join(names, " "))
		}
		return strings.Join(out, " | ")
	}
	if got := names(Groups(Rows(PhaseOverlays))); got != "etc-kubernetes etc-cni opt" {
		t.Errorf("overlays: %s", got)
	}
	if got := names(Groups(Rows(PhaseEarly))); got != "root | dev proc sys" {
		t.Errorf("early: %s", got)
	}
	if got := len(Groups(Table)); got != 3 {
		t.Errorf("the table has %d groups: %s", got, names(Groups(Table)))
	}
}

func TestMountPoints(t *testing.T) {
	var got []string
	for _, r := range MountPoints("/") {
		got = append(got, r.Target)
	}
	want := "/dev /proc /sys /run /tmp /system /etc/hosts /etc/resolv.conf /etc/hostname /etc/machine-id /var /etc/kubernetes /etc/cni /opt"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}

func TestNormal(t *testing.T) {
	for a, b := range map[string]string{"mode=0755": "mode=755", "size=64M": "size=65536k", "nr_inodes=16k": "nr_inodes=16384", "prjquota": "prjquota", "size=50%": "size=50%"} {
		if normal(a) != normal(b) {
			t.Errorf("%s and %s are %s and %s", a, b, normal(a), normal(b))
		}
	}
}

// row is a mount of a machine that is as a row says.
func (r Row) asMounted(id int) *Info {
	m := &Info{ID: id, Parent: id - 1, Root: "/", Mountpoint: r.Target, FSType: r.fstype(), Source: r.Source,
		Options: (r.Flags &^ Bind).String() + ",relatime", VFSOptions: "rw,seclabel,inode64," + r.Data}
	switch {
	case r.Layer == LayerFile:
		m.Root = r.rootOf()
	case r.Layer == LayerImage:
		m.Source = "/dev/loop0"
	}
	if r.Flags&ReadOnly != 0 {
		m.VFSOptions = "ro"
	}
	return m
}

func TestCheckFindsEachDeviation(t *testing.T) {
	table := slices.DeleteFunc(slices.Clone(Table), func(r Row) bool { return r.Optional || r.Layer == LayerDisk })
	machine := func(change func(target string, m *Info) []*Info) []*Info {
		var out []*Info
		for i, r := range table {
			out = append(out, change(r.Target, r.asMounted(10*i+10))...)
		}
		return out
	}
	on := func(target string, edit func(m *Info)) func(string, *Info) []*Info {
		return func(at string, m *Info) []*Info {
			if at == target {
				edit(m)
			}
			return []*Info{m}
		}
	}
	for name, c := range map[string]struct {
		change func(string, *Info) []*Info
		want   string
	}{
		"nothing": {on("", nil), ""},
		"missing": {func(at string, m *Info) []*Info {
			if at == "/tmp" {
				return nil
			}
			return []*Info{m}
		}, "/tmp missing nothing is mounted there"},
		"exec":       {on("/tmp", func(m *Info) { m.Options = "rw,nosuid,nodev,relatime" }), "/tmp different it lacks noexec"},
		"too strict": {on("/opt", func(m *Info) { m.Options += ",noexec" }), "/opt different it has noexec"},
		"noatime":    {on("/opt", func(m *Info) { m.Options += ",noatime" }), "/opt different it has noatime"},
		"size":       {on("/tmp", func(m *Info) { m.VFSOptions = "rw,size=1024k,nr_inodes=16384" }), "/tmp different it lacks size=64M, it has size=1024k"},
		"type":       {on("/tmp", func(m *Info) { m.FSType = "ramfs" }), "/tmp different the type is ramfs, not tmpfs"},
		"old file":   {on("/etc/hosts", func(m *Info) { m.Root = "/etc/hosts//deleted" }), "/etc/hosts different it shows the file /etc/hosts//deleted, not /etc/hosts"},
		"writable":   {on("/", func(m *Info) { m.VFSOptions = "rw" }), "/ different the file system is writable"},
		"twice": {func(at string, m *Info) []*Info {
			if at == "/tmp" {
				under := *m
				under.ID = m.Parent
				return []*Info{&under, m}
			}
			return []*Info{m}
		}, "/tmp extra it lies hidden under another mount"},
		"extra": {func(at string, m *Info) []*Info {
			if at == "/tmp" {
				return []*Info{m, {ID: 5000, Parent: m.ID, Mountpoint: "/tmp/x", FSType: "tmpfs", Options: "rw"}}
			}
			return []*Info{m}
		}, "/tmp/x extra no row of the table says so"},
	} {
		var got []string
		for _, e := range check(table, machine(c.change)) {
			if e.State.Deviates() {
				got = append(got, e.Target+" "+string(e.State)+" "+e.Difference)
			}
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestFilesystemLabel reads back the label that mkfs.xfs gave, by which a
// partition is known that the kernel has not read from a table.
func TestFilesystemLabel(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	must(t, os.Mkdir("/a", 0o755))
	must(t, Mount(attached(t, xfsImage(t, "LABELLED")), "/a", "xfs", Options{}))
	defer Unmount("/a", 0)
	m, err := Find("/a")
	must(t, err)
	if got := diskLabel(m); got != "LABELLED" {
		t.Errorf("label %q, want LABELLED", got)
	}
}
