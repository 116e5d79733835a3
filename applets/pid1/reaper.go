package pid1

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// reaper starts all children of PID 1 and holds the only wait4 of the program.
// Orphans of other processes end up here too, so it has to wait for any
// process. Between the fork and the moment when somebody is registered as
// waiting, the child may already be dead; were it reaped in between, its end
// would be lost. One lock across both makes that impossible.
type reaper struct {
	mu      sync.Mutex
	waiting map[int]chan<- unix.WaitStatus
}

func newReaper() *reaper { return &reaper{waiting: map[int]chan<- unix.WaitStatus{}} }

// start starts a program; its end arrives on the channel.
func (r *reaper) start(path string, argv []string, attr *syscall.ProcAttr) (int, <-chan unix.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot start %s: %w", path, err)
	}
	ended := make(chan unix.WaitStatus, 1)
	r.waiting[pid] = ended
	return pid, ended, nil
}

// reap collects every process that has ended.
func (r *reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if ended, ok := r.waiting[pid]; ok {
			delete(r.waiting, pid)
			ended <- ws
		}
	}
}

// searchPath is where programs are looked for.
const searchPath = "/usr/bin:/usr/sbin"

// run runs a program to its end and returns what it printed on both streams.
// It is what applets.Env.Exec is inside PID 1.
func (r *reaper) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	path, err := lookPath(program)
	if err != nil {
		return nil, err
	}
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		w.Close()
		return nil, err
	}
	defer null.Close()
	pid, ended, err := r.start(path, append([]string{program}, args...), &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=" + searchPath},
		Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { unix.Kill(-pid, unix.SIGKILL) })
	defer stop()
	var printed bytes.Buffer
	io.Copy(&printed, io.LimitReader(out, 1<<20))
	out.Close()
	return printed.Bytes(), exitError(program, <-ended)
}

func lookPath(program string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, dir := range filepath.SplitList(searchPath) {
		path := filepath.Join(dir, program)
		if unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("cannot find the program %s in %s", program, searchPath)
}

// exitError tells in words how a program ended, nil if it went well.
func exitError(program string, ws unix.WaitStatus) error {
	switch {
	case ws.Signaled():
		return fmt.Errorf("%s was ended by signal %v", program, ws.Signal())
	case ws.ExitStatus() != 0:
		return fmt.Errorf("%s ended with exit code %d", program, ws.ExitStatus())
	}
	return nil
}
