package partition

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID is a globally unique identifier in the byte order of the disk: the
// first three fields little endian, the last two as they are read (UEFI 2.10
// appendix A).
type GUID [16]byte

// guidText is the order in which the bytes of a GUID appear in its text.
var guidText = [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}

// ParseGUID reads the text form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in either
// case.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("cannot read GUID %q: want the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	b, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if err != nil {
		return g, fmt.Errorf("cannot read GUID %q: %w", s, err)
	}
	for text, disk := range guidText {
		g[disk] = b[text]
	}
	return g, nil
}

// MustGUID is ParseGUID for literals in the source; it panics on a wrong one.
func MustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// NewGUID returns a random GUID (version 4 of RFC 9562).
func NewGUID() GUID {
	var b [16]byte
	rand.Read(b[:]) // never fails, by its documentation
	return fromText(b, 4)
}

// NameGUID returns the GUID that a name has within a name space (version 5 of
// RFC 9562), so that an image built twice gets the same identifiers.
func NameGUID(space GUID, name string) GUID {
	var b [16]byte
	h := sha1.New()
	for _, disk := range guidText {
		h.Write([]byte{space[disk]})
	}
	h.Write([]byte(name))
	copy(b[:], h.Sum(nil))
	return fromText(b, 5)
}

// fromText makes a GUID of bytes in the order of the text, setting version and
// variant.
func fromText(b [16]byte, version byte) GUID {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	var g GUID
	for text, disk := range guidText {
		g[disk] = b[text]
	}
	return g
}

// IsZero tells whether the GUID is all zeros, which marks an unused entry.
func (g GUID) IsZero() bool { return g == GUID{} }

// String returns the text form in upper case, as the specification prints it.
func (g GUID) String() string {
	return strings.ToUpper(fmt.Sprintf("%08x-%04x-%04x-%x-%x",
		binary.LittleEndian.Uint32(g[0:4]), binary.LittleEndian.Uint16(g[4:6]),
		binary.LittleEndian.Uint16(g[6:8]), g[8:10], g[10:16]))
}

// MarshalText returns the text form.
func (g GUID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads the text form.
func (g *GUID) UnmarshalText(b []byte) error {
	v, err := ParseGUID(string(b))
	if err == nil {
		*g = v
	}
	return err
}
