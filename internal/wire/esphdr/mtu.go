package esphdr

// Lengths of what is around ESP, in octets.
const (
	ipv4HeaderLen = 20
	udpHeaderLen  = 8
)

// MaxInner is the longest inner packet, in octets, that goes through a link of linkMTU octets without being fragmented
// outside: IPv4, then UDP if udpEncap (RFC 3948), then ESP in transport mode around UDP, L2TP and PPP with headers of
// l2tpHeader and pppHeader octets. With EncryptionUnset it is L2TP in the clear. It is 0 where nothing fits.
//
// The header of IPv6 is 20 octets longer: take them off linkMTU.
func MaxInner(linkMTU int, e Encryption, i Integrity, udpEncap bool, l2tpHeader, pppHeader int) int {
	n := linkMTU - ipv4HeaderLen
	if e != EncryptionUnset {
		if udpEncap {
			n -= udpHeaderLen
		}
		n -= HeaderLen + e.IVLen() + ICVLen(e, i)
		n -= max(n, 0) % e.Align() // what doesn't fill a block is lost to padding
		n -= TrailerLen
	}
	return max(n-udpHeaderLen-l2tpHeader-pppHeader, 0)
}
