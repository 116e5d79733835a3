package rootfs

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// grubPrefix is where GRUB finds its configuration: on the third partition,
// BOOT, of the disk that the firmware booted from.
const grubPrefix = "(,gpt3)/grub"

// grubModules are the parts of GRUB in its core image on both firmwares. There
// is no folder of modules on the disk: what is missing here is missing.
var grubModules = strings.Fields(`part_gpt xfs fat linux normal configfile search search_label
	search_fs_uuid loadenv test echo reboot halt sleep true minicmd regexp serial terminal`)

// grubEmbedded is in the core image and runs first. Its parser knows neither
// "if" nor loops. Should the configuration be missing, the machine is reset and
// nobody gets a prompt.
const grubEmbedded = "configfile $prefix/grub.cfg\nreboot\n"

// grubConfig returns grub.cfg. It is written once and never edited: a slot that
// does not load gives way to the other one, and when none does the machine is
// reset.
func grubConfig(cmdline string) string {
	return fmt.Sprintf(`set timeout=0
if [ "$grub_platform" = pc ]; then
  if serial --unit=0 --speed=115200; then
    terminal_output console serial
  fi
fi
set first=A
set second=B
for slot in $first $second; do
  if linux /$slot/vmlinuz %s; then
    if initrd /$slot/initramfs; then
      boot
    fi
  fi
done
echo "No slot could be started. The machine is reset in 10 seconds."
sleep 10
reboot
`, cmdline)
}

// grubImage makes a core image for a platform, "i386-pc" or "x86_64-efi".
func grubImage(scratch, platform string, more ...string) (string, error) {
	early := filepath.Join(scratch, "early.cfg")
	out := filepath.Join(scratch, platform+".img")
	if err := writeText(early, grubEmbedded); err != nil {
		return "", err
	}
	args := []string{"-O", platform, "-p", grubPrefix, "-c", early, "-o", out}
	cmd := exec.Command("grub-mkimage", append(append(args, grubModules...), more...)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot make GRUB's core image: grub-mkimage -O %s: %w: %s", platform, err, said)
	}
	return out, nil
}

// Offsets in GRUB's boot.img, the code in the disk's first sector, and in the
// first sector of core.img. Both are for disks with sectors of 512 bytes: a
// BIOS boots from no other.
const (
	bootCodeSize   = 0x1b8 // what follows belongs to the partition table
	bootKernelLBA  = 0x5c  // u64: where core.img begins
	bootDrive      = 0x64  // 0xff: the drive that the BIOS booted from
	bootDriveCheck = 0x66  // two bytes: a jump, to be made no-ops
	coreBlockList  = 0x1f4 // u64: where the rest of core.img begins
)

// patchBootCode returns the code for the disk's first sector, with core.img at
// a sector.
func patchBootCode(boot []byte, lba uint64) ([]byte, error) {
	if len(boot) != 512 || boot[510] != 0x55 || boot[511] != 0xaa {
		return nil, fmt.Errorf("cannot use GRUB's boot.img: %d bytes and no boot sector", len(boot))
	}
	code := append([]byte(nil), boot[:bootCodeSize]...)
	binary.LittleEndian.PutUint64(code[bootKernelLBA:], lba)
	code[bootDrive] = 0xff
	copy(code[bootDriveCheck:], []byte{0x90, 0x90})
	return code, nil
}

// patchCore returns core.img for a place on the disk: its first sector says
// where the others are, which is right behind it.
func patchCore(core []byte, lba uint64, room int64) ([]byte, error) {
	if len(core) <= 512 || int64(len(core)) > room {
		return nil, fmt.Errorf("cannot place GRUB's core image: it has %d bytes, the BIOS partition %d", len(core), room)
	}
	core = append([]byte(nil), core...)
	binary.LittleEndian.PutUint64(core[coreBlockList:], lba+1)
	return core, nil
}
