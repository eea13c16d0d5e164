package ikev1

import (
	"net/netip"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	wireike "concentrator/internal/wire/ike"
)

// Child is one pair of ESP SAs, inbound and outbound. It does not change after AddInbound has seen it, so it may be kept;
// but the keys are the Host's, which clears them by WipeKeys once it has made of them what packets need.
type Child struct {
	InboundSPI  uint32 // ours, from Peer.NewSPI
	OutboundSPI uint32 // the peer's

	Encryption esphdr.Encryption
	Integrity  esphdr.Integrity // IntegrityUnset with AESGCM16
	// The keys have the lengths that esphdr gives for the algorithms; with GCM the four octets of salt follow the key.
	InboundKey, InboundAuthKey   tenant.Secret
	OutboundKey, OutboundAuthKey tenant.Secret

	ESN      bool            // 64-bit sequence numbers, RFC 4304
	UDPEncap bool            // ESP in UDP, RFC 3948; else IP protocol 50
	PFS      wireike.GroupID // GroupNone without

	PeerPort uint16 // UDP port of the peer's identity in Quick Mode: 1701, an ephemeral one, or 0 for any
	OurPort  uint16 // ours: 1701, or 0 for any

	// What the NAT-OA payloads say (RFC 3947 section 5.2); invalid if there was none. OurOA is our address as the peer knows
	// it, PeerOA the peer's own address. Checksums of inner packets are computed over these.
	OurOA, PeerOA netip.Addr

	// SoftBytes and HardBytes are the limits of each direction; 0: none. At the first Engine.Limit asks for a new child, at
	// the second the child ends.
	SoftBytes, HardBytes uint64
	Lifetime             time.Duration // from AddInbound on; the Engine ends the child by itself
}

// WipeKeys clears the keys. Their lengths stay, as they tell the suite.
func (c *Child) WipeKeys() {
	for _, k := range []tenant.Secret{c.InboundKey, c.InboundAuthKey, c.OutboundKey, c.OutboundAuthKey} {
		clear(k)
	}
}
