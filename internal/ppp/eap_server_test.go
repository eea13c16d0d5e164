package ppp

import (
	"fmt"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/eap"
	"concentrator/internal/wire/mschap"
)

// conversation is the state of the test's EAP server. It goes through the Link and comes back with the peer's answer.
type conversation struct {
	wanted    byte // type of the answer
	op        byte // and its operation
	challenge [16]byte
	refused   bool
}

// serveEAP is a server that proposes MD5-Challenge, as FreeRADIUS does by default, and has EAP-MSCHAPv2 too.
func serveEAP(r AuthRequest, g Grant, password string) Decision {
	p, err := eap.ParsePacket(r.EAP)
	broken := func(format string, args ...any) Decision {
		return Decision{Serial: r.Serial, Reason: tenant.ReasonProtocolError, Message: fmt.Sprintf(format, args...)}
	}
	if err != nil || p.Code != eap.CodeResponse || p.Len() != len(r.EAP) {
		return broken("not a Response: %x", r.EAP)
	}
	next := func(typ byte, data []byte, state conversation) Decision {
		packet, _ := eap.Packet{Code: eap.CodeRequest, ID: p.ID + 1, Type: typ, Data: data}.AppendBinary(nil)
		return Decision{Serial: r.Serial, Next: &EAPStep{Packet: packet, State: state}}
	}
	method := func(op byte, data []byte, state conversation) Decision {
		out, _ := eap.MSCHAPv2{Op: op, ID: 99, Data: data}.AppendBinary(nil)
		state.wanted = eap.TypeMSCHAPv2
		return next(eap.TypeMSCHAPv2, out, state)
	}
	if r.State == nil {
		if p.Type != eap.TypeIdentity {
			return broken("a conversation begins with type %d", p.Type)
		}
		return next(eap.TypeMD5, append([]byte{16}, make([]byte, 16)...), conversation{wanted: eap.TypeNak})
	}
	s := r.State.(conversation)
	if p.Type != s.wanted {
		return broken("type %d", p.Type)
	}
	if p.Type == eap.TypeNak {
		if len(p.Data) != 1 || p.Data[0] != eap.TypeMSCHAPv2 {
			return broken("a Nak for %x", p.Data)
		}
		s = conversation{op: eap.OpResponse, challenge: [16]byte{byte(r.Serial), 1, 2, 3}}
		value, _ := chap.Value{Value: s.challenge[:], Name: []byte("radius")}.AppendBinary(nil)
		return method(eap.OpChallenge, value, s)
	}
	m, err := eap.ParseMSCHAPv2(p.Data)
	if err != nil || m.Op != s.op {
		return broken("MSCHAPv2 %x", p.Data)
	}
	switch m.Op {
	case eap.OpResponse:
		v, err := chap.ParseValue(m.Data)
		if err != nil || string(v.Name) != r.Name {
			return broken("the inner name is %q", v.Name)
		}
		resp, err := mschap.ParseResponse(v.Value)
		if err != nil {
			return broken("response %x", v.Value)
		}
		hash := mschap.NTPasswordHash(password)
		want := mschap.NTResponse(mschap.ChallengeHash(resp.PeerChallenge, s.challenge, r.Name), hash)
		if resp.NTResponse != want || mschap.StripDomain(r.Name) != "alice" {
			return method(eap.OpFailure, []byte(mschap.FailureMessage(mschap.ErrorAuthentication, false, s.challenge, "no")),
				conversation{op: eap.OpFailure, refused: true})
		}
		proof := mschap.AuthenticatorResponse(mschap.HashNTPasswordHash(hash), want, resp.PeerChallenge, s.challenge, r.Name)
		return method(eap.OpSuccess, []byte(proof), conversation{op: eap.OpSuccess})
	case eap.OpFailure:
		return Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials, EAP: []byte{eap.CodeFailure, p.ID, 0, 4}}
	}
	return Decision{Serial: r.Serial, Grant: g, EAP: []byte{eap.CodeSuccess, p.ID, 0, 4}}
}
