package eap

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	wire "concentrator/internal/wire/eap"
)

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// commit says what RFC 9190 section 2.1.1 wants of a server with TLS 1.3.
func (s *tlsServer) commit(version uint16) {
	if version == tls.VersionTLS13 {
		s.say = [][]byte{{0}}
	}
}

// TestEAPTLS: a login with packets of any length, both ways; each end derives the same keys. The bubble sees to it that
// no goroutine is left.
func TestEAPTLS(t *testing.T) {
	for name, version := range versions {
		for _, mtu := range []int{64, 255, 1020, 60_000} {
			t.Run(fmt.Sprintf("%s, %d octets", name, mtu), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newPKI(t, 2000)
					cfg := EAPTLS(k.client)
					cfg.Name, cfg.MTU, cfg.TLS.MaxVersion = "alice", mtu, version
					p := New(cfg)
					defer p.Close()
					s := newTLSServer(t, wire.TypeTLS, mtu, k.server)
					s.commit(version)
					longest := 0
					s.got = func(resp wire.Packet) { longest = max(longest, resp.Len()) }
					last := s.serve(p)
					if longest > mtu || mtu < 2000 && longest < mtu {
						t.Errorf("packets of up to %d octets, want %d", longest, mtu)
					}
					// A second copy of a Request gets the same answer, and one after the end changes nothing.
					if r := p.Receive(success(last)); !r.Done || r.Err != nil {
						t.Fatalf("%+v", r)
					}
					if r := p.Receive(failure(last)); r.Err != nil || r.Done || r.Reply != nil {
						t.Errorf("after the end: %+v", r)
					}
					got, err := p.Keys()
					if err != nil {
						t.Fatal(err)
					}
					want, err := s.m.keys()
					if err != nil || !bytes.Equal(got.MSK, want.MSK) || len(got.MSK) != 64 ||
						!bytes.Equal(got.Send[:], want.MSK[:16]) || !bytes.Equal(got.Recv[:], want.MSK[32:48]) {
						t.Errorf("keys %x, server %x, %v", got, want, err)
					}
				})
			})
		}
	}
}

// TestEAPTLSLabels pins the labels of the exporter to their RFCs by deriving the keys with crypto/tls alone.
func TestEAPTLSLabels(t *testing.T) {
	for name, version := range versions {
		for _, typ := range []byte{wire.TypeTLS, wire.TypePEAP} {
			t.Run(fmt.Sprintf("%s, type %d", name, typ), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newPKI(t, 0)
					p := New(Config{Methods: []byte{typ}, Name: "alice", TLS: k.client})
					p.cfg.TLS.MaxVersion = version
					defer p.Close()
					s := newTLSServer(t, typ, 1020, k.server)
					s.serve(p)
					st := s.m.tun.conn.ConnectionState()
					label, context := "client EAP encryption", []byte(nil) // RFC 5216 section 2.3
					if version == tls.VersionTLS13 {
						label, context = "EXPORTER_EAP_TLS_Key_Material", []byte{typ} // RFC 9190 section 2.3, RFC 9427 section 2.1
					}
					want, err := st.ExportKeyingMaterial(label, context, 128)
					if err != nil {
						t.Fatal(err)
					}
					got, err := p.method.keys()
					if err != nil || !bytes.Equal(got.MSK, want[:64]) {
						t.Errorf("%x, want %x, %v", got, want, err)
					}
				})
			})
		}
	}
}

// TestEAPTLSRefused: who does not trust the other says so by an alert, and knows why it has ended.
func TestEAPTLSRefused(t *testing.T) {
	for _, c := range []struct {
		name           string
		version        uint16
		change         func(k *pki, stranger *authority)
		server, client string // what each has to say
	}{
		{
			"a strange server", tls.VersionTLS12, func(k *pki, stranger *authority) { k.client.Roots = stranger.pool() },
			"bad certificate", "unknown authority",
		},
		{
			"a strange server, TLS 1.3", tls.VersionTLS13, func(k *pki, stranger *authority) { k.client.Roots = stranger.pool() },
			"bad certificate", "unknown authority",
		},
		{
			"another server", tls.VersionTLS13, func(k *pki, _ *authority) { k.client.ServerName = "other.example.net" },
			"bad certificate", "other.example.net",
		},
		{
			"a strange client", tls.VersionTLS12, func(k *pki, stranger *authority) { k.server.ClientCAs = stranger.pool() },
			"unknown authority", "unknown certificate authority",
		},
		{
			"a strange client, TLS 1.3", tls.VersionTLS13, func(k *pki, stranger *authority) { k.server.ClientCAs = stranger.pool() },
			"unknown authority", "unknown certificate authority",
		},
		{
			"no certificate", tls.VersionTLS12, func(k *pki, _ *authority) { k.client.Certificate = &tls.Certificate{} },
			"didn't provide a certificate", "handshake failure",
		},
		{
			"versions", tls.VersionTLS12, func(k *pki, _ *authority) { k.server.MinVersion = tls.VersionTLS13 },
			"unsupported versions", "protocol version",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newPKI(t, 0)
				c.change(&k, newAuthority(t, "stranger"))
				cfg := EAPTLS(k.client)
				cfg.Name, cfg.TLS.MaxVersion = "alice", c.version
				p := New(cfg)
				defer p.Close()
				s := newTLSServer(t, wire.TypeTLS, 1020, k.server)
				last := s.serve(p)
				if s.m.err == nil || !strings.Contains(s.m.err.Error(), c.server) {
					t.Errorf("server: %v, want %q", s.m.err, c.server)
				}
				if r := p.Receive(failure(last)); r.Err == nil || !strings.Contains(r.Err.Error(), c.client) || r.Done {
					t.Errorf("client: %v, want %q", r.Err, c.client)
				}
			})
		})
	}
}

// TestEAPTLSEarly: Success counts only when the method is through.
func TestEAPTLSEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPKI(t, 0)
		cfg := EAPTLS(k.client)
		cfg.Name = "alice"

		p := New(cfg)
		answerOf(t, p, request(1, wire.TypeTLS, 0x20))
		if r := p.Receive(success(1)); !errors.Is(r.Err, ErrImpostor) || r.Done {
			t.Errorf("in mid-handshake: %+v", r)
		}
		if _, err := p.Keys(); err == nil {
			t.Error("keys of half a handshake")
		}
		p.Close()

		// TLS 1.3, but not a word that it is over.
		p = New(cfg)
		defer p.Close()
		s := newTLSServer(t, wire.TypeTLS, 1020, k.server)
		if r := p.Receive(success(s.serve(p))); !errors.Is(r.Err, ErrImpostor) || r.Done {
			t.Errorf("without the commitment: %+v", r)
		}

		// Something else inside.
		p = New(cfg)
		defer p.Close()
		s = newTLSServer(t, wire.TypeTLS, 1020, k.server)
		s.say = [][]byte{{1}}
		if r := p.Receive(success(s.serve(p))); !errors.Is(r.Err, ErrProtocol) || r.Done {
			t.Errorf("with another commitment: %+v", r)
		}
	})
}

// TestFragments: a server can't make us keep more than a flight of TLS, and what does not fit is left unanswered.
func TestFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newPKI(t, 0)
		begin := func() *Peer {
			cfg := EAPTLS(k.client)
			cfg.Name = "alice"
			p := New(cfg)
			t.Cleanup(p.Close)
			if first := answerOf(t, p, request(1, wire.TypeTLS, 0x20)); len(first.Data) < 1020-5 {
				t.Fatalf("the first answer has %d octets", len(first.Data)) // so a rest is left
			}
			answerOf(t, p, request(2, wire.TypeTLS, 0))
			return p
		}
		p := New(EAPTLS(k.client))
		defer p.Close()
		for name, data := range map[string][]byte{
			"no Start": {0}, "nothing": {}, "a length without octets": {0x80, 0, 0}, "data without Start": {0, 1, 2},
		} {
			if r := p.Receive(request(1, wire.TypeTLS, data...)); r.Reply != nil || r.Err != nil {
				t.Errorf("%s: %+v", name, r)
			}
		}

		p = begin()
		if r := p.Receive(request(3, wire.TypeTLS, 0x20)); r.Reply != nil {
			t.Errorf("a second Start: %+v", r)
		}
		if ack := answerOf(t, p, request(4, wire.TypeTLS, 0xc0, 0, 1, 0, 1)); len(ack.Data) != 1 {
			t.Errorf("a claim of 64 KiB and one octet: %x", ack.Data)
		}
		if r := p.Receive(failure(4)); !errors.Is(r.Err, ErrProtocol) {
			t.Errorf("a claim of 64 KiB and one octet: %+v", r)
		}

		p = begin()
		more := append([]byte{0x40}, make([]byte, 1000)...)
		id := byte(2)
		for range msgLimit/1000 + 1 {
			id++
			if ack := answerOf(t, p, request(id, wire.TypeTLS, more...)); len(ack.Data) != 1 {
				t.Fatalf("fragment %d: %x", id, ack.Data)
			}
		}
		if m := p.method.(*eapTLS); !errors.Is(m.err, ErrProtocol) || len(m.in) > msgLimit {
			t.Errorf("%d octets are kept, %v", len(m.in), m.err)
		}
	})
}
