package eap

import (
	"io"
	"strings"

	"concentrator/internal/wire/chap"
	wire "concentrator/internal/wire/eap"
	"concentrator/internal/wire/mschap"
)

// mschapv2 is EAP-MSCHAPv2: the packets of MS-CHAPv2 (RFC 2759) in EAP.
type mschapv2 struct {
	p *Peer

	challenge [mschap.ChallengeLen]byte
	response  mschap.Response
	answered  bool  // the server has a Response of ours that it has not judged yet
	proven    bool  // the server knows the password
	changed   bool  // the expired password was replaced by the new one
	err       error // what was wrong with it
}

func (m *mschapv2) handle(_ byte, data []byte) step {
	q, err := wire.ParseMSCHAPv2(data)
	if err != nil || q.Confirm {
		return step{silent: true}
	}
	switch q.Op {
	case wire.OpChallenge:
		v, err := chap.ParseValue(q.Data)
		if err != nil || len(v.Value) != mschap.ChallengeLen || m.proven {
			return step{silent: true}
		}
		return m.respond(q.ID, [mschap.ChallengeLen]byte(v.Value))
	case wire.OpSuccess:
		return m.succeeded(string(q.Data))
	case wire.OpFailure:
		return m.failed(q)
	}
	return step{silent: true}
}

func (m *mschapv2) password() string {
	if m.changed {
		return m.p.cfg.NewPassword
	}
	return m.p.cfg.Passwords[m.p.attempt]
}

// respond answers a challenge. The peer challenge is new each time.
func (m *mschapv2) respond(id byte, challenge [mschap.ChallengeLen]byte) step {
	var own [mschap.ChallengeLen]byte
	if _, err := io.ReadFull(m.p.cfg.Rand, own[:]); err != nil {
		return step{silent: true}
	}
	m.challenge, m.answered = challenge, true
	m.response = mschap.ClientResponse(challenge, own, m.p.cfg.Name, m.password())
	value, _ := m.response.AppendBinary(nil) // never fails
	body, err := chap.Value{Value: value, Name: []byte(m.p.cfg.Name)}.AppendBinary(nil)
	if err != nil {
		return step{silent: true}
	}
	data, err := wire.MSCHAPv2{Op: wire.OpResponse, ID: id, Data: body}.AppendBinary(nil)
	return step{data: data, silent: err != nil}
}

func confirm(op byte) step {
	data, err := wire.MSCHAPv2{Op: op, Confirm: true}.AppendBinary(nil)
	return step{data: data, silent: err != nil}
}

func (m *mschapv2) succeeded(text string) step {
	if !m.answered {
		return step{silent: true}
	}
	m.answered = false
	if !mschap.CheckAuthenticatorResponse(text, m.response, m.challenge, m.p.cfg.Name, m.password()) {
		m.err = ErrImpostor
		return confirm(wire.OpFailure)
	}
	m.proven = true
	_, m.p.message, _ = strings.Cut(text, " M=")
	return confirm(wire.OpSuccess)
}

// failed handles a Failure. It may carry the challenge of the next attempt (RFC 2759 section 6).
func (m *mschapv2) failed(q wire.MSCHAPv2) step {
	if !m.answered {
		return step{silent: true}
	}
	m.answered = false
	f, err := mschap.ParseFailure(string(q.Data))
	if err != nil {
		f.Text = string(q.Data)
	}
	s := confirm(wire.OpFailure)
	switch {
	case f.Code == mschap.ErrorPasswordExpired && m.p.cfg.NewPassword != "" && !m.changed:
		s = m.change(q.ID+1, f.Challenge)
	case f.Retry && m.p.attempt+1 < len(m.p.cfg.Passwords):
		m.p.attempt++
		s = m.respond(q.ID, f.Challenge)
		s.again = true
	}
	s.refused = &Refusal{Code: f.Code, Retry: f.Retry, Message: f.Text}
	return s
}

// change answers with a new password (RFC 2759 section 7).
func (m *mschapv2) change(id byte, challenge [mschap.ChallengeLen]byte) step {
	var own [mschap.ChallengeLen]byte
	if _, err := io.ReadFull(m.p.cfg.Rand, own[:]); err != nil {
		return step{silent: true}
	}
	c, err := mschap.ClientChangePassword(m.p.cfg.Rand, challenge, own, m.p.cfg.Name, m.password(), m.p.cfg.NewPassword)
	if err != nil {
		return step{silent: true}
	}
	m.challenge, m.response, m.answered, m.changed = challenge, c.Response(), true, true
	body, _ := c.AppendBinary(nil) // never fails
	data, err := wire.MSCHAPv2{Op: wire.OpChangePassword, ID: id, Data: body}.AppendBinary(nil)
	return step{data: data, silent: err != nil, changed: true}
}

func (m *mschapv2) done() bool     { return m.proven }
func (m *mschapv2) failure() error { return m.err }
func (m *mschapv2) close()         {}

// keys implements method. The server's send key is what we receive with (RFC 3079 section 3.3).
func (m *mschapv2) keys() (*Keys, error) {
	if !m.proven {
		return nil, errNotDone
	}
	var k Keys
	hashHash := mschap.HashNTPasswordHash(mschap.NTPasswordHash(m.password()))
	k.Recv, k.Send = mschap.StartKeys(hashHash, m.response.NTResponse)
	k.MSK = make([]byte, mskLen)
	copy(k.MSK, k.Send[:])
	copy(k.MSK[len(k.Send):], k.Recv[:])
	return &k, nil
}
