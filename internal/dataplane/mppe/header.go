package mppe

// The MPPE header (RFC 3078 section 3.1): four flags and a 12-bit coherency count.
const (
	bitFlushed    = 0x8000 // A: the RC4 tables were initialised before this packet
	bitCompressed = 0x2000 // C: MPPC, never agreed here
	bitEncrypted  = 0x1000 // D
	countMask     = 0x0fff

	headerLen = 2
)

// isFlag reports whether the packet with this count is a flag packet of stateful mode: the key changes there.
func isFlag(count uint16) bool {
	return count&0xff == 0xff
}
