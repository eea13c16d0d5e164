package ppp

import (
	"io"
	"net/netip"
	"time"

	"concentrator/internal/tenant"
)

// Config says how a Link behaves. The zero value of every number means its default.
type Config struct {
	// Name is our name in CHAP Challenges.
	Name string
	// MRU is what our Configure-Request asks for, in octets of the information field; default 1400.
	MRU int
	// AuthMethods are the methods that the peer may use, in the order in which they are offered; a Configure-Nak may
	// choose another one of the list. Never empty.
	AuthMethods []tenant.AuthMethod
	// CCP says whether MPPE is spoken at all. If not, CCP is Protocol-Rejected and Grant.MPPE is ignored.
	CCP bool
	// Echo is the LCP keepalive; a zero Interval means none.
	Echo tenant.Echo
	// Rand is where challenges and magic numbers come from; default crypto/rand.
	Rand io.Reader

	RestartTimer time.Duration // RFC 1661 section 4.6; default 3 s
	MaxConfigure int           // RFC 1661 section 4.6; default 10
	MaxTerminate int           // RFC 1661 section 4.6; default 2
	MaxFailure   int           // RFC 1661 section 4.6; default 5
	// MaxAuthFailures ends the link after so many refused logins, also over renegotiations; default 3.
	MaxAuthFailures int
}

// Handler is what a Link asks of its owner. All methods are called from within the Link's own methods and must not call
// back into the Link; Decide and the like come later from the owner's loop. Slices are borrowed until the method
// returns.
type Handler interface {
	// SendFrame sends one control packet, from its code octet to its end. The owner frames it with address, control and
	// a protocol field of two octets.
	SendFrame(protocol uint16, packet []byte)
	// Authenticate asks for a verdict, which comes with Link.Decide. Another question before that voids the earlier one:
	// the peer started LCP anew, or answered a Challenge that it got twice a second time.
	Authenticate(r AuthRequest)
	// MPPEReceive names what the peer may send from now on, before the packet that permits it leaves. It is called again
	// only when that changes or after MPPEDown.
	MPPEReceive(p MPPEParams)
	// MPPEOpen says that CCP is open in both directions: everything sent from now on is encrypted so.
	MPPEOpen(send MPPEParams)
	// MPPEDown says that what MPPEReceive and MPPEOpen set up is void.
	MPPEDown()
	// MPPEReset says that the peer lost the key stream (stateful MPPE only): the sender starts its table anew and flags
	// the next packet, RFC 3078 section 7.3.
	MPPEReset()
	// NetworkReady is called before our first IPCP Configure-Ack: address, route and steering must be in place when it
	// returns. It is called again after each new login, perhaps with another n.
	NetworkReady(n Network)
	// Opened says that the link carries IP: IPCP is open, and CCP too where it is required.
	Opened(n Network)
	// NetworkDown takes Opened back, for a renegotiation or for good.
	NetworkDown()
	// Ident hands over an LCP Identification of the peer, for logs: at most three times, at most 255 octets, any octets.
	Ident(text string)
	// Finished says that the link is dead; it is called exactly once and last. stage is how far the link had come,
	// reason is USER_REQUEST if the peer ended it, detail is one sentence for an operator.
	Finished(stage tenant.Stage, reason tenant.Reason, detail string)
}

// MPPEParams is what CCP agreed on for one direction.
type MPPEParams struct {
	Bits     int // 128, 56 or 40
	Stateful bool
}

// Network is what LCP and IPCP agreed on.
type Network struct {
	Local   netip.Addr // our address
	Address netip.Addr // the peer's address
	PeerMRU int        // the largest information field that the peer takes, in octets
	PFC     bool       // we may send a protocol field of one octet
	ACFC    bool       // we may leave out address and control field
}

// AuthRequest is one login, or one further step of it. All fields own their memory, but for State; the Handler may Wipe it.
type AuthRequest struct {
	Serial    uint64 // to be repeated in the Decision
	Method    tenant.AuthMethod
	Name      string        // octets as the peer sent them; EAP: its identity, in every step
	ID        byte          // identifier of the peer's packet
	Challenge []byte        // CHAP and MS-CHAPv2: what we sent, 16 octets
	Response  []byte        // CHAP: 16 octets; MS-CHAPv2: the value of 49 octets, RFC 2759 section 4
	Password  tenant.Secret // PAP
	// NewPassword of MS-CHAPv2 is the Encrypted-Password (516 octets) and the Encrypted-Hash (16 octets) of a
	// Change-Password packet, RFC 2759 section 7. Response is made of the rest of it, with the new password. Nil: no change.
	NewPassword []byte
	EAP         []byte // EAP: the peer's Response, from the code octet, without padding
	State       any    // EAP: of the EAPStep that this answers; nil: a conversation begins
	Attempt     int    // 1 for the first login on this link; the steps of one EAP conversation are one login
	PeerMRU     int    // the largest information field that the peer takes, in octets: no EAP packet may be longer
}

// Wipe clears what an eavesdropper or a thief could use: for who has decided on the request.
func (r *AuthRequest) Wipe() {
	clear(r.Response)
	clear(r.Password)
	clear(r.NewPassword)
	clear(r.EAP)
}

// Decision is the answer to an AuthRequest: a further question (Next), a new beginning (Restart), a refusal (Reason) or
// admission, in this order.
type Decision struct {
	Serial  uint64
	Reason  tenant.Reason // empty: allowed
	Message string        // for the user, with success and failure; EAP has no place for it
	Retry   bool          // one more attempt is allowed; the Link itself ends after MaxAuthFailures. EAP has its own retries
	Success string        // MS-CHAPv2: "S=" and 40 hexadecimal digits
	// ChangePassword says with a Reason that the password has expired and that MS-CHAPv2 may change it.
	ChangePassword bool
	// OutOfHours says with a Reason that it is the time of day that is wrong. MS-CHAPv2 has a code of its own for that.
	OutOfHours bool
	Next       *EAPStep // EAP: neither allowed nor refused yet
	EAP        []byte   // EAP: the Success or Failure that goes with the decision; nil: the Link makes one
	// Restart says that the conversation of EAP is lost, but not the login: it begins anew with a Request of the identity.
	// The Link itself ends after a few of them, with Reason.
	Restart bool
	Grant   Grant
}

// EAPStep is the next Request of an EAP conversation.
type EAPStep struct {
	Packet  []byte        // from the code octet; borrowed until Link.Decide returns
	Timeout time.Duration // how long the peer may take, repetitions of the Request included; 0: the Link decides
	State   any           // the owner's, for the AuthRequest that answers this
}

// Grant is what an allowed peer gets.
type Grant struct {
	Local   netip.Addr
	Address netip.Addr
	DNS     []netip.Addr // up to two
	WINS    []netip.Addr // up to two
	// MPPE is the policy of the user's profile, already reduced to what the keys allow. DISABLED, or no KeyBits, means
	// no encryption; REQUIRED without KeyBits ends the link, because a policy must not fail open.
	MPPE tenant.MPPE
}
