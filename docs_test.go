package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"ichor/mount"
	"ichor/partition"
	"ichor/rootfs"
	"ichor/rootfs/hardening"
)

var update = flag.Bool("update", false, "write docs/tables.md anew")

// TestDocs keeps docs/tables.md what the tables in the code say.
func TestDocs(t *testing.T) {
	const path = "docs/tables.md"
	want := tables()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s does not say what the tables say; run: go test . -update", path)
	}
}

// TestMountPoints wants the image to have what the mount table mounts upon.
func TestMountPoints(t *testing.T) {
	tree, err := rootfs.NewTree(rootfs.Table)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mount.MountPoints("/") {
		n, ok := tree.Find(r.Target)
		if !ok || n.Mode.IsDir() == (r.Layer == mount.LayerFile) {
			t.Errorf("the image has no mount point of the right kind at %s", r.Target)
		}
	}
}

func tables() string {
	var b strings.Builder
	b.WriteString("# The tables\n\nWhat the OS is stands in literal tables in the code. This page is written from them by\n`go test . -update`, and a test fails when it is not what they say.\n")
	markdown(&b, "Partitions", "`ichor partition plan`; `partition/layout.go`",
		[]string{"label", "type GUID", "size", "file system", "mounted at", "recreated by"}, func(row func(...any)) {
			for _, r := range partition.Layout {
				size := partition.SizeText(r.Size)
				if r.Grows {
					size += ", then the rest of the disk"
				}
				row(r.Label, r.Type, size, r.FS, r.Mount, r.Origin)
			}
		})
	markdown(&b, "Mounts", "`ichor mount plan`; `mount/table.go`",
		[]string{"target", "source", "type", "flags", "options", "layer", "phase", "optional"}, func(row func(...any)) {
			for _, r := range mount.Table {
				row(r.Target, r.Source, r.Type, r.Flags, r.Data, r.Layer, r.Phase, yes(r.Optional))
			}
		})
	markdown(&b, "Applets", "`ichor applets`; `main.go`",
		[]string{"applet", "for", "what it is", "serves", "home", "calls", "uid", "capabilities", "links"}, func(row func(...any)) {
			for _, a := range table() {
				row(strings.Join(append([]string{a.Name}, a.Aliases...), ", "), a.Audience, a.Summary, a.Service, a.Home,
					strings.Join(a.Calls, ", "), a.UID, strings.Join(a.Capabilities, ", "), strings.Join(a.Links, " "))
			}
		})
	markdown(&b, "Kernel command line", "`rootfs/hardening/cmdline.go`",
		[]string{"argument", "need", "why"}, func(row func(...any)) {
			for _, a := range hardening.Arguments {
				row("`"+a.Text+"`", a.Need, a.Why)
			}
		})
	markdown(&b, "Sysctls", "`rootfs/hardening/sysctl.go`",
		[]string{"key", "value", "need", "why"}, func(row func(...any)) {
			for _, s := range hardening.Sysctls {
				row(s.Key, s.Value, s.Need, s.Why)
			}
		})
	return b.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func markdown(b *strings.Builder, title, source string, head []string, rows func(row func(...any))) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| %s |\n|%s\n", title, source, strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	rows(func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(b, "| %v ", c)
		}
		b.WriteString("|\n")
	})
}
