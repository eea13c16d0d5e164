package l2tp

import (
	"errors"
	"fmt"
	"time"

	wire "concentrator/internal/wire/l2tp"
)

// Config is what a client says of itself and how it behaves. Zero durations and numbers mean what the field says.
type Config struct {
	// Start is the SCCRQ; a zero ProtocolVersion means wire/l2tp.Version. AssignedTunnelID may not be 0. A Challenge asks
	// for the server's proof of the tunnel secret.
	Start wire.SCCRQ
	// Request and Connect are the ICRQ and ICCN of each call; the session ID is given to Machine.Call. RequestExtra are
	// further AVPs of the ICRQ.
	Request      wire.ICRQ
	RequestExtra []wire.AVP
	Connect      wire.ICCN
	// Hiding hides AVPs of everything behind the SCCRQ; nil hides none.
	Hiding *wire.Hiding
	// Secret is the tunnel secret; nil: a Challenge of the server can't be answered.
	Secret []byte

	Resend    time.Duration // before the first repetition; default 1 s. Each further one waits twice as long
	ResendMax time.Duration // but no longer than this; default 8 s
	Tries     int           // how often a message is sent before the server is given up; default 6
	Hello     time.Duration // silence after which HELLO is sent; default never
	Reorder   int           // how many messages that come too early are kept; default none
	// Picky drops messages whose flags are not c802 or that do not begin with a Message Type AVP with the M bit.
	Picky bool
	// StopTimeout is how long the acknowledgement of StopCCN may take; default 5 s.
	StopTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.Start.ProtocolVersion == 0 {
		c.Start.ProtocolVersion = wire.Version
	}
	if c.Tries == 0 {
		c.Tries = 6
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Resend, time.Second},
		{&c.ResendMax, 8 * time.Second},
		{&c.StopTimeout, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

// Windows is the client of Windows 10 and 11 on a host of this name. It counts tunnel IDs from 1 and gives the same again
// to a second attempt.
func Windows(host string, tunnelID uint16) Config {
	return Config{
		Start: wire.SCCRQ{
			FramingCapabilities: wire.FramingSync, BearerCapabilities: wire.Some[uint32](0),
			FirmwareRevision: wire.Some[uint16](0x0a00), HostName: host, VendorName: "Microsoft",
			AssignedTunnelID: tunnelID, ReceiveWindowSize: wire.Some[uint16](8),
		},
		Request: wire.ICRQ{BearerType: wire.Some[uint32](1)},
		RequestExtra: []wire.AVP{{
			Vendor: 311, Attribute: 1, // a correlation ID
			Value: []byte("correlation GUID"),
		}},
		Connect: wire.ICCN{
			TxConnectSpeed: 100_000_000, FramingType: wire.FramingSync, ProxyAuthenType: wire.Some(wire.ProxyAuthenNone),
		},
		Hello:   40 * time.Second,
		Reorder: 100,
	}
}

// MacOS is the client of macOS and iOS on a host of this name.
func MacOS(host string, tunnelID uint16) Config {
	return Config{
		Start: wire.SCCRQ{
			FramingCapabilities: wire.FramingEither, HostName: host, AssignedTunnelID: tunnelID,
			ReceiveWindowSize: wire.Some[uint16](4),
		},
		Request:   wire.ICRQ{CallSerialNumber: 1},
		Connect:   wire.ICCN{TxConnectSpeed: 1_000_000, FramingType: wire.FramingEither},
		ResendMax: 4 * time.Second,
		Tries:     10,
		Reorder:   4,
	}
}

// Android is the client of Android up to 11. With a tunnel secret it wants the server's proof: challenge is 32 random
// octets then, nil otherwise.
func Android(tunnelID uint16, secret, challenge []byte) Config {
	return Config{
		Start: wire.SCCRQ{
			FramingCapabilities: wire.FramingEither, HostName: "anonymous", AssignedTunnelID: tunnelID,
			ReceiveWindowSize: wire.Some[uint16](1), Challenge: challenge,
		},
		Connect:   wire.ICCN{TxConnectSpeed: 100_000_000, FramingType: wire.FramingEither},
		Secret:    secret,
		Resend:    2 * time.Second,
		ResendMax: 2 * time.Second,
		Tries:     1000,
		Picky:     true,
	}
}

// Xl2tpd is the client of Linux, xl2tpd, on a host of this name.
func Xl2tpd(host string, tunnelID uint16) Config {
	return Config{
		Start: wire.SCCRQ{
			FramingCapabilities: wire.FramingEither, BearerCapabilities: wire.Some[uint32](0),
			FirmwareRevision: wire.Some[uint16](0x0690), HostName: host, VendorName: "xelerance.com",
			AssignedTunnelID: tunnelID, ReceiveWindowSize: wire.Some[uint16](4),
		},
		Request: wire.ICRQ{CallSerialNumber: 1, BearerType: wire.Some[uint32](0)},
		Connect: wire.ICCN{
			TxConnectSpeed: 10_000_000, FramingType: wire.FramingSync, RxConnectSpeed: wire.Some[uint32](10_000_000),
		},
		Tries: 5,
		Hello: time.Minute,
	}
}

var (
	// ErrClosed is why a tunnel is over that we have stopped, and what is asked of a tunnel that is over or not yet open.
	ErrClosed = errors.New("the tunnel is closed")
	// ErrTimeout is why a tunnel or call is over when the server does not answer.
	ErrTimeout = errors.New("the server does not answer")
	// ErrSecret is why a tunnel is over when the server does not know the tunnel secret, or wants it of us in vain.
	ErrSecret = errors.New("the tunnel secrets differ")
	// ErrSession is returned for a call with a session ID of 0 or one that is in use.
	ErrSession = errors.New("session ID in use")
)

// ResultError is a StopCCN or CDN of the server, or one of ours.
type ResultError struct {
	Type   wire.Type
	Result wire.Result
}

// Error implements error.
func (e *ResultError) Error() string {
	return fmt.Sprintf("%s with result %d, error %d %s", e.Type, e.Result.Code, e.Result.Error, e.Result.Message)
}
