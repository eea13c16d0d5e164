package ppp

import (
	"bytes"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/pap"
	wire "concentrator/internal/wire/ppp"
)

// receivePAP handles a PAP packet. Only Authenticate-Requests come to an authenticator. The peer repeats them with a new
// identifier each time, so the answer takes the latest.
func (a *auth) receivePAP(p wire.Packet) {
	if p.Code != pap.CodeAuthenticateRequest {
		return
	}
	r, err := pap.ParseRequest(p.Data)
	if err != nil {
		return
	}
	switch a.state {
	case authWait:
		if a.reply != nil && p.ID == a.askedID { // a copy of the login that was just refused
			a.sendReply()
			return
		}
		a.attempt++
		a.ask(p.ID, p.Data, AuthRequest{Name: string(r.Name), Password: tenant.Secret(bytes.Clone(r.Password))})
	case authAsked:
		if bytes.Equal(p.Data, a.asked) {
			a.askedID = p.ID
		}
	case authPassed, authFailed:
		// RFC 1334 section 2.2.1: a repeated request gets the same answer.
		a.askedID = p.ID
		a.sendReply()
	case authIdle, authRetry:
	}
}

// replyPAP builds Authenticate-Ack or -Nak.
func replyPAP(allowed bool, d Decision) (code byte, data []byte) {
	code = pap.CodeAuthenticateNak
	if allowed {
		code = pap.CodeAuthenticateAck
	}
	return code, pap.AppendReply(nil, d.Message)
}
