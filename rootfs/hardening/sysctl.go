package hardening

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sysctl is a row of the sysctl table.
type Sysctl struct {
	// Key is the name with dots, as sysctl(8) prints it.
	Key string
	// Value is what a read gives back, without the newline.
	Value string
	Need  Need
	// Why is for a person who asks what the setting is good for.
	Why string
}

// Sysctls is the sysctl table. Left out on purpose: kernel.kexec_load_disabled,
// as an upgrade may want to start its kernel by kexec, and
// kernel.modules_disabled, as devices may be plugged in at any time.
var Sysctls = []Sysctl{
	{"kernel.kptr_restrict", "2", Required, "no kernel addresses in /proc, not even for root"},
	{"kernel.dmesg_restrict", "1", Required, "the kernel log is for CAP_SYSLOG only"},
	{"kernel.perf_event_paranoid", "3", Required, "no performance counters without CAP_PERFMON"},
	{"kernel.randomize_va_space", "2", Required, "addresses of programs, libraries and heaps are random"},
	{"vm.mmap_rnd_bits", "32", Advised, "by as many bits as the kernel can"},
	{"vm.mmap_rnd_compat_bits", "16", Advised, "also for 32-bit programs"},
	{"vm.mmap_min_addr", "65536", Required, "a null pointer of the kernel points at nothing"},
	{"vm.unprivileged_userfaultfd", "0", Required, "user space cannot hold the kernel at a page fault"},
	{"kernel.yama.ptrace_scope", "2", Required, "only CAP_SYS_PTRACE may debug a process"},
	{"kernel.unprivileged_bpf_disabled", "1", Required, "BPF programs need CAP_BPF, until reboot"},
	{"net.core.bpf_jit_harden", "2", Required, "constants in BPF programs are blinded"},
	{"user.max_user_namespaces", "0", Required, "no capabilities by way of a user namespace"},
	{"kernel.unprivileged_userns_clone", "0", Advised, "the same by Debian's own switch"},
	{"kernel.sysrq", "0", Advised, "no magic keys on a console"},
	{"kernel.panic_on_oops", "1", Required, "a kernel that is known to be broken does not go on"},
	{"kernel.panic", "10", Required, "seconds after which a panic becomes a reboot"},
	{"dev.tty.ldisc_autoload", "0", Required, "line disciplines are loaded for CAP_SYS_MODULE only"},
	{"fs.protected_symlinks", "1", Required, "symlinks in /tmp are followed for their owner only"},
	{"fs.protected_hardlinks", "1", Required, "hard links only to files that one could write"},
	{"fs.protected_fifos", "2", Required, "foreign FIFOs in sticky folders are not opened by O_CREAT"},
	{"fs.protected_regular", "2", Required, "nor are foreign files"},
	{"fs.suid_dumpable", "0", Required, "no core dump of a process that changed its privileges"},
}

// Path returns the file of a sysctl below the folder where /proc/sys lies.
func (s Sysctl) Path(procSys string) string {
	return filepath.Join(procSys, strings.ReplaceAll(s.Key, ".", "/"))
}

// Apply sets one sysctl and reads it back. The error wraps the errno; it wraps
// os.ErrNotExist when this kernel does not know the key. What has its value
// already is not written, as the kernel refuses that for some keys.
func (s Sysctl) Apply(procSys string) error {
	path := s.Path(procSys)
	if got, err := s.read(path); err == nil && got == s.Value {
		return nil
	}
	if err := os.WriteFile(path, []byte(s.Value), 0); err != nil {
		return fmt.Errorf("cannot set sysctl %s=%s: %w", s.Key, s.Value, err)
	}
	got, err := s.read(path)
	if err != nil {
		return fmt.Errorf("cannot set sysctl %s=%s: %w", s.Key, s.Value, err)
	}
	if got != s.Value {
		return fmt.Errorf("cannot set sysctl %s=%s: the kernel made it %s", s.Key, s.Value, got)
	}
	return nil
}

func (s Sysctl) read(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.Join(strings.Fields(string(b)), " "), err
}

// ApplySysctls sets all rows below procSys, usually /proc/sys. It does not stop
// at an error and returns those of required and advised rows apart.
func ApplySysctls(procSys string) (required, advised []error) {
	for _, s := range Sysctls {
		err := s.Apply(procSys)
		switch {
		case err == nil:
		case s.Need == Required:
			required = append(required, err)
		default:
			advised = append(advised, err)
		}
	}
	return required, advised
}
