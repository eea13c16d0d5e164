package ikev1

import (
	"net/netip"
	"time"

	"concentrator/internal/ike/cert"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// Path is where a message came from and where its answer goes. Paths compare with ==.
type Path struct {
	Listener string         // resource name of the listener that the message came in on
	Local    netip.AddrPort // our address and port: 500, or 4500 with the non-ESP marker of RFC 3948
	Remote   netip.AddrPort // the peer's outer address and port
}

// Host is what the Engine is built into. Its methods are called from the Engine's workers, several at a time; they may
// not block for long, and they may call the Engine's own methods, none of which waits for a worker but Shutdown.
type Host interface {
	// Send sends a message, which it takes over, and puts the non-ESP marker before it if p.Local is our port 4500.
	Send(p Path, msg []byte)
	// Policy says what may be negotiated on a listener at this moment: a snapshot that nobody changes any more. nil refuses
	// everything. It is asked once or twice for each exchange, and for each message 1, so it must be cheap.
	Policy(listener string) *Policy
	// Established reports an ISAKMP SA whose peer has proved who it is, before our last message leaves, and returns the Peer
	// that it belongs to: the same value for the same peer as long as that Peer has not heard Empty. An error refuses the
	// peer; a *RefusedError says what Refused shall be told.
	Established(sa SA) (Peer, error)
	// Refused reports a failed attempt of phase 1 or phase 2, exactly once. Floods of message 1 with invented addresses are
	// not reported: an attempt counts when message 3 proves the address, or when message 1 is refused (at a limited rate).
	Refused(r Refusal)
}

// Policy is what the tenants of a listener allow.
type Policy struct {
	Tenants     []*TenantPolicy // in the order in which their keys are tried
	Certificate *cert.Own       // the listener's chain and key; nil: no authentication by certificate
}

// TenantPolicy is what one tenant allows.
type TenantPolicy struct {
	Name        string      // resource name: tenants/{tenant}
	PSKs        []PSK       // any one of them fits
	Legacy      bool        // 3DES, MD5 and the groups 2 and 5 are allowed
	Aggressive  bool        // Aggressive Mode is allowed, for peers that name GroupName
	GroupName   string      // the identity that names the tenant in Aggressive Mode
	Trust       *cert.Trust // whose certificates are accepted; nil: nobody's
	IKELifetime time.Duration
	ESPLifetime time.Duration // 0: DefaultESPLifetime; the lower of ours and the peer's counts
}

// PSK is a pre-shared key of a tenant.
type PSK struct {
	ID     string // the operator's name for it
	Secret tenant.Secret
}

// Lifetimes where a tenant has none of its own.
const (
	DefaultIKELifetime = 8 * time.Hour
	DefaultESPLifetime = time.Hour
)

// SAID names an ISAKMP SA: the cookies of initiator and responder. It is unique in the Engine and compares with ==.
type SAID struct {
	Initiator, Responder [8]byte
}

// Identity is who a peer has proved to be. It compares with ==.
//
// With a pre-shared key it is the ID payload of message 5, which a NATed client fills with its private address: two peers
// may have the same. With a certificate it is the subject of the certificate, whatever the ID payload said.
type Identity struct {
	Type  wireike.IDType
	Value string // addresses and names in their usual spelling; a key ID that is not printable in hexadecimal
}

// String is the canonical form for logs and keys: "ipv4:192.168.1.2", "dn:CN=ann,O=Acme".
func (id Identity) String() string { return id.Type.String() + ":" + id.Value }

// NAT says what the NAT-D payloads showed, RFC 3947 section 3.2.
type NAT struct {
	Local  bool // we are behind a NAT
	Remote bool // the peer is
}

// Detected says whether there is a NAT on either side, so that ESP goes in UDP.
func (n NAT) Detected() bool { return n.Local || n.Remote }

// SA describes an ISAKMP SA at the moment it is established.
type SA struct {
	ID       SAID
	Tenant   string // of the TenantPolicy whose key or authority fitted
	PSK      string // ID of the pre-shared key; empty with certificates
	Identity Identity
	Path     Path // of the last authenticated message: with NAT both ports are the floated ones
	NAT      NAT

	// InitialContact says that the peer has no other SA with us, RFC 2407 section 4.6.3.3. The Engine drops what the same
	// Peer has from earlier, without a word to the network. The Host may use it for nothing else: other peers of the same
	// identity or address live on.
	InitialContact bool
	Aggressive     bool
	Initiated      bool // we were the initiator: a rekey of ours, or Initiate
	Authentication wireike.AuthMethod
	Encryption     wireike.EncryptionID
	KeyBits        int // of Encryption
	Hash           wireike.HashID
	Group          wireike.GroupID
	DPD            bool // the peer can do dead peer detection, RFC 3706
	Lifetime       time.Duration
}

// RefusedError is an error of Established that says how the refusal shall be reported.
type RefusedError struct {
	Reason tenant.Reason
	Detail string // one clear sentence for the operator
}

// Error implements error.
func (e *RefusedError) Error() string { return string(e.Reason) + ": " + e.Detail }

// Refusal is a failed attempt.
type Refusal struct {
	Path     Path
	Tenant   string       // empty: not known
	Identity string       // Identity.String; empty: not known
	Stage    tenant.Stage // StageIKEMainMode (Aggressive Mode too) or StageIKEQuickMode
	Reason   tenant.Reason
	Detail   string // one clear sentence for the operator
}

// Peer is where the SAs of one peer are installed. The Engine compares Peers with ==, so they must be pointers or other
// comparable values. The calls for one Peer come one at a time and in order.
type Peer interface {
	// NewSPI returns a fresh inbound SPI, in host order; the error ends the Quick Mode.
	NewSPI() (uint32, error)
	// FreeSPI gives back an SPI that no AddInbound was called for, or whose AddInbound failed.
	FreeSPI(spi uint32)
	// AddInbound installs the inbound SA of a child, before the message leaves that lets the peer use it, and takes its keys
	// over. After an error the SPI comes back by FreeSPI, and the keys are cleared.
	AddInbound(c *Child) error
	// UseOutbound makes a child the one that packets to the peer go through, instead of any other. It may be called again
	// for a child that was used before: an older one if the newer goes first, or after Merge. Its outbound SA then goes on
	// where it was, as sequence numbers must never be used twice under one key.
	UseOutbound(c *Child)
	// Remove ends a child, both directions and its SPI, exactly once for each that AddInbound took.
	Remove(c *Child)
	// Move reports that an authenticated message came over another path: ports that float to 4500, or a changed mapping.
	Move(p Path)
	// Idle is the time since the last valid ESP packet from the peer.
	Idle() time.Duration
	// SADown reports that an ISAKMP SA of the peer is gone. Children live on without one.
	SADown(id SAID, reason tenant.Reason, detail string)
	// Empty reports that neither an ISAKMP SA nor a child is left, with why the last one went. It is the last call that a
	// Peer gets, unless Established returns it again.
	Empty(reason tenant.Reason, detail string)
}
