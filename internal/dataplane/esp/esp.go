package esp

import (
	"errors"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// ErrParams is returned by the constructors for a suite that is none, a key of the wrong length or a reserved SPI.
var ErrParams = errors.New("esp: unusable parameters")

// Params is one direction of a pair of SAs, as quick mode made it. The keys are read by the constructors only and stay the
// caller's, who wipes them.
type Params struct {
	SPI        uint32
	Encryption esphdr.Encryption
	Key        []byte // of the cipher; for GCM followed by the salt (RFC 4106 section 8.1)
	Integrity  esphdr.Integrity
	AuthKey    []byte // nil with GCM
	ESN        bool   // extended sequence numbers, RFC 4303 section 2.2.1
	// When the SA should be replaced, and when it may not be used any more; 0 is no limit. Octets are counted as they
	// are encrypted, with padding and trailer; packets by their sequence numbers, so lost ones count.
	SoftPackets, HardPackets, SoftBytes, HardBytes uint64
}

// Verdict is what became of a packet.
type Verdict uint8

// The verdicts. After any but OK the content of the buffer is undefined, its window may have moved.
const (
	_ Verdict = iota
	// OK: the buffer holds what it should.
	OK
	// Malformed: too short, another SPI, or a length that the cipher can't have made.
	Malformed
	// Replay: seen before, or too old to tell.
	Replay
	// Auth: the ICV is wrong. Nothing of the SA has changed.
	Auth
	// Padding: authentic, but the padding isn't that of RFC 4303 section 2.4.
	Padding
	// Dummy: authentic and to be dropped: next header 59 (RFC 4303 section 2.6).
	Dummy
	// Exhausted: the sequence numbers are used up, a hard limit is reached, or the SA is closed.
	Exhausted
	// NoRoom: the buffer has no room for what Seal adds.
	NoRoom
)

// String is the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case Malformed:
		return "malformed"
	case Replay:
		return "replay"
	case Auth:
		return "auth"
	case Padding:
		return "padding"
	case Dummy:
		return "dummy"
	case Exhausted:
		return "exhausted"
	case NoRoom:
		return "no_room"
	default:
		return "unset"
	}
}

// Form is what the good packets of an SA with HMAC-SHA2-256 have shown of its peer's ICV. The higher outweighs the lower,
// whenever it came: anybody on the way can cut an ICV, and who has no key can't make a whole one of it.
type Form uint8

// The forms.
const (
	// FormUnknown: none has come yet, or the algorithm has one form only.
	FormUnknown Form = iota
	// FormCut: all were cut to 96 bits, as some Androids do.
	FormCut
	// FormWhole: there was one with all 128 bits.
	FormWhole
)

// OpenOp is one packet to open.
type OpenOp struct {
	SA *Inbound
	// Buf holds the packet from the ESP header on, and when Verdict is OK the transport payload.
	Buf *pktbuf.Buf
	// NextHeader is the payload's protocol, a result.
	NextHeader uint8
	// Verdict is the result.
	Verdict Verdict
}

// SealOp is one packet to seal.
type SealOp struct {
	SA *Outbound
	// Buf holds the transport payload, and when Verdict is OK the packet from the ESP header on.
	Buf        *pktbuf.Buf
	NextHeader uint8 // the payload's protocol
	// Verdict is the result.
	Verdict Verdict
}

// OpenBatch opens packets of any SAs, in order, with x to work on. Every packet is in a buffer of its own.
func OpenBatch(ops []OpenOp, x *Scratch) {
	for len(ops) > 0 {
		n := min(len(ops), stage)
		x.open(ops[:n])
		ops = ops[n:]
	}
}

// SealBatch seals packets of any SAs, in order, with x to work on. Every packet is in a buffer of its own.
func SealBatch(ops []SealOp, x *Scratch) {
	for len(ops) > 0 {
		n := min(len(ops), stage)
		x.seal(ops[:n])
		ops = ops[n:]
	}
}
