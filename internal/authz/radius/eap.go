package radius

import (
	"encoding/binary"
	"errors"
	"fmt"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/eap"
)

// maxEAP is the longest packet of a peer's that is passed on, in octets: it must fit into an Access-Request, beside the rest.
// No link that we offer carries a longer one.
const maxEAP = 1500

// conversation is the State of an authz.Step: what the peer's answer goes back to the server with.
type conversation struct {
	server string // its State is worth nothing to another one
	state  []byte // may be empty, RFC 3579 section 2.6.1
}

// eapPieces splits the peer's packet, RFC 3579 section 3.1.
func eapPieces(o *outgoing) (pieces []radius.Attribute) {
	if o.method != tenant.AuthEAP {
		return nil
	}
	for rest := o.ask.EAP; len(rest) > 0; {
		n := min(len(rest), maxString)
		pieces = append(pieces, rest[:n])
		rest = rest[n:]
	}
	return pieces
}

// wellFormed says whether b is one EAP packet, as long as it says.
func wellFormed(b []byte) bool {
	return len(b) >= eap.HeaderLen && int(binary.BigEndian.Uint16(b[2:])) == len(b)
}

// challengedEAP completes the verdict of an Access-Challenge, or says why it can't stand.
func (a *answer) challengedEAP() error {
	switch {
	case len(a.eap) == 0:
		return errors.New("there is no EAP-Message in its Access-Challenge")
	case !wellFormed(a.eap) || a.eap[0] != eap.CodeRequest:
		return errors.New("the EAP-Message in its Access-Challenge is no EAP Request")
	}
	a.v = authz.Verdict{Next: &authz.Step{
		EAP: a.eap, Timeout: a.v.SessionTimeout, State: &conversation{server: a.server, state: a.state},
	}}
	return nil
}

// acceptedEAP checks what an Access-Accept says to the peer. It may say nothing: the caller makes the Success then. Packets
// that contradict the server's decision are refused, RFC 3579 section 2.6.3.
func (a *answer) acceptedEAP() error {
	if len(a.eap) == 0 {
		return nil
	}
	if !wellFormed(a.eap) || a.eap[0] != eap.CodeSuccess {
		return fmt.Errorf("its EAP-Message is no EAP Success, but has code %d", a.eap[0])
	}
	a.v.EAP = a.eap
	return nil
}

// rejectedEAP takes over the Failure of an Access-Reject. Whatever else its EAP-Message may be, the login is refused.
func (a *answer) rejectedEAP() {
	if wellFormed(a.eap) && a.eap[0] == eap.CodeFailure {
		a.v.EAP = a.eap
	}
}
