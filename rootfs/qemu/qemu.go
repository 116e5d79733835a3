// Package qemu starts virtual machines for tests and benchmarks, talks to their
// serial console and cuts their power.
//
// It is for machines that live as long as a test. To boot an image by hand use
// make run.
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// program is QEMU for the only architecture there is.
const program = "qemu-system-x86_64"

// Firmware says how a machine starts.
type Firmware int

// The ways to start.
const (
	BIOS   Firmware = iota // SeaBIOS boots the first disk
	UEFI                   // OVMF boots the first disk
	Direct                 // QEMU starts Config.Kernel itself
)

// String names the firmware.
func (f Firmware) String() string {
	return [...]string{"BIOS", "UEFI", "direct"}[f]
}

// Kind is what a disk is attached to.
type Kind int

// The kinds of disks.
const (
	VirtioBlk Kind = iota
	VirtioSCSI
	NVMe
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"virtio-blk", "virtio-scsi", "nvme"}[k]
}

// Disk is a disk of a machine.
type Disk struct {
	// File is a raw image; see CopyDisk.
	File string
	Kind Kind
	// SectorSize is 512, also the value for 0, or 4096 bytes.
	SectorSize int
	// ID names the disk for QMP; empty means disk0, disk1 and so on.
	ID string
}

// Config describes a machine. There is no network.
type Config struct {
	Firmware Firmware
	// Kernel, Initrd and Append are for Direct.
	Kernel, Initrd, Append string
	// Disks in the order in which they are attached; the first is booted.
	Disks []Disk
	// Memory in MiB, 1024 for 0; CPUs, 2 for 0.
	Memory, CPUs int
	// Accel is kvm or tcg; empty asks Accel.
	Accel string
	// KeepOff ends the machine when it reboots, instead of starting it anew.
	KeepOff bool
	// Vars is a file that keeps the variables of UEFI between machines; it is
	// made when it is missing. Empty means fresh ones.
	Vars string
	// Args are more arguments for QEMU.
	Args []string
	// Tee, when set, gets a copy of what the console prints.
	Tee io.Writer
}

// VM is a running machine.
type VM struct {
	*Console
	cmd  *exec.Cmd
	qmp  *qmp
	dir  string
	said bytes.Buffer // what QEMU itself complains about
	// Started is when QEMU was started.
	Started time.Time

	done chan struct{} // closed when QEMU has ended
	err  error         // how it ended

	mu sync.Mutex // guards the next two
	// disks counts those that were attached.
	disks int
	// scsi is set when there is a controller.
	scsi bool
}

// Start starts a machine. It ends with Close or with the calling process,
// whatever way that ends.
func Start(c Config) (*VM, error) {
	vm := &VM{done: make(chan struct{})}
	if err := vm.start(c); err != nil {
		vm.removeScratch()
		return nil, fmt.Errorf("cannot start virtual machine: %w", err)
	}
	return vm, nil
}

func (vm *VM) start(c Config) error {
	var err error
	if vm.dir, err = os.MkdirTemp("", "ichor-vm-"); err != nil {
		return err
	}
	args, err := vm.arguments(c)
	if err != nil {
		return err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	vm.cmd = exec.Command(program, args...)
	vm.cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	vm.cmd.Stderr = &vm.said
	vm.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, inErr := vm.cmd.StdinPipe()
	out, outErr := vm.cmd.StdoutPipe()
	vm.Started = time.Now()
	err = errors.Join(inErr, outErr, vm.cmd.Start())
	theirs.Close() // or QEMU's end would not be seen
	if err != nil {
		ours.Close()
		return err
	}
	vm.Console = newConsole(in, c.Tee)
	go vm.reap(out)
	vm.qmp, err = newQMP(ours)
	if err != nil {
		vm.Kill()
		return fmt.Errorf("%w; QEMU said: %s", err, bytes.TrimSpace(vm.said.Bytes()))
	}
	return nil
}

// reap reads the console to its end and then waits for QEMU.
func (vm *VM) reap(out io.Reader) {
	vm.Console.read(out)
	vm.err = vm.cmd.Wait()
	close(vm.done)
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	// Ours is for Go's poller, so that reading it can time out.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "qmp"), os.NewFile(uintptr(fds[1]), "qmp"), nil
}

// arguments makes QEMU's command line.
func (vm *VM) arguments(c Config) ([]string, error) {
	if c.Accel == "" {
		c.Accel = Accel(c.Kernel)
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-vga", "std",
		"-serial", "stdio", "-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control",
		"-m", strconv.Itoa(or(c.Memory, 1024)), "-smp", strconv.Itoa(or(c.CPUs, 2)),
	}
	if c.Accel == "kvm" {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		args = append(args, "-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand")
	}
	if c.KeepOff {
		args = append(args, "-no-reboot")
	}
	firmware, err := vm.firmware(c)
	if err != nil {
		return nil, err
	}
	args = append(args, firmware...)
	for _, d := range c.Disks {
		args = append(args, vm.diskArguments(d)...)
	}
	return append(args, c.Args...), nil
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// OVMF's files in Debian's package.
const (
	ovmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

func (vm *VM) firmware(c Config) ([]string, error) {
	switch c.Firmware {
	case BIOS:
		return nil, nil
	case Direct:
		args := []string{"-kernel", c.Kernel, "-append", c.Append}
		if c.Initrd != "" {
			args = append(args, "-initrd", c.Initrd)
		}
		return args, nil
	}
	vars := c.Vars
	if vars == "" {
		vars = filepath.Join(vm.dir, "vars.fd")
	}
	if _, err := os.Stat(vars); errors.Is(err, os.ErrNotExist) {
		if err := copyFile(vars, ovmfVars); err != nil {
			return nil, err
		}
	}
	return []string{
		"-drive", "if=pflash,format=raw,readonly=on,file=" + ovmfCode,
		"-drive", "if=pflash,format=raw,file=" + vars,
	}, nil
}

// name takes the next name of a disk, and whether it is the first one.
func (vm *VM) name(d Disk) (id string, index int) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	index = vm.disks
	vm.disks++
	if d.ID != "" {
		return d.ID, index
	}
	return "disk" + strconv.Itoa(index), index
}

// diskArguments attaches a disk at the start. The host's cache is not flushed:
// cutting the power of the machine loses nothing that is in it. Boot index 0 is
// taken by the kernel of Direct.
func (vm *VM) diskArguments(d Disk) []string {
	id, index := vm.name(d)
	size := strconv.Itoa(or(d.SectorSize, 512))
	drive := "if=none,format=raw,cache=unsafe,discard=unmap,id=" + id + ",file=" + d.File
	device := ",drive=" + id + ",logical_block_size=" + size + ",physical_block_size=" + size + ",bootindex=" + strconv.Itoa(index+1)
	var args []string
	switch d.Kind {
	case VirtioBlk:
		device = "virtio-blk-pci" + device
	case NVMe:
		device = "nvme,serial=" + id + device
	case VirtioSCSI:
		if !vm.scsi {
			vm.scsi = true
			args = append(args, "-device", "virtio-scsi-pci,id=scsi")
		}
		device = "scsi-hd,bus=scsi.0" + device
	}
	return append(args, "-drive", drive, "-device", device)
}

// AddDisk attaches a disk of kind VirtioBlk to the running machine.
func (vm *VM) AddDisk(d Disk) error {
	if d.Kind != VirtioBlk {
		return fmt.Errorf("cannot attach disk %s: %s while the machine runs is not supported", d.File, d.Kind)
	}
	id, _ := vm.name(d)
	size := or(d.SectorSize, 512)
	_, err := vm.QMP("blockdev-add", map[string]any{
		"driver": "raw", "node-name": id, "discard": "unmap",
		"file": map[string]any{"driver": "file", "filename": d.File, "discard": "unmap"},
	})
	if err == nil {
		_, err = vm.QMP("device_add", map[string]any{
			"driver": "virtio-blk-pci", "drive": id, "id": "dev-" + id,
			"logical_block_size": size, "physical_block_size": size,
		})
	}
	if err != nil {
		return fmt.Errorf("cannot attach disk %s: %w", d.File, err)
	}
	return nil
}

// QMP gives QEMU a command of its machine protocol and returns the answer.
func (vm *VM) QMP(command string, arguments map[string]any) (any, error) {
	return vm.qmp.do(command, arguments)
}

// PowerButton presses the power button once.
func (vm *VM) PowerButton() error {
	_, err := vm.QMP("system_powerdown", nil)
	return err
}

// Reset presses the reset button.
func (vm *VM) Reset() error {
	_, err := vm.QMP("system_reset", nil)
	return err
}

// Kill cuts the power and returns when the machine is gone.
func (vm *VM) Kill() {
	vm.cmd.Process.Kill()
	<-vm.done
}

// Running tells whether the machine still runs.
func (vm *VM) Running() bool {
	select {
	case <-vm.done:
		return false
	default:
		return true
	}
}

// Wait waits for the machine to power itself off.
func (vm *VM) Wait(ctx context.Context) error {
	select {
	case <-vm.done:
		if vm.err != nil {
			return fmt.Errorf("virtual machine: %w: %s", vm.err, bytes.TrimSpace(vm.said.Bytes()))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("virtual machine is still running: %w; the console's end:\n%s", ctx.Err(), vm.Tail(30))
	}
}

// Close cuts the power, if it is still on, and removes what was made for the
// machine, but not its disks.
func (vm *VM) Close() {
	vm.Kill()
	vm.qmp.close()
	vm.removeScratch()
}

func (vm *VM) removeScratch() {
	if vm.dir != "" {
		os.RemoveAll(vm.dir)
	}
}
