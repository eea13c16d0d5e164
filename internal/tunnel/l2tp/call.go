package l2tp

import (
	"sync/atomic"
	"time"

	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// call is one call. Everything but ended belongs to the goroutine of its tunnel.
type call struct {
	id, peerSession uint16
	state           callState
	deadline        time.Time     // for the ICCN
	post            func(command) // hands a command to the tunnel's goroutine

	// ended is set by whoever ends the call first: Disconnect, or the tunnel just before it tells the Handler.
	ended atomic.Bool
}

// Disconnect implements Call.
func (c *call) Disconnect(cause tenant.Reason) {
	if c.ended.CompareAndSwap(false, true) {
		c.post(command{do: hangUp, call: c, cause: cause})
	}
}

// Authenticated implements Call.
func (c *call) Authenticated() { c.post(command{do: noteLogin, call: c}) }

// order is what another goroutine can want of a tunnel.
type order uint8

const (
	hangUp    order = iota // end the call
	noteLogin              // the call's user has logged in
	stop                   // end the tunnel, politely
	abandon                // end the tunnel without a word: nobody is there to hear it
	suspend                // a newer tunnel has the same peer, port and peer's tunnel ID: be silent until the peer speaks
	resume                 // it is gone
)

// command is an order with what it needs.
type command struct {
	do     order
	call   *call
	cause  tenant.Reason
	detail string
}

// why says why a tunnel or a call ends: for the Handler, for an operator, and for the peer.
type why struct {
	reason tenant.Reason
	detail string
	result wire.Result
}

// hangUpResult turns the reason for a local disconnect into the Result Code of CDN, RFC 2661 section 4.4.2.
func hangUpResult(cause tenant.Reason) wire.Result {
	switch cause {
	case tenant.ReasonLostCarrier:
		return wire.Result{Code: wire.CallResultLostCarrier}
	case tenant.ReasonProtocolError:
		return wire.Result{Code: wire.CallResultGeneralError, Error: wire.ErrorVendor}
	case tenant.ReasonInstanceLimit, tenant.ReasonTenantLimit, tenant.ReasonListenerLimit:
		return wire.Result{Code: wire.CallResultTemporary}
	case tenant.ReasonPeerTimeout:
		return wire.Result{Code: wire.CallResultTimeout}
	default:
		return wire.Result{Code: wire.CallResultAdministrative}
	}
}

// hangUpCause turns the Result Code of a peer's CDN into the reason for the end of the call. Clients send "administrative"
// when their user hangs up.
func hangUpCause(r wire.Result) tenant.Reason {
	switch r.Code {
	case wire.CallResultLostCarrier, wire.CallResultGeneralError, wire.CallResultNoCarrier, wire.CallResultNoFraming:
		return tenant.ReasonLostCarrier
	default:
		return tenant.ReasonUserRequest
	}
}

// stopCause turns the Result Code of a peer's StopCCN into the reason for the end of its calls.
func stopCause(r wire.Result) tenant.Reason {
	switch r.Code {
	case wire.StopResultGeneralRequest, wire.StopResultShutdown:
		return tenant.ReasonUserRequest
	default:
		return tenant.ReasonLostCarrier
	}
}

// stopResult turns the reason for a local stop into the Result Code of StopCCN, RFC 2661 section 4.4.2.
func stopResult(cause tenant.Reason) wire.Result {
	switch cause {
	case tenant.ReasonShutdown, tenant.ReasonDraining:
		return wire.Result{Code: wire.StopResultShutdown}
	case tenant.ReasonTunnelSecretMismatch:
		return wire.Result{Code: wire.StopResultNotAuthorized}
	case tenant.ReasonInstanceLimit, tenant.ReasonTenantLimit, tenant.ReasonListenerLimit:
		return wire.Result{Code: wire.StopResultGeneralError, Error: wire.ErrorNoResource}
	default:
		return wire.Result{Code: wire.StopResultGeneralRequest}
	}
}
