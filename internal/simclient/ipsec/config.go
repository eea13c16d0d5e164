package ipsec

import (
	"errors"
	"fmt"
	"net/netip"

	"concentrator/internal/ike/ikev1"
	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
)

// Ports of the transport. ESP stands for IP protocol 50, which has none.
const (
	PortIKE  uint16 = 500
	PortNATT uint16 = 4500
	ESP      uint16 = 0
)

// Config is one client. All fields but Gate, Received, KeyLog and ShortICV are required.
type Config struct {
	IKE    simike.Client
	L2TP   siml2tp.Config
	PPP    simppp.Config
	PSK    tenant.Secret
	Own    netip.Addr // its own address, IPv4; behind a NAT a private one
	Server netip.Addr
	// Send sends a datagram to the server: a UDP payload to and from PortIKE or PortNATT, or an ESP packet. It takes b
	// over. It must not block for long and must not call the Client.
	Send func(port uint16, b []byte)
	// Gate is shared by clients whose packets package traffic moves together. nil: one of its own.
	Gate *traffic.Gate
	// Received gets the inner packets, each borrowed until it returns. It must not call Receive. nil: they are dropped.
	Received func(packet []byte)
	// KeyLog is told the keys of IKE's phase 1 and of each ESP SA, by a name. The octets are borrowed. nil: nobody is.
	KeyLog func(name string, key []byte)
	// ShortICV cuts the check values of HMAC-SHA2-256 to 96 bits and takes no others, as some Androids do.
	ShortICV bool
}

var (
	// ErrClosed is returned by everything after HangUp or Die.
	ErrClosed = errors.New("the client has gone")
	// ErrDown is returned when nothing of the connection is left although nobody hung up: the server ended it.
	ErrDown = errors.New("the server has ended the connection")
	// ErrNoSA is returned by Send while there is no ESP SA to send through, or it is used up.
	ErrNoSA = errors.New("no ESP SA")
)

// RefusedError is an IKE negotiation that has failed.
type RefusedError struct {
	Refusal ikev1.Refusal
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Refusal.Stage, e.Refusal.Reason, e.Refusal.Detail)
}
