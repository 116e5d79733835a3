package mount

import "io/fs"

// Layer says what kind of thing a row mounts.
type Layer string

// The layers, from the read-only image up to what persists.
const (
	LayerImage   Layer = "image"   // a file on a loop device
	LayerPseudo  Layer = "pseudo"  // the kernel's own file systems
	LayerTmpfs   Layer = "tmpfs"   // memory, gone with the boot
	LayerFile    Layer = "file"    // a file bound over a name in /etc, see SetFile
	LayerDisk    Layer = "disk"    // a partition, named by its label
	LayerOverlay Layer = "overlay" // a folder of the image with changes kept on a disk
)

// Phase is the step of the boot that mounts a row.
type Phase string

// The phases in their order.
const (
	PhaseEarly     Phase = "early" // by the init of the initramfs, moved along by switch_root
	PhasePseudo    Phase = "pseudo"
	PhaseTmpfs     Phase = "tmpfs"
	PhaseFiles     Phase = "files"
	PhaseState     Phase = "state"
	PhaseEphemeral Phase = "ephemeral"
	PhaseOverlays  Phase = "overlays"
)

// Folder is a folder made inside of a file system once it is mounted.
type Folder struct {
	// Path is relative to the mount point.
	Path string
	Mode fs.FileMode
}

// Row is a row of the mount table.
type Row struct {
	// Name is a short word for the row, unique in the table.
	Name string
	// Source is what is mounted: for the image layer the file that is looped,
	// for a disk the partition label, for a bound file its path, for all
	// others the word that the list of mounts shows.
	Source string
	// Target is where.
	Target string
	// Type is the file system type; empty for a bound file.
	Type  string
	Flags Flags
	// Data are the options of the file system.
	Data  string
	Layer Layer
	Phase Phase
	// Optional rows are mounted only where the kernel offers the folder for
	// it: securityfs, bpf and tracefs if they are compiled in, efivarfs if the
	// machine was started by UEFI.
	Optional bool
	// Mode is the mode of the root folder of a disk; 0 leaves it.
	Mode fs.FileMode
	// Folders are made after mounting.
	Folders []Folder
}

// Table is every mount of a running machine, parents before children.
//
// What is not asked for by name is forbidden: each row is nosuid, nodev and
// noexec but for
//
//   - / and /opt, from which programs are run;
//   - /dev and /dev/pts, which hold devices;
//   - /var, where the file systems of containers lie, whose programs are run
//     from there. Their set-user-ID bits count in mounts of their own.
//
// Everything that can grow in memory has a bound, in bytes and in inodes. A
// process may see only its own kind in /proc (hidepid). /dev/ptmx is the device
// of that name in /dev; the node inside of devpts stays locked (ptmxmode).
// prjquota lets Kubernetes count what a pod writes.
var Table = []Row{
	{Name: "root", Source: "/rootfs.sqsh", Target: "/", Type: "squashfs", Flags: ReadOnly | NoSUID | NoDev, Layer: LayerImage, Phase: PhaseEarly},
	{Name: "dev", Source: "devtmpfs", Target: "/dev", Type: "devtmpfs", Flags: NoSUID | NoExec, Data: "mode=755,size=4M,nr_inodes=64k", Layer: LayerPseudo, Phase: PhaseEarly},
	{Name: "proc", Source: "proc", Target: "/proc", Type: "proc", Flags: NoSUID | NoDev | NoExec, Data: "hidepid=invisible", Layer: LayerPseudo, Phase: PhaseEarly},
	{Name: "sys", Source: "sysfs", Target: "/sys", Type: "sysfs", Flags: NoSUID | NoDev | NoExec, Layer: LayerPseudo, Phase: PhaseEarly},

	{Name: "pts", Source: "devpts", Target: "/dev/pts", Type: "devpts", Flags: NoSUID | NoExec, Data: "gid=5,mode=620,ptmxmode=000", Layer: LayerPseudo, Phase: PhasePseudo},
	{Name: "cgroup", Source: "cgroup2", Target: "/sys/fs/cgroup", Type: "cgroup2", Flags: NoSUID | NoDev | NoExec, Data: "nsdelegate,memory_recursiveprot", Layer: LayerPseudo, Phase: PhasePseudo},
	{Name: "security", Source: "securityfs", Target: "/sys/kernel/security", Type: "securityfs", Flags: NoSUID | NoDev | NoExec, Layer: LayerPseudo, Phase: PhasePseudo, Optional: true},
	{Name: "bpf", Source: "bpf", Target: "/sys/fs/bpf", Type: "bpf", Flags: NoSUID | NoDev | NoExec, Data: "mode=700", Layer: LayerPseudo, Phase: PhasePseudo, Optional: true},
	{Name: "tracing", Source: "tracefs", Target: "/sys/kernel/tracing", Type: "tracefs", Flags: NoSUID | NoDev | NoExec, Layer: LayerPseudo, Phase: PhasePseudo, Optional: true},
	{Name: "efivars", Source: "efivarfs", Target: "/sys/firmware/efi/efivars", Type: "efivarfs", Flags: ReadOnly | NoSUID | NoDev | NoExec, Layer: LayerPseudo, Phase: PhasePseudo, Optional: true},

	{Name: "shm", Source: "tmpfs", Target: "/dev/shm", Type: "tmpfs", Flags: NoSUID | NoDev | NoExec, Data: "mode=1777,size=64M,nr_inodes=16k", Layer: LayerTmpfs, Phase: PhaseTmpfs},
	{Name: "run", Source: "tmpfs", Target: "/run", Type: "tmpfs", Flags: NoSUID | NoDev | NoExec, Data: "mode=755,size=128M,nr_inodes=128k", Layer: LayerTmpfs, Phase: PhaseTmpfs},
	{Name: "tmp", Source: "tmpfs", Target: "/tmp", Type: "tmpfs", Flags: NoSUID | NoDev | NoExec, Data: "mode=1777,size=64M,nr_inodes=16k", Layer: LayerTmpfs, Phase: PhaseTmpfs},
	{Name: "system", Source: "tmpfs", Target: "/system", Type: "tmpfs", Flags: NoSUID | NoDev | NoExec, Data: "mode=755,size=16M,nr_inodes=4k", Layer: LayerTmpfs, Phase: PhaseTmpfs,
		Folders: []Folder{{"etc", 0o755}, {"run", 0o755}, {"run/tuck", 0o700}, {"state", 0o700}, {"var", 0o755}}},

	{Name: "hosts", Source: "/system/etc/hosts", Target: "/etc/hosts", Flags: Bind | ReadOnly | NoSUID | NoDev | NoExec, Layer: LayerFile, Phase: PhaseFiles},
	{Name: "resolv.conf", Source: "/system/etc/resolv.conf", Target: "/etc/resolv.conf", Flags: Bind | ReadOnly | NoSUID | NoDev | NoExec, Layer: LayerFile, Phase: PhaseFiles},
	{Name: "hostname", Source: "/system/etc/hostname", Target: "/etc/hostname", Flags: Bind | ReadOnly | NoSUID | NoDev | NoExec, Layer: LayerFile, Phase: PhaseFiles},
	{Name: "machine-id", Source: "/system/etc/machine-id", Target: "/etc/machine-id", Flags: Bind | ReadOnly | NoSUID | NoDev | NoExec, Layer: LayerFile, Phase: PhaseFiles},

	{Name: "state", Source: "STATE", Target: "/system/state", Type: "xfs", Flags: NoSUID | NoDev | NoExec, Layer: LayerDisk, Phase: PhaseState, Mode: 0o700},
	{Name: "var", Source: "EPHEMERAL", Target: "/var", Type: "xfs", Flags: NoSUID | NoDev, Data: "prjquota", Layer: LayerDisk, Phase: PhaseEphemeral, Mode: 0o755,
		Folders: []Folder{{"system", 0o700}, {"system/overlays", 0o700}}},

	{Name: "etc-kubernetes", Source: "overlay", Target: "/etc/kubernetes", Type: "overlay", Flags: NoSUID | NoDev | NoExec, Data: "lowerdir=/etc/kubernetes,upperdir=/var/system/overlays/etc-kubernetes/upper,workdir=/var/system/overlays/etc-kubernetes/work", Layer: LayerOverlay, Phase: PhaseOverlays},
	{Name: "etc-cni", Source: "overlay", Target: "/etc/cni", Type: "overlay", Flags: NoSUID | NoDev | NoExec, Data: "lowerdir=/etc/cni,upperdir=/var/system/overlays/etc-cni/upper,workdir=/var/system/overlays/etc-cni/work", Layer: LayerOverlay, Phase: PhaseOverlays},
	{Name: "opt", Source: "overlay", Target: "/opt", Type: "overlay", Flags: NoSUID | NoDev, Data: "lowerdir=/opt,upperdir=/var/system/overlays/opt/upper,workdir=/var/system/overlays/opt/work", Layer: LayerOverlay, Phase: PhaseOverlays},
}
