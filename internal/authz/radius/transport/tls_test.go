package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

// issued is a certificate and its key, in PEM.
type issued struct {
	chain string
	key   string
}

func (i issued) pair(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair([]byte(i.chain), []byte(i.key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, pem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue makes a certificate for a DNS name or an IP address.
func (a *authority) issue(t *testing.T, name string) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	own, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{
		chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: own})),
	}
}

// fakeTLS is a RadSec server. handle is called for each packet, on its connection's goroutine; n counts from 1 in each
// connection.
type fakeTLS struct {
	listener net.Listener
	running  sync.WaitGroup
	mu       sync.Mutex
	open     []net.Conn
	accepted int
}

// tlsQuery is a query over TLS: it can be answered with any octets, and the connection may be closed.
type tlsQuery struct {
	query
	conn net.Conn
}

// parties are the certificates of a test.
type parties struct {
	ca             *authority
	server, client issued
}

func newParties(t *testing.T) parties {
	ca := newAuthority(t, "test CA")
	return parties{ca: ca, server: ca.issue(t, "127.0.0.1"), client: ca.issue(t, "nas-1")}
}

func (p parties) serverConfig(t *testing.T) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(p.ca.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{p.server.pair(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
}

func startTLS(t *testing.T, cfg *tls.Config, handle func(q tlsQuery)) *fakeTLS {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeTLS{listener: l}
	f.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.open = append(f.open, c)
			f.accepted++
			f.mu.Unlock()
			f.running.Go(func() { serveTLS(c, handle) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.drop()
		f.running.Wait()
	})
	return f
}

// drop closes every connection.
func (f *fakeTLS) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.open {
		c.Close()
	}
	f.open = nil
}

func (f *fakeTLS) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepted
}

// serveTLS reads packets until the connection ends.
func serveTLS(c net.Conn, handle func(q tlsQuery)) {
	defer c.Close()
	var mu sync.Mutex
	for n := 1; ; n++ {
		head := make([]byte, 4)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		raw := append(head, make([]byte, int(binary.BigEndian.Uint16(head[2:]))-4)...)
		if _, err := io.ReadFull(c, raw[4:]); err != nil {
			return
		}
		q := tlsQuery{conn: c}
		q.n, q.raw = n, raw
		q.p, _ = radius.Parse(raw, []byte(DefaultTLSSecret)) // nil for what is no packet
		q.send = func(all ...[]byte) {
			mu.Lock()
			defer mu.Unlock()
			c.Write(bytes.Join(all, nil)) //nolint:errcheck // the transport may be gone
		}
		handle(q)
	}
}

// goodTLS answers q as a server with the secret "radsec" should.
func goodTLS(q tlsQuery, attrs ...byte) []byte {
	a := answerOf{code: radius.CodeAccessAccept, secret: DefaultTLSSecret, attrs: attrs}
	if q.p.Code == radius.CodeAccountingRequest {
		a.code, a.unsigned = radius.CodeAccountingResponse, true
	}
	return a.to(q.query)
}

func (p parties) config(f *fakeTLS) ServerConfig {
	return ServerConfig{
		Name: "one", Address: "127.0.0.1", AuthPort: f.listener.Addr().(*net.TCPAddr).Port, Transport: TLS,
		TLS: TLSConfig{
			CACertificates: []string{p.ca.pem}, CertificateChain: p.client.chain, CertificateKey: tenant.Secret(p.client.key),
		},
		Timeout: 10 * time.Second, Tries: 2, NASIdentifier: "nas-1",
	}
}

// Logins and accounting share one connection, with TLS 1.2 and 1.3, a certificate of ours, and the secret "radsec".
func TestTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			p := newParties(t)
			cfg := p.serverConfig(t)
			cfg.MaxVersion = version
			f := startTLS(t, cfg, func(q tlsQuery) {
				if peer := q.conn.(*tls.Conn).ConnectionState().PeerCertificates; len(peer) != 1 || peer[0].Subject.CommonName != "nas-1" {
					t.Errorf("the client is %v", peer)
				}
				q.send(goodTLS(q, attr(18, q.p.Get(1)...)...))
			})
			g := startGroup(t, p.config(f))
			for range 3 {
				if r := mustAnswer(t, g, login("alice")); !bytes.HasSuffix(r.Packet, []byte("alice")) || string(r.Secret) != "radsec" {
					t.Errorf("reply %+v", r)
				}
				mustAnswer(t, g, record("s-1"))
			}
			h := g.Health()[0]
			if f.count() != 1 || h.Sockets != 1 || h.State != Alive || len(h.Ports) != 1 || len(h.Ports[0].Purposes) != 2 {
				t.Errorf("%d connections, health %+v", f.count(), h)
			}
		})
	}
}

// A RadSec server need not sign its replies unless REQUIRE is set; wrong ones are dropped all the same.
func TestTLSMessageAuthenticator(t *testing.T) {
	p := newParties(t)
	f := startTLS(t, p.serverConfig(t), func(q tlsQuery) {
		wrong := answerOf{code: radius.CodeAccessReject, secret: DefaultTLSSecret, wrongMA: true}
		other := answerOf{code: radius.CodeAccessReject, secret: secret}
		q.send(wrong.to(q.query), other.to(q.query), answerOf{
			code: radius.CodeAccessAccept, secret: DefaultTLSSecret, unsigned: true,
		}.to(q.query))
	})
	g := startGroup(t, p.config(f))
	mustAnswer(t, g, login("alice"))
	if s := portStats(g, 0, Access); s.Drops[packet.DropMessageAuthenticator] != 1 || s.Drops[packet.DropResponseAuthenticator] != 1 {
		t.Errorf("counters %+v", s)
	}
	sc := p.config(f)
	sc.MessageAuthenticator, sc.Timeout, sc.Tries = ModeRequire, 500*time.Millisecond, 1
	mustFail(t, startGroup(t, sc), login("alice"), tenant.ReasonRadiusNoMessageAuthenticator, "REQUIRE")
}

func TestTLSCertificates(t *testing.T) {
	p := newParties(t)
	other := newParties(t)
	for _, tt := range []struct {
		name   string
		server func(*tls.Config)
		client func(*ServerConfig)
		want   string // in the error; empty: it works
	}{
		{"as it should be", nil, nil, ""},
		{
			"server of another authority", func(c *tls.Config) { c.Certificates = []tls.Certificate{other.server.pair(t)} }, nil,
			"certificate signed by unknown authority",
		},
		{
			"server of another name", func(c *tls.Config) { c.Certificates = []tls.Certificate{p.ca.issue(t, "127.0.0.2").pair(t)} }, nil,
			"127.0.0.2",
		},
		{
			"server by its DNS name", func(c *tls.Config) { c.Certificates = []tls.Certificate{p.ca.issue(t, "radius.example").pair(t)} },
			func(c *ServerConfig) { c.TLS.ServerName = "radius.example" }, "",
		},
		{
			"server of another DNS name", func(c *tls.Config) { c.Certificates = []tls.Certificate{p.ca.issue(t, "radius.example").pair(t)} },
			func(c *ServerConfig) { c.TLS.ServerName = "other.example" }, "other.example",
		},
		{"two authorities", nil, func(c *ServerConfig) { c.TLS.CACertificates = []string{other.ca.pem, p.ca.pem} }, ""},
		{"the system's authorities", nil, func(c *ServerConfig) { c.TLS.CACertificates = nil }, "certificate"},
		{
			"no certificate of ours", nil, func(c *ServerConfig) { c.TLS.CertificateChain, c.TLS.CertificateKey = "", nil },
			"certificate required",
		},
		{"a certificate of ours that the server does not know", nil, func(c *ServerConfig) {
			c.TLS.CertificateChain, c.TLS.CertificateKey = other.client.chain, tenant.Secret(other.client.key)
		}, "tls: "},
		{"old TLS", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, nil, "protocol version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := p.serverConfig(t)
			if tt.server != nil {
				tt.server(cfg)
			}
			f := startTLS(t, cfg, func(q tlsQuery) { q.send(goodTLS(q)) })
			sc := p.config(f)
			sc.Timeout, sc.Tries = 500*time.Millisecond, 2
			if tt.client != nil {
				tt.client(&sc)
			}
			g := startGroup(t, sc)
			if tt.want == "" {
				mustAnswer(t, g, login("alice"))
				return
			}
			mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "one", tt.want)
			if h := g.Health()[0]; h.State != Dead || !strings.Contains(h.LastError, tt.want) {
				t.Errorf("health %+v", h)
			}
		})
	}
}

// More requests than one connection has identifiers for, answered out of order and with nothing lost on the way.
func TestTLSManyRequests(t *testing.T) {
	p := newParties(t)
	c := counting{open: map[string]bool{}}
	f := startTLS(t, p.serverConfig(t), func(q tlsQuery) {
		key := fmt.Sprintf("%s %d", q.conn.RemoteAddr(), q.p.Identifier)
		c.begin(key)
		time.AfterFunc(200*time.Millisecond, func() {
			c.end(key)
			q.send(goodTLS(q, attr(18, q.p.Get(1)...)...))
		})
	})
	sc := p.config(f)
	sc.MaxOutstanding = 600
	g := startGroup(t, sc)
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			user := fmt.Sprintf("user-%d", i)
			r, err := g.Exchange(context.Background(), login(user))
			if err != nil || !bytes.HasSuffix(r.Packet, attr(18, []byte(user)...)) {
				t.Errorf("%s got % x, %v", user, r.Packet, err)
			}
		})
	}
	wg.Wait()
	if clashes, received, most := c.result(); clashes != 0 || received != 1000 || most > 600 || f.count() < 2 || f.count() > 3 {
		t.Errorf("%d clashes, %d packets, %d at once, %d connections", clashes, received, most, f.count())
	}
}

// The server restarts: what is under way goes on on the next connection, built anew.
func TestTLSConnectionBreaks(t *testing.T) {
	p := newParties(t)
	var mu sync.Mutex
	var got []query
	f := startTLS(t, p.serverConfig(t), func(q tlsQuery) {
		mu.Lock()
		got = append(got, q.query)
		n := len(got)
		mu.Unlock()
		if n == 2 {
			q.conn.Close()
			return
		}
		q.send(goodTLS(q))
	})
	g := startGroup(t, p.config(f))
	mustAnswer(t, g, login("alice"))
	mustAnswer(t, g, login("alice"))
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 3 || f.count() != 2 || bytes.Equal(got[1].raw[4:20], got[2].raw[4:20]) {
		t.Errorf("%d requests on %d connections", len(got), f.count())
	}
	if h := g.Health()[0]; h.State != Alive || h.Outstanding != 0 || h.Sockets != 1 {
		t.Errorf("health %+v", h)
	}
}

// A server that is down for a moment is waited for where there is no other, and not where there is one.
func TestTLSServerComesUp(t *testing.T) {
	p := newParties(t)
	f := startTLS(t, p.serverConfig(t), func(q tlsQuery) { q.send(goodTLS(q)) })
	var mu sync.Mutex
	dials, refused := 0, 3
	dial := func(ctx context.Context, d Dial) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if dials++; dials <= refused {
			return nil, &net.OpError{Op: "dial", Err: io.EOF}
		}
		return DialHost(ctx, d)
	}
	g, err := New(Config{Servers: []ServerConfig{p.config(f)}, Dial: dial, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	mustAnswer(t, g, login("alice"))
	if h := g.Health()[0]; dials != 4 || h.State != Alive || h.Ports[0].Stats.DialErrors != 3 {
		t.Errorf("%d dials, health %+v", dials, h)
	}

	udp := startFake(t, func(q query) { q.send(good(q)) })
	second := serverAt(udp)
	second.Name, second.Priority = "two", 1
	mu.Lock()
	dials, refused = 0, 1
	mu.Unlock()
	h, err := New(Config{Servers: []ServerConfig{p.config(f), second}, Dial: dial, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	begun := time.Now()
	if r := mustAnswer(t, h, login("alice")); r.Server != "two" || time.Since(begun) > 5*time.Second {
		t.Errorf("%s answers after %s", r.Server, time.Since(begun))
	}
}

// What can't be framed ends the connection; what is no answer does not.
func TestTLSMalformed(t *testing.T) {
	p := newParties(t)
	for _, tt := range []struct {
		name  string
		first []byte
		conns int
		drop  packet.Drop
	}{
		{"Length 0", []byte{2, 0, 0, 0}, 2, packet.DropTruncated},
		{"Length 19", append([]byte{2, 0, 0, 19}, make([]byte, 16)...), 2, packet.DropTruncated},
		{"Length 4097", append([]byte{2, 0, 16, 1}, make([]byte, 4093)...), 2, packet.DropTruncated},
		{"unknown identifier", append([]byte{2, 99, 0, 20}, make([]byte, 16)...), 1, packet.DropLate},
		{"wrong authenticator", append([]byte{2, 0, 0, 20}, make([]byte, 16)...), 1, packet.DropResponseAuthenticator},
		{"CoA-Request that nobody wants", append([]byte{43, 0, 0, 20}, make([]byte, 16)...), 1, packet.DropCode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var once sync.Once
			f := startTLS(t, p.serverConfig(t), func(q tlsQuery) {
				once.Do(func() { q.send(tt.first) })
				q.send(goodTLS(q))
			})
			g := startGroup(t, p.config(f))
			mustAnswer(t, g, login("alice"))
			if f.count() != tt.conns {
				t.Errorf("%d connections, want %d", f.count(), tt.conns)
			}
			if s := portStats(g, 0, Access); s.Drops[tt.drop] != 1 {
				t.Errorf("counters %+v, want a drop %s", s, tt.drop)
			}
		})
	}
}

// CoA over RadSec: the server asks on the connection that we opened, and gets the answer there.
func TestTLSIncoming(t *testing.T) {
	p := newParties(t)
	answered := make(chan []byte, 64)
	const asked = 40
	f := startTLS(t, p.serverConfig(t), func(q tlsQuery) {
		switch q.raw[0] {
		case 44:
			answered <- q.raw
		default:
			for i := range asked {
				q.send([]byte{43, byte(i), 0, 20, 15: 9, 19: 0})
			}
			q.send(goodTLS(q))
		}
	})
	release := make(chan struct{})
	var mu sync.Mutex
	inside := 0
	g, err := New(Config{
		Servers: []ServerConfig{p.config(f)}, Log: quiet,
		Incoming: func(server string, b []byte, reply func([]byte)) {
			mu.Lock()
			inside++
			mu.Unlock()
			<-release
			if server != "one" || b[0] != 43 || len(b) != 20 {
				t.Errorf("%s asks % x", server, b)
			}
			b[0] = 44
			reply(b)
			reply(make([]byte, 5000)) // never gets out
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	waitFor(t, "the connection is there without a request", func() bool { return g.Health()[0].Sockets == 1 })
	mustAnswer(t, g, login("alice")) // though all calls are taken
	waitFor(t, "all calls run", func() bool { mu.Lock(); defer mu.Unlock(); return inside == maxCalls })
	if s := portStats(g, 0, Access); s.Incoming != asked || s.Drops[packet.DropOverload] != asked-maxCalls {
		t.Errorf("counters %+v", s)
	}
	close(release)
	for range maxCalls {
		if b := <-answered; len(b) != 20 {
			t.Errorf("answer % x", b)
		}
	}

	// A server that sends requests of its own is connected to without being asked for a login.
	f.drop()
	waitFor(t, "the connection is there again", func() bool { return f.count() == 2 && g.Health()[0].Sockets == 1 })
}

// pipeTLS is a RadSec server in memory, for synctest.
type pipeTLS struct {
	cfg    *tls.Config
	handle func(q tlsQuery)
	mu     sync.Mutex
	dials  int
}

func (f *pipeTLS) dial(_ context.Context, _ Dial) (net.Conn, error) {
	f.mu.Lock()
	f.dials++
	f.mu.Unlock()
	near, far := net.Pipe()
	go serveTLS(tls.Server(far, f.cfg), f.handle)
	return near, nil
}

func (f *pipeTLS) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

// A silent connection is asked for life; one that is dead is given up, and the next request has another.
func TestTLSWatch(t *testing.T) {
	p := newParties(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		status, alive := 0, true
		asked := func() int { mu.Lock(); defer mu.Unlock(); return status }
		f := &pipeTLS{cfg: p.serverConfig(t)}
		f.handle = func(q tlsQuery) {
			mu.Lock()
			defer mu.Unlock()
			if q.p.Code == radius.CodeStatusServer {
				status++
				if string(q.p.Get(32)) != "nas-1" || q.p.Get(80) == nil {
					t.Errorf("Status-Server %+v", q.p)
				}
			}
			if alive {
				q.send(goodTLS(q))
			}
		}
		sc := p.config(&fakeTLS{listener: nowhere{}})
		sc.Timeout = 3 * time.Second
		g, err := New(Config{Servers: []ServerConfig{sc}, Dial: f.dial, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		exchange := func() error { _, err := g.Exchange(t.Context(), login("alice")); return err }
		noError(t, exchange())
		time.Sleep(19 * time.Second)
		if asked() != 0 {
			t.Error("asked before 20 s of silence")
		}
		time.Sleep(time.Minute)
		if n := asked(); n < 2 || n > 4 || f.count() != 1 || g.Health()[0].Sockets != 1 {
			t.Errorf("%d Status-Servers in 79 s, %d connections", n, f.count())
		}
		mu.Lock()
		alive = false
		mu.Unlock()
		time.Sleep(time.Minute)
		if h := g.Health()[0]; h.Sockets != 0 || h.Outstanding != 0 {
			t.Errorf("a dead connection is kept: %+v", h)
		}
		mu.Lock()
		alive = true
		mu.Unlock()
		noError(t, exchange())
		if f.count() != 2 {
			t.Errorf("%d connections, want 2", f.count())
		}
	})
}

// One that never answers Status-Server is not closed for that.
func TestTLSWatchWithoutStatusServer(t *testing.T) {
	p := newParties(t)
	synctest.Test(t, func(t *testing.T) {
		f := &pipeTLS{cfg: p.serverConfig(t), handle: func(q tlsQuery) {
			if q.p.Code == radius.CodeAccessRequest {
				q.send(goodTLS(q))
			}
		}}
		sc := p.config(&fakeTLS{listener: nowhere{}})
		g, err := New(Config{Servers: []ServerConfig{sc}, Dial: f.dial, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		for range 3 {
			if _, err := g.Exchange(t.Context(), login("alice")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Minute)
		}
		if h := g.Health()[0]; f.count() != 1 || h.Sockets != 1 || h.State != Alive {
			t.Errorf("%d connections, health %+v", f.count(), h)
		}
	})
}

// A connection that swallows requests is given up after one of them.
func TestTLSBlackHole(t *testing.T) {
	p := newParties(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		answer := true
		f := &pipeTLS{cfg: p.serverConfig(t), handle: func(q tlsQuery) {
			mu.Lock()
			defer mu.Unlock()
			if answer {
				q.send(goodTLS(q))
			}
		}}
		sc := p.config(&fakeTLS{listener: nowhere{}})
		sc.Timeout, sc.Tries = time.Second, 3
		g, err := New(Config{Servers: []ServerConfig{sc}, Dial: f.dial, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if _, err := g.Exchange(t.Context(), login("alice")); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		answer = false
		mu.Unlock()
		begun := time.Now()
		_, err = g.Exchange(t.Context(), login("alice"))
		var none *NoAnswer
		if took := time.Since(begun); !errors.As(err, &none) || !strings.Contains(none.Detail, "1 requests in") || took > 3*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		mu.Lock()
		answer = true
		mu.Unlock()
		if _, err := g.Exchange(t.Context(), login("alice")); err != nil || f.count() != 2 {
			t.Errorf("%v, %d connections, want a new one", err, f.count())
		}
	})
}

// One of two connections swallows requests: it is given up, though the server is not dead.
func TestTLSHalfBlackHole(t *testing.T) {
	p := newParties(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var hole net.Conn
		f := &pipeTLS{cfg: p.serverConfig(t), handle: func(q tlsQuery) {
			mu.Lock()
			defer mu.Unlock()
			if hole == nil {
				hole = q.conn
			}
			if q.conn != hole {
				q.send(goodTLS(q))
			}
		}}
		sc := p.config(&fakeTLS{listener: nowhere{}})
		sc.MaxOutstanding, sc.Timeout, sc.Tries = 300, time.Second, 3
		g, err := New(Config{Servers: []ServerConfig{sc}, Dial: f.dial, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		var wg sync.WaitGroup
		lost := make(chan error, 300)
		for i := range identifiers + 1 {
			wg.Go(func() {
				time.Sleep(time.Duration(i))
				if _, err := g.Exchange(t.Context(), login("alice")); err != nil {
					lost <- err
				}
			})
		}
		wg.Wait()
		if h := g.Health()[0]; len(lost) != identifiers || h.State != Alive || h.Sockets != 1 {
			t.Fatalf("%d requests are lost, health %+v", len(lost), h)
		}
		if _, err := g.Exchange(t.Context(), login("alice")); err != nil || f.count() != 2 {
			t.Errorf("%v, %d connections", err, f.count())
		}
	})
}

// A connection that is kept up for the server's requests is closed by the server, which has never said anything: that does not
// make it dead, and there is a new one.
func TestTLSIdleConnectionIsClosed(t *testing.T) {
	p := newParties(t)
	synctest.Test(t, func(t *testing.T) {
		f := &pipeTLS{cfg: p.serverConfig(t), handle: func(q tlsQuery) {
			time.AfterFunc(15*time.Second, func() { q.conn.Close() })
		}}
		sc := p.config(&fakeTLS{listener: nowhere{}})
		sc.Timeout = time.Second
		g, err := New(Config{
			Servers: []ServerConfig{sc}, Dial: f.dial, Log: quiet, Incoming: func(string, []byte, func([]byte)) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		time.Sleep(40 * time.Second)
		if h := g.Health()[0]; f.count() != 2 || h.State != Unknown || h.Sockets != 1 {
			t.Errorf("%d connections, health %+v", f.count(), h)
		}
	})
}

// nowhere is a listener with an address and nothing else.
type nowhere struct{ net.Listener }

func (nowhere) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:2083"))
}
