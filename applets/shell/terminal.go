package shell

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The size that is assumed of a terminal which does not know its own, as that
// of a serial line does not.
const (
	defaultColumns = 80
	defaultRows    = 24
)

// terminal is the console of an interactive shell.
type terminal struct {
	// given is the stream we were started with, for the programs we start.
	given *os.File
	// file is an open file description of our own for the same terminal. It
	// does not block, so that an interruption can end a read.
	file  *os.File
	fd    int
	saved unix.Termios // as we found it
	group int          // our process group, 0 if the terminal is not ours to lend

	mu       sync.Mutex
	lent     int // programs that the terminal is lent to
	borrower int // the process group of the last of them
	held     int // commands of ours that read keys and do not lend it
}

// openTerminal takes charge of the terminal that in is.
func openTerminal(in *os.File) (*terminal, error) {
	t := &terminal{given: in, file: in, fd: int(in.Fd())}
	saved, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("cannot read the settings of the terminal %s: %w", in.Name(), err)
	}
	t.saved = *saved
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", t.fd), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		t.fd, t.file = fd, os.NewFile(uintptr(fd), in.Name())
	}
	t.adopt()
	if c, r := t.size(); c == defaultColumns && r == defaultRows {
		unix.IoctlSetWinsize(t.fd, unix.TIOCSWINSZ, &unix.Winsize{Col: defaultColumns, Row: defaultRows})
	}
	return t, nil
}

// adopt makes the terminal our controlling one if we lead a session without
// one, and finds out whether it is ours to lend.
func (t *terminal) adopt() {
	sid, _ := unix.Getsid(0)
	leader := sid == os.Getpid()
	if leader {
		unix.IoctlSetInt(t.fd, unix.TIOCSCTTY, 0)
	}
	if front, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP); err == nil {
		if front != unix.Getpgrp() && !leader {
			unix.Kill(0, unix.SIGTTIN) // started with &: wait for fg, as shells do
		}
		t.group = unix.Getpgrp()
		t.setForeground(t.group)
	}
}

// blockSIGTTOU keeps the kernel from stopping us for changing a terminal that we
// are not in front of, until its result is called.
func blockSIGTTOU() (unblock func()) {
	runtime.LockOSThread()
	var block, old unix.Sigset_t
	block.Val[0] = 1 << (unix.SIGTTOU - 1)
	unix.PthreadSigmask(unix.SIG_BLOCK, &block, &old)
	return func() {
		unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
		runtime.UnlockOSThread()
	}
}

// setForeground makes a process group the one that the terminal's signals go to.
func (t *terminal) setForeground(group int) error {
	defer blockSIGTTOU()()
	pgrp := int32(group)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.fd), unix.TIOCSPGRP, uintptr(unsafe.Pointer(&pgrp)))
	if errno != 0 {
		return errno
	}
	return nil
}

// lend starts a program which has a process group of its own, in the foreground
// unless the terminal is held. The program puts itself there, before it runs:
// so neither its first look at the terminal nor an early ctrl-C goes wrong. It
// starts with SIGTTOU blocked, without which that would stop it.
func (t *terminal) lend(cmd *exec.Cmd) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.group != 0 && t.held == 0 {
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, t.fd
	}
	defer blockSIGTTOU()()
	if err := cmd.Start(); err != nil {
		t.claim() // the new process may have got that far
		return err
	}
	t.lent++
	t.borrower = cmd.Process.Pid
	return nil
}

// handOver brings the borrower to the front after a hold. It may have tried to
// read meanwhile and been stopped, hence the SIGCONT.
func (t *terminal) handOver() {
	if t.group != 0 && t.lent > 0 && t.held == 0 {
		t.setForeground(t.borrower)
		unix.Kill(-t.borrower, unix.SIGCONT)
	}
}

// takeBack ends a loan; the last one gives the foreground back to the shell.
func (t *terminal) takeBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lent--
	if t.lent == 0 {
		t.claim()
	}
}

// hold keeps the foreground for a command of ours that reads keys while a
// program feeds it, until release.
func (t *terminal) hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held++
	t.claim()
}

func (t *terminal) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held--
	t.handOver()
}

// claim brings the shell itself to the foreground.
func (t *terminal) claim() {
	if t.group != 0 {
		t.setForeground(t.group)
	}
}

// set changes the terminal's settings.
func (t *terminal) set(change func(*unix.Termios)) error {
	settings := t.saved
	change(&settings)
	t.claim()
	defer blockSIGTTOU()()
	if err := unix.IoctlSetTermios(t.fd, unix.TCSETS, &settings); err != nil {
		return fmt.Errorf("cannot change the settings of the terminal: %w", err)
	}
	return nil
}

// raw prepares for editing a line: keys come one by one and are not echoed.
// Output stays processed, for what the background prints meanwhile.
func (t *terminal) raw() error {
	return t.set(func(s *unix.Termios) {
		s.Iflag &^= unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.IXON | unix.INPCK | unix.PARMRK
		// Carriage returns become newlines: lines that are typed ahead may
		// be read by a program.
		s.Iflag |= unix.ICRNL
		s.Oflag |= unix.OPOST | unix.ONLCR
		s.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		s.Cc[unix.VMIN], s.Cc[unix.VTIME] = 1, 0
	})
}

// cooked prepares for running commands. It does not trust what was found: the
// last shell may have died while it edited a line. ctrl-Z is off, since there
// is nothing to bring a stopped program back with.
func (t *terminal) cooked() error {
	return t.set(func(s *unix.Termios) {
		s.Iflag |= unix.ICRNL | unix.BRKINT | unix.IUTF8
		s.Iflag &^= unix.INLCR | unix.IGNCR
		s.Oflag |= unix.OPOST | unix.ONLCR
		s.Lflag |= unix.ISIG | unix.ICANON | unix.IEXTEN | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE
		s.Cc[unix.VINTR], s.Cc[unix.VQUIT], s.Cc[unix.VEOF], s.Cc[unix.VERASE] = 3, 28, 4, 127
		s.Cc[unix.VMIN], s.Cc[unix.VTIME] = 1, 0
		s.Cc[unix.VSUSP] = 0
	})
}

// restore leaves the terminal as we found it.
func (t *terminal) restore() {
	t.set(func(*unix.Termios) {})
	if t.file != t.given {
		t.file.Close()
	}
}

// size returns the terminal's columns and rows.
func (t *terminal) size() (columns, rows int) { return sizeOf(t.fd) }

func sizeOf(fd int) (columns, rows int) {
	ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return defaultColumns, defaultRows
	}
	return int(ws.Col), int(ws.Row)
}

// screen returns the size of the terminal that the utility's output goes to,
// and whether it goes to one.
func (c *call) screen() (columns, rows int, ok bool) {
	f, isFile := unguarded(c.out).(*os.File)
	if !isFile {
		return defaultColumns, defaultRows, false
	}
	fd := -1
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(n uintptr) { fd = int(n) })
	}
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return defaultColumns, defaultRows, false
	}
	columns, rows = sizeOf(fd)
	return columns, rows, true
}
