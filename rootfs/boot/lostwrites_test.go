package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"ichor/rootfs"
)

// A disk keeps what was written in a cache of its own until it is flushed. Cutting
// off QEMU loses nothing that the machine has given it, so here the machine's
// writes are recorded, with its flushes, and disks are made on which a part of
// what came after the last flush is missing.

// logged is an entry of QEMU's log of writes, the format of the kernel's
// dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).
type logged struct {
	off, length int64
	flags       uint64
	data        int64 // where the data is in the log
}

// The flags of an entry.
const (
	flagFlush   = 1 << 0
	flagFUA     = 1 << 1
	flagDiscard = 1 << 2
)

// logMagic begins the log.
const logMagic = 0x6a736677736872

// readLog reads the entries of a log.
func readLog(r io.ReaderAt) ([]logged, error) {
	// Of the superblock: magic, version, number of entries, sector size.
	var super [28]byte
	if _, err := r.ReadAt(super[:], 0); err != nil {
		return nil, err
	}
	if magic := binary.LittleEndian.Uint64(super[:]); magic != logMagic {
		return nil, fmt.Errorf("a log of writes begins with %#x, not %#x", magic, uint64(logMagic))
	}
	sector := int64(binary.LittleEndian.Uint32(super[24:]))
	var entries []logged
	at := sector
	for range binary.LittleEndian.Uint64(super[16:]) {
		var b [32]byte
		if _, err := r.ReadAt(b[:], at); err != nil {
			return nil, err
		}
		e := logged{
			off:    int64(binary.LittleEndian.Uint64(b[0:])) * sector,
			length: int64(binary.LittleEndian.Uint64(b[8:])) * sector,
			flags:  binary.LittleEndian.Uint64(b[16:]),
			data:   at + sector,
		}
		at += sector
		if e.flags&flagDiscard == 0 {
			at += e.length
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// replay writes to a disk what it holds for certain after the first n entries,
// and by chance some of what was written since the last flush among them. It
// returns how many entries were lost.
func replay(disk *os.File, log io.ReaderAt, entries []logged, n int, r *rand.Rand) (lost int, err error) {
	flushed := n
	for flushed > 0 && entries[flushed-1].flags&flagFlush == 0 {
		flushed--
	}
	for i, e := range entries[:n] {
		if i >= flushed && e.flags&flagFUA == 0 && e.length > 0 && r.IntN(2) == 0 {
			lost++
			continue
		}
		var from io.Reader = io.NewSectionReader(log, e.data, e.length)
		if e.flags&flagDiscard != 0 {
			from = io.LimitReader(zeros{}, e.length)
		}
		if _, err := io.Copy(io.NewOffsetWriter(disk, e.off), from); err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// zeros reads as zeros for ever.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// recordBoot boots a copy of a disk with a log of its writes, and switches the
// machine off again.
func recordBoot(t *testing.T, image string) (log *os.File, entries []logged) {
	t.Helper()
	disk, file := newDisk(t, image, rootfs.ImageSize), newDisk(t, "", 0)
	c := direct("ichor.shell")
	c.Args = []string{
		"-blockdev", "driver=blklogwrites,node-name=logged,log-sector-size=512,file.driver=file,file.filename=" + disk +
			",log.driver=file,log.filename=" + file,
		"-device", "virtio-blk-pci,drive=logged",
	}
	m := start(t, c).boot()
	m.run("echo written > /var/lost; echo written > /system/state/lost")
	m.powerOff()
	log, err := os.Open(file)
	if err == nil {
		entries, err = readLog(log)
	}
	if err != nil {
		t.Fatal(err)
	}
	return log, entries
}

// TestLostWrites cuts the power of a first boot where the disk loses what it has
// not been told to flush.
func TestLostWrites(t *testing.T) {
	r := random(t)
	log, entries := recordBoot(t, image(t))
	defer log.Close()
	t.Logf("%d writes and flushes", len(entries))
	for i := range either(lostInSoak, lost) {
		t.Run(strconv.Itoa(i+1), func(t *testing.T) {
			h := at(0, 0, 1, 0)
			file := newDisk(t, image(t), rootfs.ImageSize)
			n := r.IntN(len(entries) + 1)
			disk, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			lost, err := replay(disk, log, entries, n, r)
			if err := errors.Join(err, disk.Close()); err != nil {
				t.Fatal(err)
			}
			t.Logf("cut after %d writes and flushes, of which %d are lost", n, lost)
			ready := checkAfterCut(t, h, file, 0)
			record(t, "Lost writes", n, lost, ready)
		})
	}
}
