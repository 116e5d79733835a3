package partition

// GiB and MiB are units of sizes in bytes.
const (
	MiB = int64(1) << 20
	GiB = int64(1) << 30
)

// The types of the partitions of the layout. The first two are what firmware
// and boot loaders look for. The others are random and our own: a partition
// made by somebody else is never taken for one of ours because it happens to
// be called META or STATE, and bits 48 to 63 of their attributes are ours to
// define.
var (
	TypeESP       = MustGUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
	TypeBIOS      = MustGUID("21686148-6449-6E6F-744E-656564454649")
	TypeBoot      = MustGUID("D3E7DAFF-E6F6-47BE-B7B0-B520DFB87C89")
	TypeMeta      = MustGUID("72D5D88E-2A15-484B-B41C-F3D0756D82E5")
	TypeState     = MustGUID("65131210-5FD7-4776-A5BD-9043A4197E2C")
	TypeEphemeral = MustGUID("1021D2AA-E1CC-4F01-9890-CF21F812173B")
)

// Origin says what makes a partition and its content.
type Origin string

// The origins.
const (
	// FromImage partitions are in the disk image; without them the disk is
	// not ours.
	FromImage Origin = "image"
	// FirstBoot partitions are created, and formatted, by the boot that finds
	// them missing.
	FirstBoot Origin = "first boot"
)

// Row is a row of the partition table of the operating system.
type Row struct {
	// Label is the name of the partition, of its file system too if it has
	// one.
	Label string
	Type  GUID
	// Size is the length in bytes, the least one if the row grows.
	Size int64
	// FS is the type of the file system, or empty for raw data.
	FS string
	// Mount is where it is mounted on the running machine, or empty.
	Mount string
	// Origin says what recreates it.
	Origin Origin
	// Grows is set for the row that takes the rest of the disk, at every boot
	// on which the disk turns out larger.
	Grows bool
	// Attributes are set when the partition is created.
	Attributes Attributes
}

// Layout is the partition table of the operating system, in the order of the
// disk. All of it fits a disk of 3 GiB. EFI has this size because FAT32 needs
// 65,525 clusters, and a cluster has at least one sector of 4096 bytes; STATE
// because mkfs.xfs refuses less than 300 MiB.
var Layout = []Row{
	{Label: "EFI", Type: TypeESP, Size: 272 * MiB, FS: "vfat", Origin: FromImage},
	{Label: "BIOS", Type: TypeBIOS, Size: 1 * MiB, Origin: FromImage, Attributes: LegacyBootable},
	{Label: "BOOT", Type: TypeBoot, Size: 1000 * MiB, FS: "xfs", Origin: FromImage},
	{Label: "META", Type: TypeMeta, Size: 1 * MiB, Origin: FromImage},
	{Label: "STATE", Type: TypeState, Size: 384 * MiB, FS: "xfs", Mount: "/system/state", Origin: FirstBoot},
	{Label: "EPHEMERAL", Type: TypeEphemeral, Size: 512 * MiB, FS: "xfs", Mount: "/var", Origin: FirstBoot, Grows: true},
}

// FindRow returns the row with a label.
func FindRow(layout []Row, label string) (Row, bool) {
	for _, r := range layout {
		if r.Label == label {
			return r, true
		}
	}
	return Row{}, false
}

// SelectRows returns the rows of one origin.
func SelectRows(layout []Row, o Origin) []Row {
	var rows []Row
	for _, r := range layout {
		if r.Origin == o {
			rows = append(rows, r)
		}
	}
	return rows
}
