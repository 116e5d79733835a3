package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/freddierice/go-losetup"
	"github.com/siderolabs/go-retry/retry"
	"golang.org/x/sys/unix"
)

// loopPatience bounds the attempts to get a loop device: between the question
// for a free one and the attaching, somebody else may have taken it.
const loopPatience = 2 * time.Second

// AttachLoop attaches a file to a free loop device and returns the device's
// path. The file may be removed afterwards. It fails with an error that wraps
// the errno if the file cannot be opened, or if the kernel has no loop devices.
func AttachLoop(file string, readOnly bool) (string, error) {
	file, err := filepath.Abs(file)
	if err == nil {
		err = openable(file, readOnly)
	}
	if err == nil {
		err = openable(losetup.LoopControlPath, false)
		if err != nil {
			err = fmt.Errorf("%w (load the module loop)", err)
		}
	}
	if err != nil {
		return "", fmt.Errorf("cannot attach %s to a loop device: %w", file, err)
	}
	var dev losetup.Device
	err = retry.Constant(loopPatience, retry.WithUnits(10*time.Millisecond)).Retry(func() error {
		var err error
		dev, err = losetup.Attach(file, 0, readOnly)
		return retry.ExpectedError(err)
	})
	if err != nil {
		return "", fmt.Errorf("cannot attach %s to a loop device: %w", file, err)
	}
	return dev.Path(), nil
}

func openable(path string, readOnly bool) error {
	how := os.O_RDWR
	if readOnly {
		how = os.O_RDONLY
	}
	f, err := os.OpenFile(path, how, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// DetachLoop detaches the file of a loop device. If the device is in use, a
// file system is mounted from it for example, the kernel detaches it when the
// last user is gone; so it may be called as soon as a mount has succeeded. A
// device that has no file is detached already.
func DetachLoop(dev string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(dev, "/dev/loop"), 10, 32)
	if err != nil {
		return fmt.Errorf("cannot detach %s: it is no loop device", dev)
	}
	if backingFile(dev) == "" {
		return nil
	}
	err = losetup.New(n, os.O_RDONLY).Detach()
	if err != nil && backingFile(dev) != "" {
		return fmt.Errorf("cannot detach %s: %w", dev, err)
	}
	return nil
}

// backingFile returns the path of the file behind a loop device as it was when
// it was attached, empty if there is none.
func backingFile(dev string) string {
	b, err := os.ReadFile("/sys/block/" + filepath.Base(dev) + "/loop/backing_file")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), " (deleted)")
}

// detachLoopsOn detaches the loop devices whose files lie in the file system
// of a mount, and tells whether there were any.
func detachLoopsOn(m *Info) bool {
	all, _ := filepath.Glob("/sys/block/loop*/loop")
	found := false
	for _, p := range all {
		dev := "/dev/" + filepath.Base(filepath.Dir(p))
		n, err := strconv.ParseUint(strings.TrimPrefix(dev, "/dev/loop"), 10, 32)
		if err != nil {
			continue
		}
		info, err := losetup.New(n, os.O_RDONLY).GetInfo()
		if err == nil && info.Device == unix.Mkdev(uint32(m.Major), uint32(m.Minor)) {
			found = true
			DetachLoop(dev) // one in use goes when its own mount has gone
		}
	}
	return found
}

// waitWhileBusy calls fn until it does not fail with EBUSY.
func waitWhileBusy(ctx context.Context, patience time.Duration, fn func() error) error {
	return retry.Constant(patience, retry.WithUnits(50*time.Millisecond)).RetryWithContext(ctx, func(context.Context) error {
		err := fn()
		if errors.Is(err, unix.EBUSY) {
			return retry.ExpectedError(err)
		}
		return err
	})
}
