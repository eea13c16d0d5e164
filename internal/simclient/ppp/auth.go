package ppp

import (
	"slices"
	"time"

	"concentrator/internal/simclient/eap"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
	"concentrator/internal/wire/pap"
	wire "concentrator/internal/wire/ppp"
)

// auth is our login. All but attempt starts anew with LCP.
type auth struct {
	started bool
	passed  bool
	attempt int // index in Config.Passwords

	id        byte      // of our last packet
	challenge []byte    // CHAP: the server's latest
	mschap    mschapTry // MS-CHAPv2: what we answered last
	repeatAt  time.Time // PAP: when to send the request again; zero: not at all
	tries     int       // PAP: requests sent for this attempt
	changed   bool      // MS-CHAPv2: the expired password was replaced by Config.NewPassword
	eap       *eap.Peer // nil before the server's first packet
}

// mschapTry is what the server's proof is checked against.
type mschapTry struct {
	challenge [mschap.ChallengeLen]byte
	response  mschap.Response
}

func (c *Machine) password() string {
	if c.auth.changed {
		return c.cfg.NewPassword
	}
	return c.cfg.Passwords[c.auth.attempt]
}

// next goes to the next password, if there is one.
func (c *Machine) next() bool {
	if c.auth.attempt+1 >= len(c.cfg.Passwords) {
		return false
	}
	c.auth.attempt++
	return true
}

// startAuth begins the login. With PAP it is ours to begin, with CHAP the server's.
func (c *Machine) startAuth() {
	c.auth.started = true
	switch c.peer.method {
	case tenant.AuthPAP:
		c.sendPAP()
	case "":
		c.auth.passed = true // the server does not want to know
	case tenant.AuthCHAP, tenant.AuthMSCHAPv2, tenant.AuthEAP:
	}
}

func (c *Machine) sendPAP() {
	c.auth.id++
	c.auth.tries++
	c.auth.repeatAt = c.now.Add(c.cfg.RestartTimer)
	data, err := pap.Request{Name: []byte(c.cfg.Name), Password: []byte(c.password())}.AppendBinary(nil)
	if err != nil {
		c.fail(err, "Internal error")
		return
	}
	c.send(wire.ProtocolPAP, pap.CodeAuthenticateRequest, c.auth.id, data)
}

func (c *Machine) tickPAP() {
	if c.auth.repeatAt.IsZero() || c.now.Before(c.auth.repeatAt) {
		return
	}
	if c.auth.tries >= c.cfg.MaxConfigure {
		c.auth.repeatAt = time.Time{}
		c.fail(ErrTimeout, "No response to PAP authenticate-requests")
		return
	}
	c.sendPAP()
}

func (c *Machine) receivePAP(p wire.Packet) {
	if c.peer.method != tenant.AuthPAP || c.auth.repeatAt.IsZero() { // nothing was asked
		return
	}
	text, err := pap.ParseReply(p.Data)
	if err != nil {
		return
	}
	switch p.Code {
	case pap.CodeAuthenticateAck:
		c.auth.repeatAt = time.Time{}
		c.pass(string(text))
	case pap.CodeAuthenticateNak:
		c.auth.repeatAt, c.auth.tries = time.Time{}, 0
		if c.refused(&AuthError{Method: tenant.AuthPAP, Message: string(text)}, true) {
			c.sendPAP()
		}
	}
}

func (c *Machine) receiveCHAP(p wire.Packet) {
	if c.peer.method != tenant.AuthCHAP && c.peer.method != tenant.AuthMSCHAPv2 {
		return
	}
	switch p.Code {
	case chap.CodeChallenge:
		v, err := chap.ParseValue(p.Data)
		if err != nil || c.peer.method == tenant.AuthMSCHAPv2 && len(v.Value) != mschap.ChallengeLen {
			return
		}
		c.auth.challenge = slices.Clone(v.Value)
		c.respond(p.ID)
	case chap.CodeSuccess:
		c.succeeded(p)
	case chap.CodeFailure:
		c.failed(p)
	}
}

// respond answers the challenge. The peer challenge is new each time, as pppd's is.
func (c *Machine) respond(id byte) {
	c.auth.id = id
	var value []byte
	if c.peer.method == tenant.AuthMSCHAPv2 {
		try := mschapTry{challenge: [mschap.ChallengeLen]byte(c.auth.challenge)}
		var own [mschap.ChallengeLen]byte
		c.random(own[:])
		try.response = mschap.ClientResponse(try.challenge, own, c.cfg.Name, c.password())
		c.auth.mschap = try
		value, _ = try.response.AppendBinary(nil) // never fails
	} else {
		r := chap.MD5Response(id, []byte(c.password()), c.auth.challenge)
		value = r[:]
	}
	data, err := chap.Value{Value: value, Name: []byte(c.cfg.Name)}.AppendBinary(nil)
	if err != nil {
		c.fail(err, "Internal error")
		return
	}
	c.send(wire.ProtocolCHAP, chap.CodeResponse, id, data)
}

// succeeded handles a Success. One that answers nothing of ours is a repetition.
func (c *Machine) succeeded(p wire.Packet) {
	if c.auth.passed || c.auth.challenge == nil || p.ID != c.auth.id {
		return
	}
	text := string(p.Data)
	if c.peer.method == tenant.AuthMSCHAPv2 {
		try := c.auth.mschap
		if !mschap.CheckAuthenticatorResponse(text, try.response, try.challenge, c.cfg.Name, c.password()) {
			c.fail(ErrImpostor, "MS-CHAPv2 mutual authentication failed")
			return
		}
		text = successText(text)
		c.mppe.setKeys(c.password(), try.response)
		if f := c.cfg.KeyLog; f != nil {
			f("MPPE from the server", c.mppe.recv[:])
			f("MPPE to the server", c.mppe.send[:])
		}
	}
	c.pass(text)
}

// successText is what an MS-CHAPv2 Success has to say besides the proof (RFC 2759 section 5).
func successText(text string) string {
	const proof = len("S=") + 40 + len(" M=")
	if len(text) < proof {
		return ""
	}
	return text[proof:]
}

// failed handles a Failure.
func (c *Machine) failed(p wire.Packet) {
	if c.auth.passed || c.auth.challenge == nil || p.ID != c.auth.id {
		return
	}
	if c.peer.method == tenant.AuthCHAP {
		// If the server has patience left it sends a new Challenge.
		c.auth.challenge = nil
		c.refused(&AuthError{Method: tenant.AuthCHAP, Message: string(p.Data)}, true)
		return
	}
	f, err := mschap.ParseFailure(string(p.Data))
	if err != nil {
		f.Text = string(p.Data)
	}
	e := &AuthError{Method: tenant.AuthMSCHAPv2, Code: f.Code, Retry: f.Retry, Message: f.Text}
	if f.Code == mschap.ErrorPasswordExpired && c.cfg.NewPassword != "" && !c.auth.changed {
		c.ev.Refused(e)
		c.changePassword(p.ID+1, f.Challenge)
		return
	}
	if c.refused(e, f.Retry) {
		// The Failure carries the challenge of the next attempt (RFC 2759 section 6).
		c.auth.challenge = f.Challenge[:]
		c.respond(p.ID + 1)
	}
}

// changePassword answers a Failure that says that the password has expired with a new one (RFC 2759 section 7).
func (c *Machine) changePassword(id byte, challenge [mschap.ChallengeLen]byte) {
	var own [mschap.ChallengeLen]byte
	c.random(own[:])
	p, err := mschap.ClientChangePassword(c.cfg.Rand, challenge, own, c.cfg.Name, c.password(), c.cfg.NewPassword)
	if err != nil {
		c.fail(err, "Internal error")
		return
	}
	data, _ := p.AppendBinary(nil) // never fails
	c.auth.id, c.auth.changed, c.auth.challenge = id, true, challenge[:]
	c.auth.mschap = mschapTry{challenge: challenge, response: p.Response()}
	c.send(wire.ProtocolCHAP, mschap.CodeChangePassword, id, data)
}

// refused reports whether another attempt is to be made, and ends the link if not.
func (c *Machine) refused(e *AuthError, again bool) bool {
	c.ev.Refused(e)
	if again && c.next() {
		return true
	}
	c.fail(e, "Failed to authenticate ourselves to peer")
	return false
}

func (c *Machine) pass(message string) {
	c.auth.passed = true
	c.ev.Authenticated(message)
}
