package policy

import (
	"encoding/binary"

	"concentrator/internal/dataplane/checksum"
)

// MinMTU is the smallest packet in octets that every link must carry whole (RFC 791 section 3.2).
const MinMTU = 68

const (
	minHeaderLen = 20
	maxHeaderLen = 60

	flagDontFragment  = 0x4000
	flagMoreFragments = 0x2000
	offsetMask        = 0x1fff

	protocolICMP = 1
	protocolTCP  = 6
)

// IPv4 is what the shards need of an IPv4 header (RFC 791 section 3.1). Addresses are numbers in host order.
type IPv4 struct {
	// HeaderLen and TotalLen are in octets. The packet may be followed by padding.
	HeaderLen, TotalLen int
	Src, Dst            uint32
	Protocol            uint8
	DontFragment        bool
	MoreFragments       bool
	// FragmentOffset is in octets.
	FragmentOffset int
}

// ParseIPv4 reads and checks the header of p: version, lengths, header checksum. Everything that it reports
// is inside p.
func ParseIPv4(p []byte) (h IPv4, ok bool) {
	if !h.Parse(p) {
		return IPv4{}, false
	}
	return h, true
}

// Parse is ParseIPv4 into h, for who reads so many that copying them counts. If it reports false h is undefined.
func (h *IPv4) Parse(p []byte) bool { return h.parseHead(p, len(p)) }

// parseHead is Parse for a packet of n octets of which only head is there; the header must be whole.
func (h *IPv4) parseHead(head []byte, n int) bool {
	if len(head) < minHeaderLen || head[0]>>4 != 4 {
		return false
	}
	headerLen := int(head[0]&0x0f) * 4
	totalLen := int(binary.BigEndian.Uint16(head[2:]))
	if headerLen < minHeaderLen || headerLen > len(head) || totalLen < headerLen || totalLen > n {
		return false
	}
	if !rightSum(head[:headerLen]) {
		return false
	}
	fragment := binary.BigEndian.Uint16(head[6:])
	h.HeaderLen, h.TotalLen = headerLen, totalLen
	h.Src, h.Dst = binary.BigEndian.Uint32(head[12:]), binary.BigEndian.Uint32(head[16:])
	h.Protocol = head[9]
	h.DontFragment, h.MoreFragments = fragment&flagDontFragment != 0, fragment&flagMoreFragments != 0
	h.FragmentOffset = int(fragment&offsetMask) * 8
	return true
}

// rightSum says whether the checksum in an IPv4 header is right.
func rightSum(header []byte) bool {
	if len(header) == minHeaderLen {
		return checksum.RightIPv4((*[minHeaderLen]byte)(header))
	}
	return checksum.Of(header) == 0
}
