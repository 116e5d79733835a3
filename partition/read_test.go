package partition

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
)

// gptDisk is a small disk with two partitions.
func gptDisk(t testing.TB, sector int) *Memory {
	t.Helper()
	m := NewMemory(8*MiB, sector)
	table, err := NewTable(m.Size(), sector, testDiskID)
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"first", "second"} {
		if _, err := table.Place(Row{Label: label, Type: TypeESP, Size: MiB}, NameGUID(testDiskID, label)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Write(m, table); err != nil {
		t.Fatal(err)
	}
	return m
}

// reseal makes the checksums of both headers right again after a change.
func reseal(m *Memory) {
	size := int64(m.Sector)
	le := binary.LittleEndian
	for _, at := range []int64{size, m.Size() - size} {
		h := m.Data[at:][:headerSize]
		entries := m.Data[int64(le.Uint64(h[72:]))*size:]
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries[:entryCount*entrySize]))
		le.PutUint32(h[16:], headerChecksum(h))
	}
}

// both changes the same field in both headers.
func both(m *Memory, change func(header []byte)) {
	change(m.Data[m.Sector:])
	change(m.Data[m.Size()-int64(m.Sector):])
	reseal(m)
}

// bothEntries changes the same field in both arrays of entries.
func bothEntries(m *Memory, change func(entries []byte)) {
	change(m.Data[2*m.Sector:])
	change(m.Data[m.Size()-int64(m.Sector)-entryCount*entrySize:])
	reseal(m)
}

func TestReadRefuses(t *testing.T) {
	le := binary.LittleEndian
	for want, breakIt := range map[string]func(*Memory){
		"revision":                  func(m *Memory) { both(m, func(h []byte) { le.PutUint32(h[8:], 0x00020000) }) },
		"header size":               func(m *Memory) { both(m, func(h []byte) { le.PutUint32(h[12:], 5000) }) },
		"entries of 256 bytes":      func(m *Memory) { both(m, func(h []byte) { le.PutUint32(h[84:], 256) }) },
		"entries are not supported": func(m *Memory) { both(m, func(h []byte) { le.PutUint32(h[80:], 1<<30) }) },
		"usable sectors":            func(m *Memory) { both(m, func(h []byte) { le.PutUint64(h[48:], 1<<40) }) },
		"not in a place for it":     func(m *Memory) { both(m, func(h []byte) { le.PutUint64(h[40:], 3) }) },
		"checksum of the entries":   func(m *Memory) { m.Data[2*m.Sector] ^= 1; m.Data[m.Size()-int64(m.Sector)-entryCount*entrySize] ^= 1 },
		"header checksum":           func(m *Memory) { m.Data[m.Sector+40] ^= 1; m.Data[m.Size()-int64(m.Sector)+40] ^= 1 },
		"no GPT signature":          func(m *Memory) { clear(m.Data[m.Sector:][:8]); clear(m.Data[m.Size()-int64(m.Sector):]) },
		"overlap":                   func(m *Memory) { bothEntries(m, func(e []byte) { copy(e[128+32:], e[32:48]) }) },
		"are not within":            func(m *Memory) { bothEntries(m, func(e []byte) { le.PutUint64(e[40:], 1<<40) }) },
		"partition 2: sectors 7 to 3 ": func(m *Memory) {
			bothEntries(m, func(e []byte) { le.PutUint64(e[128+32:], 7); le.PutUint64(e[128+40:], 3) })
		},
	} {
		for _, sector := range []int{512, 4096} {
			m := gptDisk(t, sector)
			breakIt(m)
			_, err := Read(m)
			var damaged *DamagedError
			if !errors.As(err, &damaged) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, sectors of %d: %v", want, sector, err)
			}
		}
	}
}

func TestReadSaysSectorSizeIsWrong(t *testing.T) {
	m := gptDisk(t, 512)
	m.Sector = 4096
	_, err := Read(m)
	if err == nil || !strings.Contains(err.Error(), "there is one for sectors of 512 bytes") {
		t.Errorf("error: %v", err)
	}
}

func TestReadOfATruncatedDisk(t *testing.T) {
	m := gptDisk(t, 512)
	m.Data = m.Data[:7*MiB]
	var damaged *DamagedError
	if _, err := Read(m); !errors.As(err, &damaged) {
		t.Errorf("error: %v", err)
	}
}

func TestProblemsAreNamed(t *testing.T) {
	m := gptDisk(t, 512)
	m.Data[m.Size()-512-100] ^= 1
	d, err := Read(m)
	if err != nil || len(d.Problems) != 1 || d.Problems[0].Kind != BackupDamaged || !strings.Contains(d.Problems[0].String(), "backup table damaged: checksum of the entries") {
		t.Errorf("%v, %v", d.Problems, err)
	}
}

func TestStaleTableBelowAFilesystemIsNotRead(t *testing.T) {
	m := gptDisk(t, 512)
	clear(m.Data[:64<<10])
	copy(m.Data, "XFSB")
	d, err := Read(m)
	if err != nil || d.Kind != Filesystem {
		t.Errorf("%v, %v", d.Kind, err)
	}
}

func TestHybridMBRIsLeftAlone(t *testing.T) {
	m := gptDisk(t, 512)
	record := m.Data[mbrTable+mbrEntrySize:][:mbrEntrySize]
	record[4], record[8], record[12] = 0x0c, 1, 1
	before := string(m.Data[:512])
	if err := Write(m, tableOf(t, m)); err != nil || string(m.Data[:512]) != before {
		t.Errorf("sector 0 changed, %v", err)
	}
}

// FuzzRead puts a header and some entries on a disk with a protective MBR, in
// either place or both.
func FuzzRead(f *testing.F) {
	for _, sector := range []int{512, 4096} {
		m := gptDisk(f, sector)
		end := m.Data[len(m.Data)-sector-entryCount*entrySize:]
		f.Add(m.Data[sector:][:headerSize], m.Data[2*sector:][:256], true, sector == 4096)
		f.Add(m.Data[len(m.Data)-sector:][:headerSize], end[:256], false, sector == 4096)
	}
	empty := NewMemory(8*MiB, 512)
	f.Fuzz(func(t *testing.T, header, entries []byte, primary, big bool) {
		header, entries = fill(header, headerSize), fill(entries, entryCount*entrySize)
		m := layer(&Memory{Data: empty.Data, Sector: 512})
		if big {
			m = layer(&Memory{Data: empty.Data, Sector: 4096})
		}
		fuzzOne(t, m, header, entries, primary)
		// Most inputs fail at a checksum; put these right to get further.
		le := binary.LittleEndian
		copy(header, headerSignature)
		le.PutUint32(header[12:], headerSize)
		le.PutUint32(header[88:], crc32.ChecksumIEEE(entries[:min(le.Uint32(header[80:])%(entryCount+1), entryCount)*entrySize]))
		le.PutUint32(header[16:], headerChecksum(header))
		fuzzOne(t, m, header, entries, primary)
	})
}

// fill makes a copy of n bytes.
func fill(b []byte, n int) []byte { return append(slices.Clone(b), make([]byte, n)...)[:n] }

// fuzzOne puts one copy of a table on a disk and reads it; what can be read
// must survive being written.
func fuzzOne(t *testing.T, m *layered, header, entries []byte, primary bool) {
	clear(m.changes)
	size, sectors := int64(m.SectorSize()), m.Size()/int64(m.SectorSize())
	at := size
	if !primary {
		at = (sectors - 1) * size
	}
	if off := binary.LittleEndian.Uint64(header[72:]); off < uint64(sectors) && int64(off)*size+int64(len(entries)) <= m.Size() {
		m.WriteAt(entries, int64(off)*size)
	}
	m.WriteAt(fill(header, m.SectorSize()), at)
	guard := make(mbr, 512)
	guard.protect(uint64(sectors))
	m.WriteAt(guard, 0)

	d, err := Read(m)
	if err != nil || d.Table == nil {
		return
	}
	d.Describe(Layout)
	if Write(m, MakeRepairPlan(d).After) != nil {
		return // laid out in a way that we do not write
	}
	again, err := Read(m)
	if err != nil || !sameTable(again.Table, d.Table) {
		t.Fatalf("written and read again: %v", err)
	}
}
