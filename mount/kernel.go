package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxKernelLines   = 12   // lines kept
	maxKernelRecords = 2000 // records of /dev/kmsg looked at
)

// kernelLog reads the lines that come to the kernel log while it is open. It
// is for file systems which say why they failed nowhere else.
type kernelLog struct{ fd int }

// watchKernelLog starts at the end of the log. Where there is no log to read,
// it reads nothing.
func watchKernelLog() kernelLog {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return kernelLog{-1}
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return kernelLog{-1}
	}
	return kernelLog{fd}
}

func (l kernelLog) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
}

// about returns the lines since the start that contain one of the words.
func (l kernelLog) about(words []string) []string {
	var lines []string
	b := make([]byte, 8192)
	for range maxKernelRecords {
		if l.fd < 0 || len(lines) == maxKernelLines {
			break
		}
		n, err := unix.Read(l.fd, b)
		if err == unix.EPIPE || err == unix.EINTR { // records were overwritten: the next read goes on
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		if line := kernelText(b[:n]); containsWord(line, words) {
			lines = append(lines, line)
		}
	}
	return lines
}

// kernelText returns the text of a record of /dev/kmsg: what is between the
// first semicolon and the end of the line (Documentation/ABI/testing/dev-kmsg).
func kernelText(record []byte) string {
	_, text, ok := bytes.Cut(record, []byte(";"))
	if !ok {
		return ""
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	return string(bytes.TrimSpace(text))
}

// containsWord tells whether one of the words stands in the line on its own,
// whatever the case: "vda1" is not in "vda12".
func containsWord(line string, words []string) bool {
	line = strings.ToLower(line)
	for _, w := range words {
		w = strings.ToLower(w)
		for from := 0; w != ""; {
			i := strings.Index(line[from:], w)
			if i < 0 {
				break
			}
			i += from
			if !alnum(line, i-1) && !alnum(line, i+len(w)) {
				return true
			}
			from = i + 1
		}
	}
	return false
}

func alnum(s string, i int) bool {
	return i >= 0 && i < len(s) && (s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9')
}

// kernelWords are the words by which the kernel log speaks of a mount: the
// device, the disk it is a part of, and the file system.
func kernelWords(source, fstype string) []string {
	words := []string{fstype}
	if fstype == "overlay" {
		words = append(words, "overlayfs")
	}
	path, err := filepath.EvalSymlinks(source)
	if err != nil || !strings.HasPrefix(path, "/dev/") {
		return words
	}
	name := filepath.Base(path)
	words = append(words, name)
	sys, err := filepath.EvalSymlinks("/sys/class/block/" + name)
	if err != nil {
		return words
	}
	if _, err := os.Stat(sys + "/partition"); err == nil {
		words = append(words, filepath.Base(filepath.Dir(sys)))
	}
	return words
}

// contextLog reads what the kernel says through a file system context: one
// message a read, with a letter for its severity in front.
func contextLog(fs int) []string {
	var lines []string
	b := make([]byte, 4096)
	for len(lines) < maxKernelLines {
		n, err := unix.Read(fs, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		line := strings.TrimSpace(string(b[:n]))
		if len(line) > 2 && line[1] == ' ' {
			line = line[2:]
		}
		lines = append(lines, line)
	}
	return lines
}

// step names the system call that failed inside an operation.
func step(call string, err error) error {
	if err == nil {
		return nil
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return os.NewSyscallError(call, errno)
	}
	return fmt.Errorf("%s: %w", call, err)
}
