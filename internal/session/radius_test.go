package session

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

// Codes and attributes of RFC 2865, 2869 and 2548 that the fake server speaks.
const (
	accessRequest, accessAccept, accessReject = 1, 2, 3

	attrUserName, attrPassword, attrFramedIP, attrReplyMessage = 1, 2, 8, 18
	attrVendor, attrSessionTimeout, attrIdleTimeout            = 26, 27, 28
	attrMessageAuthenticator                                   = 80

	microsoft                                             = 311
	msCHAPError, msSendKey, msRecvKey                     = 2, 16, 17
	msCHAPChallenge, msCHAP2Response, msCHAP2Success byte = 11, 25, 26
)

const radiusSecret = "testing123"

// fakeRadius is a RADIUS server on loopback. It checks and signs by the letter of the RFCs, not with the code under test.
type fakeRadius struct {
	t      *testing.T
	conn   *net.UDPConn
	answer func(q *radiusQuery) []byte // code and attributes; nil: no answer

	unsigned atomic.Bool // replies have no Message-Authenticator

	mu        sync.Mutex
	asked     []string // user names
	strangers int      // requests with a wrong signature: dropped, as servers do
}

type radiusQuery struct {
	raw    []byte
	plain  map[byte][]byte
	vendor map[byte][]byte
}

func (q *radiusQuery) authenticator() []byte { return q.raw[4:20] }

func startRadius(w *world, answer func(q *radiusQuery) []byte) *fakeRadius {
	w.t.Helper()
	return startRadiusAs(w, "one", 0, answer)
}

// startRadiusAs starts one of several servers. Those with the lowest priority are asked first.
func startRadiusAs(w *world, id string, priority int, answer func(q *radiusQuery) []byte) *fakeRadius {
	w.t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		w.t.Fatal(err)
	}
	f := &fakeRadius{t: w.t, conn: conn, answer: answer}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.serve()
	}()
	w.t.Cleanup(func() {
		conn.Close() //nolint:errcheck // it ends the reader
		<-done
		if f.strangers > 0 {
			w.t.Errorf("%d bad requests", f.strangers)
		}
	})
	alter(w, acme, func(r *store.Tenant) { r.Backend = tenant.BackendRADIUS })
	create(w, &store.RadiusServer{
		Meta: named(acme + "/radiusServers/" + id), Priority: priority, Address: "127.0.0.1", AuthPort: conn.LocalAddr().(*net.UDPAddr).Port,
		Secrets: []tenant.Secret{tenant.Secret(radiusSecret)}, Timeout: 200 * time.Millisecond, Tries: 2,
	})
	return f
}

func (f *fakeRadius) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := f.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		q := parseRadius(slices.Clone(buf[:n]))
		if q == nil || !f.signed(q) {
			f.mu.Lock()
			f.strangers++
			f.mu.Unlock()
			continue
		}
		f.mu.Lock()
		f.asked = append(f.asked, string(q.plain[attrUserName]))
		f.mu.Unlock()
		if a := f.answer(q); a != nil {
			reply := sign(q, a[0], a[1:])
			if f.unsigned.Load() {
				reply = authenticate(q, a)
			}
			f.conn.WriteToUDPAddrPort(reply, from) //nolint:errcheck // the client may be gone
		}
	}
}

func (f *fakeRadius) users() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func parseRadius(b []byte) *radiusQuery {
	if len(b) < 20 || b[0] != accessRequest || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return nil
	}
	q := &radiusQuery{raw: b, plain: map[byte][]byte{}, vendor: map[byte][]byte{}}
	for rest := b[20:]; len(rest) > 0; {
		if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
			return nil
		}
		typ, value := rest[0], rest[2:rest[1]]
		rest = rest[rest[1]:]
		if typ == attrVendor && len(value) > 6 && binary.BigEndian.Uint32(value) == microsoft {
			q.vendor[value[4]] = value[6:]
			continue
		}
		q.plain[typ] = value
	}
	return q
}

// signed checks the request's Message-Authenticator, RFC 3579 section 3.2.
func (f *fakeRadius) signed(q *radiusQuery) bool {
	got := q.plain[attrMessageAuthenticator]
	if len(got) != 16 {
		return false
	}
	blank := slices.Clone(q.raw)
	at := len(q.raw) - len(q.raw[20:])
	for blank[at] != attrMessageAuthenticator {
		at += int(blank[at+1])
	}
	clear(blank[at+2 : at+18])
	h := hmac.New(md5.New, []byte(radiusSecret))
	h.Write(blank)
	return hmac.Equal(h.Sum(nil), got)
}

// sign builds a reply.
func sign(q *radiusQuery, code byte, attrs []byte) []byte {
	b := append([]byte{code, q.raw[1], 0, 0}, q.authenticator()...)
	b = append(b, attrMessageAuthenticator, 18)
	b = append(b, make([]byte, 16)...)
	b = append(b, attrs...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	mac := hmac.New(md5.New, []byte(radiusSecret))
	mac.Write(b)
	copy(b[22:38], mac.Sum(nil))
	sum := md5.Sum(append(slices.Clone(b), radiusSecret...))
	copy(b[4:20], sum[:])
	return b
}

// authenticate builds a reply that only has a Response Authenticator, RFC 2865 section 3.
func authenticate(q *radiusQuery, a []byte) []byte {
	b := slices.Concat([]byte{a[0], q.raw[1], 0, 0}, q.authenticator(), a[1:])
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	sum := md5.Sum(append(slices.Clone(b), radiusSecret...))
	copy(b[4:20], sum[:])
	return b
}

func attr(typ byte, value ...byte) []byte { return append([]byte{typ, byte(2 + len(value))}, value...) }

func msAttr(typ byte, value ...byte) []byte {
	return attr(attrVendor, append([]byte{0, 0, 1, 0x37, typ, byte(2 + len(value))}, value...)...)
}

// msKey hides a key of 16 octets, RFC 2548 section 2.4.2.
func msKey(q *radiusQuery, typ, salt byte, key []byte) []byte {
	plain := append([]byte{byte(len(key))}, key...)
	plain = append(plain, make([]byte, 32-len(plain))...)
	out := []byte{0x80, salt}
	last := append(slices.Clone(q.authenticator()), out...)
	for i := 0; i < len(plain); i += 16 {
		sum := md5.Sum(append([]byte(radiusSecret), last...))
		for j := range sum {
			sum[j] ^= plain[i+j]
		}
		out = append(out, sum[:]...)
		last = sum[:]
	}
	return msAttr(typ, out...)
}

// reveal reads a User-Password of up to 16 octets, RFC 2865 section 5.2.
func reveal(q *radiusQuery) string {
	hidden := q.plain[attrPassword]
	if len(hidden) != 16 {
		return fmt.Sprintf("%d octets", len(hidden))
	}
	sum := md5.Sum(append([]byte(radiusSecret), q.authenticator()...))
	for i := range sum {
		sum[i] ^= hidden[i]
	}
	n := slices.Index(sum[:], 0)
	return string(sum[:n])
}

func join(code byte, attrs ...[]byte) []byte { return append([]byte{code}, slices.Concat(attrs...)...) }

// acceptMSCHAP lets in who knows the password, with the server's proof and the keys.
func acceptMSCHAP(q *radiusQuery, attrs ...[]byte) []byte {
	v := q.vendor[msCHAP2Response]
	if len(v) != 50 {
		return nil
	}
	auth, peer, nt := [16]byte(q.vendor[msCHAPChallenge]), [16]byte(v[2:18]), [24]byte(v[26:50])
	user := string(q.plain[attrUserName])
	hash := mschap.NTPasswordHash(password)
	if mschap.NTResponse(mschap.ChallengeHash(peer, auth, user), hash) != nt {
		return join(accessReject, msAttr(msCHAPError, append([]byte{v[0]}, "E=691 R=1"...)...))
	}
	hashHash := mschap.HashNTPasswordHash(hash)
	send, recv := mschap.StartKeys(hashHash, nt)
	proof := mschap.AuthenticatorResponse(hashHash, nt, peer, auth, user)
	return join(accessAccept, append([][]byte{
		msAttr(msCHAP2Success, append([]byte{v[0]}, proof...)...),
		msKey(q, msSendKey, 1, send[:]), msKey(q, msRecvKey, 2, recv[:]),
	}, attrs...)...)
}

// TestRadiusAccept: proof, keys and address of the server reach the client.
func TestRadiusAccept(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		f := startRadius(w, func(q *radiusQuery) []byte {
			return acceptMSCHAP(q,
				attr(attrFramedIP, 10, 99, 0, 5), attr(attrReplyMessage, []byte("hello")...),
				attr(attrSessionTimeout, 0, 0, 14, 16), attr(attrIdleTimeout, 0, 0, 0, 90),
				attr(attrVendor, 0, 0, 0x37, 0x2a, 8, 6, 0, 0x0f, 0x42, 0x40)) // WISPr-Bandwidth-Max-Down, 1 Mbit/s
		})
		alter(w, acme+"/profiles/default", func(p *store.Profile) {
			p.RateLimit = tenant.RateLimit{UpBps: 256_000, DownBps: 512_000}
		})
		w.start()
		cl := w.login(simppp.Windows("radia", password))
		i := w.session(acme)
		if i.User != "radia" || i.Address != netip.MustParseAddr("10.99.0.5") || i.Cipher != "MPPE-128" {
			t.Errorf("session %+v", i)
		}
		if cl.network().Address != i.Address || cl.message != "hello" {
			t.Errorf("the client has %+v, message %q", cl.network(), cl.message)
		}
		encrypt, decrypt := cl.fc.keys()
		if encrypt != cl.recv || decrypt != cl.send {
			t.Errorf("server %+v %+v, client %+v %+v", encrypt, decrypt, cl.send, cl.recv)
		}
		v := w.m.byCallID(cl.fc.id).verdict
		if v.sessionTimeout != time.Hour || v.idleTimeout != 90*time.Second {
			t.Errorf("timeouts %v, %v", v.sessionTimeout, v.idleTimeout)
		}
		if s := cl.fc.attached(); s.UpBps != 256_000 || s.DownBps != 1_000_000 || i.RateLimit != (tenant.RateLimit{UpBps: s.UpBps, DownBps: s.DownBps}) {
			t.Errorf("limits %d up, %d down, shown %+v", s.UpBps, s.DownBps, i.RateLimit)
		}
		if got := f.users(); !slices.Equal(got, []string{"radia"}) {
			t.Errorf("asked about %q", got)
		}
		cl.hangUp()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		w.wantClean()
	})
}

// TestRadiusReject: the server's words reach the user; with R=1 the user may try again.
func TestRadiusReject(t *testing.T) {
	t.Run("for good", func(t *testing.T) {
		inReality(t, func(t *testing.T, w *world) {
			w.furnish()
			startRadius(w, func(*radiusQuery) []byte { return join(accessReject, attr(attrReplyMessage, []byte("go away")...)) })
			w.start()
			cl := w.dial(simppp.Windows(alice, password))
			w.wantRefused(cl)
			w.wantAttempts("alice REFUSED AUTHENTICATION RADIUS_REJECT")
			if got := cl.refusals(); !slices.Equal(got, []string{"go away"}) {
				t.Errorf("the client was told %q", got)
			}
			w.wantClean()
		})
	})
	t.Run("once", func(t *testing.T) {
		inReality(t, func(t *testing.T, w *world) {
			w.furnish()
			startRadius(w, func(q *radiusQuery) []byte { return acceptMSCHAP(q) })
			w.start()
			w.login(trying(simppp.Windows(alice, ""), "wrong", password))
			w.wantAttempts("alice REFUSED AUTHENTICATION RADIUS_REJECT", "alice ACCEPTED OPEN")
		})
	})
}

// TestRadiusPlain: PAP, where the profile allows it; the server gives no keys and none are needed.
func TestRadiusPlain(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme+"/profiles/default", func(p *store.Profile) {
			p.AuthMethods, p.AllowPlaintext, p.MPPE.Policy = []tenant.AuthMethod{tenant.AuthPAP}, true, tenant.MPPEDisabled
		})
		startRadius(w, func(q *radiusQuery) []byte {
			if reveal(q) != password {
				return join(accessReject)
			}
			return join(accessAccept, attr(attrReplyMessage, []byte("hello")...))
		})
		w.start()
		cl := w.login(simppp.MacOS(alice, password))
		if i := w.session(acme); i.Cipher != "NONE" || i.AuthMethod != tenant.AuthPAP || cl.message != "hello" {
			t.Errorf("session %+v, message %q", i, cl.message)
		}
		if w.leased(acmePool) != 1 {
			t.Errorf("%d leases", w.leased(acmePool))
		}
	})
}

// TestRadiusWithoutKeys: an accept that leaves no key is no login where MPPE is required.
func TestRadiusWithoutKeys(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		startRadius(w, func(q *radiusQuery) []byte {
			a := acceptMSCHAP(q)
			return a[:1+8+43] // only the proof: MS-CHAP2-Success is 8 octets of headers, the identifier and 42 octets
		})
		w.start()
		cl := w.dial(simppp.Windows(alice, password))
		w.wantRefused(cl)
		w.wantAttempts("alice REFUSED CCP MPPE_REQUIRED")
		w.wantClean()
	})
}

// TestRadiusTimeout: a server that does not answer refuses the login, and a client that goes meanwhile takes the question
// with it.
func TestRadiusTimeout(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		f := startRadius(w, func(*radiusQuery) []byte { return nil })
		w.start()
		cl := w.dial(simppp.Windows(alice, password))
		w.wantRefused(cl)
		w.wantAttempts("alice REFUSED AUTHENTICATION RADIUS_TIMEOUT")
		if got := cl.refusals(); !slices.Equal(got, []string{"The authentication service does not answer"}) {
			t.Errorf("the client was told %q", got)
		}
		if got := len(f.users()); got != 2 {
			t.Errorf("asked %d times, want twice", got)
		}
		gone := w.dial(simppp.Windows(alice, password))
		w.until("the server is asked", func() bool { return len(f.users()) == 3 })
		gone.abort()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		w.wantClean()
	})
}

// TestRadiusServers: none at all is said; a change of the server takes effect with the next login.
func TestRadiusServers(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		f := startRadius(w, func(q *radiusQuery) []byte { return acceptMSCHAP(q) })
		one := acme + "/radiusServers/one"
		w.start()
		w.login(simppp.Windows(alice, password))
		alter(w, one, func(r *store.RadiusServer) { r.Secrets = []tenant.Secret{tenant.Secret("another")} })
		w.wantRefused(w.dial(simppp.Windows("late", password)))
		f.mu.Lock()
		if f.strangers != 2 {
			t.Errorf("%d requests with the new secret, want both tries", f.strangers)
		}
		f.strangers = 0
		f.mu.Unlock()
		remove[store.RadiusServer](w, one)
		w.settle()
		w.wantRefused(w.dial(simppp.Windows("later", password)))
		w.wantAttempts("alice ACCEPTED OPEN", "late REFUSED AUTHENTICATION RADIUS_TIMEOUT", "later REFUSED AUTHENTICATION RADIUS_TIMEOUT")
	})
}
