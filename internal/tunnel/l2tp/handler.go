package l2tp

import (
	"net/netip"
	"time"

	"concentrator/internal/tenant"
)

// Peer is where a tunnel's packets come from and go to: an IPsec peer, through whichever of its security associations
// they come, or one UDP address and port in clear. Values are compared with ==, so one peer must always be the same value.
// The methods are safe for concurrent use, never block on the network and must not call back into the Server.
type Peer interface {
	// Send sends a control message from our port 1701 to the peer's UDP port (the inner one in ESP). It takes msg over,
	// keeps the order of calls and drops what can't be sent, which retransmission makes good.
	Send(port uint16, msg []byte)
	// NewTunnelID takes a tunnel ID that is unique in the instance, never 0, and steers to the peer's shard. An error
	// means that there is none left.
	NewTunnelID() (uint16, error)
	// FreeTunnelID gives it back, when nothing can come for it any more.
	FreeTunnelID(id uint16)
	// Remote and Local are the outer addresses, for logs and for counting by source.
	Remote() netip.AddrPort
	Local() netip.AddrPort
	// Plain says that the address is not proven by IPsec: half-open tunnels are counted against the source, and nothing
	// is retransmitted before the peer has answered.
	Plain() bool
	// Idle is the time since the last valid packet from the peer, data too. A tunnel sends HELLO only to an idle peer.
	Idle() time.Duration
}

// Handler decides about tunnels and calls. Its methods run on the goroutine of the tunnel concerned, Refused also on that
// of Receive's caller. They must be safe for concurrent use and must not block on the network.
type Handler interface {
	// Tunnel is asked for each SCCRQ that is not a repetition and passes the limits. p belongs to the request.
	Tunnel(p Peer, r TunnelRequest) TunnelAnswer

	// IncomingCall is asked for each ICRQ. When it accepts, the call is installed in the dataplane before it returns,
	// since data may follow the ICRP at once. c may be kept until CallClosed or Disconnect; it is good for nothing if the
	// answer is a refusal.
	IncomingCall(c Call, r CallRequest) Answer

	// Connected says that the ICCN of an accepted call has come: PPP begins. id is the Answer's SessionID.
	Connected(id uint16, r Connect)

	// CallClosed says that an accepted call is gone, connected or not: by the peer's CDN, or because its tunnel was
	// stopped, lost or replaced. It comes exactly once for each accepted call, and never if Call.Disconnect was called
	// first. cause is one of tenant.EndedReasons, or PROTOCOL_ERROR or PEER_TIMEOUT for a call that was never connected.
	// detail is a sentence for an operator.
	CallClosed(id uint16, cause tenant.Reason, detail string)

	// Refused says that a tunnel or a call was refused, or ended half-open, without Tunnel or IncomingCall having had a
	// say: limits, a wrong tunnel secret, garbage, timeouts. stage is StageL2TPTunnel or StageCall.
	Refused(p Peer, stage tenant.Stage, reason tenant.Reason, detail string)

	// Moved says that the tunnel's messages come from another UDP port of its peer now, where ours go from here on.
	Moved(p Peer, tunnelID, port uint16)

	// TunnelClosed says that an accepted tunnel and all its calls are gone; id is our tunnel ID. It comes exactly once
	// for each tunnel that Tunnel accepted. Acknowledgements may be sent to the peer for 31 s more, until FreeTunnelID.
	TunnelClosed(p Peer, id uint16)
}

// Call is one call of a tunnel. Its methods are safe from any goroutine, also within IncomingCall, may be called more than
// once and never block.
type Call interface {
	// Disconnect ends the call with a CDN; nothing is heard of it afterwards.
	Disconnect(cause tenant.Reason)
	// Authenticated says that the user has proven who he is. Older tunnels of the same peer, port and peer's tunnel ID
	// end now: their client has died and come back.
	Authenticated()
}

// TunnelRequest is what a peer said in its SCCRQ. Texts are printable ASCII of at most 128 octets.
type TunnelRequest struct {
	Port        uint16 // the peer's UDP port, the inner one in ESP
	LocalTunnel uint16 // the tunnel ID that we give
	PeerTunnel  uint16 // the tunnel ID that the peer gave

	HostName, Vendor    string
	FirmwareRevision    uint16
	FramingCapabilities uint32
	BearerCapabilities  uint32
	Challenged          bool // it wants us to prove that we know the tunnel secret
}

// TunnelAnswer is the reply to a TunnelRequest. The zero value accepts the tunnel without tunnel authentication.
type TunnelAnswer struct {
	// Result is 0 to accept, or else a StopResult of wire/l2tp for the StopCCN. ErrorCode counts only with
	// StopResultGeneralError, RFC 2661 section 4.4.2. Message, if any, is shown to the peer.
	Result    uint16
	ErrorCode uint16
	Message   string

	// Secret is the tunnel secret. When it is set, the peer must prove that it knows it; nil asks for no proof. A peer
	// that asks for ours when there is none is refused.
	Secret tenant.Secret
	// HostName is shown to the peer; empty means Config.HostName.
	HostName string
	// MaxCalls bounds the tunnel's calls; 0 means Config.MaxCallsPerTunnel.
	MaxCalls int
}

// CallRequest is what a peer said in its ICRQ. Texts are printable ASCII of at most 128 octets.
type CallRequest struct {
	Peer        Peer
	Port        uint16 // the peer's UDP port, the inner one in ESP
	LocalTunnel uint16 // our tunnel ID
	PeerTunnel  uint16 // the peer's tunnel ID, for the header of data towards it
	PeerSession uint16 // the peer's session ID, for the header of data towards it

	HostName, Vendor string // of its SCCRQ
	SerialNumber     uint32
	CalledNumber     string
	CallingNumber    string
	SubAddress       string
	BearerType       uint32
	PhysicalChannel  uint32
}

// Answer is the reply to a CallRequest. It accepts the call if Result is 0 and SessionID is not.
type Answer struct {
	SessionID uint16 // ours, never 0, unique among the living
	Result    uint16 // else a CallResult of wire/l2tp for the CDN, RFC 2661 section 4.4.2
	ErrorCode uint16 // only with CallResultGeneralError
	Message   string // shown to the peer, if any
}

// Connect is what a peer said in its ICCN. The octet strings are the Handler's to keep.
type Connect struct {
	TxSpeed, RxSpeed   uint32 // bits a second from the peer's side; RxSpeed is TxSpeed if not given
	FramingType        uint32
	SequencingRequired bool // data messages must carry sequence numbers, both ways
	PrivateGroupID     string

	// The LCP Configure-Requests that a LAC has exchanged with the user already, options only: the first that it got, the
	// last that it sent and the last that it got, RFC 2661 section 4.4.5. nil where it sent none.
	InitialReceivedLCP, LastSentLCP, LastReceivedLCP []byte
	// ProxyAuthentication is the user's proof that a LAC has taken already. That of CHAP is left out unless the peer has
	// proven the tunnel secret: whoever names the challenge himself can repeat a response that he has overheard.
	ProxyAuthentication ProxyAuthentication
}

// ProxyAuthentication is the authentication that a LAC has done for us, RFC 2661 section 4.4.5.
type ProxyAuthentication struct {
	Type      uint16 // a ProxyAuthen of wire/l2tp; 0 if the LAC has said nothing
	Name      string // as sent by the user, any octets
	Challenge []byte // of CHAP, 0 to 255 octets as sent by the LAC
	ID        uint8  // of the CHAP exchange or of the PAP Authenticate-Request
	Response  []byte // CHAP response, or the PAP password
}
