package plain

import (
	"errors"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/simclient/traffic"
)

// Config is what every client needs.
type Config struct {
	PPP simppp.Config
	// Send sends what the peer of Client.Receive is to get: a GRE packet from its GRE header on, or the payload of an L2TP
	// datagram. SendOctets sends octets of PPTP's TCP connection; L2TP has none. Both borrow b, must not block for long and
	// must not call the Client. What can't be sent is lost, as on any line.
	Send, SendOctets func(b []byte)
	// Gate is shared by clients whose packets package traffic moves together. nil: one of its own.
	Gate *traffic.Gate
	// Received gets the inner IPv4 packets, each borrowed until it returns. It must not call the Client. nil: they are
	// dropped.
	Received func(packet []byte)
}

var (
	// ErrClosed is returned by everything after HangUp or Die.
	ErrClosed = errors.New("the client has gone")
	// ErrDown is returned by Send while the link carries no IP.
	ErrDown = errors.New("the link is down")
	// ErrTooLong is returned by Send for a packet that no frame can hold.
	ErrTooLong = errors.New("the packet is too long")
)
