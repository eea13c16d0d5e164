package mppe

import (
	"concentrator/internal/dataplane/pktbuf"
)

// Limits of the receiver.
const (
	// NearKeys is how many key changes ahead a packet may be and still be followed at once.
	NearKeys = 64
	// KeyBudget is how many key changes a session may spend in a second on packets that are farther away.
	KeyBudget = 256
	// KeyReserve is the part of KeyBudget that is only for packets whose sequence number is near that of the last
	// good one: who floods without knowing it can't spend what a burst of losses needs.
	KeyReserve = 64
	// MaxAhead is how many key changes ahead a packet may be at all.
	MaxAhead = 1 << 16
	// HeadLen is how many octets of plaintext a Credible sees at most: protocol and the longest IPv4 header.
	HeadLen = 64
)

// Overhead is how many octets Seal adds.
const Overhead = 2

// Params is what CCP and authentication agreed on for one direction.
type Params struct {
	// Bits is 128, 56 or 40.
	Bits int
	// Stateful chooses the mode that keeps one RC4 stream over several packets.
	Stateful bool
	// StartKey is the master send or receive key of RFC 3079 section 3; of 56 and 40 bit keys only the first 8
	// octets are used.
	StartKey [16]byte
}

// Credible judges the beginning of a decrypted packet: head is the plaintext (protocol field, then payload) up to
// HeadLen octets, n the length of the whole. far says that a position far away depends on the answer,
// so that more must be right. It must not keep head. policy.CredibleInner is one.
type Credible func(head []byte, n int, far bool) bool

// Verdict is what became of a packet that was to be opened.
type Verdict uint8

// The verdicts. OK and Resynced leave the plaintext in the buffer; with all others the buffer is as it was.
const (
	_ Verdict = iota
	// OK: decrypted and credible.
	OK
	// Resynced: the same, and the receiver has taken the position over, giving up what was before it: the second in
	// a row at a position far away or, in stateful mode, a flushed packet behind a gap.
	Resynced
	// Short: nothing behind the header.
	Short
	// NotEncrypted: the encrypted bit is missing, or the packet is compressed, which was never agreed.
	NotEncrypted
	// NotFlushed: the flushed bit is missing where the mode demands it.
	NotFlushed
	// Late: behind the window, or a replay.
	Late
	// FarJump: far ahead and credible; held until the next one confirms it. Also what is ahead by more than
	// MaxAhead.
	FarJump
	// OverBudget: far ahead, and this second's key changes are spent.
	OverBudget
	// Implausible: it decrypts to nothing credible.
	Implausible
	// OutOfSync: stateful only: it can't be decrypted before a flushed packet.
	OutOfSync
	// NeedReset: the same, and it is time to send a CCP Reset-Request (RFC 3078 section 8.2).
	NeedReset
)

// Passed reports whether the buffer holds the plaintext.
func (v Verdict) Passed() bool {
	return v == OK || v == Resynced
}

// String is the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case Resynced:
		return "resynced"
	case Short:
		return "short"
	case NotEncrypted:
		return "not_encrypted"
	case NotFlushed:
		return "not_flushed"
	case Late:
		return "late"
	case FarJump:
		return "far_jump"
	case OverBudget:
		return "over_budget"
	case Implausible:
		return "implausible"
	case OutOfSync:
		return "out_of_sync"
	case NeedReset:
		return "need_reset"
	}
	return "unset"
}

// SealOp is one packet to encrypt.
type SealOp struct {
	Sender *Sender
	// Buf holds protocol field and payload, and afterwards the MPPE header and the ciphertext.
	Buf *pktbuf.Buf
	// OK is the result: false when Buf was empty or had no headroom; then nothing has changed.
	OK bool
}

// OpenOp is one packet to decrypt.
type OpenOp struct {
	Receiver *Receiver
	// Buf holds the MPPE header and the ciphertext (the frame behind its protocol field 0x00fd), and when Verdict
	// has Passed the protocol field and payload.
	Buf *pktbuf.Buf
	// Seq is the sequence number of the GRE packet that it came in.
	Seq uint32
	// Credible judges it.
	Credible Credible
	// Verdict is the result.
	Verdict Verdict
}

// SealBatch encrypts packets of any sessions, in order. The result is that of sealing them one by one.
func SealBatch(ops []SealOp, x *Scratch) {
	for len(ops) > 0 {
		n := min(len(ops), groupLen)
		x.sealGroup(ops[:n])
		ops = ops[n:]
	}
}

// OpenBatch decrypts packets of any sessions, in order. now is the caller's monotonic clock in nanoseconds. The result
// is that of opening them one by one.
func OpenBatch(ops []OpenOp, now int64, x *Scratch) {
	for len(ops) > 0 {
		n := min(len(ops), groupLen)
		x.openGroup(ops[:n], now)
		ops = ops[n:]
	}
}
