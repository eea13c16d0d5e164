package session

import (
	"net/netip"
	"strconv"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
)

// carrier describes the tunnel that carries a session's PPP link: all that a session knows of it. pptp.go and l2tp.go
// make one for each call; from there on a session is led the same way whatever carries it. It does not change, but for the
// peers in it, which a merge may replace.
type carrier struct {
	protocol      tenant.Protocol
	listener      string
	local, remote netip.AddrPort // outer addresses as of the call; Info.ClientAddress follows a NAT that moves the client
	// proven is the tenant that IKE has proved, as a resource name; empty: none was, the user's realm decides.
	proven string
	// mark is the peer's own name for the call, comparable. Another PPTP call with the same mark comes from a client
	// that has died and called again; nil: nothing can be told from it.
	mark any
	// peer is the IPsec peer whose SAs protect the tunnel; nil: nothing does. Guarded by Manager.mu.
	peer *ipsecPeer
	// ccp says whether MPPE is spoken. Where it is not, CCP is Protocol-Rejected and the profile's mppe does not count.
	ccp bool
	// waits says that PPP begins only when the peer has said that the call is connected (L2TP's ICCN).
	waits  bool
	tunnel tunnelCall
	client string // host name that the client's tunnel gave; may be empty
	// name is what the client calls its L2TP tunnel; its peer is guarded by Manager.mu. Zero with PPTP.
	name tunnelName
}

// tunnelCall is the call in its tunnel. Its methods may be called from any goroutine and do not block.
type tunnelCall interface {
	// Disconnect ends the call; nothing is heard of it afterwards.
	Disconnect(cause tenant.Reason)
	// Authenticated says that the peer's user is known: what the same peer left behind when it died may go now.
	Authenticated()
}

// family is the protocol under which a listener counts its sessions: L2TP counts as one, in ESP or not.
func (c *carrier) family() tenant.Protocol {
	if c.protocol == tenant.ProtocolL2TPIPsec {
		return tenant.ProtocolL2TP
	}
	return c.protocol
}

// tunnelID is our name of the L2TP tunnel; empty with PPTP, whose tunnel is the call.
func (c *carrier) tunnelID() string {
	if c.name.local == 0 {
		return ""
	}
	return strconv.Itoa(int(c.name.local))
}

// protected says whether what the session carries is encrypted below PPP.
func (c *carrier) protected() bool { return c.protocol == tenant.ProtocolL2TPIPsec }

// What PPTP takes from a 1500-octet link, facts of RFC 2637 section 4.1: IPv4 20, GRE with sequence and acknowledgement
// 16, PPP 4.
const (
	linkMTU      = 1500
	pptpOverhead = 20 + 16 + 4
)

// room is the largest inner packet that fits a link of 1500 octets unfragmented, without what MPPE takes.
func (s *session) room() int {
	if s.carrier.ccp {
		return linkMTU - pptpOverhead
	}
	header := l2tpHeader
	if s.sequenced {
		header = l2tpSequencedHeader
	}
	var around suite
	if p := s.peer(); p != nil {
		around, _ = p.suite()
	}
	return esphdr.MaxInner(linkMTU, around.encryption, around.integrity, around.encap, header, pppHeader)
}

// cipher is what protects the session below PPP; "NONE" if nothing does.
func (s *session) cipher() string {
	if p := s.peer(); p != nil {
		if around, ok := p.suite(); ok {
			return around.name
		}
	}
	return "NONE"
}

// peer returns the IPsec peer that carries the session, nil if none does.
func (s *session) peer() *ipsecPeer {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.carrier.peer
}
