package transport

import (
	"sync/atomic"
	"time"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/telemetry"
)

// State is whether a server answers.
type State string

// The states of a server.
const (
	Unknown State = "UNKNOWN" // not asked so far
	Alive   State = "ALIVE"
	Dead    State = "DEAD" // asked last, if at all
)

// Health is how one server does.
type Health struct {
	Name        string
	State       State         // Dead if any of its ports is, otherwise Alive if any is
	Since       time.Time     // when State came about
	RTT         time.Duration // smoothed, of the port that answered last; 0: not known
	Outstanding int           // requests under way
	Waiting     int           // requests that wait because MaxOutstanding are under way
	Sockets     int           // open ones, those that only wait for their last replies included
	LastError   string        // what last went wrong, for operators; empty: nothing so far
	LastErrorAt time.Time
	// Ports has one entry for each of the server's ports that is used: with UDP one for each purpose, with TLS one for all.
	Ports []PortHealth
}

// PortHealth is how one port of a server does.
type PortHealth struct {
	Purposes    []Purpose
	State       State
	Since       time.Time
	RTT         time.Duration // smoothed; 0: not known
	Sockets     int
	Address     string // and port where the newest socket leads; empty: there was none
	LastAnswer  time.Time
	LastError   string
	LastErrorAt time.Time
	LookupError string // why the server's name could not be looked up the last time; empty: it could
	Stats       Stats
}

// Stats are the counters of one port since it was configured.
type Stats struct {
	Requests     uint64 // begun, without retransmissions and probes
	Retransmits  uint64 // datagrams sent again
	Accepts      uint64 // replies by code
	Rejects      uint64
	Challenges   uint64
	Acknowledged uint64 // Accounting-Responses
	NoAnswers    uint64 // requests that ended here without a usable reply, or before they could be sent
	Moved        uint64 // of those, the ones that went on to the next server because this one was found dead by others
	SendErrors   uint64 // packets that could not be sent
	Unreachable  uint64 // ICMP errors, as "port unreachable"
	Lookups      uint64 // of the server's name
	Dials        uint64 // sockets opened, or tried to
	DialErrors   uint64
	Deaths       uint64 // how often it was found dead
	Probes       uint64 // Status-Servers sent, RFC 5997
	ProbeAnswers uint64
	Incoming     uint64 // requests that the server sent us over TLS, dropped ones included

	// Latency is how long requests took that were answered, from their first datagram on, without probes.
	Latency telemetry.Distribution

	Drops [packet.NumDrops]uint64 // packets received and not used, by packet.Drop
}

// counters are the live form of Stats.
type counters struct {
	requests, retransmits, accepts, rejects, challenges, acknowledged atomic.Uint64
	noAnswers, moved, sendErrors, unreachable, lookups                atomic.Uint64
	dials, dialErrors, deaths, probes, probeAnswers, incoming         atomic.Uint64

	latency telemetry.Histogram
	drops   [packet.NumDrops]atomic.Uint64
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Requests: c.requests.Load(), Retransmits: c.retransmits.Load(),
		Accepts: c.accepts.Load(), Rejects: c.rejects.Load(), Challenges: c.challenges.Load(),
		Acknowledged: c.acknowledged.Load(), NoAnswers: c.noAnswers.Load(), Moved: c.moved.Load(),
		SendErrors: c.sendErrors.Load(), Unreachable: c.unreachable.Load(), Lookups: c.lookups.Load(),
		Dials: c.dials.Load(), DialErrors: c.dialErrors.Load(), Deaths: c.deaths.Load(),
		Probes: c.probes.Load(), ProbeAnswers: c.probeAnswers.Load(), Incoming: c.incoming.Load(),
		Latency: c.latency.Snapshot(),
	}
	for i := range c.drops {
		s.Drops[i] = c.drops[i].Load()
	}
	return s
}
