package radius

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

// eapPacket is an EAP packet, RFC 3748 section 4.
func eapPacket(code, id byte, data ...byte) []byte {
	b := []byte{code, id, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(4+len(data)))
	return append(b, data...)
}

// identity is the Response/Identity that begins a conversation.
var identity = eapPacket(2, 1, append([]byte{1}, "alice"...)...)

func eapRequest(b []byte) authz.Request {
	r := papRequest()
	r.Method, r.Password, r.EAP = tenant.AuthEAP, nil, b
	return r
}

// joined is the EAP packet of a request.
func joined(q query) (b []byte) {
	for _, a := range q.p.Attributes {
		if a.Type == 79 {
			b = append(b, a.Attribute...)
		}
	}
	return b
}

func TestEAPConversation(t *testing.T) {
	question := eapPacket(1, 2, bytes.Repeat([]byte{4}, 700)...)
	answer := eapPacket(2, 2, bytes.Repeat([]byte{5}, 600)...)
	f := startFake(t, func(q query) {
		switch state := q.p.Get(24); {
		case state == nil && bytes.Equal(joined(q), identity):
			q.send(answerOf{code: radius.CodeAccessChallenge, attrs: join(
				attr(79, question[:253]...), attr(79, question[253:506]...), attr(79, question[506:]...), attr(24, 0xaa, 0xbb))}.to(q))
		case bytes.Equal(state, []byte{0xaa, 0xbb}) && bytes.Equal(joined(q), answer):
			q.send(answerOf{code: radius.CodeAccessAccept, attrs: attr(79, 3, 2, 0, 4)}.to(q))
		default:
			q.send(answerOf{code: radius.CodeAccessReject, attrs: attr(79, 4, 2, 0, 4)}.to(q))
		}
	})
	c := start(t, f, nil)
	v, err := ask(t, c, eapRequest(identity))
	if err != nil || v.Next == nil || v.Deny != "" || !bytes.Equal(v.Next.EAP, question) {
		t.Fatalf("%+v, %v", v, err)
	}
	next := eapRequest(answer)
	next.State = v.Next.State
	if v := mustAllow(t, c, next); !bytes.Equal(v.EAP, eapPacket(3, 2)) || v.Next != nil {
		t.Errorf("%+v", v)
	}
	next.EAP = eapPacket(2, 2, 9)
	if v, err = ask(t, c, next); err != nil || v.Deny != tenant.ReasonRadiusReject || !bytes.Equal(v.EAP, eapPacket(4, 2)) {
		t.Errorf("%+v, %v", v, err)
	}
}

// A conversation goes on with the server that it began with, though another one has come first since. If that server is gone,
// the conversation can begin anew.
func TestEAPStaysWithItsServer(t *testing.T) {
	serve := func(name byte, silent *bool) func(q query) {
		return func(q query) {
			switch state := q.p.Get(24); {
			case *silent:
			case state == nil:
				q.send(answerOf{code: radius.CodeAccessChallenge, attrs: join(attr(79, 1, 2, 0, 5, 4), attr(24, name))}.to(q))
			case state[0] == name:
				q.send(accept.to(q))
			default:
				t.Errorf("server %c got the State of %c", name, state[0])
			}
		}
	}
	aSilent, bSilent := true, false
	a, b := startFake(t, serve('a', &aSilent)), startFake(t, serve('b', &bSilent))
	sc := func(name string, f *fake, priority int) transport.ServerConfig {
		return transport.ServerConfig{
			Name: name, Address: "127.0.0.1", AuthPort: f.port(), Secrets: []tenant.Secret{tenant.Secret(secret)},
			Timeout: 100 * time.Millisecond, Tries: 2, Priority: priority, DeadTime: time.Minute,
		}
	}
	c := startAll(t, sc("a", a, 1), sc("b", b, 2))
	first, err := ask(t, c, eapRequest(identity))
	if err != nil || first.Next == nil || first.Trace.Server != "b" {
		t.Fatalf("%+v, %v, want a step of b", first, err)
	}
	next := eapRequest(eapPacket(2, 2, 4))
	next.State = first.Next.State
	if v := mustAllow(t, c, next); v.Trace.Server != "b" {
		t.Errorf("%s answered", v.Trace.Server)
	}
	if err := c.Update(Config{Config: transport.Config{Servers: []transport.ServerConfig{sc("a", a, 1)}, Log: quiet}}); err != nil {
		t.Fatal(err)
	}
	v, err := ask(t, c, next)
	if !v.Restart || v.Deny == "" || !errors.Is(err, authz.ErrNoAnswer) {
		t.Errorf("%+v, %v, want a restart", v, err)
	}
	if v, err := ask(t, c, eapRequest(identity)); v.Restart || err == nil {
		t.Errorf("%+v, %v: there is no other server to begin anew with", v, err)
	}
}
