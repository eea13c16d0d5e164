package radius

import (
	"sync/atomic"
)

// Drop says why a datagram from the server was not used. It is an index of Stats.Drops.
type Drop uint8

// Why a datagram is dropped, in the order of the checks in doc.go.
const (
	dropNone                   Drop = iota
	DropTruncated                   // shorter than its header or its Length field says, or Length out of range
	DropLate                        // no request waits under its identifier: late, repeated, or never asked for
	DropCode                        // no answer to an Access-Request
	DropAttributes                  // an attribute's length is below 2 or beyond the end
	DropManyAuthenticators          // more than one Message-Authenticator
	DropAuthenticatorLength         // a Message-Authenticator that is not 16 octets long
	DropResponseAuthenticator       // Response Authenticator wrong: other secret, other request, or forged
	DropMessageAuthenticator        // Message-Authenticator wrong
	DropNoMessageAuthenticator      // none, and the mode demands one
	DropDuplicate                   // right, but the request had its answer already

	NumDrops = int(iota)
)

var dropNames = [NumDrops]string{
	"none", "truncated", "late", "code", "attributes", "many_message_authenticators", "message_authenticator_length",
	"response_authenticator", "message_authenticator", "no_message_authenticator", "duplicate",
}

// String returns the name that logs and metrics use, for example "no_message_authenticator".
func (d Drop) String() string {
	if int(d) < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}

// Stats are the counters of one Client since New, and its load now.
type Stats struct {
	Requests    uint64 // Access-Requests begun, without retransmissions
	Retransmits uint64 // datagrams sent again
	Accepts     uint64 // by the reply's code, before it was read further
	Rejects     uint64
	Challenges  uint64
	NoAnswers   uint64 // requests that ended without a usable reply, or before they could be sent
	SendErrors  uint64 // datagrams that the kernel refused to send
	Unreachable uint64 // ICMP errors, as "port unreachable"
	Lookups     uint64 // of the server's name

	Drops [NumDrops]uint64 // datagrams received and not used, by Drop

	InFlight int // requests that hold an identifier
	Sockets  int // open, including those that only wait for their last replies
}

// counters are the live form of Stats.
type counters struct {
	requests, retransmits, accepts, rejects, challenges atomic.Uint64
	noAnswers, sendErrors, unreachable, lookups         atomic.Uint64

	drops [NumDrops]atomic.Uint64
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Requests: c.requests.Load(), Retransmits: c.retransmits.Load(),
		Accepts: c.accepts.Load(), Rejects: c.rejects.Load(), Challenges: c.challenges.Load(),
		NoAnswers: c.noAnswers.Load(), SendErrors: c.sendErrors.Load(), Unreachable: c.unreachable.Load(),
		Lookups: c.lookups.Load(),
	}
	for i := range c.drops {
		s.Drops[i] = c.drops[i].Load()
	}
	return s
}
