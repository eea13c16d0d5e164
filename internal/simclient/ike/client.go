package ike

import (
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// Client is how one of the clients negotiates. The functions that return one make a new value each time, which is the
// caller's to change.
type Client struct {
	Name       string
	Aggressive bool // Aggressive Mode instead of Main Mode

	Phase1 []ikev1.Phase1Proposal // in order
	// VendorIDs are those of message 1, in order. The first way of NAT traversal that the responder answers is used.
	VendorIDs [][]byte
	NonceLen  int // octets
	// Identity is sent in phase 1; zero is the client's own address, which behind a NAT is a private one.
	Identity wireike.ID
	Contact  Contact

	// FirstMessageID numbers Quick Modes upwards from here; 0: they are random.
	FirstMessageID uint32
	ESP            []ikev1.ESPProposal // in order
	PFS            wireike.GroupID     // GroupNone: without
	Lifetime       time.Duration       // of ESP SAs
	Kilobytes      uint32              // likewise; 0: not sent
	IDPort         uint16              // of its identity in Quick Mode
	NATOA          bool                // it sends NAT-OA payloads behind a NAT

	// Port is the source port of its L2TP packets inside ESP.
	Port uint16
}

// Contact is how a client says that it has no other SA with the server.
type Contact uint8

// The ways.
const (
	ContactNone  Contact = iota
	ContactInID          // INITIAL-CONTACT stands in message 5, or 3 of Aggressive Mode
	ContactAfter         // in an Informational of its own behind phase 1, as racoon sends it
)

// UDP ports.
const (
	portIKE  = 500
	portL2TP = 1701
)

// protocolUDP is UDP's number.
const protocolUDP = 17

// Path is the way from a client's own address to a server's.
func Path(listener string, own, server netip.Addr) ikev1.Path {
	return ikev1.Path{Listener: listener, Local: netip.AddrPortFrom(own, portIKE), Remote: netip.AddrPortFrom(server, portIKE)}
}

// Initiator is the client at a place, with a pre-shared key, for Engine.Initiate. The engine sends INITIAL-CONTACT always
// as ContactInID.
func (c Client) Initiator(path ikev1.Path, psk tenant.Secret) ikev1.Initiator {
	return ikev1.Initiator{
		Path: path, Tenant: "tenants/client", PSK: psk, Aggressive: c.Aggressive, Proposals: slices.Clone(c.Phase1),
		Identity: c.Identity, RawVendors: slices.Clone(c.VendorIDs), NonceLen: c.NonceLen,
		InitialContact: c.Contact != ContactNone, FirstMessageID: c.FirstMessageID,
		Children: []ikev1.QuickMode{c.QuickMode(path.Local.Addr(), path.Remote.Addr())},
	}
}

// QuickMode is the Quick Mode of a client at an address of its own with a server's.
func (c Client) QuickMode(own, server netip.Addr) ikev1.QuickMode {
	return ikev1.QuickMode{
		Proposals: slices.Clone(c.ESP), PFS: c.PFS, Local: udpID(own, c.IDPort), Remote: udpID(server, portL2TP),
		NATOA: c.NATOA, Lifetime: c.Lifetime, Kilobytes: c.Kilobytes,
	}
}

// udpID is the identity of a UDP port in Quick Mode.
func udpID(a netip.Addr, port uint16) wireike.ID {
	id := wireike.AddrID(a)
	id.Protocol, id.Port = protocolUDP, port
	return id
}

// Announces says whether the client announces a vendor ID, dead peer detection for example.
func (c Client) Announces(v wireike.Vendor) bool {
	return slices.ContainsFunc(c.VendorIDs, func(id []byte) bool { return wireike.ParseVendor(id).Has(v) })
}
