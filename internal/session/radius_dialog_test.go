package session

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	simeap "concentrator/internal/simclient/eap"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/eap"
	"concentrator/internal/wire/mschap"
	wire "concentrator/internal/wire/ppp"
)

const (
	accessChallenge = 11

	msCHAPNTEncPW, msCHAP2CPW byte = 6, 27
)

// values are all values of an attribute, in order; vendor 0: a standard one.
func (q *radiusQuery) values(vendor uint32, typ byte) (list [][]byte) {
	prefix := vsa(vendor, typ)[2:7]
	for rest := q.raw[20:]; len(rest) > 0; rest = rest[rest[1]:] {
		switch v := rest[2:rest[1]]; {
		case vendor == 0 && rest[0] == typ:
			list = append(list, v)
		case vendor != 0 && rest[0] == attrVendor && bytes.HasPrefix(v, prefix):
			list = append(list, v[6:])
		}
	}
	return list
}

// eapMessage is the packet of the client's in a request, or nil.
func (q *radiusQuery) eapMessage() []byte { return slices.Concat(q.values(0, attrEAPMessage)...) }

// eapAttrs splits a packet for the client, RFC 3579 section 3.1.
func eapAttrs(code, id, typ byte, data ...byte) (all []byte) {
	p, err := eap.Packet{Code: code, ID: id, Type: typ, Data: data}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	for piece := range slices.Chunk(p, 253) {
		all = append(all, attr(attrEAPMessage, piece...)...)
	}
	return all
}

var md5Question = []byte("sixteen octets..")

// askMD5 asks for the password by EAP-MD5.
func askMD5(id byte, state string) []byte {
	return join(accessChallenge, text(attrState, state),
		eapAttrs(eap.CodeRequest, id, eap.TypeMD5, append([]byte{byte(len(md5Question))}, md5Question...)...))
}

// rightMD5 says whether a packet answers askMD5 with the right password.
func rightMD5(p eap.Packet) bool {
	v, err := chap.ParseValue(p.Data)
	want := chap.MD5Response(p.ID, []byte(password), md5Question)
	return p.Type == eap.TypeMD5 && err == nil && bytes.Equal(v.Value, want[:])
}

// eapClient logs in by EAP-MD5.
func eapClient(name string) simppp.Config {
	c := by(simppp.MacOS(name, password), tenant.AuthEAP)
	c.EAP = simeap.Config{Methods: []byte{eap.TypeMD5}}
	return c
}

// eapEnds are the codes of the EAP packets without a type that the client heard, and its identifier was right.
func eapEnds(_ *world, c *client) string {
	var id byte
	var ends []string
	for _, f := range c.frames() {
		if f.protocol != wire.ProtocolEAP {
			continue
		}
		switch p, err := eap.ParsePacket(f.packet); {
		case err != nil:
			ends = append(ends, err.Error())
		case p.Code == eap.CodeRequest:
			id = p.ID
		default:
			ends = append(ends, fmt.Sprintf("code %d, right identifier %v", p.Code, p.ID == id))
		}
	}
	return strings.Join(slices.Compact(ends), "; ")
}

// eapEffects are EAP-Message in each reply, around a login by EAP-MD5.
func eapEffects() []effect {
	login := func(end func(id byte, with bool) []byte) func(*radiusQuery, bool) []byte {
		return func(q *radiusQuery, with bool) []byte {
			p, err := eap.ParsePacket(q.eapMessage())
			switch {
			case err != nil:
				return join(accessReject, text(attrReplyMessage, err.Error()))
			case p.Type == eap.TypeIdentity:
				return askMD5(p.ID+1, "1")
			case !rightMD5(p):
				return join(accessReject, text(attrReplyMessage, "wrong"))
			}
			return end(p.ID, with)
		}
	}
	rows := []effect{
		{
			packet: "Accept", about: "Success", sees: eapEnds, want: "code 3, right identifier true", alone: true,
			answer: login(func(id byte, _ bool) []byte { return join(accessAccept, eapAttrs(eap.CodeSuccess, id, 0)) }),
		},
		{
			packet: "Accept", about: "Failure", want: rejectedBy,
			answer: login(func(id byte, with bool) []byte {
				if with {
					return join(accessAccept, eapAttrs(eap.CodeFailure, id, 0))
				}
				return join(accessAccept)
			}),
		},
		{
			packet: "Reject", sees: eapEnds, want: "code 4, right identifier true", alone: true,
			answer: login(func(id byte, _ bool) []byte { return join(accessReject, eapAttrs(eap.CodeFailure, id, 0)) }),
		},
		{
			packet: "Challenge", want: letIn,
			answer: func(q *radiusQuery, with bool) []byte {
				if p, err := eap.ParsePacket(q.eapMessage()); err != nil || rightMD5(p) {
					return join(accessAccept)
				} else if with {
					return askMD5(p.ID+1, "1")
				}
				return join(accessChallenge, text(attrState, "1"))
			},
		},
	}
	for i := range rows {
		rows[i].attribute, rows[i].world = "EAP-Message", plaintext(tenant.AuthEAP)
		rows[i].client = func() simppp.Config { return eapClient(alice) }
	}
	return rows
}

// oneTime is a server that asks everybody for a code, which counts with its State only.
func oneTime(attrs func(with bool) [][]byte) func(*radiusQuery, bool) []byte {
	return func(q *radiusQuery, with bool) []byte {
		if reveal(q) == "123456" && string(q.plain[attrState]) == "s-1" {
			return join(accessAccept)
		}
		return join(accessChallenge, attrs(with)...)
	}
}

// dialing is a client that logs in by PAP.
func dialing(passwords ...string) func() simppp.Config {
	return func() simppp.Config { return trying(by(simppp.MacOS(alice, ""), tenant.AuthPAP), passwords...) }
}

// given is the attributes that are always there, and one that is with the effect only.
func given(with bool, one []byte, always ...[]byte) [][]byte {
	if with {
		return append(always, one)
	}
	return always
}

// challengeEffects are the attributes of an Access-Challenge, with a one-time password.
var challengeEffects = []effect{
	{
		attribute: "State", want: letIn, world: plaintext(tenant.AuthPAP), client: dialing(password, "123456"),
		answer: oneTime(func(with bool) [][]byte { return given(with, text(attrState, "s-1")) }),
	},
	{
		attribute: "Reply-Message", world: plaintext(tenant.AuthPAP), client: dialing(password),
		answer: oneTime(func(with bool) [][]byte {
			return given(with, text(attrReplyMessage, "enter the code"), text(attrState, "s-1"))
		}),
		sees: seesRefusals, want: `["enter the code"]`,
	},
	{
		attribute: "Session-Timeout", world: plaintext(tenant.AuthPAP), client: dialing(password), want: rejectedBy,
		answer: oneTime(func(with bool) [][]byte {
			return given(with, number(attrSessionTimeout, 1), text(attrState, "s-1"))
		}),
		sees: func(w *world, _ *client) string {
			time.Sleep(1100 * time.Millisecond) // the time that is to pass
			return howItEnded(w, w.dial(dialing("123456")()))
		},
	},
}

// notes collects what a server saw.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprintf(format, args...))
}

// all returns the notes; what was sent again is one of them.
func (n *notes) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Compact(slices.Clone(n.list))
}

// TestRadiusOneTimePassword: the answer to an Access-Challenge goes out with its State, on the same link and in a new call.
func TestRadiusOneTimePassword(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(map[bool]string{false: "same link", true: "new call"}[again], func(t *testing.T) {
			inReality(t, func(t *testing.T, w *world) {
				w.furnish()
				plaintext(tenant.AuthPAP)(w)
				var seen notes
				startRadius(w, func(q *radiusQuery) []byte {
					seen.add("%s with %q", reveal(q), q.plain[attrState])
					if reveal(q) == "123456" && string(q.plain[attrState]) == "s-1" {
						return join(accessAccept, text(attrReplyMessage, "welcome"))
					}
					return join(accessChallenge, text(attrReplyMessage, "enter the code"), text(attrState, "s-1"))
				})
				w.start()
				var c *client
				if again {
					if got := howItEnded(w, w.dial(dialing(password)())); got != rejectedBy {
						t.Errorf("the password alone: %s", got)
					}
					c = w.login(dialing("123456")())
				} else {
					c = w.login(dialing(password, "123456")())
					if got := c.refusals(); !slices.Equal(got, []string{"enter the code"}) {
						t.Errorf("the client was told %q", got)
					}
				}
				if seesMessage(w, c) != "welcome" {
					t.Errorf("the client was told %q", seesMessage(w, c))
				}
				if got, want := seen.all(), []string{password + ` with ""`, `123456 with "s-1"`}; !slices.Equal(got, want) {
					t.Errorf("the server saw %q, want %q", got, want)
				}
				w.wantAttempts("alice "+rejectedBy, "alice ACCEPTED OPEN")
			})
		})
	}
}

// changed checks a MS-CHAP2-CPW with its MS-CHAP-NT-Enc-PW (RFC 2548 sections 2.1 and 2.3.4) by the letter, and accepts who
// knows the old password with keys made of the new one, which it returns.
func changed(q *radiusQuery, old string) (accept []byte, newPassword string, err error) {
	cpw := q.values(microsoft, msCHAP2CPW)
	if len(cpw) != 1 || len(cpw[0]) != 68 || cpw[0][0] != 7 || q.vendor[msCHAP2Response] != nil {
		return nil, "", fmt.Errorf("MS-CHAP2-CPW %x, MS-CHAP2-Response %x", cpw, q.vendor[msCHAP2Response])
	}
	var block []byte
	for i, piece := range q.values(microsoft, msCHAPNTEncPW) {
		if !bytes.HasPrefix(piece, []byte{6, cpw[0][1], 0, byte(i + 1)}) {
			return nil, "", fmt.Errorf("piece %d begins with %x", i, piece[:4])
		}
		block = append(block, piece[4:]...)
	}
	if len(block) != mschap.EncryptedPasswordLen {
		return nil, "", fmt.Errorf("the encrypted password has %d octets", len(block))
	}
	oldHash := mschap.NTPasswordHash(old)
	newPassword, err = mschap.DecryptNewPassword([mschap.EncryptedPasswordLen]byte(block), oldHash)
	if err != nil {
		return nil, "", err
	}
	newHash := mschap.NTPasswordHash(newPassword)
	if proof := mschap.OldHashEncryptedWithNewHash(oldHash, newHash); !bytes.Equal(cpw[0][2:18], proof[:]) {
		return nil, "", fmt.Errorf("the Encrypted-Hash is %x", cpw[0][2:18])
	}
	auth, peer, nt := [16]byte(q.vendor[msCHAPChallenge]), [16]byte(cpw[0][18:34]), [24]byte(cpw[0][42:66])
	user := string(q.plain[attrUserName])
	if mschap.NTResponse(mschap.ChallengeHash(peer, auth, user), newHash) != nt {
		return nil, "", fmt.Errorf("the NT-Response is not that of %q", newPassword)
	}
	hashHash := mschap.HashNTPasswordHash(newHash)
	send, recv := mschap.StartKeys(hashHash, nt)
	proof := mschap.AuthenticatorResponse(hashHash, nt, peer, auth, user)
	return join(accessAccept, msAttr(msCHAP2Success, append([]byte{cpw[0][1]}, proof...)...),
		msKey(q, msSendKey, 1, send[:]), msKey(q, msRecvKey, 2, recv[:])), newPassword, nil
}

// TestRadiusChangePassword: a user whose password has expired (E=648) gives a new one, which the server can read, and is in.
func TestRadiusChangePassword(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		var seen notes
		startRadius(w, func(q *radiusQuery) []byte {
			if v := q.vendor[msCHAP2Response]; v != nil {
				seen.add("expired")
				return join(accessReject, msAttr(msCHAPError, append([]byte{v[0]}, "E=648 R=0 V=3 M=Your password has expired"...)...))
			}
			accept, newPassword, err := changed(q, password)
			if err != nil {
				seen.add("%v", err)
				return join(accessReject)
			}
			seen.add("new: %s", newPassword)
			return accept
		})
		w.start()
		cfg := simppp.Windows(alice, password)
		cfg.NewPassword = "schöner-2 with 📎 and more than sixteen octets"
		c := w.login(cfg)
		if got, want := seen.all(), []string{"expired", "new: " + cfg.NewPassword}; !slices.Equal(got, want) {
			t.Errorf("the server saw %q, want %q", got, want)
		}
		if got := seesKeys(w, c); got != "128 bits, to the client true, from the client true" {
			t.Error(got)
		}
		if got := c.refusals(); !slices.Equal(got, []string{"Your password has expired"}) {
			t.Errorf("the client was told %q", got)
		}
		w.wantAttempts("alice REFUSED AUTHENTICATION USER_EXPIRED", "alice ACCEPTED OPEN")
	})
}

// TestRadiusEAP: packets longer than an attribute pass both ways, and each answer takes the State of its question along.
func TestRadiusEAP(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		plaintext(tenant.AuthEAP)(w)
		name := strings.Repeat("long-", 50) // with its header 255 octets
		notice := strings.Repeat("news ", 120)
		var seen notes
		startRadius(w, func(q *radiusQuery) []byte {
			m := q.eapMessage()
			p, err := eap.ParsePacket(m)
			if err != nil || p.Len() != len(m) {
				seen.add("%x: %v", m, err)
				return join(accessReject)
			}
			seen.add("type %d in %d pieces with %q", p.Type, len(q.values(0, attrEAPMessage)), q.plain[attrState])
			switch {
			case p.Type == eap.TypeIdentity && string(p.Data) == name && string(q.plain[attrUserName]) == name:
				return join(accessChallenge, attr(attrState, 0, 1),
					eapAttrs(eap.CodeRequest, p.ID+1, eap.TypeNotification, []byte(notice)...))
			case p.Type == eap.TypeNotification:
				return askMD5(p.ID+1, "two")
			case rightMD5(p):
				return join(accessAccept, eapAttrs(eap.CodeSuccess, p.ID, 0), text(attrReplyMessage, "welcome"))
			}
			return join(accessReject)
		})
		w.start()
		c := w.login(eapClient(name))
		want := []string{`type 1 in 2 pieces with ""`, `type 2 in 1 pieces with "\x00\x01"`, `type 4 in 1 pieces with "two"`}
		if got := seen.all(); !slices.Equal(got, want) {
			t.Errorf("the server saw %q, want %q", got, want)
		}
		if i := w.session(acme); i.AuthMethod != tenant.AuthEAP || i.User != name || i.Cipher != "NONE" {
			t.Errorf("session %+v", i)
		}
		if got := seesMessage(w, c); got != notice {
			t.Errorf("the client heard %q, want the notification", got)
		}
		if got := eapEnds(w, c); got != "code 3, right identifier true" {
			t.Error(got)
		}
	})
}

// TestRadiusEAPServerLost: a server that falls silent in the middle of a conversation takes the conversation with it, but
// not the login, which begins anew with another server.
func TestRadiusEAPServerLost(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		plaintext(tenant.AuthEAP)(w)
		var seen notes
		server := func(id string, dies bool) func(*radiusQuery) []byte {
			return func(q *radiusQuery) []byte {
				p, err := eap.ParsePacket(q.eapMessage())
				seen.add("%s: type %d with %q", id, p.Type, q.plain[attrState])
				switch {
				case err != nil:
					return join(accessReject)
				case p.Type == eap.TypeIdentity:
					return askMD5(p.ID+1, id)
				case dies:
					return nil
				case rightMD5(p):
					return join(accessAccept, eapAttrs(eap.CodeSuccess, p.ID, 0))
				}
				return join(accessReject)
			}
		}
		startRadiusAs(w, "first", 1, server("first", true))
		startRadiusAs(w, "second", 2, server("second", false))
		w.start()
		w.login(eapClient(alice))
		want := []string{
			`first: type 1 with ""`, `first: type 4 with "first"`, `second: type 1 with ""`, `second: type 4 with "second"`,
		}
		if got := seen.all(); !slices.Equal(got, want) {
			t.Errorf("the servers saw %q, want %q", got, want)
		}
		w.wantAttempts("alice ACCEPTED OPEN")
		if got := w.m.Logins(LoginFilter{})[0].Trace.Server; got != acme+"/radiusServers/second" {
			t.Errorf("the login's trace names %q", got)
		}
	})
}

// TestRadiusEAPAllLost: where no server is left, the login is refused, and the reason is the servers' silence.
func TestRadiusEAPAllLost(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		plaintext(tenant.AuthEAP)(w)
		startRadius(w, func(q *radiusQuery) []byte {
			if p, err := eap.ParsePacket(q.eapMessage()); err == nil && p.Type == eap.TypeIdentity {
				return askMD5(p.ID+1, "1")
			}
			return nil
		})
		w.start()
		w.wantRefused(w.dial(eapClient(alice)))
		w.wantAttempts("alice REFUSED AUTHENTICATION RADIUS_TIMEOUT")
	})
}
