package qemu

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"time"
)

// probeTime is how long a kernel may take under KVM to panic for want of a root
// file system. It takes less than 2 s where KVM works, for ever where guests
// hang.
const probeTime = 5 * time.Second

var (
	accelOnce sync.Once
	accel     string
)

// Accel returns the acceleration to use: what ICHOR_ACCEL says, else kvm if a
// kernel that is started with it gets somewhere, else tcg. Without a kernel to
// try it is tcg. The first answer is kept.
func Accel(kernel string) string {
	accelOnce.Do(func() {
		accel = os.Getenv("ICHOR_ACCEL")
		if accel == "" && kvmWorks(kernel) {
			accel = "kvm"
		}
		if accel == "" {
			accel = "tcg"
		}
	})
	return accel
}

func kvmWorks(kernel string) bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil || kernel == "" {
		return false
	}
	f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	return exec.CommandContext(ctx, program, "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults",
		"-display", "none", "-no-reboot", "-kernel", kernel, "-append", "quiet panic=-1").Run() == nil
}
