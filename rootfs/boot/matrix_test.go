package boot

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"ichor/partition"
	"ichor/rootfs/qemu"
)

// hardware is a machine that the image has to run on.
type hardware struct {
	size     int64 // of the disk in GiB
	kind     qemu.Kind
	memory   int // MiB
	firmware qemu.Firmware
	sector   int
}

func (h hardware) String() string {
	return fmt.Sprintf("%d GiB, %v, %d MiB, %v, %d", h.size, h.kind, h.memory, h.firmware, h.sector)
}

// device is the name of the first disk of a kind.
func (h hardware) device() string {
	return [...]string{"/dev/vda", "/dev/sda", "/dev/nvme0n1"}[h.kind]
}

func (h hardware) config(disk string) qemu.Config {
	return qemu.Config{Firmware: h.firmware, Memory: h.memory, Disks: []qemu.Disk{{File: disk, Kind: h.kind, SectorSize: h.sector}}}
}

// The values of the matrix. A BIOS boots from no disk with sectors of 4096
// bytes, so that firmware and sector size make one column.
var (
	sizes    = []int64{3, 10, 200}
	kinds    = []qemu.Kind{qemu.VirtioBlk, qemu.VirtioSCSI, qemu.NVMe}
	memories = []int{256, 1024, 4096}
	starts   = []hardware{{firmware: qemu.BIOS, sector: 512}, {firmware: qemu.UEFI, sector: 512}, {firmware: qemu.UEFI, sector: 4096}}
)

// at is the machine with these values.
func at(size, kind, memory, start int) hardware {
	h := starts[start]
	h.size, h.kind, h.memory = sizes[size], kinds[kind], memories[memory]
	return h
}

// product of all values.
func allHardware() []hardware {
	var all []hardware
	for i := range 81 {
		all = append(all, at(i/27, i/9%3, i/3%3, i%3))
	}
	return all
}

// pairs are nine machines in which each value of a column meets each value of
// every other one: the orthogonal array L9 with its values shuffled.
func pairs(r *rand.Rand) []hardware {
	var shuffled [4][]int
	for i := range shuffled {
		shuffled[i] = r.Perm(3)
	}
	var all []hardware
	for i := range 3 {
		for j := range 3 {
			all = append(all, at(shuffled[0][i], shuffled[1][j], shuffled[2][(i+j)%3], shuffled[3][(i+2*j)%3]))
		}
	}
	return all
}

// TestHardware boots the same image on many machines.
func TestHardware(t *testing.T) {
	tries := pairs(random(t))
	if *soak != "" {
		tries = allHardware()
	}
	for _, h := range tries {
		t.Run(h.String(), func(t *testing.T) {
			disk := newDisk(t, image(t), h.size*partition.GiB)
			m := start(t, h.config(disk))
			seconds := m.ready()
			m.openShell()
			m.checkPartitions(h.device())
			m.run("mount plan --check")
			free := m.run("df -h /var | tail -1")
			m.powerOff()
			checkDisk(t, disk, h.sector)
			record(t, "Hardware", h.size, h.kind, h.memory, h.firmware, h.sector, seconds, column(free, 1))
		})
	}
}

// TestGrowth boots a disk that has become larger than it was.
func TestGrowth(t *testing.T) {
	tries := []hardware{at(0, random(t).IntN(3), 1, 0)}
	if *soak != "" {
		tries = nil
		for i := range 9 {
			tries = append(tries, at(0, i/3, 1, i%3))
		}
	}
	for _, h := range tries {
		t.Run(h.String(), func(t *testing.T) { growth(t, h) })
	}
}

func growth(t *testing.T, h hardware) {
	disk := newDisk(t, image(t), h.size*partition.GiB)
	m := start(t, h.config(disk)).boot()
	m.run("head -c 5M /dev/urandom > /var/data; sha256sum /var/data > /var/sums; sha256sum /var/data > /system/state/sums")
	m.powerOff()
	for _, size := range sizes[1:] {
		if err := os.Truncate(disk, size*partition.GiB); err != nil {
			t.Fatal(err)
		}
		m = start(t, h.config(disk)).boot()
		m.said(`ichor: move the backup table to the end of the disk`)
		m.said(`ichor: grow partition 6, EPHEMERAL`)
		m.said(`ichor: the file system at /var grew from`)
		m.run("sha256sum -c /var/sums && sha256sum -c /system/state/sums")
		m.checkPartitions(h.device())
		m.run("mount plan --check")
		m.powerOff()
		checkDisk(t, disk, h.sector)
		record(t, "Growth", h.kind, h.firmware, h.sector, size)
		if *soak == "" {
			return
		}
	}
}

// checkFileSystem wants an XFS that fills its partition and is in order.
func checkFileSystem(t *testing.T, disk string, row partition.Row, start, size int64) {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The beginning of the superblock: magic, u32 bytes of a block, u64 blocks.
	var super [16]byte
	if _, err := f.ReadAt(super[:], start); err != nil {
		t.Fatal(err)
	}
	block, blocks := int64(binary.BigEndian.Uint32(super[4:])), int64(binary.BigEndian.Uint64(super[8:]))
	if string(super[:4]) != "XFSB" || block*blocks != size/block*block {
		t.Errorf("%s has %d bytes, and in it a file system %q of %d", row.Label, size, super[:4], block*blocks)
		return
	}
	loop := attach(t, disk, "--offset", fmt.Sprint(start), "--sizelimit", fmt.Sprint(size))
	defer detach(t, loop)
	if said := command(t, "xfs_repair", "-n", loop); strings.Contains(said, "ALERT") {
		t.Errorf("%s was not unmounted: %s", row.Label, said)
	}
}

// attach makes a read-only loop device of a part of a file.
func attach(t *testing.T, file string, args ...string) string {
	t.Helper()
	return column(command(t, "losetup", append([]string{"--find", "--show", "--read-only", file}, args...)...), 0)
}

func detach(t *testing.T, loop string) {
	t.Helper()
	command(t, "losetup", "--detach", loop)
	for range 100 { // the kernel takes its time if somebody looks at it
		if _, err := os.Stat("/sys/block/" + loop[len("/dev/"):] + "/loop/backing_file"); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
