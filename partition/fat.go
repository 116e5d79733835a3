package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// FATOptions say what FormatFAT makes.
type FATOptions struct {
	// Label is the volume label, at most 11 characters.
	Label string
	// ID is the serial number of the volume.
	ID uint32
	// SectorSize is the sector size of the file system in bytes, 512 to 4096.
	// With 4096, also the value for 0, it can be read on disks of any sector
	// size.
	SectorSize int
	// Files are the contents of files by their path, such as
	// EFI/BOOT/BOOTX64.EFI. Each part of it is an 8.3 name in upper case.
	// Folders come into being with their files; a path with a slash at its
	// end makes an empty one.
	Files map[string][]byte
	// Time is given to all files; zero means the first that FAT can express.
	Time time.Time
}

// Numbers of the FAT32 format (Microsoft's FAT specification 1.03).
const (
	fatReserved    = 32 // sectors before the first FAT
	fatCopies      = 2
	fatEntry       = 4  // bytes per cluster in a FAT
	fatDirEntry    = 32 // bytes
	fatRoot        = 2  // cluster of the root folder
	fatMinClusters = 65525
	fatMaxClusters = 1 << 22 // where we take larger clusters
	fatEndOfChain  = 0x0fffffff
	fatMedia       = 0xf8
	fatFSInfo      = 1 // sector
	fatBackup      = 6 // sector of the copy of the first sectors

	fatAttrVolume = 0x08
	fatAttrFolder = 0x10
	fatAttrFile   = 0x20
)

// FormatFAT writes a fresh FAT32 file system with some files over a device.
// What it writes depends on the options and the size of the device only. It
// writes a few hundred KiB beside the files' contents.
func FormatFAT(dev Device, o FATOptions) error {
	f, err := newFAT(dev.Size(), o)
	if err != nil {
		return fmt.Errorf("cannot make a FAT32 file system: %w", err)
	}
	for _, write := range []func(Device) error{f.writeFATs, f.writeNodes, f.writeReserved} {
		if err := write(dev); err != nil {
			return fmt.Errorf("cannot write FAT32 file system: %w", err)
		}
	}
	return dev.Sync()
}

// fatVolume is a file system in the making.
type fatVolume struct {
	FATOptions
	label              [11]byte
	sectors            int64
	sectorsPerCluster  int64
	sectorsPerFAT      int64
	clusters           int64
	nodes              []*fatNode // in the order of their clusters
	next               uint32     // first free cluster
	stampDate, stampTm uint16
}

// fatNode is a file or a folder.
type fatNode struct {
	name     [11]byte
	parent   *fatNode
	children []*fatNode // nil for a file
	folder   bool
	data     []byte
	first    uint32 // cluster
	count    uint32 // of clusters
}

// newFAT works out the geometry and where everything goes.
func newFAT(size int64, o FATOptions) (*fatVolume, error) {
	if o.SectorSize == 0 {
		o.SectorSize = 4096
	}
	if err := checkSectorSize(o.SectorSize); err != nil {
		return nil, err
	}
	f := &fatVolume{FATOptions: o, sectors: size / int64(o.SectorSize)}
	f.stampDate, f.stampTm = fatTime(o.Time)
	label, err := fatLabel(o.Label)
	if err != nil {
		return nil, err
	}
	f.label = label
	if err := f.measure(); err != nil {
		return nil, err
	}
	root, err := fatTree(o.Files)
	if err != nil {
		return nil, err
	}
	f.next = fatRoot
	return f, f.allocate(root)
}

// measure finds the smallest clusters of at least 4096 bytes of which there
// are not too many, and the length of a FAT for them.
func (f *fatVolume) measure() error {
	f.sectorsPerCluster = 4096 / int64(f.SectorSize)
	for f.sectors/f.sectorsPerCluster > fatMaxClusters {
		f.sectorsPerCluster *= 2
	}
	// A FAT that could describe all sectors is large enough for the rest.
	perSector := int64(f.SectorSize / fatEntry)
	f.sectorsPerFAT = (f.sectors/f.sectorsPerCluster + 2 + perSector - 1) / perSector
	f.clusters = (f.sectors - fatReserved - fatCopies*f.sectorsPerFAT) / f.sectorsPerCluster
	switch {
	case f.clusters < fatMinClusters:
		return fmt.Errorf("%d bytes make %d clusters of %d bytes; FAT32 needs at least %d", f.sectors*int64(f.SectorSize), f.clusters, f.clusterSize(), fatMinClusters)
	case f.clusterSize() > 32<<10 || f.sectors > 1<<32-1:
		return fmt.Errorf("%d sectors of %d bytes are too many for FAT32", f.sectors, f.SectorSize)
	}
	return nil
}

// clusterSize is the length of a cluster in bytes.
func (f *fatVolume) clusterSize() int64 { return f.sectorsPerCluster * int64(f.SectorSize) }

// offset is where a cluster lies on the device, in bytes.
func (f *fatVolume) offset(cluster uint32) int64 {
	data := fatReserved + fatCopies*f.sectorsPerFAT
	return data*int64(f.SectorSize) + int64(cluster-fatRoot)*f.clusterSize()
}

// fatTree makes the folders and files, sorted by path.
func fatTree(files map[string][]byte) (*fatNode, error) {
	root := &fatNode{folder: true}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := root.add(path, files[path]); err != nil {
			return nil, fmt.Errorf("file %q: %w", path, err)
		}
	}
	return root, nil
}

// add adds a file with the folders above it.
func (n *fatNode) add(path string, data []byte) error {
	first, rest, deeper := strings.Cut(path, "/")
	name, err := fatName(first)
	if err != nil {
		return err
	}
	child := n.child(name)
	if child == nil {
		child = &fatNode{name: name, parent: n, folder: deeper, data: data}
		n.children = append(n.children, child)
	} else if !child.folder || !deeper {
		return errors.New("a folder and a file of this name")
	}
	if deeper {
		child.data = nil
		if rest != "" {
			return child.add(rest, data)
		}
	}
	return nil
}

// child finds a child by name.
func (n *fatNode) child(name [11]byte) *fatNode {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// size is the length of the node's content in bytes.
func (n *fatNode) size() int64 {
	if n.folder {
		return int64(len(n.children)+2) * fatDirEntry
	}
	return int64(len(n.data))
}

// allocate gives a node and all below it contiguous clusters.
func (f *fatVolume) allocate(n *fatNode) error {
	n.count = uint32((n.size() + f.clusterSize() - 1) / f.clusterSize())
	if n.count > 0 {
		n.first = f.next
	}
	if int64(f.next)+int64(n.count) > f.clusters+fatRoot {
		return fmt.Errorf("the files do not fit %d clusters of %d bytes", f.clusters, f.clusterSize())
	}
	f.next += n.count
	f.nodes = append(f.nodes, n)
	for _, c := range n.children {
		if err := f.allocate(c); err != nil {
			return err
		}
	}
	return nil
}

// writeFATs writes both copies of the table of clusters.
func (f *fatVolume) writeFATs(dev Device) error {
	b := make([]byte, f.sectorsPerFAT*int64(f.SectorSize))
	put := func(cluster, v uint32) { binary.LittleEndian.PutUint32(b[cluster*fatEntry:], v) }
	put(0, 0x0fffff00|fatMedia)
	put(1, fatEndOfChain) // with the bits for "unmounted cleanly" set
	for _, n := range f.nodes {
		for i := range n.count {
			put(n.first+i, n.first+i+1)
		}
		if n.count > 0 {
			put(n.first+n.count-1, fatEndOfChain)
		}
	}
	for i := range int64(fatCopies) {
		off := (fatReserved + i*f.sectorsPerFAT) * int64(f.SectorSize)
		if _, err := dev.WriteAt(b, off); err != nil {
			return err
		}
	}
	return nil
}

// writeNodes writes folders and contents, the last cluster filled up with
// zeros.
func (f *fatVolume) writeNodes(dev Device) error {
	for _, n := range f.nodes {
		b := make([]byte, int64(n.count)*f.clusterSize())
		copy(b, n.data)
		if n.folder {
			f.fillFolder(b, n)
		}
		if len(b) == 0 {
			continue
		}
		if _, err := dev.WriteAt(b, f.offset(n.first)); err != nil {
			return err
		}
	}
	return nil
}

// fillFolder writes the entries of a folder: in the root the label, in others
// "." and "..", then the children.
func (f *fatVolume) fillFolder(b []byte, n *fatNode) {
	put := func(name [11]byte, attr byte, cluster uint32, size int) {
		le := binary.LittleEndian
		copy(b, name[:])
		b[11] = attr
		le.PutUint16(b[14:], f.stampTm)
		le.PutUint16(b[16:], f.stampDate)
		le.PutUint16(b[18:], f.stampDate)
		le.PutUint16(b[20:], uint16(cluster>>16))
		le.PutUint16(b[22:], f.stampTm)
		le.PutUint16(b[24:], f.stampDate)
		le.PutUint16(b[26:], uint16(cluster))
		le.PutUint32(b[28:], uint32(size))
		b = b[fatDirEntry:]
	}
	if n.parent != nil {
		up := n.parent.first
		if n.parent.parent == nil {
			up = 0 // that is how the root is named here
		}
		put([11]byte([]byte(".          ")), fatAttrFolder, n.first, 0)
		put([11]byte([]byte("..         ")), fatAttrFolder, up, 0)
	} else if f.Label != "" {
		put(f.label, fatAttrVolume, 0, 0)
	}
	for _, c := range n.children {
		attr := byte(fatAttrFile)
		if c.folder {
			attr = fatAttrFolder
		}
		put(c.name, attr, c.first, len(c.data))
	}
}

// writeReserved writes boot sector and FSInfo with their copies, and zeros in
// between. It comes last: without it nothing takes the rest for a file system.
func (f *fatVolume) writeReserved(dev Device) error {
	size := f.SectorSize
	b := make([]byte, fatReserved*size)
	f.fillBootSector(b)
	f.fillFSInfo(b[fatFSInfo*size:])
	copy(b[fatBackup*size:], b[:2*size])
	_, err := dev.WriteAt(b, 0)
	return err
}

// fillBootSector writes the BIOS parameter block.
func (f *fatVolume) fillBootSector(b []byte) {
	le := binary.LittleEndian
	copy(b, "\xeb\x58\x90ICHOR   ")
	le.PutUint16(b[11:], uint16(f.SectorSize))
	b[13] = byte(f.sectorsPerCluster)
	le.PutUint16(b[14:], fatReserved)
	b[16] = fatCopies
	b[21] = fatMedia
	le.PutUint16(b[24:], 63)  // sectors per track and
	le.PutUint16(b[26:], 255) // heads, which nothing uses
	le.PutUint32(b[32:], uint32(f.sectors))
	le.PutUint32(b[36:], uint32(f.sectorsPerFAT))
	le.PutUint32(b[44:], fatRoot)
	le.PutUint16(b[48:], fatFSInfo)
	le.PutUint16(b[50:], fatBackup)
	b[64] = 0x80 // drive number
	b[66] = 0x29 // the next three fields are valid
	le.PutUint32(b[67:], f.ID)
	copy(b[71:], f.label[:])
	copy(b[82:], "FAT32   ")
	copy(b[90:], "\xf4\xeb\xfd") // hlt, and again
	b[510], b[511] = 0x55, 0xaa
}

// fillFSInfo writes the hints about free clusters.
func (f *fatVolume) fillFSInfo(b []byte) {
	le := binary.LittleEndian
	copy(b, "RRaA")
	copy(b[484:], "rrAa")
	le.PutUint32(b[488:], uint32(f.clusters)+fatRoot-f.next)
	le.PutUint32(b[492:], f.next)
	b[510], b[511] = 0x55, 0xaa
}

// fatName makes the 11 bytes of an 8.3 name.
func fatName(s string) ([11]byte, error) {
	var name [11]byte
	base, ext, dot := strings.Cut(s, ".")
	if base == "" || len(base) > 8 || len(ext) > 3 || dot && ext == "" || !fatChars(base) || !fatChars(ext) {
		return name, fmt.Errorf("%q is not an 8.3 name in upper case", s)
	}
	copy(name[:], fmt.Sprintf("%-8s%-3s", base, ext))
	return name, nil
}

// fatLabel makes the 11 bytes of a label.
func fatLabel(s string) ([11]byte, error) {
	var label [11]byte
	if len(s) > 11 || !fatChars(strings.ReplaceAll(s, " ", "")) {
		return label, fmt.Errorf("%q is not a FAT label: want at most 11 letters in upper case, digits and some signs", s)
	}
	if s == "" {
		s = "NO NAME"
	}
	copy(label[:], fmt.Sprintf("%-11s", s))
	return label, nil
}

// fatChars tells whether all characters may be in a short name.
func fatChars(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$%'-_@~`!(){}^#&") == ""
}

// fatTime makes date and time of the format, in UTC; times it cannot express
// become its first.
func fatTime(t time.Time) (date, clock uint16) {
	t = t.UTC()
	if t.Year() < 1980 || t.Year() > 2107 {
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	date = uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
	clock = uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
	return date, clock
}
