package coa

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"

	"concentrator/internal/authz/radius/packet"
)

// request is a genuine request.
type request struct {
	who    signer
	packet *radius.Packet // its Attributes are those that are left to ParseChange

	stamped bool              // it has an Event-Timestamp
	echo    radius.Attributes // Proxy-State and State, in order: the reply has them too
	nas     []*radius.AVP     // NAS-Identifier, NAS-IP-Address, NAS-IPv6-Address
	service []*radius.AVP     // Service-Type

	lane  *lane  // from enter on
	table *seen  // that entry is in
	entry *entry // its place there

	sessions []string // the sessions that it fits: IDs, for the log
}

// maxEcho is what the attributes of request.echo may take in octets, so that a NAK holds them beside its
// Message-Authenticator and its Error-Cause.
const maxEcho = packet.MaxLen - packet.HeaderLen - 18 - 6

// read takes b apart, a packet that verify has let through, and checks its Event-Timestamp and that a reply can be made.
func (s *Server) read(b []byte, who signer) (*request, Drop) {
	p, err := radius.Parse(b, who.secret)
	if err != nil {
		return nil, DropAttributes // can't be: verify has walked through them
	}
	q, rest, echo := &request{who: who, packet: p}, radius.Attributes(nil), 0
	for _, a := range p.Attributes {
		switch a.Type {
		case rfc2869.MessageAuthenticator_Type: // RFC 3579 section 3.2; verified
		case rfc2869.EventTimestamp_Type: // RFC 2869 section 5.3
			if !current(a.Attribute, time.Now(), s.cfg.Window) {
				return nil, DropTimestamp
			}
			q.stamped = true
		case rfc2865.ProxyState_Type, rfc2865.State_Type: // RFC 2865 sections 5.33 and 5.24
			echo += 2 + len(a.Attribute)
			q.echo = append(q.echo, a)
		case rfc2865.NASIdentifier_Type, rfc2865.NASIPAddress_Type, rfc3162.NASIPv6Address_Type:
			q.nas = append(q.nas, a)
		case rfc2865.ServiceType_Type:
			q.service = append(q.service, a)
		default:
			rest = append(rest, a)
		}
	}
	p.Attributes = rest
	switch {
	case s.cfg.RequireTimestamp && !q.stamped:
		return nil, DropNoTimestamp
	case echo > maxEcho:
		return nil, DropReplyLength
	}
	return q, dropNone
}

// current says whether v, an Event-Timestamp, lies in the window around now. It counts seconds since 1970, RFC 2869 section
// 5.3.
func current(v radius.Attribute, now time.Time, window time.Duration) bool {
	if len(v) != 4 {
		return false
	}
	return time.Unix(int64(binary.BigEndian.Uint32(v)), 0).Sub(now).Abs() <= window
}

// checkNAS says whether the request is meant for us, RFC 5176 section 3: all that it says of the NAS must be right.
func (s *Server) checkNAS(q *request) *Refusal {
	var ours []netip.Addr
	if s.cfg.NASAddresses != nil && len(q.nas) > 0 {
		for _, a := range s.cfg.NASAddresses() {
			ours = append(ours, a.Unmap().WithZone(""))
		}
	}
	for _, a := range q.nas {
		if a.Type == rfc2865.NASIdentifier_Type {
			if s.cfg.NASIdentifier != "" && string(a.Attribute) != s.cfg.NASIdentifier {
				return refuse(NASMismatch, "NAS-Identifier %q is not ours", clip(a.Attribute))
			}
			continue
		}
		ip, ok := netip.AddrFromSlice(a.Attribute)
		if !ok || ip.Is4() != (a.Type == rfc2865.NASIPAddress_Type) {
			return refuse(InvalidRequest, "the length of NAS-IP-Address or NAS-IPv6-Address is wrong")
		}
		if len(ours) > 0 && !slices.Contains(ours, ip.Unmap()) {
			return refuse(NASMismatch, "NAS address %s is not ours", ip)
		}
	}
	return nil
}

// checkService refuses what would make us ask the server ("Authorize Only", RFC 5176 section 3.2) and services that a session
// can't become.
func checkService(q *request) *Refusal {
	for _, a := range q.service {
		n, err := radius.Integer(a.Attribute)
		if err != nil {
			return refuse(InvalidRequest, "the length of Service-Type is wrong")
		}
		if n != uint32(rfc2865.ServiceType_Value_FramedUser) {
			return refuse(UnsupportedService, "Service-Type %d is not supported, only Framed (2)", n)
		}
	}
	return nil
}

// clip bounds what a detail quotes.
func clip(b []byte) string {
	const most = 64
	return string(b[:min(len(b), most)])
}
