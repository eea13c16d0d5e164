package pptp

import (
	"sync/atomic"

	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

// call is one call. Everything but ended belongs to the goroutine of its connection.
type call struct {
	id, peerID uint16
	state      callState
	request    wire.OutgoingCallRequest // only until it is answered
	answer     Answer
	post       func(command) // hands a command to the connection's goroutine
	login      func()        // notes that its user has logged in

	// ended is set by whoever ends the call first: Disconnect, or the connection just before it tells the Handler.
	ended atomic.Bool
}

// Disconnect implements Call.
func (c *call) Disconnect(cause tenant.Reason) {
	if c.ended.CompareAndSwap(false, true) {
		c.post(command{hangUp: c, cause: cause})
	}
}

// Authenticated implements Call.
func (c *call) Authenticated() { c.login() }

// command is what another goroutine wants of a connection.
type command struct {
	hangUp *call         // nil: stop the connection
	cause  tenant.Reason // why
}

// disconnectResult turns the reason for a local disconnect into the Result Code of Call-Disconnect-Notify, RFC 2637
// section 2.13.
func disconnectResult(cause tenant.Reason) uint8 {
	switch cause {
	case tenant.ReasonLostCarrier:
		return wire.DisconnectLostCarrier
	case tenant.ReasonUserRequest:
		return wire.DisconnectRequest
	case tenant.ReasonProtocolError:
		return wire.ResultGeneralError
	default:
		return wire.DisconnectAdminShutdown
	}
}
