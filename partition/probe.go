package partition

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Signature is what a partition or a disk is recognised to hold.
type Signature struct {
	// Type is the word mount(8) and blkid(8) use, such as "xfs", "vfat" or
	// "crypto_LUKS". It is empty if nothing is recognised.
	Type string
	// Label and UUID are as the file system's own tools print them; empty if
	// there are none.
	Label, UUID string
}

// String returns e.g. `xfs "STATE"`, or "nothing known".
func (s Signature) String() string {
	switch {
	case s.Type == "":
		return "nothing known"
	case s.Label == "":
		return s.Type
	}
	return fmt.Sprintf("%s %q", s.Type, s.Label)
}

// magic is a row of the table of signatures: some bytes at an offset, and how
// to read label and UUID from the block they are in.
type magic struct {
	typ string
	// block is the byte offset of the superblock; from the end of the device
	// if negative.
	block int64
	// at is the offset of the magic within the block.
	at    int
	magic string
	// details completes the signature from the block. It returns an empty
	// Type if the block is not what it seemed. It may be nil.
	details func(b []byte, s Signature) Signature
}

// blockSize is how much is read of a superblock, in bytes.
const blockSize = 1024

// magics are looked for in this order; the first one counts. Containers come
// before file systems, which a member of a RAID 1 can seem to hold as well.
var magics = []magic{
	{"linux_raid_member", 0, 0, "\xfc\x4e\x2b\xa9", raidDetails},
	{"linux_raid_member", 4096, 0, "\xfc\x4e\x2b\xa9", raidDetails},
	{"crypto_LUKS", 0, 0, "LUKS\xba\xbe", luksDetails},
	{"LVM2_member", 0, 24, "LVM2 001", lvmDetails},
	{"LVM2_member", 512, 24, "LVM2 001", lvmDetails},
	{"LVM2_member", 1024, 24, "LVM2 001", lvmDetails},
	{"LVM2_member", 1536, 24, "LVM2 001", lvmDetails},
	{"BitLocker", 0, 3, "-FVE-FS-", nil},
	{"xfs", 0, 0, "XFSB", textDetails(32, 108, 12)},
	{"squashfs", 0, 0, "hsqs", nil},
	{"ntfs", 0, 3, "NTFS    ", nil},
	{"exfat", 0, 3, "EXFAT   ", nil},
	{"vfat", 0, 82, "FAT32   ", fatDetails(67, 71)},
	{"vfat", 0, 54, "FAT16   ", fatDetails(39, 43)},
	{"vfat", 0, 54, "FAT12   ", fatDetails(39, 43)},
	{"ext4", 1024, 56, "\x53\xef", extDetails},
	{"erofs", 1024, 0, "\xe2\xe1\xf5\xe0", textDetails(48, 64, 16)},
	{"f2fs", 1024, 0, "\x10\x20\xf5\xf2", nil},
	{"bcachefs", 4096, 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", nil},
	{"btrfs", 65536, 64, "_BHRfS_M", textDetails(32, 299, 256)},
	{"iso9660", 32768, 1, "CD001", isoDetails},
}

// swapPages are the page sizes for which swap space is recognised.
var swapPages = []int64{4096, 8192, 16384, 65536}

// Probe recognises the file system, container or swap space on a partition of
// size bytes. It reads a few blocks at fixed places, whatever is in them.
// Reading beyond the end is no error; any other failed read is.
func Probe(r io.ReaderAt, size int64) (Signature, error) {
	p := prober{r: r, size: size}
	for _, find := range []func() Signature{p.tail, p.table, p.swap, p.zfs} {
		if s := find(); s.Type != "" {
			return s, nil
		}
	}
	if p.err != nil {
		return Signature{}, fmt.Errorf("cannot look for a file system: %w", p.err)
	}
	return Signature{}, nil
}

// prober remembers the first failed read.
type prober struct {
	r    io.ReaderAt
	size int64
	err  error
}

// read returns n bytes at off, filled up with zeros beyond the end.
func (p *prober) read(off int64, n int) []byte {
	b := make([]byte, n)
	if off < 0 || off >= p.size {
		return b
	}
	_, err := p.r.ReadAt(b[:min(int64(n), p.size-off)], off)
	if err != nil && !errors.Is(err, io.EOF) && p.err == nil {
		p.err = fmt.Errorf("at byte %d: %w", off, err)
	}
	return b
}

// table looks for what is in the table of magics.
func (p *prober) table() Signature {
	for _, m := range magics {
		if s := m.match(p.read(m.block, blockSize)); s.Type != "" {
			return s
		}
	}
	return Signature{}
}

// match looks for one magic in its block.
func (m magic) match(b []byte) Signature {
	if string(b[m.at:][:len(m.magic)]) != m.magic {
		return Signature{}
	}
	s := Signature{Type: m.typ}
	if m.details != nil {
		s = m.details(b, s)
	}
	return s
}

// tail looks for RAID superblocks at the end of the device: version 1.0 8 KiB
// before it, 0.90 at the last whole 64 KiB but one.
func (p *prober) tail() Signature {
	if p.size < 128<<10 {
		return Signature{}
	}
	m := magic{"linux_raid_member", 0, 0, "\xfc\x4e\x2b\xa9", raidDetails}
	if s := m.match(p.read(p.size&^4095-8192, blockSize)); s.Type != "" {
		return s
	}
	m.details = nil
	return m.match(p.read(p.size&^0xffff-0x10000, blockSize))
}

// swap looks for swap space, whose magic ends its first page.
func (p *prober) swap() Signature {
	for _, page := range swapPages {
		m := string(p.read(page-10, 10))
		if m != "SWAPSPACE2" && m != "SWAP-SPACE" {
			continue
		}
		b := p.read(1024, blockSize)
		return Signature{Type: "swap", UUID: uuidText(b[12:28]), Label: text(b[28:44])}
	}
	return Signature{}
}

// zfs looks for an uberblock in the ring of the first label, in either byte
// order.
func (p *prober) zfs() Signature {
	ring := p.read(128<<10, 128<<10)
	for off := 0; off+8 <= len(ring); off += 1024 {
		const uberblock = 0x00bab10c
		b := ring[off:]
		if binary.LittleEndian.Uint64(b) == uberblock || binary.BigEndian.Uint64(b) == uberblock {
			return Signature{Type: "zfs_member"}
		}
	}
	return Signature{}
}

// textDetails reads a UUID and a label at fixed places.
func textDetails(uuid, label, labelSize int) func([]byte, Signature) Signature {
	return func(b []byte, s Signature) Signature {
		s.UUID, s.Label = uuidText(b[uuid:][:16]), text(b[label:][:labelSize])
		return s
	}
}

// fatDetails reads serial number and label of a FAT boot sector.
func fatDetails(serial, label int) func([]byte, Signature) Signature {
	return func(b []byte, s Signature) Signature {
		if b[510] != 0x55 || b[511] != 0xaa {
			return Signature{}
		}
		n := binary.LittleEndian.Uint32(b[serial:])
		s.UUID = fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
		if l := text(b[label:][:11]); l != "NO NAME" {
			s.Label = l
		}
		return s
	}
}

// extDetails tells ext2, ext3 and ext4 apart by their features.
func extDetails(b []byte, s Signature) Signature {
	const (
		hasJournal   = 0x4  // compatible
		ext3Incompat = 0x16 // filetype, recover, meta_bg
		ext3ROCompat = 0x7  // sparse_super, large_file, btree_dir
	)
	compat := binary.LittleEndian.Uint32(b[92:])
	incompat := binary.LittleEndian.Uint32(b[96:])
	roCompat := binary.LittleEndian.Uint32(b[100:])
	if incompat&^ext3Incompat == 0 && roCompat&^ext3ROCompat == 0 {
		s.Type = "ext2"
		if compat&hasJournal != 0 {
			s.Type = "ext3"
		}
	}
	s.UUID, s.Label = uuidText(b[104:120]), text(b[120:136])
	return s
}

// luksDetails reads the header of LUKS version 1 and 2.
func luksDetails(b []byte, s Signature) Signature {
	s.UUID = text(b[168:208])
	if binary.BigEndian.Uint16(b[6:]) == 2 {
		s.Label = text(b[24:72])
	}
	return s
}

// lvmDetails reads the label of an LVM2 physical volume.
func lvmDetails(b []byte, s Signature) Signature {
	if string(b[:8]) != "LABELONE" {
		return Signature{}
	}
	id := text(b[32:64])
	if len(id) == 32 {
		s.UUID = strings.Join([]string{id[:6], id[6:10], id[10:14], id[14:18], id[18:22], id[22:26], id[26:]}, "-")
	}
	return s
}

// raidDetails reads a version 1 superblock.
func raidDetails(b []byte, s Signature) Signature {
	if binary.LittleEndian.Uint32(b[4:]) == 1 {
		s.UUID, s.Label = uuidText(b[16:32]), text(b[32:64])
	}
	return s
}

// isoDetails reads the volume identifier of the primary descriptor and, for
// the UUID, the time of its last change or its making, as blkid does.
func isoDetails(b []byte, s Signature) Signature {
	s.Label = text(b[40:72])
	for _, at := range []int{830, 813} {
		d := string(b[at:][:16])
		if strings.Trim(d, "0\x00") != "" {
			s.UUID = strings.Join([]string{d[:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14], d[14:16]}, "-")
			s.UUID = text([]byte(s.UUID))
			break
		}
	}
	return s
}

// uuidText prints a UUID that is stored in the order of its text; nothing for
// zeros.
func uuidText(b []byte) string {
	if bytes.Equal(b, make([]byte, 16)) {
		return ""
	}
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// text reads a padded label; what is not printable comes out as "?".
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	s = strings.ToValidUTF8(strings.TrimRight(s, " "), "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
