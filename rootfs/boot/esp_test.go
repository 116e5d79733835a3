package boot

import "strings"

// checkESP has the kernel mount the FAT file system that our own code wrote. The
// kernel asks for its code page by itself, by way of /sbin/modprobe.
func (m *machine) checkESP() {
	m.t.Helper()
	const loader = "/tmp/esp/EFI/BOOT/BOOTX64.EFI"
	m.run("mkdir /tmp/esp")
	m.run("mount -t vfat -o ro,nosuid,nodev,noexec /dev/vda1 /tmp/esp")
	if magic := m.run("head -c 2 " + loader); strings.TrimSpace(magic) != "MZ" {
		m.t.Errorf("%s begins with %q, not as a program for UEFI", loader, magic)
	}
	if used := m.run("lsmod"); !strings.Contains(used, "nls_") {
		m.t.Error("the kernel has mounted a FAT without a code page")
	}
	m.run("umount /tmp/esp")
}
