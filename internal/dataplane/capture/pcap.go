package capture

import (
	"encoding/binary"
	"time"
)

// Numbers of the file format, draft-ietf-opsawg-pcap sections 4 and 5.
const (
	magic        = 0xa1b2c3d4 // microseconds
	majorVersion = 2
	minorVersion = 4
	linkTypeRaw  = 101 // LINKTYPE_RAW: each packet begins with its IP header

	// FileHeaderLen is the length of what AppendFileHeader writes, octets.
	FileHeaderLen = 24
	// RecordHeaderLen is how many octets stand before each packet.
	RecordHeaderLen = 16
	// MaxSnap is the most octets of a packet that are kept.
	MaxSnap = 65535

	// capturedAt is where a record header says how many octets of the packet follow it.
	capturedAt = 8
)

// AppendFileHeader appends what a file begins with. snap is how many octets of each packet are kept at most.
func AppendFileHeader(b []byte, snap int) []byte {
	b = binary.LittleEndian.AppendUint32(b, magic)
	b = binary.LittleEndian.AppendUint16(b, majorVersion)
	b = binary.LittleEndian.AppendUint16(b, minorVersion)
	b = binary.LittleEndian.AppendUint64(b, 0) // reserved
	b = binary.LittleEndian.AppendUint32(b, uint32(snap))
	return binary.LittleEndian.AppendUint32(b, linkTypeRaw)
}

// recordHeader is what stands before a packet of size octets, of which kept follow.
func recordHeader(at time.Time, kept, size int) (h [RecordHeaderLen]byte) {
	binary.LittleEndian.PutUint32(h[:], uint32(at.Unix()))
	binary.LittleEndian.PutUint32(h[4:], uint32(at.Nanosecond()/1000))
	binary.LittleEndian.PutUint32(h[capturedAt:], uint32(kept))
	binary.LittleEndian.PutUint32(h[12:], uint32(size))
	return h
}
