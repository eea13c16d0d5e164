package coa

import "concentrator/internal/authz/radius/packet"

// Drop says why a datagram was not answered. It is an index of Stats.Drops.
type Drop uint8

// Why a datagram is dropped, in the order of the checks in doc.go.
const (
	dropNone                 Drop = iota
	DropTruncated                 // shorter than its header or its Length field says, or Length out of range
	DropCode                      // neither a Disconnect-Request nor a CoA-Request
	DropSource                    // from an address, or a server, that may not send any
	DropAttributes                // the length of an attribute is wrong, or there are two Message-Authenticators
	DropAuthenticator             // Request Authenticator wrong: another secret, or forged
	DropMessageAuthenticator      // Message-Authenticator wrong
	DropNoTimestamp               // no Event-Timestamp, and there must be one
	DropTimestamp                 // Event-Timestamp malformed or outside the window
	DropReplyLength               // so many Proxy-State attributes that they don't fit in a reply
	DropDuplicate                 // the same request is under way
	DropOverload                  // too many requests are under way

	// NumDrops is how many Drops there are, the zero value included.
	NumDrops = int(iota)
)

var dropNames = [NumDrops]string{
	"none", "truncated", "code", "source", "attributes", "request_authenticator", "message_authenticator", "no_timestamp",
	"timestamp", "reply_length", "duplicate", "overload",
}

// String returns the name that logs and metrics use, for example "request_authenticator".
func (d Drop) String() string {
	if int(d) < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}

// dropOf is what a packet.Drop is called here.
func dropOf(d packet.Drop) Drop {
	switch d {
	case packet.DropNone:
		return dropNone
	case packet.DropTruncated:
		return DropTruncated
	case packet.DropCode:
		return DropCode
	case packet.DropResponseAuthenticator:
		return DropAuthenticator
	case packet.DropMessageAuthenticator:
		return DropMessageAuthenticator
	default:
		return DropAttributes
	}
}

// Stats are the counters of one Server since New, and its load now.
type Stats struct {
	Disconnects uint64 // genuine Disconnect-Requests, each once
	Changes     uint64 // genuine CoA-Requests, each once
	ACKs        uint64 // of both kinds
	NAKs        map[Cause]uint64
	Repeats     uint64           // requests that came again and got the reply that they had
	Drops       [NumDrops]uint64 // by Drop
	SendErrors  uint64           // replies that the kernel refused to send
	Pending     int              // requests under way
}

// Stats returns the counters; the result is the caller's.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Pending = s.pending
	out.NAKs = make(map[Cause]uint64, len(s.stats.NAKs))
	for cause, n := range s.stats.NAKs {
		out.NAKs[cause] = n
	}
	return out
}
