package dataplane

import "fmt"

// Drop says why a packet went no further. It is also the index of its counter. The zero value means that it did.
type Drop uint8

// Why packets are dropped. Inbound is from the client, outbound towards it.
const (
	Pass                   Drop = iota
	DropWireOversize            // an outer packet longer than any that fits a link: cut by the receive buffer
	DropWireMalformed           // not an IPv4 packet with GRE in it
	DropGREMalformed            // not enhanced GRE of RFC 2637 section 4.1
	DropGREUnknownCall          // a call ID that no call has; mostly counted by the socket's filter
	DropGREWrongSource          // a call's ID from or to another address than its control connection's
	DropGRELate                 // a sequence number already delivered or given up
	DropGREDuplicate            // a sequence number that is held already
	DropGREFarJump              // a sequence number too far ahead to be followed unproven
	DropPPPMalformed            // no PPP protocol number
	DropPPPUnsupported          // IP that is not version 4
	DropNotOpen                 // IP while the link is not open
	DropMPPERequired            // IP in the clear where it must be encrypted
	DropMPPENoKey               // encrypted before a key was agreed
	DropMPPEMalformed           // no MPPE header, or one that says it is not encrypted
	DropMPPELate                // a coherency count of the past
	DropMPPEFarJump             // a coherency count too far ahead to be followed unproven
	DropMPPEBudget              // far jumps have used up this second's keys
	DropMPPEImplausible         // decrypts to nothing credible
	DropMPPEOutOfSync           // stateful: dropped until the peer re-initialises its tables
	DropESPMalformed            // no ESP header, or lengths that can't be
	DropESPUnknownSPI           // an SPI that no SA has
	DropESPWrongAddress         // an SA's SPI from or to another address than its peer's, or not in UDP as agreed
	DropESPReplay               // a sequence number that was seen already or is too old
	DropESPAuth                 // the integrity check value is wrong
	DropESPPadding              // decrypts to padding that can't be
	DropESPDummy                // a dummy packet, RFC 4303 section 2.6
	DropESPNextHeader           // holds something other than UDP
	DropESPNoSA                 // outbound to a peer that has no SA
	DropESPExhausted            // the SA's sequence numbers are used up
	DropL2TPMalformed           // UDP or L2TP header wrong
	DropL2TPChecksum            // the inner UDP checksum is wrong
	DropL2TPWrongPort           // inside an SA, but not to UDP port 1701
	DropL2TPUnknownSession      // a session ID that no session has
	DropL2TPWrongPeer           // a session's ID from another peer, or with another tunnel's ID
	DropL2TPLate                // a sequence number already delivered or given up
	DropL2TPFarJump             // a sequence number too far ahead to be followed unproven
	DropL2TPCleartext           // L2TP outside an SA where it must be in one
	DropIPMalformed             // inner IPv4 header or length wrong
	DropSpoofedSource           // inner source is neither the session's address nor in its routes
	DropClientToClient          // to another session of a network that keeps its clients apart
	DropOtherNetwork            // to a session of another tenant in the same namespace
	DropACL                     // denied by the session's access list
	DropNoSession               // outbound to an address that no session has
	DropTooBig                  // outbound over the session's MTU with DF set; answered with ICMP
	DropNoRoom                  // does not fit the buffer with its headers
	DropTUNOversize             // outbound inner packet longer than a buffer
	DropTUNOffload              // outbound train of segments that can't be cut
	DropTUNWrite                // the kernel did not take it into the TUN device
	DropTUNGone                 // the TUN device was deleted
	DropWireSend                // the kernel did not send it
	DropRingFull                // for another shard, whose ring was full
	DropRateLimit               // over the session's rate, with its queue full
	DropShardBusy               // over the session's share of an overloaded shard
	DropDHCPRefused             // to a DHCP server, but no sound DHCPINFORM of the session's client
	DropDHCPRate                // a DHCPINFORM too soon after others
	DropPanic                   // in the batch of a shard that panicked; some of what came may have gone on before

	// NumDrops is the length of an array indexed by Drop.
	NumDrops = int(DropPanic) + 1
)

var dropNames = [NumDrops]string{
	Pass:                   "pass",
	DropWireOversize:       "wire_oversize",
	DropWireMalformed:      "wire_malformed",
	DropGREMalformed:       "gre_malformed",
	DropGREUnknownCall:     "gre_unknown_call",
	DropGREWrongSource:     "gre_wrong_source",
	DropGRELate:            "gre_late",
	DropGREDuplicate:       "gre_duplicate",
	DropGREFarJump:         "gre_far_jump",
	DropPPPMalformed:       "ppp_malformed",
	DropPPPUnsupported:     "ppp_unsupported",
	DropNotOpen:            "not_open",
	DropMPPERequired:       "mppe_required",
	DropMPPENoKey:          "mppe_no_key",
	DropMPPEMalformed:      "mppe_malformed",
	DropMPPELate:           "mppe_late",
	DropMPPEFarJump:        "mppe_far_jump",
	DropMPPEBudget:         "mppe_budget",
	DropMPPEImplausible:    "mppe_implausible",
	DropMPPEOutOfSync:      "mppe_out_of_sync",
	DropESPMalformed:       "esp_malformed",
	DropESPUnknownSPI:      "esp_unknown_spi",
	DropESPWrongAddress:    "esp_wrong_address",
	DropESPReplay:          "esp_replay",
	DropESPAuth:            "esp_auth",
	DropESPPadding:         "esp_padding",
	DropESPDummy:           "esp_dummy",
	DropESPNextHeader:      "esp_next_header",
	DropESPNoSA:            "esp_no_sa",
	DropESPExhausted:       "esp_exhausted",
	DropL2TPMalformed:      "l2tp_malformed",
	DropL2TPChecksum:       "l2tp_checksum",
	DropL2TPWrongPort:      "l2tp_wrong_port",
	DropL2TPUnknownSession: "l2tp_unknown_session",
	DropL2TPWrongPeer:      "l2tp_wrong_peer",
	DropL2TPLate:           "l2tp_late",
	DropL2TPFarJump:        "l2tp_far_jump",
	DropL2TPCleartext:      "l2tp_cleartext",
	DropIPMalformed:        "ip_malformed",
	DropSpoofedSource:      "spoofed_source",
	DropClientToClient:     "client_to_client",
	DropOtherNetwork:       "other_network",
	DropACL:                "acl",
	DropNoSession:          "no_session",
	DropTooBig:             "too_big",
	DropNoRoom:             "no_room",
	DropTUNOversize:        "tun_oversize",
	DropTUNOffload:         "tun_offload",
	DropTUNWrite:           "tun_write",
	DropTUNGone:            "tun_gone",
	DropWireSend:           "wire_send",
	DropRingFull:           "ring_full",
	DropRateLimit:          "rate_limit",
	DropShardBusy:          "shard_busy",
	DropDHCPRefused:        "dhcp_refused",
	DropDHCPRate:           "dhcp_rate",
	DropPanic:              "panic",
}

// String is the word for d in logs, metrics and the API.
func (d Drop) String() string {
	if int(d) < NumDrops {
		return dropNames[d]
	}
	return fmt.Sprintf("Drop(%d)", uint8(d))
}

// DropCounts counts drops by reason.
type DropCounts [NumDrops]uint64

// Map holds the reasons that happened.
func (c *DropCounts) Map() map[string]uint64 {
	m := map[string]uint64{}
	for d, n := range c {
		if n != 0 {
			m[Drop(d).String()] = n
		}
	}
	return m
}
