package bench

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ichor/rootfs/qemu"
)

// commandTime bounds a command in the shell of a machine.
const commandTime = time.Minute

// inShell boots our disk for the second time, with the debugging shell, and
// runs work in it.
func (b *bench) inShell(work func(*qemu.Shell) error) error {
	disk := filepath.Join(b.scratch, "disk.raw")
	if err := qemu.CopyDisk(disk, b.product("ichor-amd64.raw"), 0); err != nil {
		return err
	}
	c := b.direct(b.product("initramfs"), "ichor.shell")
	c.Disks = []qemu.Disk{{File: disk}}
	if _, err := b.once(c, (*machine).powerOff); err != nil {
		return err
	}
	_, err := b.once(c, func(m *machine) error {
		sh, err := qemu.OpenShell(m.Console, commandTime)
		if err != nil {
			return err
		}
		return work(sh)
	})
	return err
}

// step is a phase or a task as "ctl status -o json" has it.
type step struct {
	Name    string `json:"name"`
	Started string `json:"started"`
	Took    string `json:"took"`
	Tasks   []step `json:"tasks"`
}

// phases shows the boot as the machine itself tells it.
func (b *bench) phases() error {
	return b.inShell(func(sh *qemu.Shell) error {
		said, err := sh.Must("ctl status -o json", commandTime)
		if err != nil {
			return err
		}
		var status struct {
			ReadyAfter string `json:"ready_after"`
			Phases     []step `json:"phases"`
		}
		if err := json.Unmarshal([]byte(said), &status); err != nil {
			return fmt.Errorf("cannot read %q: %w", said, err)
		}
		b.table(func(row func(...any)) {
			row("phase", "starts", "takes", "its tasks, side by side")
			for _, p := range status.Phases {
				var tasks []string
				for _, t := range p.Tasks {
					tasks = append(tasks, t.Name+" "+rounded(t.Took))
				}
				row(p.Name, rounded(p.Started), rounded(p.Took), strings.Join(tasks, ", "))
			}
			row("ready", rounded(status.ReadyAfter))
		})
		return nil
	})
}

// rounded shortens a duration in the form of protobuf's JSON, as in 1.234567s.
func rounded(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}

// process is what one process holds, in KiB.
type process struct {
	pid                int
	name               string
	rss, anon, private int
}

// processes asks for the memory of each process.
const askProcesses = `grep -E '^(Name|VmRSS|RssAnon|Pss):' /proc/[0-9]*/status /proc/[0-9]*/smaps_rollup`

// A line of its answer.
var processLine = regexp.MustCompile(`(?m)^/proc/(\d+)/\w+:(\w+):\s+(\S+)`)

// parseProcesses reads the answer. Threads of the kernel hold nothing and are
// left out.
func parseProcesses(said string) []process {
	byPID := map[int]*process{}
	for _, m := range processLine.FindAllStringSubmatch(said, -1) {
		pid, _ := strconv.Atoi(m[1])
		p := byPID[pid]
		if p == nil {
			p = &process{pid: pid}
			byPID[pid] = p
		}
		n, _ := strconv.Atoi(m[3])
		switch m[2] {
		case "Name":
			p.name = m[3]
		case "VmRSS":
			p.rss = n
		case "RssAnon":
			p.anon = n
		case "Pss":
			p.private = n
		}
	}
	var all []process
	for _, p := range byPID {
		if p.rss > 0 {
			all = append(all, *p)
		}
	}
	slices.SortFunc(all, func(a, b process) int { return a.pid - b.pid })
	return all
}

func TestParseProcesses(t *testing.T) {
	const said = `/proc/1/status:Name:	init
/proc/1/status:VmRSS:	   18728 kB
/proc/1/status:RssAnon:	    7064 kB
/proc/2/status:Name:	kthreadd
/proc/1/smaps_rollup:Pss:               15162 kB
`
	want := []process{{1, "init", 18728, 7064, 15162}}
	if got := parseProcesses(said); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// aimProcesses is what all our processes may hold together, in MiB.
const aimProcesses = 60

// processes shows what each of our processes holds at ready, and how much of
// the machine's memory is in use.
func (b *bench) processes() error {
	return b.inShell(func(sh *qemu.Shell) error {
		said, err := sh.Must(askProcesses+" 2>/dev/null; true", commandTime)
		if err != nil {
			return err
		}
		info, err := sh.Must("grep -E '^(MemTotal|MemFree|MemAvailable|Shmem|Slab):' /proc/meminfo", commandTime)
		if err != nil {
			return err
		}
		total := 0
		b.table(func(row func(...any)) {
			row("process", "VmRSS", "RssAnon", "Pss")
			for _, p := range parseProcesses(said) {
				row(fmt.Sprintf("%d %s", p.pid, p.name), mib(p.rss), mib(p.anon), mib(p.private))
				total += p.private
			}
		})
		b.printf("all of them (sum of Pss): %s, aim %d MiB, %s\n", mib(total), aimProcesses, met(total <= aimProcesses<<10))
		b.printf("the machine: %s\n", strings.Join(strings.Fields(strings.ReplaceAll(info, "\n", " ")), " "))
		return nil
	})
}

func mib(kib int) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }

// The search for the smallest memory, in MiB: a boot with the lower bound is
// taken to fail and one with the upper bound to succeed.
const (
	memoryLow  = 64
	memoryHigh = 512
	memoryStep = 8
	aimMemory  = 192
)

// endLine is how a boot can end, for good or bad.
var endLine = regexp.MustCompile(`ready in \d+\.\d+ s|Kernel panic[^\n]*|cannot boot[^\n]*|error: [^\n]*|No slot could be started`)

// smallestMemory searches for the memory that a first boot through GRUB needs.
func (b *bench) smallestMemory() error {
	n, below, err := smallest(memoryLow, memoryHigh, memoryStep, b.bootsWith)
	if err != nil {
		return err
	}
	b.printf("a first boot on BIOS reaches ready with %d MiB, aim %d MiB, %s\n", n, aimMemory, met(n <= aimMemory))
	b.printf("with %d MiB: %s\n", n-memoryStep, below)
	return nil
}

// bootsWith tells whether a first boot reaches ready, and if not, what it said
// that explains why.
func (b *bench) bootsWith(memory int) (ok bool, said string, err error) {
	b.progress("a boot with %d MiB", memory)
	disk := filepath.Join(b.scratch, "disk.raw")
	if err := qemu.CopyDisk(disk, b.product("ichor-amd64.raw"), 0); err != nil {
		return false, "", err
	}
	m, err := b.start(qemu.Config{Firmware: qemu.BIOS, Memory: memory, KeepOff: true, Disks: []qemu.Disk{{File: disk}}})
	if err != nil {
		return false, "", err
	}
	defer m.Close()
	found, err := m.Expect(endLine, bootTime)
	if err != nil {
		return false, "nothing more was said: " + explanation(m.Log()), nil
	}
	if strings.Contains(found[0], flake) {
		return b.bootsWith(memory)
	}
	if readyLine.MatchString(found[0]) {
		return true, "", nil
	}
	return false, explanation(m.Log()), nil
}

// troubleLine are lines of a log that tell of a lack of memory.
var troubleLine = regexp.MustCompile(`(?i)[^\n]*(out of memory|unpacking failed|write error|page allocation failure|kernel panic|cannot boot|cannot allocate|error:)[^\n]*`)

// explanation returns the lines that tell why, or the last one.
func explanation(log string) string {
	log = strings.ReplaceAll(log, "\r", "")
	lines := troubleLine.FindAllString(log, 4)
	if lines == nil {
		all := strings.Split(strings.TrimSpace(log), "\n")
		lines = all[len(all)-1:]
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " | ")
}

func TestExplanation(t *testing.T) {
	const log = "[ 1.0] fine\r\n[ 1.2] Initramfs unpacking failed: write error\r\n[ 1.3] fine too\r\n[ 1.9] Kernel panic - not syncing\r\n"
	if got, want := explanation(log), "[ 1.2] Initramfs unpacking failed: write error | [ 1.9] Kernel panic - not syncing"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := explanation("a\r\nb\r\n"); got != "b" {
		t.Errorf("%q, want the last line", got)
	}
}
