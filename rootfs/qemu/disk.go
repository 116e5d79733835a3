package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// CopyDisk makes a disk of a raw image: a copy without its holes, grown to size
// bytes if that is more than the image has.
func CopyDisk(dst, image string, size int64) error {
	in, err := os.Open(image)
	if err != nil {
		return fmt.Errorf("cannot copy disk: %w", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return fmt.Errorf("cannot copy disk: %w", err)
	}
	out, err := os.Create(dst)
	if err != nil {
		return fmt.Errorf("cannot copy disk: %w", err)
	}
	err = errors.Join(out.Truncate(max(size, info.Size())), copyData(out, in), out.Close())
	if err != nil {
		return fmt.Errorf("cannot copy disk %s to %s: %w", image, dst, err)
	}
	return nil
}

// copyData copies the ranges of a file that are no holes.
func copyData(out, in *os.File) error {
	fd := int(in.Fd())
	for off := int64(0); ; {
		start, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start)); err != nil {
			return err
		}
		off = end
	}
}

func copyFile(dst, src string) error {
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, b, 0o644)
}
