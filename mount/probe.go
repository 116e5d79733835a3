package mount

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// signature is the mark of a file system at a fixed place.
type signature struct {
	fstype string
	offset int64
	mark   string
}

// signatures are looked for in this order. ext4 mounts ext2 and ext3 as well.
var signatures = []signature{
	{"xfs", 0, "XFSB"},
	{"squashfs", 0, "hsqs"},
	{"ext4", 1024 + 0x38, "\x53\xef"},
	{"erofs", 1024, "\xe2\xe1\xf5\xe0"},
	{"btrfs", 64<<10 + 0x40, "_BHRfS_M"},
	{"iso9660", 32<<10 + 1, "CD001"},
}

// Probe returns the type of the file system on a device or in a file, by its
// signature.
func Probe(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot look for a file system: %w", err)
	}
	defer f.Close()
	fstype, err := probe(f)
	if err != nil {
		return "", fmt.Errorf("cannot look for a file system on %s: %w", path, err)
	}
	if fstype == "" {
		return "", fmt.Errorf("cannot tell the file system on %s: name it with -t", path)
	}
	return fstype, nil
}

func probe(r io.ReaderAt) (string, error) {
	for _, s := range signatures {
		b := make([]byte, len(s.mark))
		if _, err := r.ReadAt(b, s.offset); err != nil && err != io.EOF {
			return "", err
		}
		if string(b) == s.mark {
			return s.fstype, nil
		}
	}
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
		return "", err
	}
	if isFAT(b) {
		return "vfat", nil
	}
	return "", nil
}

// isFAT tells whether a first sector is that of a FAT file system: the names
// are for people only, so sizes that make sense are asked for as well.
func isFAT(sector []byte) bool {
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return false
	}
	size, fats := binary.LittleEndian.Uint16(sector[11:]), sector[16]
	named := string(sector[54:57]) == "FAT" || string(sector[82:85]) == "FAT"
	return named && size >= 512 && size&(size-1) == 0 && (fats == 1 || fats == 2)
}
