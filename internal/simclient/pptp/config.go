package pptp

import (
	"errors"
	"fmt"
	"time"

	wire "concentrator/internal/wire/pptp"
)

// Config is what a client says of itself and how patient it is. Zero durations mean RFC 2637 section 3.1.4's 60 s, or what
// the field says.
type Config struct {
	// Start is the Start-Control-Connection-Request; a zero Version means wire/pptp.Version.
	Start wire.StartControlConnectionRequest

	SetupTimeout time.Duration // for the Start-Control-Connection-Reply
	CallTimeout  time.Duration // for an Outgoing-Call-Reply
	ClearTimeout time.Duration // for a Call-Disconnect-Notify; default 5 s
	StopTimeout  time.Duration // for a Stop-Control-Connection-Reply; default 5 s
	EchoInterval time.Duration // silence after which we send an Echo-Request; negative: never
	EchoTimeout  time.Duration // for an Echo-Reply
	WriteTimeout time.Duration // for one write; default 10 s; Client only
}

func (c Config) withDefaults() Config {
	if c.Start.Version == 0 {
		c.Start.Version = wire.Version
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.SetupTimeout, time.Minute},
		{&c.CallTimeout, time.Minute},
		{&c.ClearTimeout, 5 * time.Second},
		{&c.StopTimeout, 5 * time.Second},
		{&c.EchoInterval, time.Minute},
		{&c.EchoTimeout, time.Minute},
		{&c.WriteTimeout, 10 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

// WindowsStart is the Start-Control-Connection-Request of Windows, of all releases.
func WindowsStart() wire.StartControlConnectionRequest {
	return wire.StartControlConnectionRequest{
		Version:             wire.Version,
		FramingCapabilities: wire.FramingAsync, BearerCapabilities: wire.BearerAnalog,
		VendorName: wire.NewText("Microsoft"),
	}
}

// WindowsCall is the Outgoing-Call-Request of Windows for a call with the given ID and serial number. correlation is the
// binary ID that it hides in the subaddress.
func WindowsCall(id, serial uint16, correlation [16]byte) wire.OutgoingCallRequest {
	r := wire.OutgoingCallRequest{
		CallID: id, SerialNumber: serial,
		MinimumBPS: 300, MaximumBPS: 100_000_000,
		BearerType: wire.BearerEither, FramingType: wire.FramingEither,
		ReceiveWindow: 64,
	}
	copy(r.SubAddress[:], correlation[:])
	return r
}

var (
	// ErrClosed is returned for what needs a connection, or a call, that has ended in good order.
	ErrClosed = errors.New("pptp: closed")
	// ErrTimeout is returned when the server did not answer in time.
	ErrTimeout = errors.New("pptp: no answer in time")
	// ErrCallIDInUse is returned by Call for a call ID that a living call of the connection has.
	ErrCallIDInUse = errors.New("pptp: call ID in use")
	// ErrStopped is returned when the server stopped the connection.
	ErrStopped = errors.New("pptp: stopped by the server")
)

// ResultError is a refusal by the server, of the control connection or of a call, or the end of a call.
type ResultError struct {
	Message wire.Type // the message that it came in
	Result  uint8     // its Result Code
	Code    uint8     // its Error Code, RFC 2637 section 2.16
}

// Error implements error.
func (e *ResultError) Error() string {
	return fmt.Sprintf("pptp: %s with result %d, error %d", e.Message, e.Result, e.Code)
}
