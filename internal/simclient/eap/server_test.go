package eap

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"concentrator/internal/wire/chap"
	wire "concentrator/internal/wire/eap"
	"concentrator/internal/wire/mschap"
)

// request is a Request on the wire.
func request(id, typ byte, data ...byte) []byte {
	return packet(wire.CodeRequest, id, typ, data)
}

func packet(code, id, typ byte, data []byte) []byte {
	b, err := wire.Packet{Code: code, ID: id, Type: typ, Data: data}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// success and failure answer the Response with an identifier.
func success(id byte) []byte { return packet(wire.CodeSuccess, id, 0, nil) }
func failure(id byte) []byte { return packet(wire.CodeFailure, id, 0, nil) }

// answerOf fails the test unless the Peer answers, and with the identifier of the Request.
func answerOf(t testing.TB, p *Peer, req []byte) wire.Packet {
	t.Helper()
	r := p.Receive(req)
	h, err := wire.ParsePacket(r.Reply)
	if err != nil || h.Code != wire.CodeResponse || h.ID != req[1] {
		t.Fatalf("%x was answered with %x (%+v)", req, r.Reply, r)
	}
	return h
}

var authChallenge = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// challengeData is EAP-MSCHAPv2's first Request, with an identifier of its own.
func challengeData(id byte) []byte {
	body, err := chap.Value{Value: authChallenge[:], Name: []byte("radius")}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return opData(wire.OpChallenge, id, body)
}

func opData(op, id byte, body []byte) []byte {
	b, err := wire.MSCHAPv2{Op: op, ID: id, Data: body}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// proof is what a server says that knows the password, and whether the response is right.
func proof(t testing.TB, m wire.MSCHAPv2, challenge [16]byte, password string) (text string, right bool) {
	t.Helper()
	v, err := chap.ParseValue(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := mschap.ParseResponse(v.Value)
	if err != nil {
		t.Fatal(err)
	}
	return proofOf(r, challenge, string(v.Name), password)
}

func proofOf(r mschap.Response, challenge [16]byte, name, password string) (text string, right bool) {
	want := mschap.ClientResponse(challenge, r.PeerChallenge, name, password)
	hashHash := mschap.HashNTPasswordHash(mschap.NTPasswordHash(password))
	return mschap.AuthenticatorResponse(hashHash, r.NTResponse, r.PeerChallenge, challenge, name), want == r
}

// tlsServer is a server of EAP-TLS or PEAP, of the same parts as the peer.
type tlsServer struct {
	t   testing.TB
	m   tlsMethod
	say [][]byte               // what it says inside as soon as it may, one after the other
	on  func(said []byte)      // what it does with what the peer says inside
	id  byte                   // of the next Request
	got func(resp wire.Packet) // sees the Responses
}

func newTLSServer(t testing.TB, typ byte, mtu int, cfg *tls.Config) *tlsServer {
	tun := &tunnel{wake: make(chan struct{}), idle: make(chan struct{})}
	tun.conn = tls.Server((*octets)(tun), cfg)
	go tun.run()
	t.Cleanup(tun.close)
	return &tlsServer{t: t, m: tlsMethod{typ: typ, cfg: Config{MTU: mtu}, tun: tun}, id: 1}
}

// serve talks to the Peer until the server has no more to say, and returns the identifier of the last Request.
func (s *tlsServer) serve(p *Peer) (last byte) {
	s.t.Helper()
	data := []byte{0x20} // Start
	for range 300 {
		resp := answerOf(s.t, p, request(s.id, s.m.typ, data...))
		if s.got != nil {
			s.got(resp)
		}
		s.id++
		st := s.m.carry(resp.Data, func(said []byte) []byte {
			if s.on != nil {
				s.on(said)
			}
			return nil
		})
		more := len(st.data) > 1 || len(s.m.in) > 0
		if !more && s.m.up() && len(s.say) > 0 {
			out, err := s.m.tun.write(s.say[0])
			if err != nil {
				s.t.Fatal(err)
			}
			s.say, s.m.out, more = s.say[1:], out, true
			st = s.m.fragment()
		}
		if !more {
			return s.id - 1
		}
		data = st.data
	}
	s.t.Fatal("the handshake does not come to an end")
	return 0
}

// pki are certificates for both ends.
type pki struct {
	ca     *authority
	server *tls.Config
	client TLS
}

func newPKI(t testing.TB, padding int) pki {
	ca := newAuthority(t, "authority")
	return pki{
		ca: ca,
		server: &tls.Config{
			Certificates: []tls.Certificate{*ca.issue("radius.example.net", x509.ExtKeyUsageServerAuth, padding)},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), MinVersion: tls.VersionTLS12,
			SessionTicketsDisabled: true,
		},
		client: TLS{
			Certificate: ca.issue("alice", x509.ExtKeyUsageClientAuth, padding), Roots: ca.pool(), ServerName: "radius.example.net",
		},
	}
}
