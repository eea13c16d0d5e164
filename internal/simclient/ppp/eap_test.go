package ppp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	server "concentrator/internal/ppp"
	"concentrator/internal/simclient/eap"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	wireeap "concentrator/internal/wire/eap"
	"concentrator/internal/wire/mschap"
	wire "concentrator/internal/wire/ppp"
)

// eapServer is what decides behind the server's Link: one conversation of one method.
type eapServer interface {
	// next takes the data of a Response, and returns that of the next Request. It is nil at the end; then ok says how.
	next(data []byte) (request []byte, ok bool)
	// keys are MPPE's, the server's way round.
	keys() tenant.KeyPair
}

// eapCheck answers one step of EAP as a RADIUS server would.
func (h *host) eapCheck(r server.AuthRequest) server.Decision {
	d := server.Decision{Serial: r.Serial, Grant: h.grant}
	p, err := wireeap.ParsePacket(r.EAP)
	if err != nil || p.Code != wireeap.CodeResponse {
		h.w.t.Fatalf("EAP %x: %v", r.EAP, err)
	}
	data := p.Data
	if p.Type == wireeap.TypeIdentity {
		h.identity, h.eap = string(p.Data), h.newEAP()
		data = nil
	}
	var request []byte
	ok := false
	if p.Type != wireeap.TypeNak {
		request, ok = h.eap.next(data)
	}
	if request != nil {
		q, err := wireeap.Packet{Code: wireeap.CodeRequest, ID: p.ID + 1, Type: h.eapType, Data: request}.AppendBinary(nil)
		if err != nil {
			h.w.t.Fatal(err)
		}
		d.Next = &server.EAPStep{Packet: q}
		return d
	}
	if !ok {
		return server.Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials}
	}
	h.keys = h.eap.keys()
	return d
}

// mschapServer is EAP-MSCHAPv2. It refuses the first tries as its texts say.
type mschapServer struct {
	password  string
	refuse    []string // texts of Failures, "%" stands for the challenge of the next try
	challenge [16]byte
	id        byte
	got       tenant.KeyPair
	good      bool
}

func (s *mschapServer) send(op byte, body []byte) []byte {
	b, err := wireeap.MSCHAPv2{Op: op, ID: s.id, Data: body}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *mschapServer) next(data []byte) ([]byte, bool) {
	if data == nil {
		s.challenge[0]++
		body, err := chap.Value{Value: s.challenge[:], Name: []byte("radius")}.AppendBinary(nil)
		if err != nil {
			panic(err)
		}
		return s.send(wireeap.OpChallenge, body), false
	}
	m, err := wireeap.ParseMSCHAPv2(data)
	if err != nil || m.Confirm {
		return nil, s.good && m.Op == wireeap.OpSuccess
	}
	var response mschap.Response
	if m.Op == wireeap.OpChangePassword {
		c, err := mschap.ParseChangePassword(m.Data)
		if err != nil {
			return nil, false
		}
		old := mschap.NTPasswordHash(s.password)
		if s.password, err = mschap.DecryptNewPassword(c.EncryptedPassword, old); err != nil {
			return nil, false
		}
		response = c.Response()
	} else {
		v, err := chap.ParseValue(m.Data)
		if err != nil {
			return nil, false
		}
		if response, err = mschap.ParseResponse(v.Value); err != nil {
			return nil, false
		}
	}
	s.id = m.ID
	want := mschap.ClientResponse(s.challenge, response.PeerChallenge, "alice", s.password)
	if len(s.refuse) > 0 {
		text := s.refuse[0]
		s.refuse = s.refuse[1:]
		s.challenge[0]++
		f, err := mschap.ParseFailure(text)
		if err != nil {
			return nil, false
		}
		return s.send(wireeap.OpFailure, []byte(mschap.FailureMessage(f.Code, f.Retry, s.challenge, f.Text))), false
	}
	if want != response {
		return s.send(wireeap.OpFailure, []byte("E=691 R=0 M=wrong")), false
	}
	hashHash := mschap.HashNTPasswordHash(mschap.NTPasswordHash(s.password))
	send, recv := mschap.StartKeys(hashHash, want.NTResponse)
	s.good, s.got = true, tenant.KeyPair{Send: send[:], Recv: recv[:]}
	text := mschap.AuthenticatorResponse(hashHash, want.NTResponse, want.PeerChallenge, s.challenge, "alice")
	return s.send(wireeap.OpSuccess, []byte(text+" M=welcome")), false
}

func (s *mschapServer) keys() tenant.KeyPair { return s.got }

// tlsServer is EAP-TLS. crypto/tls runs in a goroutine that waits in Read, like the peer's.
type tlsServer struct {
	net.Conn   // nil: only what is below is used
	conn       *tls.Conn
	in, out    bytes.Buffer
	wake, idle chan struct{}
	done       bool
	err        error
	largest    int
	mtu        int
	rest       []byte // what is left to be sent
}

func newTLSServer(t testing.TB, cfg *tls.Config, mtu int) *tlsServer {
	s := &tlsServer{wake: make(chan struct{}), idle: make(chan struct{}), mtu: mtu}
	s.conn = tls.Server(s, cfg)
	go func() {
		defer close(s.idle)
		if _, more := <-s.wake; !more {
			return
		}
		if s.err = s.conn.Handshake(); s.err != nil {
			return
		}
		s.done = true
		if s.conn.ConnectionState().Version == tls.VersionTLS13 {
			_, s.err = s.conn.Write([]byte{0})
		}
		_, _ = s.conn.Read(make([]byte, 1)) // until the test ends
	}()
	t.Cleanup(func() { close(s.wake) })
	return s
}

func (s *tlsServer) Read(b []byte) (int, error) {
	for s.in.Len() == 0 {
		s.idle <- struct{}{}
		if _, more := <-s.wake; !more {
			return 0, net.ErrClosed
		}
	}
	return s.in.Read(b)
}

func (s *tlsServer) Write(b []byte) (int, error) { return s.out.Write(b) }

func (s *tlsServer) next(data []byte) ([]byte, bool) {
	reply := wireeap.TLS{Start: data == nil}
	if data != nil {
		f, err := wireeap.ParseTLS(data)
		if err != nil {
			return nil, false
		}
		s.largest = max(s.largest, len(f.Data))
		s.in.Write(f.Data)
		if !f.More && len(s.rest) == 0 {
			if s.done && len(f.Data) == 0 {
				return nil, s.err == nil
			}
			select {
			case s.wake <- struct{}{}:
				<-s.idle
			case <-s.idle:
			}
			s.rest = bytes.Clone(s.out.Bytes())
			s.out.Reset()
			if len(s.rest) == 0 && s.done {
				return nil, s.err == nil
			}
		}
		n := min(len(s.rest), s.mtu)
		reply.Data, reply.More = s.rest[:n], n < len(s.rest)
		s.rest = s.rest[n:]
	}
	b, err := reply.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return b, false
}

func (s *tlsServer) keys() tenant.KeyPair {
	st := s.conn.ConnectionState()
	label, context := "client EAP encryption", []byte(nil)
	if st.Version == tls.VersionTLS13 {
		label, context = "EXPORTER_EAP_TLS_Key_Material", []byte{wireeap.TypeTLS}
	}
	msk, err := st.ExportKeyingMaterial(label, context, 128) // the length goes into the keys of TLS 1.3
	if err != nil {
		panic(err)
	}
	return tenant.KeyPair{Recv: msk[:16], Send: msk[32:48]}
}

// newEAPWorld is a world whose server asks for EAP.
func newEAPWorld(t testing.TB, cfg Config, policy tenant.MPPEPolicy, typ byte, newEAP func() eapServer) *world {
	cfg.Methods = []tenant.AuthMethod{tenant.AuthEAP}
	w := newWorld(t, cfg, policy, func(sc *server.Config, _ *server.Grant) {
		sc.AuthMethods = []tenant.AuthMethod{tenant.AuthEAP, tenant.AuthMSCHAPv2}
	})
	w.host.eapType, w.host.newEAP = typ, newEAP
	return w
}

// wantKeys fails the test unless what one end sends with is what the other receives with.
func (w *world) wantKeys() {
	w.t.Helper()
	if w.me.send != w.host.recv || w.me.recv != w.host.send || w.me.send == w.me.recv || w.me.send.Bits != 128 {
		w.t.Errorf("client %+v %+v, server %+v %+v", w.me.send, w.me.recv, w.host.send, w.host.recv)
	}
}

func TestEAPMSCHAPv2(t *testing.T) {
	for _, loss := range []int{0, 20} {
		cfg := Pppd("alice", password)
		cfg.EAP = eap.MSCHAPv2()
		w := newEAPWorld(t, cfg, tenant.MPPERequired, wireeap.TypeMSCHAPv2, func() eapServer {
			return &mschapServer{password: password}
		})
		w.loss = loss
		w.start(2 * time.Minute)
		w.wantOpen()
		w.wantKeys()
		if w.me.message != "welcome" || w.host.identity != "alice" || w.client.Method() != tenant.AuthEAP ||
			len(w.me.refusals) != 0 {
			t.Errorf("message %q, identity %q, %s, %q", w.me.message, w.host.identity, w.client.Method(), w.me.refusals)
		}
	}
}

// TestEAPAnew: a renegotiation begins the login anew, with fresh keys.
func TestEAPAnew(t *testing.T) {
	cfg := Pppd("alice", password)
	cfg.EAP = eap.MSCHAPv2()
	w := newEAPWorld(t, cfg, tenant.MPPERequired, wireeap.TypeMSCHAPv2, func() eapServer {
		return &mschapServer{password: password}
	})
	w.start(2 * time.Second)
	w.wantOpen()
	before := w.me.send
	w.client.Renegotiate(w.now)
	w.run(10 * time.Second)
	w.wantOpen()
	w.wantKeys()
	if w.me.send == before {
		t.Error("the keys are the same")
	}
}

func TestEAPRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		passwords []string
		new       string
		refuse    []string
		open      bool
		codes     []int
	}{
		{"wrong", []string{"x", "y"}, "", nil, false, []int{691}},
		{"right at last", []string{"x", password}, "", []string{"E=691 R=1 M=again"}, true, []int{691}},
		{"expired", []string{password}, "", []string{"E=648 R=0"}, false, []int{648}},
		{"expired and changed", []string{password}, "new", []string{"E=648 R=0"}, true, []int{648}},
		{
			"the new one is no good either",
			[]string{password},
			"new",
			[]string{"E=648 R=0", "E=709 R=0 M=bad"},
			false,
			[]int{648, 709},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Pppd("alice", "")
			cfg.Passwords, cfg.NewPassword, cfg.EAP = c.passwords, c.new, eap.MSCHAPv2()
			s := &mschapServer{password: password, refuse: c.refuse}
			w := newEAPWorld(t, cfg, tenant.MPPERequired, wireeap.TypeMSCHAPv2, func() eapServer { return s })
			w.start(20 * time.Second)
			var codes []int
			for _, r := range w.me.refusals {
				codes = append(codes, r.Code)
				if r.Method != tenant.AuthEAP {
					t.Errorf("%+v", r)
				}
			}
			if len(codes) != len(c.codes) || codes[0] != c.codes[0] || codes[len(codes)-1] != c.codes[len(codes)-1] {
				t.Errorf("refusals %d, want %d", codes, c.codes)
			}
			if c.open {
				w.wantOpen()
				w.wantKeys()
				if c.new != "" && s.password != c.new {
					t.Errorf("the server's password is %q", s.password)
				}
				// The password that has served is the one of the next time.
				w.client.Renegotiate(w.now)
				w.run(10 * time.Second)
				w.wantOpen()
				return
			}
			var e *AuthError
			if !errors.As(w.me.err, &e) || e.Code != c.codes[len(c.codes)-1] || w.host.reason != tenant.ReasonWrongCredentials {
				t.Errorf("%v, server %s", w.me.err, w.host.reason)
			}
		})
	}
}

// TestEAPNoMethod: a Nak that the server does not follow ends in a refusal.
func TestEAPNoMethod(t *testing.T) {
	cfg := Pppd("alice", password)
	cfg.EAP = eap.Config{Methods: []byte{wireeap.TypeMD5}}
	w := newEAPWorld(t, cfg, tenant.MPPERequired, wireeap.TypeMSCHAPv2, func() eapServer { return &mschapServer{} })
	w.start(20 * time.Second)
	var e *AuthError
	if !errors.As(w.me.err, &e) || e.Message != "" || len(w.me.refusals) != 1 {
		t.Errorf("%v, %q", w.me.err, w.me.refusals)
	}
}

// impostor lets everybody in.
type impostor struct{ mschapServer }

func (i *impostor) next(data []byte) ([]byte, bool) {
	if data == nil {
		return i.mschapServer.next(nil)
	}
	return nil, true
}

func TestEAPImpostor(t *testing.T) {
	cfg := MacOS("alice", password)
	cfg.EAP = eap.MSCHAPv2()
	w := newEAPWorld(t, cfg, tenant.MPPEDisabled, wireeap.TypeMSCHAPv2, func() eapServer { return &impostor{} })
	w.start(20 * time.Second)
	if !errors.Is(w.me.err, ErrImpostor) || w.me.open || w.host.reason != tenant.ReasonUserRequest ||
		!strings.Contains(w.host.detail, "EAP mutual authentication failed") {
		t.Errorf("%v, server %s: %s", w.me.err, w.host.reason, w.host.detail)
	}
}

// TestEAPUnknown: who has no EAP proposes what he has.
func TestEAPUnknown(t *testing.T) {
	w := newWorld(t, Windows("alice", password), tenant.MPPERequired, func(sc *server.Config, _ *server.Grant) {
		sc.AuthMethods = []tenant.AuthMethod{tenant.AuthEAP, tenant.AuthMSCHAPv2}
	})
	w.start(2 * time.Second)
	w.wantOpen()
	if w.client.Method() != tenant.AuthMSCHAPv2 {
		t.Errorf("method %s", w.client.Method())
	}
}

// selfSigned is a certificate that both ends may use, and the pool that it is in.
func selfSigned(t testing.TB) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"}, DNSNames: []string{"alice"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// newTLSWorld is a world whose server asks for EAP-TLS.
func newTLSWorld(t testing.TB, version uint16, mtu int, change func(cfg *eap.Config)) *world {
	cert, pool := selfSigned(t)
	cfg := Pppd("alice", "")
	cfg.EAP = eap.EAPTLS(eap.TLS{Certificate: cert, Roots: pool, ServerName: "alice", MaxVersion: version})
	cfg.EAP.MTU = mtu
	change(&cfg.EAP)
	w := newEAPWorld(t, cfg, tenant.MPPERequired, wireeap.TypeTLS, func() eapServer {
		return newTLSServer(t, &tls.Config{
			Certificates: []tls.Certificate{*cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
			SessionTicketsDisabled: true, MinVersion: tls.VersionTLS12,
		}, 500)
	})
	w.drop = func(_ bool, protocol uint16, packet []byte) bool {
		if protocol == wire.ProtocolEAP {
			w.largest = max(w.largest, len(packet))
		}
		return false
	}
	return w
}

// TestEAPTLS logs in by EAP-TLS, with packets that fit the link. The bubble sees to it that no goroutine is left.
func TestEAPTLS(t *testing.T) {
	for _, c := range []struct {
		name    string
		version uint16
		mtu     int
		change  func(cfg *eap.Config)
		want    string // in the error; empty: it goes well
		largest int    // packet of the login in octets, of both ends
	}{
		{"TLS 1.2", tls.VersionTLS12, 0, func(*eap.Config) {}, "", 1400},
		{"TLS 1.3", tls.VersionTLS13, 0, func(*eap.Config) {}, "", 1400},
		{"small packets", tls.VersionTLS13, 200, func(*eap.Config) {}, "", 506},
		{
			"a strange server", tls.VersionTLS13, 0, func(c *eap.Config) { c.TLS.Roots = x509.NewCertPool() },
			"unknown authority", 1400,
		},
		{"another server", tls.VersionTLS12, 0, func(c *eap.Config) { c.TLS.ServerName = "bob" }, "bob", 1400},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTLSWorld(t, c.version, c.mtu, c.change)
				w.start(time.Minute)
				if w.largest > c.largest || w.largest < 500 {
					t.Errorf("packets of up to %d octets, want %d", w.largest, c.largest)
				}
				if c.want != "" {
					if w.me.err == nil || !strings.Contains(w.me.err.Error(), c.want) || w.me.open {
						t.Errorf("%v, want %q", w.me.err, c.want)
					}
					return
				}
				w.wantOpen()
				w.wantKeys()
				if s := w.host.eap.(*tlsServer); c.mtu != 0 && s.largest > c.mtu-6 {
					t.Errorf("fragments of up to %d octets", s.largest)
				}
				w.client.Terminate(w.now, "User request")
				w.run(10 * time.Second)
				if w.me.finished != 1 || w.me.err != nil {
					t.Errorf("%d, %v", w.me.finished, w.me.err)
				}
			})
		})
	}
}

// TestEAPTLSBroken: a login that is given up half way leaves nothing behind, and another one may follow it.
func TestEAPTLSBroken(t *testing.T) {
	halfWay := func(t *testing.T) *world {
		w := newTLSWorld(t, tls.VersionTLS13, 200, func(*eap.Config) {})
		for step := 0; w.host.eap == nil || w.host.eap.(*tlsServer).in.Len() == 0; step++ {
			if step == 0 {
				w.link.Start(w.now)
				w.client.Start(w.now)
			}
			if step > 1000 {
				t.Fatal("the handshake does not begin")
			}
			w.run(time.Millisecond)
		}
		return w
	}
	t.Run("by LCP", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := halfWay(t)
			w.client.Renegotiate(w.now)
			w.run(time.Minute)
			w.wantOpen()
			w.wantKeys()
		})
	})
	t.Run("by Terminate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := halfWay(t)
			w.client.Terminate(w.now, "User request")
			w.run(time.Minute)
			if w.me.finished != 1 || w.me.err != nil {
				t.Errorf("%d, %v", w.me.finished, w.me.err)
			}
		})
	})
	t.Run("by Close", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := halfWay(t)
			w.client.Close()
			w.client.Close()
		})
	})
}
