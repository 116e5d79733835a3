package pid1

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ichor/rpc"
)

// child is a program that PID 1 started and starts again when it ends.
type child struct {
	name  string
	pid   int
	ended <-chan unix.WaitStatus
	gone  chan struct{}
}

// children are the running ones in the order of their start.
type children struct {
	mu      sync.Mutex
	running []*child
	closed  bool
}

// add takes in a child; it refuses when the machine goes down.
func (c *children) add(start func() (*child, error)) (*child, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("the machine is going down")
	}
	ch, err := start()
	if err == nil {
		c.running = append(c.running, ch)
	}
	return ch, err
}

func (c *children) remove(ch *child) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.running {
		if c.running[i] == ch {
			c.running = append(c.running[:i], c.running[i+1:]...)
			break
		}
	}
	close(ch.gone)
}

// close lets no new ones in and returns those that run.
func (c *children) close() []*child {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return append([]*child(nil), c.running...)
}

// shellName is the debugging shell's name in the applet table.
const shellName = "shell"

// minRun is how long a program has to run for its end to be no failure; after
// a failure the next start waits as long.
const minRun = time.Second

// startShells starts the debugging shell on each terminal that was asked for.
func (m *machine) startShells() {
	ctx := context.Background() // they live as long as the machine, not the phase
	quietConsole()
	ttys := m.args.ttys
	if len(ttys) == 0 {
		ttys = systemConsole()
	}
	for _, tty := range ttys {
		rpc.Go("shell on "+tty, func() { m.keepShell(ctx, tty) })
	}
}

// keepShell runs the shell on a terminal again and again.
func (m *machine) keepShell(ctx context.Context, tty string) {
	for {
		ch, err := m.children.add(func() (*child, error) { return m.startShell(ctx, tty) })
		if err != nil {
			if m.status.is(stopping) {
				return
			}
			m.log.printf(logErr, "%v", err)
			sleep(ctx, 10*minRun)
			continue
		}
		started := time.Now()
		<-ch.ended
		m.children.remove(ch)
		if time.Since(started) < minRun {
			sleep(ctx, minRun)
		}
	}
}

// startShell starts the shell with the terminal as its own, and a control
// socket.
func (m *machine) startShell(ctx context.Context, tty string) (*child, error) {
	row, ok := m.env.Table.Lookup(shellName)
	if !ok {
		return nil, fmt.Errorf("the applet table has no %q", shellName)
	}
	term, err := os.OpenFile("/dev/"+tty, os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the terminal %s for the shell: %w", tty, err)
	}
	defer term.Close()
	ours, theirs, err := rpc.ControlPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	fd := term.Fd()
	pid, ended, err := m.reaper.start(self(), []string{shellName, rpc.ControlFlag(3)}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=" + searchPath, "HOME=/system/run", "TERM=" + terminalType(tty)},
		Files: []uintptr{fd, fd, fd, theirs.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		ours.Close()
		return nil, err
	}
	peer := rpc.Peer{Applet: row.Name, PID: int32(pid), UID: row.UID}
	rpc.Go("control socket of "+row.Name, func() { m.broker.ServeChild(ctx, ours, peer, row.Service) })
	return &child{name: row.Name, pid: pid, ended: ended, gone: make(chan struct{})}, nil
}

// self is the path of our binary in either life.
func self() string {
	if path, err := os.Readlink("/proc/self/exe"); err == nil {
		return path
	}
	return "/sbin/init"
}

// terminalType is "linux" for the virtual consoles, which are all a kernel
// calls tty and a number.
func terminalType(tty string) string {
	if n := strings.TrimPrefix(tty, "tty"); n != tty && n != "" && n[0] >= '0' && n[0] <= '9' {
		return "linux"
	}
	return "vt100"
}

// consoles are the terminals that kernel messages go to, the last of which is
// /dev/console.
func consoles() []string {
	b, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return nil
	}
	names := strings.Fields(string(b))
	for i, n := range names {
		if n == "tty0" { // the virtual console in front, which is tty1 now
			names[i] = "tty1"
		}
	}
	return names
}

func systemConsole() []string {
	if all := consoles(); len(all) > 0 {
		return all[len(all)-1:]
	}
	return []string{"console"}
}

// quietConsole keeps notices of the kernel from the terminal somebody works on.
func quietConsole() {
	const syslogActionConsoleLevel = 8 // syslog(2)
	unix.Syscall(unix.SYS_SYSLOG, syslogActionConsoleLevel, 0, logNotice)
}

func ioctlBytes(f *os.File, req uintptr, b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), req, uintptr(unsafe.Pointer(&b[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
