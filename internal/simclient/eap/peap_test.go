package eap

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"
	"testing/synctest"

	wire "concentrator/internal/wire/eap"
)

// Results as PEAP's server sends and gets them.
var (
	resultGood = []byte{0x80, 3, 0, 2, 0, 1}
	resultBad  = []byte{0x80, 3, 0, 2, 0, 2}
)

// TestPEAP: both ways of putting packets inside.
func TestPEAP(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newPKI(t, 0)
				k.server.ClientAuth = tls.NoClientCert
				cfg := PEAP(TLS{Roots: k.client.Roots, MaxVersion: version}, "anonymous")
				cfg.Name, cfg.Passwords = "alice", []string{"wrong", "right"}
				p := New(cfg)
				defer p.Close()
				if id := answerOf(t, p, request(9, wire.TypeIdentity)); string(id.Data) != "anonymous" {
					t.Errorf("identity %q", id.Data)
				}
				s := newTLSServer(t, wire.TypePEAP, 1020, k.server)
				s.say = [][]byte{request(77, wire.TypeIdentity)} // as FreeRADIUS asks
				var heard [][]byte
				s.on = func(said []byte) {
					heard = append(heard, bytes.Clone(said))
					switch len(heard) {
					case 1: // something that the peer does not have
						s.say = append(s.say, append([]byte{wire.TypeGTC}, "Token?"...))
					case 2:
						s.say = append(s.say, append([]byte{wire.TypeMSCHAPv2}, challengeData(5)...))
					case 3:
						m, err := wire.ParseMSCHAPv2(said[1:])
						if _, right := proof(t, m, authChallenge, "wrong"); err != nil || !right {
							t.Errorf("first response %x, %v", said, err)
						}
						text := "E=691 R=1 C=0102030405060708090A0B0C0D0E0F10 V=3 M=again"
						s.say = append(s.say, append([]byte{wire.TypeMSCHAPv2}, opData(wire.OpFailure, 5, []byte(text))...))
					case 4:
						m, err := wire.ParseMSCHAPv2(said[1:])
						text, right := proof(t, m, authChallenge, "right")
						if err != nil || !right {
							t.Errorf("second response %x, %v", said, err)
						}
						s.say = append(s.say, append([]byte{wire.TypeMSCHAPv2}, opData(wire.OpSuccess, 5, []byte(text+" M=hello"))...))
					case 5:
						s.say = append(s.say, request(78, wire.TypeTLV, resultGood...))
					}
				}
				last := s.serve(p)
				want := [][]byte{
					append([]byte{wire.TypeIdentity}, "alice"...),
					{wire.TypeNak, wire.TypeMSCHAPv2},
					nil, nil, // the responses
					{wire.TypeMSCHAPv2, wire.OpSuccess},
					packet(wire.CodeResponse, 78, wire.TypeTLV, resultGood),
				}
				if len(heard) != len(want) {
					t.Fatalf("heard %x", heard)
				}
				for i, w := range want {
					if w != nil && !bytes.Equal(heard[i], w) {
						t.Errorf("heard %x, want %x", heard[i], w)
					}
				}
				if r := p.Receive(success(last)); !r.Done || p.Message() != "hello" {
					t.Fatalf("%+v, %q", r, p.Message())
				}
				got, err := p.Keys()
				if want, serr := s.m.keys(); err != nil || serr != nil || !bytes.Equal(got.MSK, want.MSK) {
					t.Errorf("keys %x, server %x, %v %v", got, want, err, serr)
				}
			})
		})
	}
}

// TestPEAPResults: the result is only good if the inner login was.
func TestPEAPResults(t *testing.T) {
	for _, c := range []struct {
		name string
		say  []byte
		want []byte // what the peer answers
		err  error  // after a Success of the server
	}{
		{
			"good, without a login", request(7, wire.TypeTLV, resultGood...),
			packet(wire.CodeResponse, 7, wire.TypeTLV, resultBad), ErrImpostor,
		},
		{"bad", request(7, wire.TypeTLV, resultBad...), packet(wire.CodeResponse, 7, wire.TypeTLV, resultBad), ErrImpostor},
		{
			"behind another", request(7, wire.TypeTLV, append([]byte{0, 12, 0, 3, 9, 9, 9}, resultBad...)...),
			packet(wire.CodeResponse, 7, wire.TypeTLV, resultBad), ErrImpostor,
		},
		{"cut off", request(7, wire.TypeTLV, resultGood[:5]...), nil, ErrImpostor},
		{"none", request(7, wire.TypeTLV, 0, 12, 0, 0), nil, ErrImpostor},
		{"no packet", []byte{wire.TypeMSCHAPv2}, nil, ErrImpostor},
		{"Success inside", success(7), nil, ErrImpostor},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newPKI(t, 0)
				p := New(PEAP(k.client, ""))
				defer p.Close()
				s := newTLSServer(t, wire.TypePEAP, 1020, k.server)
				s.say = [][]byte{c.say}
				var heard []byte
				s.on = func(said []byte) { heard = bytes.Clone(said) }
				last := s.serve(p)
				if !bytes.Equal(heard, c.want) {
					t.Errorf("heard %x, want %x", heard, c.want)
				}
				if r := p.Receive(success(last)); !errors.Is(r.Err, c.err) || r.Done {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
