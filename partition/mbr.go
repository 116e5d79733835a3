package partition

import (
	"encoding/binary"
	"math"
)

// The master boot record in the first 512 bytes of a disk.
const (
	mbrSize = 512
	// bootCodeSize is the length of the boot code at its start, GRUB's on a
	// disk that boots by BIOS; no write of ours changes it.
	bootCodeSize = 0x1b8
	mbrTable     = 0x1be
	mbrEntrySize = 16
	// mbrProtective is the type of the entry that covers a GPT disk.
	mbrProtective = 0xee
)

// mbrKind is what sector 0 is.
type mbrKind int

const (
	mbrNone  mbrKind = iota // no boot signature, or no partitions
	mbrGuard                // protective, perhaps with others beside
	mbrOwn                  // partitions of its own
)

// mbr is the first 512 bytes of a disk.
type mbr []byte

// entry returns one of the four records.
func (m mbr) entry(i int) []byte { return m[mbrTable+i*mbrEntrySize:][:mbrEntrySize] }

// kind says what the partitions of the MBR are. A file system's boot sector
// has the signature too, so a record must look like one.
func (m mbr) kind() mbrKind {
	if m[510] != 0x55 || m[511] != 0xaa {
		return mbrNone
	}
	if m.guard() >= 0 {
		return mbrGuard
	}
	if m.used() > 0 {
		return mbrOwn
	}
	return mbrNone
}

// guard returns the index of the protective record, or -1.
func (m mbr) guard() int {
	for i := range 4 {
		if m.entry(i)[4] == mbrProtective {
			return i
		}
	}
	return -1
}

// used counts the records of partitions, or returns 0 when some record cannot
// be one.
func (m mbr) used() int {
	n := 0
	for i := range 4 {
		e := m.entry(i)
		if e[0]&0x7f != 0 {
			return 0
		}
		if e[4] != 0 && binary.LittleEndian.Uint32(e[12:]) != 0 {
			n++
		}
	}
	return n
}

// zeros tells whether all bytes are zero.
func zeros(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// protect makes the record a protective one for a disk of some sectors. Of one
// that protects already only the size is set, so that what others put beside
// it stays; of any other only the boot code stays.
func (m mbr) protect(sectors uint64) {
	i := m.guard()
	if m.kind() != mbrGuard {
		clear(m[bootCodeSize:])
		m[510], m[511] = 0x55, 0xaa
		i = 0
	}
	e := m.entry(i)
	if m.used() <= 1 {
		// Starting CHS 0/0/2, ending CHS beyond its range, first LBA 1, as
		// UEFI 2.10 table 5.4 has it.
		copy(e[1:], []byte{0x00, 0x02, 0x00, mbrProtective, 0xff, 0xff, 0xff})
		binary.LittleEndian.PutUint32(e[8:], 1)
		binary.LittleEndian.PutUint32(e[12:], uint32(min(sectors-1, math.MaxUint32)))
	}
}
