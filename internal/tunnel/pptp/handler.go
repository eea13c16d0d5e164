package pptp

import (
	"net/netip"

	"concentrator/internal/tenant"
)

// Handler decides about calls. Its methods run on the goroutine of the connection concerned, or of the listener for a
// connection that is refused at the door; they must be safe for concurrent use and must not block on the network.
type Handler interface {
	// OutgoingCall is asked for each Outgoing-Call-Request. When it answers ResultConnected, the call is installed in
	// the dataplane before it returns, since the client may send data as soon as it has the reply. c may be kept until
	// CallClosed or Disconnect; it is good for nothing if the answer is a refusal.
	OutgoingCall(c Call, r CallRequest) Answer

	// CallClosed says that a connected call is gone: by the peer's Call-Clear-Request, or because its connection was
	// lost, stopped or timed out. It comes exactly once for each connected call, and never if Call.Disconnect was
	// called first. id is the Answer's CallID; detail is a sentence for an operator.
	CallClosed(id uint16, cause tenant.Reason, detail string)

	// Refused says that a connection or a call was refused, or ended half-open, without OutgoingCall having had a say:
	// limits, garbage, timeouts, messages out of order. detail is a sentence for an operator. A connection that is
	// opened and closed without an octet, as health checks do, is not reported.
	Refused(remote, local netip.AddrPort, reason tenant.Reason, detail string)
}

// Call is one connected call.
type Call interface {
	// Disconnect ends the call with a Call-Disconnect-Notify; nothing is heard of it afterwards. When it was the
	// connection's last call and the peer does not stop the connection soon, we do. Safe from any goroutine, also
	// within OutgoingCall; may be called more than once; never blocks.
	Disconnect(cause tenant.Reason)
	// Authenticated says that the call's user has logged in, so that more may come from where the call came from. Safe from
	// any goroutine; never blocks.
	Authenticated()
}

// CallRequest is what a client said when it asked for a call. Texts are printable ASCII of at most 64 octets.
type CallRequest struct {
	Remote, Local netip.AddrPort // of the control connection; GRE runs between the same addresses
	Listener      string         // as given to Serve

	PeerCallID   uint16 // the client's call ID, to be put into GRE towards it; any value, 0 too
	SerialNumber uint16
	Window       uint16 // the client's receive window, packets
	PhoneNumber  string

	HostName, Vendor string // of its Start-Control-Connection-Request
	FirmwareRevision uint16
}

// Answer is the reply to a CallRequest.
type Answer struct {
	CallID    uint16 // ours, never 0, unique among the living; only with ResultConnected
	Result    uint8  // a Result of wire/pptp, RFC 2637 section 2.8; 0 becomes ResultGeneralError
	ErrorCode uint8  // only with ResultGeneralError, RFC 2637 section 2.16
}
