package ppp

import (
	"bytes"
	"slices"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
	wire "concentrator/internal/wire/ppp"
)

// newChallenge makes a challenge and, as RFC 1994 section 4.1 demands, an identifier to go with it. After an MS-CHAPv2
// Failure with R=1 or E=648 it is the challenge that the Failure carries, and the peer counts the identifier up.
func (a *auth) newChallenge() bool {
	a.id++
	a.challenge = make([]byte, challengeLen)
	return a.l.random(a.challenge)
}

// sendChallenge sends the Challenge. A repetition is the same packet, so that a slow peer's Response to the first copy
// still counts.
func (a *auth) sendChallenge() {
	v := chap.Value{Value: a.challenge, Name: []byte(a.l.cfg.Name)}
	data, _ := v.AppendBinary(nil) // fails only for lengths that a challenge of ours never has
	a.l.send(wire.ProtocolCHAP, chap.CodeChallenge, a.id, data)
}

// receiveCHAP handles a CHAP packet. Only Responses come to an authenticator, and changes of a password.
func (a *auth) receiveCHAP(p wire.Packet) {
	switch {
	case p.Code == chap.CodeResponse:
		a.receiveResponse(p)
	case p.Code == mschap.CodeChangePassword && a.method == tenant.AuthMSCHAPv2:
		a.receiveChange(p)
	}
}

func (a *auth) receiveResponse(p wire.Packet) {
	v, err := chap.ParseValue(p.Data)
	if err != nil {
		return
	}
	want := chap.MD5Len
	if a.method == tenant.AuthMSCHAPv2 {
		want = mschap.ResponseLen
	}
	if len(v.Value) != want {
		return
	}
	switch a.state {
	case authWait:
		if p.ID == a.id {
			a.attempt++
			a.askCHAP(p, v)
		} else {
			a.answerAgain(p)
		}
	case authAsked:
		// A peer that got our Challenge twice answers twice. MS-CHAPv2 proves us against the latest answer only.
		if p.ID == a.askedID && !a.changing && !a.sameAsked(p) && a.replaced < maxReplaced {
			a.replaced++
			a.askCHAP(p, v)
		}
	case authRetry:
		switch {
		case p.ID == a.askedID:
			a.answerAgain(p)
		case !a.change:
			a.id, a.replaced = p.ID, 0
			a.attempt++
			a.askCHAP(p, v)
		}
	case authPassed, authFailed:
		a.answerAgain(p)
	case authIdle:
	}
}

// receiveChange handles a Change-Password packet (RFC 2759 section 7). It counts only as the answer to our Failure with
// E=648, whose challenge it answers with the new password.
func (a *auth) receiveChange(p wire.Packet) {
	c, err := mschap.ParseChangePassword(p.Data)
	if err != nil {
		return
	}
	switch a.state {
	case authRetry:
		if p.ID == a.askedID {
			a.answerAgain(p)
			return
		}
		if !a.change {
			return
		}
		a.attempt++
		response, _ := c.Response().AppendBinary(nil) // never fails
		a.ask(p.ID, p.Data, AuthRequest{
			Name:        a.name,
			Challenge:   bytes.Clone(a.challenge),
			Response:    response,
			NewPassword: slices.Concat(c.EncryptedPassword[:], c.EncryptedHash[:]),
		})
	case authPassed, authFailed:
		a.answerAgain(p)
	case authIdle, authWait, authAsked:
	}
}

func (a *auth) askCHAP(p wire.Packet, v chap.Value) {
	a.ask(p.ID, p.Data, AuthRequest{
		Name:      string(v.Name),
		Challenge: bytes.Clone(a.challenge),
		Response:  bytes.Clone(v.Value),
	})
}

// answerAgain repeats our answer to a Response that was answered already (RFC 1994 section 4.2).
func (a *auth) answerAgain(p wire.Packet) {
	if a.reply != nil && p.ID == a.askedID {
		a.sendReply()
	}
}

// replyCHAP builds Success or Failure.
func (a *auth) replyCHAP(allowed bool, d Decision, retry bool) (code byte, data []byte) {
	text := d.Message
	if a.method == tenant.AuthMSCHAPv2 {
		switch {
		case !allowed:
			var challenge [challengeLen]byte
			if retry || a.change {
				copy(challenge[:], a.challenge)
			}
			text = mschap.FailureMessage(a.errorCode(d), retry, challenge, d.Message)
		case d.Message == "":
			text = d.Success
		default:
			text = d.Success + " M=" + d.Message
		}
	}
	text = text[:min(len(text), maxReplyText)]
	if allowed {
		return chap.CodeSuccess, []byte(text)
	}
	return chap.CodeFailure, []byte(text)
}

// maxReplyText is how much text goes out in a Success or Failure, in octets. It keeps within every MRU.
const maxReplyText = 512

// errorCode picks the code of RFC 2759 section 6 that makes a client show what comes closest to the reason. Clients have
// a text of their own for each, ask for the password again after 691, and for a new one after 648.
func (a *auth) errorCode(d Decision) int {
	r := d.Reason
	switch {
	case d.OutOfHours:
		return mschap.ErrorRestrictedLogonHours
	case a.change:
		return mschap.ErrorPasswordExpired
	case a.changing && (r == tenant.ReasonUserExpired || r == tenant.ReasonRadiusReject):
		return mschap.ErrorChangingPassword // the login was expected; the server does not like the new password
	}
	switch r {
	case tenant.ReasonUserDisabled:
		return mschap.ErrorAccountDisabled
	case tenant.ReasonUserExpired:
		return mschap.ErrorPasswordExpired
	case tenant.ReasonTenantSuspended:
		return mschap.ErrorNoDialinPermission
	default:
		return mschap.ErrorAuthentication
	}
}
