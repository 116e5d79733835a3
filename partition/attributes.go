package partition

import (
	"fmt"
	"math/bits"
	"strings"
)

// Attributes is the attribute word of a partition entry (UEFI 2.10 table
// 5.8). Bits 48 to 63 belong to the owner of the partition's type.
type Attributes uint64

// The attributes with a name here.
const (
	// Required marks a partition the platform needs (bit 0).
	Required Attributes = 1 << 0
	// NoBlockIO keeps the firmware from exposing the partition (bit 1).
	NoBlockIO Attributes = 1 << 1
	// LegacyBootable is for BIOS boot code (bit 2).
	LegacyBootable Attributes = 1 << 2
	// Unformatted is ours, on entries of our own types only (bit 56): the
	// partition was created but its file system is not finished yet. It is
	// set in the table write that creates the entry and cleared by another
	// one after mkfs and a flush, so it tells a file system that never was
	// from one that is damaged. Only a partition that has it is ever
	// formatted.
	Unformatted Attributes = 1 << 56
	// ReadOnly is used with basic data and Linux partitions (bit 60).
	ReadOnly Attributes = 1 << 60
	// NoAutomount is used with basic data and Linux partitions (bit 63).
	NoAutomount Attributes = 1 << 63
)

// attributeName returns the word for a single bit.
func attributeName(bit Attributes) string {
	switch bit {
	case Required:
		return "required"
	case NoBlockIO:
		return "no-block-io"
	case LegacyBootable:
		return "legacy-bootable"
	case Unformatted:
		return "unformatted"
	case ReadOnly:
		return "read-only"
	case NoAutomount:
		return "no-automount"
	}
	return fmt.Sprintf("bit-%d", bits.TrailingZeros64(uint64(bit)))
}

// Has tells whether all bits of a are set.
func (w Attributes) Has(a Attributes) bool { return w&a == a }

// String lists the set bits by name, e.g. "required,bit-50"; it is empty when
// none is set.
func (w Attributes) String() string {
	var names []string
	for rest := w; rest != 0; rest &= rest - 1 {
		names = append(names, attributeName(rest&-rest))
	}
	return strings.Join(names, ",")
}
