package boot

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"ichor/partition"
	"ichor/rootfs/qemu"
)

// How many power cuts there are of first boots, of later ones, and how many
// disks that lose writes.
const (
	cutsInSoak, cuts = 50, 4
	lostInSoak, lost = 50, 2
)

// either is the number for a soak run or that for the sample.
func either(inSoak, sample int) int {
	if *soak != "" {
		return inSoak
	}
	return sample
}

// afterReady is how long after it is ready a machine may still be cut off.
const afterReady = time.Second

// hardwareFor chooses a machine for a power cut.
func hardwareFor(r *rand.Rand) hardware {
	if *soak == "" {
		return at(0, 0, 1, 0)
	}
	return at(0, r.IntN(3), 1, r.IntN(3))
}

// TestPowerCutFirstBoot cuts the power at random moments of the first boot.
// The next boot has to do what is left.
func TestPowerCutFirstBoot(t *testing.T) {
	r := random(t)
	span := timeToReady(t)
	for i := range either(cutsInSoak, cuts) {
		t.Run(strconv.Itoa(i+1), func(t *testing.T) {
			h := hardwareFor(r)
			disk := newDisk(t, image(t), h.size*partition.GiB)
			at := moment(r, span)
			doing := cutAt(t, h, disk, at)
			ready := checkAfterCut(t, h, disk, 0)
			record(t, "Power cuts", "first", h.firmware, h.kind, fmt.Sprintf("%.2f", at.Seconds()), doing, "-", ready)
		})
	}
}

// TestPowerCut cuts the power of one disk's machine again and again: while it
// boots, or while a load writes. What was synced before has to be there.
func TestPowerCut(t *testing.T) {
	r := random(t)
	h := hardwareFor(r)
	disk := installedDisk(t)
	span := timeToReady(t)
	synced := 0
	for i := range either(cutsInSoak, cuts) {
		ok := t.Run(strconv.Itoa(i+1), func(t *testing.T) {
			h.firmware = []qemu.Firmware{qemu.BIOS, qemu.UEFI}[r.IntN(2)]
			h.sector = 512
			var doing string
			at := moment(r, span)
			if i%2 == 0 {
				doing = cutAt(t, h, disk, at)
			} else {
				at = time.Duration(r.Int64N(int64(4 * time.Second)))
				synced = cutUnderLoad(t, h, disk, synced, at)
				doing = "the load"
			}
			ready := checkAfterCut(t, h, disk, synced)
			record(t, "Power cuts", "later", h.firmware, h.kind, fmt.Sprintf("%.2f", at.Seconds()), doing, 3*synced, ready)
		})
		if !ok {
			return // the next one would start from a disk that is broken
		}
	}
}

// moment chooses a moment of a boot, in time since the start of the kernel:
// before it nothing writes.
func moment(r *rand.Rand, span time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(span + afterReady)))
}

// kernelStarts is what a kernel prints first.
const kernelStarts = `Linux version`

// measured is what timeToReady has found out.
var measured time.Duration

// timeToReady measures once how long a first boot takes from the start of the
// kernel.
func timeToReady(t *testing.T) time.Duration {
	t.Helper()
	if measured == 0 {
		m := startDirect(t, at(0, 0, 1, 0), newDisk(t, image(t), 0))
		m.expect(kernelStarts, bootTime)
		begin := time.Now()
		m.ready()
		measured = time.Since(begin)
		m.Kill()
	}
	return measured
}

// startDirect boots a machine's disk without its firmware, which writes nothing
// and takes its time.
func startDirect(t *testing.T, h hardware, disk string) *machine {
	t.Helper()
	c := direct("ichor.shell")
	c.Memory, c.Disks = h.memory, h.config(disk).Disks
	return start(t, c)
}

// cutAt boots a disk, cuts the power, and returns what was said last.
func cutAt(t *testing.T, h hardware, disk string, after time.Duration) string {
	t.Helper()
	m := startDirect(t, h, disk)
	m.expect(kernelStarts, bootTime)
	time.Sleep(after)
	m.Kill()
	return lastWords(m.Log())
}

// words are what tells how far a boot has come.
var words = regexp.MustCompile(`ichor: (ready|phase [a-z]+|[a-z]+ [^\r\n,(]*)|(XFS \([^)]*\): [^\r\n]*)`)

func lastWords(log string) string {
	all := words.FindAllStringSubmatch(log, -1)
	if len(all) == 0 {
		return "the kernel starts"
	}
	last := all[len(all)-1]
	return "after \"" + strings.TrimSpace(last[1]+last[2]) + "\""
}

// loaded are the folders that the load writes to.
var loaded = []string{"/var/load", "/opt/load", "/system/state/load"}

// cutUnderLoad boots a disk, has its shell write files numbered from done + 1 on,
// and cuts the power. It returns the number up to which they were synced.
func cutUnderLoad(t *testing.T, h hardware, disk string, done int, after time.Duration) int {
	t.Helper()
	m := startDirect(t, h, disk).boot()
	folders := strings.Join(loaded, " ")
	load := fmt.Sprintf(`mkdir -p %s; sync; i=%d; while true; do i=$((i+1)); for d in %s; do echo $d $i > $d/$i; echo $i > $d/new; mv $d/new $d/last; done; head -c 300K /dev/urandom > /var/load/noise; sync; echo syn"ced"-$i; done`,
		folders, done, folders)
	if err := m.Send(load + "\r"); err != nil {
		t.Fatal(err)
	}
	m.expect(`synced-\d+\r?\n`, commandTime)
	time.Sleep(after)
	m.Kill()
	for _, match := range regexp.MustCompile(`synced-(\d+)\r?\n`).FindAllStringSubmatch(m.Log(), -1) {
		done, _ = strconv.Atoi(match[1])
	}
	return done
}

// checkAfterCut boots a disk after a power cut, wants everything in place and
// what was synced, and switches the machine off. It returns after how many
// seconds it was ready.
func checkAfterCut(t *testing.T, h hardware, disk string, synced int) string {
	t.Helper()
	m := start(t, h.config(disk))
	ready := m.ready()
	m.openShell()
	m.run("mount plan --check")
	m.checkPartitions(h.device())
	if synced > 0 {
		m.checkLoad(synced)
	}
	m.powerOff()
	checkDisk(t, disk, h.sector)
	return ready
}

// checkLoad wants the files of the load up to a number.
func (m *machine) checkLoad(synced int) {
	m.t.Helper()
	for _, dir := range loaded {
		var want strings.Builder
		for i := range synced {
			fmt.Fprintf(&want, "%s %d\n", dir, i+1)
		}
		if have := m.run(fmt.Sprintf("cd %s; cat $(seq 1 %d)", dir, synced)); have != want.String() {
			m.t.Errorf("%s lacks some of what was synced: %q", dir, have)
		}
		last, err := strconv.Atoi(strings.TrimSpace(m.run("cat " + dir + "/last")))
		if err != nil || last < synced {
			m.t.Errorf("%s/last is %d, %v, want at least %d", dir, last, err, synced)
		}
	}
}
