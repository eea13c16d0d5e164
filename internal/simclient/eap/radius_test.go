package eap

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"
)

// Codes and attributes of RADIUS (RFC 2865 sections 3 and 5, RFC 3579, RFC 2548) that a NAS needs for EAP.
const (
	accessRequest   = 1
	accessAccept    = 2
	accessReject    = 3
	accessChallenge = 11

	attrUserName      = 1
	attrState         = 24
	attrVendor        = 26
	attrNASIdentifier = 32
	attrFramedMTU     = 12
	attrEAPMessage    = 79
	attrAuthenticator = 80

	vendorMicrosoft = 311
	msMPPESendKey   = 16
	msMPPERecvKey   = 17
)

// nas passes EAP between a Peer and a RADIUS server, as RFC 3579 has it.
type nas struct {
	t    testing.TB
	conn *net.UDPConn
	id   byte
	user string
	mtu  int // Framed-MTU; 0: none

	state      []byte
	send, recv []byte // MS-MPPE keys of the Accept
	rounds     int
}

// login lets a Peer log in and returns what came of it: the last Result that said something, and the code of the server's
// last packet. See sees each Result.
func (fr *freeRADIUS) login(t testing.TB, cfg Config, see func(Result)) (p *Peer, last Result, n *nas) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, fr.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n = &nas{t: t, conn: conn, mtu: cfg.MTU}
	p = New(cfg)
	t.Cleanup(p.Close)
	r := p.Receive([]byte{1, 7, 0, 5, 1}) // the NAS asks for the identity itself
	n.user = string(r.Reply[5:])
	for n.rounds < 100 {
		code, packet := n.ask(r.Reply)
		if packet == nil {
			t.Fatalf("code %d without EAP", code)
		}
		r = p.Receive(packet)
		if see != nil {
			see(r)
		}
		if code != accessChallenge {
			if r.Done != (code == accessAccept) || (r.Err != nil) != (code == accessReject) {
				t.Errorf("code %d, but the peer says %+v", code, r)
			}
			return p, r, n
		}
		if r.Reply == nil {
			t.Fatalf("no answer to %x", packet)
		}
	}
	t.Fatal("the login does not come to an end")
	return nil, r, n
}

// ask sends EAP to the server and returns its answer.
func (n *nas) ask(packet []byte) (code byte, answer []byte) {
	n.t.Helper()
	n.id++
	n.rounds++
	b := []byte{accessRequest, n.id, 0, 0}
	var authenticator [16]byte
	rand.Read(authenticator[:])
	b = append(b, authenticator[:]...)
	const at = 22
	b = attribute(b, attrAuthenticator, make([]byte, md5.Size))
	b = attribute(b, attrUserName, []byte(n.user))
	b = attribute(b, attrNASIdentifier, []byte("test"))
	if n.mtu != 0 {
		b = attribute(b, attrFramedMTU, binary.BigEndian.AppendUint32(nil, uint32(n.mtu)))
	}
	for rest := packet; len(rest) > 0; rest = rest[min(len(rest), 253):] {
		b = attribute(b, attrEAPMessage, rest[:min(len(rest), 253)])
	}
	if n.state != nil {
		b = attribute(b, attrState, n.state)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[at:], signature(b))
	if _, err := n.conn.Write(b); err != nil {
		n.t.Fatal(err)
	}
	in := make([]byte, 4096)
	n.conn.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // it is open
	l, err := n.conn.Read(in)
	if err != nil {
		n.t.Fatalf("round %d: %v", n.rounds, err)
	}
	code, answer, err = n.read(in[:l], authenticator)
	if err != nil {
		n.t.Fatal(err)
	}
	return code, answer
}

func attribute(b []byte, typ byte, value []byte) []byte {
	return append(append(b, typ, byte(2+len(value))), value...)
}

func signature(b []byte) []byte {
	h := hmac.New(md5.New, []byte(radiusSecret))
	h.Write(b)
	return h.Sum(nil)
}

// read checks a reply and takes it apart.
func (n *nas) read(b []byte, authenticator [16]byte) (code byte, packet []byte, err error) {
	if len(b) < 20 || b[1] != n.id || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return 0, nil, fmt.Errorf("reply %x", b)
	}
	got := [16]byte(b[4:20])
	copy(b[4:20], authenticator[:])
	if md5.Sum(append(bytes.Clone(b), radiusSecret...)) != got {
		return 0, nil, fmt.Errorf("wrong Response Authenticator")
	}
	signed := false
	for rest := b[20:]; len(rest) > 0; {
		if len(rest) < 2 || int(rest[1]) < 2 || int(rest[1]) > len(rest) {
			return 0, nil, fmt.Errorf("attributes %x", rest)
		}
		value := rest[2:rest[1]]
		switch rest[0] {
		case attrState:
			n.state = bytes.Clone(value)
		case attrEAPMessage:
			packet = append(packet, value...)
		case attrAuthenticator:
			sent := bytes.Clone(value)
			clear(value)
			if signed = hmac.Equal(sent, signature(b)); !signed {
				return 0, nil, fmt.Errorf("wrong Message-Authenticator")
			}
		case attrVendor:
			n.vendor(value, authenticator)
		}
		rest = rest[rest[1]:]
	}
	if !signed {
		return 0, nil, fmt.Errorf("no Message-Authenticator")
	}
	return b[0], packet, nil
}

func (n *nas) vendor(b []byte, authenticator [16]byte) {
	if len(b) < 8 || binary.BigEndian.Uint32(b) != vendorMicrosoft {
		return
	}
	switch b[4] {
	case msMPPESendKey:
		n.send = decrypt(b[6:], authenticator)
	case msMPPERecvKey:
		n.recv = decrypt(b[6:], authenticator)
	}
}

// decrypt reads a key that is hidden as RFC 2548 section 2.4.2 has it.
func decrypt(b []byte, authenticator [16]byte) []byte {
	salt, cipher := b[:2], b[2:]
	var plain []byte
	last := append(bytes.Clone(authenticator[:]), salt...)
	for len(cipher) >= 16 {
		pad := md5.Sum(append([]byte(radiusSecret), last...))
		for i := range pad {
			plain = append(plain, pad[i]^cipher[i])
		}
		last, cipher = cipher[:16], cipher[16:]
	}
	return plain[1 : 1+plain[0]]
}
