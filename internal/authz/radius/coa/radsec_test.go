package coa

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
)

// selfSigned returns a certificate for 127.0.0.1, and the same in PEM.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestTransport: a server sends its requests over the TLS connection that we hold to it, and has the answers from there.
func TestTransport(t *testing.T) {
	own, ca := selfSigned(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	h := aHost()
	s := start(t, h, nil, Source{Tenant: "acme", Server: server})
	g, err := transport.New(transport.Config{
		Servers: []transport.ServerConfig{{
			Name: server, Address: "127.0.0.1", AuthPort: l.Addr().(*net.TCPAddr).Port, Transport: transport.TLS,
			TLS: transport.TLSConfig{CACertificates: []string{ca}},
		}},
		Incoming: s.Handle, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	go g.Exchange(t.Context(), transport.Request{ //nolint:errcheck // it is there for its connection, and has no answer
		Code: radius.CodeStatusServer, Build: func(transport.Target) (*radius.Packet, error) { return &radius.Packet{}, nil },
	})

	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	exchange := func(a asking) answered {
		t.Helper()
		a.secret = "radsec"
		request := a.build()
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		for {
			b := make([]byte, packet.MaxLen)
			if _, err := io.ReadFull(conn, b[:packet.HeaderLen]); err != nil {
				t.Fatalf("no reply: %v", err)
			}
			b = b[:binary.BigEndian.Uint16(b[2:])]
			if _, err := io.ReadFull(conn, b[packet.HeaderLen:]); err != nil {
				t.Fatal(err)
			}
			if b[0] > 40 { // not a Status-Server, to see whether we are alive
				return open(t, request, b, "radsec")
			}
		}
	}
	if got := exchange(disconnect(text(acctSessionID, "s-1"))); got.code != 41 {
		t.Errorf("got %+v", got)
	}
	if got := exchange(change(text(userName, "alice"), number(sessionTimeout, 1))); got.cause != uint32(MultipleSessions) {
		t.Errorf("got %+v", got)
	}
	if got := exchange(disconnect(text(acctSessionID, "u-1"))); got.cause != uint32(NotFound) {
		t.Errorf("got %+v", got)
	}
	if did := h.did(); !slices.Equal(did, []string{"disconnect s-1"}) {
		t.Errorf("did %q", did)
	}
}
