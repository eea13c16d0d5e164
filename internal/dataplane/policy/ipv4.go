package policy

import "encoding/binary"

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
func ParseIPv4(p []byte) (IPv4, bool) {
	return parseHead(p, len(p))
}

// parseHead is ParseIPv4 for a packet of n octets of which only head is there; the header must be whole.
func parseHead(head []byte, n int) (IPv4, bool) {
	if len(head) < minHeaderLen || head[0]>>4 != 4 {
		return IPv4{}, false
	}
	headerLen := int(head[0]&0x0f) * 4
	totalLen := int(binary.BigEndian.Uint16(head[2:]))
	if headerLen < minHeaderLen || headerLen > len(head) || totalLen < headerLen || totalLen > n {
		return IPv4{}, false
	}
	if checksum(head[:headerLen], 0) != 0 {
		return IPv4{}, false
	}
	fragment := binary.BigEndian.Uint16(head[6:])
	return IPv4{
		HeaderLen:      headerLen,
		TotalLen:       totalLen,
		Src:            binary.BigEndian.Uint32(head[12:]),
		Dst:            binary.BigEndian.Uint32(head[16:]),
		Protocol:       head[9],
		DontFragment:   fragment&flagDontFragment != 0,
		MoreFragments:  fragment&flagMoreFragments != 0,
		FragmentOffset: int(fragment&offsetMask) * 8,
	}, true
}

// checksum is the Internet checksum of b (RFC 1071), with sum added. Over a header that includes its own
// checksum it is 0 when that is right.
func checksum(b []byte, sum uint32) uint16 {
	for len(b) >= 2 {
		sum += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return ^fold(sum)
}

// fold adds the carries of a ones' complement sum.
func fold(sum uint32) uint16 {
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum)
}
