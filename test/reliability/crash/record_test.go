//go:build interop

package crash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
)

// What dm-log-writes records, Documentation/admin-guide/device-mapper/log-writes.rst of Linux: a sector that says how many entries
// there are, then each entry, a sector that says what it is with what was written behind it.
const (
	sectorLen   = 512
	recordMagic = 0x6a736677736872

	flagFlush   = 1 << 0
	flagFUA     = 1 << 1
	flagDiscard = 1 << 2
	flagMark    = 1 << 3
)

// entry is one write of the disk, or a mark. Writes between two flushes are known to be on the disk at the second only.
type entry struct {
	sector int64
	flags  uint64
	data   []byte
	mark   int // number of the mark; 0 for a write
}

func (e *entry) is(flags uint64) bool { return e.flags&flags != 0 }

// readRecord reads all entries.
func readRecord(r io.ReaderAt) ([]entry, error) {
	head := make([]byte, sectorLen)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, err
	}
	field := func(i int) uint64 { return binary.LittleEndian.Uint64(head[8*i:]) }
	if field(0) != recordMagic || field(1) != 1 || binary.LittleEndian.Uint32(head[24:]) != sectorLen {
		return nil, fmt.Errorf("this is no record of a disk: % x", head[:28])
	}
	var all []entry
	at := int64(sectorLen)
	for range field(2) {
		if _, err := r.ReadAt(head, at); err != nil {
			return nil, err
		}
		at += sectorLen
		e := entry{sector: int64(field(0)), flags: field(2)}
		switch sectors, n := int64(field(1)), field(3); {
		case e.is(flagMark):
			if n > sectorLen-32 {
				return nil, fmt.Errorf("a mark of %d octets", n)
			}
			text := bytes.TrimRight(head[32:32+n], "\x00")
			e.mark, _ = strconv.Atoi(string(text)) // one of its own, at the end, is no number
		case e.is(flagDiscard):
			e.data = make([]byte, sectors*sectorLen)
		default:
			e.data = make([]byte, sectors*sectorLen)
			if _, err := r.ReadAt(e.data, at); err != nil {
				return nil, err
			}
			at += int64(len(e.data))
		}
		all = append(all, e)
	}
	return all, nil
}

// disk is the octets of a disk as they are after some entries.
type disk []byte

func (d disk) write(e *entry) { copy(d[e.sector*sectorLen:], e.data) }

// superblock is the first of the two sectors that have ext4's superblock, with a checksum over both: it can't bear that one of them
// is written without the other.
const superblock = 2

// tear writes each sector of an entry or not, as chance has it, and the superblock as a whole.
func (d disk) tear(e *entry, rnd *rand.Rand) {
	written := false
	for at := 0; at < len(e.data); at += sectorLen {
		if at == 0 || e.sector+int64(at/sectorLen) != superblock+1 {
			written = rnd.IntN(2) == 0
		}
		if written {
			copy(d[e.sector*sectorLen+int64(at):], e.data[at:at+sectorLen])
		}
	}
}

// cut is a moment at which the power may go: after entry last, which is on the disk with all before it.
type cut struct {
	last int
	mark int // the last mark before
}

// cuts lists those of all flushes, and of all marks. A mark that follows changes nothing on the disk, and counts.
func cuts(all []entry) (list []cut) {
	mark := 0
	for i := range all {
		mark = max(mark, all[i].mark)
		if !all[i].is(flagFlush|flagFUA|flagMark) || i+1 < len(all) && all[i+1].is(flagMark) {
			continue
		}
		list = append(list, cut{i, mark})
	}
	return list
}
