package pid1

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Levels of the kernel log (syslog(2)).
const (
	logErr     = 3
	logWarning = 4
	logNotice  = 5
	logInfo    = 6
)

// maxLine is what the kernel takes as one record, less our prefix; it refuses
// a longer one whole.
const maxLine = 900

// logger writes to the kernel log, which shows on every console what is grave
// enough for the kernel's loglevel. Before /dev is there it writes to the
// console that the kernel gave us.
type logger struct {
	mu   sync.Mutex
	kmsg *os.File
}

// open starts to use /dev/kmsg.
func (l *logger) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kmsg != nil {
		return nil
	}
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open the kernel log: %w", err)
	}
	l.kmsg = f
	return nil
}

// printf logs one message; each of its lines becomes a line of the log.
func (l *logger) printf(level int, format string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(fmt.Sprintf(format, a...)) {
		line = strings.TrimRight(line, "\n")
		if line == "" {
			continue
		}
		line = line[:min(len(line), maxLine)]
		if l.kmsg == nil {
			fmt.Fprintf(os.Stderr, "ichor: %s\r\n", line)
			continue
		}
		// Facility 3 is "system daemons" (RFC 5424, table 1). Without the
		// newline the kernel holds the record back until the next one
		// comes, in case that continues the line.
		fmt.Fprintf(l.kmsg, "<%d>ichor: %s\n", 3<<3|level, line)
	}
}

// Write makes the logger the place for reports of panics.
func (l *logger) Write(b []byte) (int, error) {
	l.printf(logErr, "%s", b)
	return len(b), nil
}

// uptime is the time since the start of the kernel.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
