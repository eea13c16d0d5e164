//go:build interop

package flood

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/vendors/microsoft"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/simclient/load"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
	"concentrator/test/reliability/lab"
)

// What the tenant with RADIUS has.
const (
	realm        = "umbrella.example"
	radiusSecret = "flood-radius-secret-0123"
	portRADIUS   = 1812
	portCoA      = 3799
)

// radiusServer is that tenant's server, in the part far. It lets in who has the lab's password.
type radiusServer struct {
	conn, coa *net.UDPConn // the second for its own requests

	mu    sync.Mutex // guards what follows
	asked netip.AddrPort
	last  byte // identifier of the last request
}

// startRADIUS starts it. It ends with the test.
func startRADIUS(t *testing.T, w *world) *radiusServer {
	t.Helper()
	s := &radiusServer{}
	own := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(lab.FarHost), portRADIUS))
	coa := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(lab.FarGateway), portCoA))
	w.lab.In(t, "far", func() (err error) {
		if s.conn, err = net.ListenUDP("udp4", own); err != nil {
			return err
		}
		s.coa, err = net.DialUDP("udp4", nil, coa)
		return err
	})
	t.Cleanup(func() { _ = errors.Join(s.conn.Close(), s.coa.Close()) })
	go func() {
		buf := make([]byte, packet.MaxLen)
		for {
			n, from, err := s.conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if code := radius.Code(buf[0]); code != radius.CodeAccessRequest && code != radius.CodeStatusServer {
				continue // an answer to what was sent in its name
			}
			s.mu.Lock()
			s.asked, s.last = from.(*net.UDPAddr).AddrPort(), buf[1]
			s.mu.Unlock()
			if reply, err := answerRADIUS(buf[:n]); err == nil {
				_, _ = s.conn.WriteTo(reply, from)
			}
		}
	}()
	return s
}

// overheard is what somebody on the way knows: where the daemon asks from, and the identifier of its last request.
func (s *radiusServer) overheard() (netip.AddrPort, byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.last
}

// answerRADIUS answers a request: an accept with MS-CHAPv2's proof (RFC 2548 section 2.3.3) if there is an answer to the challenge.
func answerRADIUS(b []byte) ([]byte, error) {
	request, err := radius.Parse(b, []byte(radiusSecret))
	if err != nil {
		return nil, err
	}
	reply := request.Response(radius.CodeAccessAccept)
	// Ident, Flags, Peer-Challenge, Reserved, Response.
	const identLen, peerAt, ntAt, answerLen = 1, 2, 26, 50
	if answer := microsoft.MSCHAP2Response_Get(request); len(answer) == answerLen {
		hash := mschap.HashNTPasswordHash(mschap.NTPasswordHash(lab.Password))
		proof := mschap.AuthenticatorResponse(
			hash, [mschap.NTResponseLen]byte(answer[ntAt:]), [mschap.ChallengeLen]byte(answer[peerAt:]),
			[mschap.ChallengeLen]byte(microsoft.MSCHAPChallenge_Get(request)), rfc2865.UserName_GetString(request),
		)
		if err := microsoft.MSCHAP2Success_Add(reply, append(answer[:identLen:identLen], proof...)); err != nil {
			return nil, err
		}
	}
	return packet.Sign(reply)
}

// order is a genuine Disconnect-Request for a session that is not there: it has to be answered by a NAK.
func order(i int) ([]byte, error) {
	p := radius.New(radius.CodeDisconnectRequest, []byte(radiusSecret))
	p.Identifier = byte(i)
	if err := rfc2866.AcctSessionID_SetString(p, fmt.Sprintf("flood-%d", i)); err != nil {
		return nil, err
	}
	return packet.Sign(p)
}

// badlySigned is a request of dynamic authorization whose Request Authenticator is right, as who has the secret makes it, and
// whose Message-Authenticator is not (RFC 5176 section 3.4).
func badlySigned(t *testing.T) []byte {
	t.Helper()
	b, err := order(0)
	if err != nil {
		t.Fatal(err)
	}
	const authenticator, signature = 4, packet.HeaderLen + 2
	b[signature]++
	clear(b[authenticator:packet.HeaderLen])
	sum := md5.Sum(append(b[:len(b):len(b)], radiusSecret...))
	copy(b[authenticator:], sum[:])
	return b
}

// garbageRate is how many packets of garbage a second there are in either form. Of more than the one reader of a socket can verify
// the kernel drops some, genuine ones among them.
const garbageRate = 20_000

// Pauses between what is genuine while garbage comes.
const (
	orderEvery = 100 * time.Millisecond
	loginEvery = 100 * time.Millisecond
)

// radiusGarbage sends, in the name of a tenant's RADIUS server, replies to what the daemon asks it, and requests of dynamic
// authorization, those in the name of others too; none is genuine. Meanwhile log-ins by RADIUS must succeed, and each genuine
// request of the server's must be answered.
func radiusGarbage(t *testing.T, w *world) flooder {
	s := startRADIUS(t, w)
	d := w.dial(t, clients, load.Config{
		Server: netip.MustParseAddr(loginsAt), Protocols: []tenant.Protocol{tenant.ProtocolL2TP}, User: "bob@" + realm,
		Sources: []netip.Addr{nth(netip.MustParsePrefix(newcomers), 60_001)},
	}, maxLogins)
	if err := loginByRADIUS(t.Context(), d, 0); err != nil {
		t.Fatal(err)
	}
	send := radiusPackets(t, w, s)
	return func(ctx context.Context) (n int, err error) {
		var (
			others           sync.WaitGroup
			logins, answered error
		)
		others.Go(func() {
			begin := time.Now()
			for i := 0; turn(ctx, begin, i, int(time.Second/loginEvery)); i++ {
				if err := loginByRADIUS(context.WithoutCancel(ctx), d, i+1); err != nil {
					logins = errors.Join(logins, err)
				}
			}
		})
		others.Go(func() { answered = s.order(ctx) })
		n, err = steady(ctx, garbageRate, send)
		others.Wait()
		return n, errors.Join(err, logins, answered)
	}
}

func loginByRADIUS(ctx context.Context, d *dialer, i int) error {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	s, _, err := d.login(ctx, i)
	hangUp(s)
	if err != nil {
		return fmt.Errorf("log-in %d by RADIUS: %w", i, err)
	}
	return nil
}

// order sends genuine requests until ctx ends, a few times each at most, as servers do.
func (s *radiusServer) order(ctx context.Context) error {
	const tries = 5
	buf := make([]byte, packet.MaxLen)
	begin := time.Now()
	for i := 1; turn(ctx, begin, i, int(time.Second/orderEvery)); i++ {
		b, err := order(i)
		if err != nil {
			return err
		}
		for try := range tries {
			if _, err = s.coa.Write(b); err != nil {
				return err
			}
			_ = s.coa.SetReadDeadline(time.Now().Add(orderEvery))
			if _, err = s.coa.Read(buf); err == nil && buf[1] == byte(i) && radius.Code(buf[0]) == radius.CodeDisconnectNAK {
				break
			}
			if try == tries-1 {
				return fmt.Errorf("a genuine Disconnect-Request, number %d, is not answered: %w", i, err)
			}
		}
	}
	return nil
}

// radiusPackets makes the garbage.
func radiusPackets(t *testing.T, w *world, s *radiusServer) func(i int) error {
	t.Helper()
	forged := netip.AddrPortFrom(netip.MustParseAddr(lab.FarHost), portRADIUS)
	at, _ := s.overheard()
	body := make([]byte, 200)
	_, _ = rand.Read(body) // never fails
	shaped := func(code radius.Code, size int) []byte {
		b := append([]byte(nil), body[:size]...)
		b[0] = byte(code)
		binary.BigEndian.PutUint16(b[2:], uint16(size))
		for rest := b[packet.HeaderLen:]; len(rest) > 1; rest = rest[rest[1]:] { // attributes that fill it
			rest[1] = byte(min(len(rest), 18))
		}
		return b
	}
	replayed, err := order(0)
	if err != nil {
		t.Fatal(err)
	}
	otherSecret := shaped(radius.CodeDisconnectRequest, 56)
	toClient, toServer := at, netip.AddrPortFrom(netip.MustParseAddr(lab.AttackedAt), portCoA)
	all := []struct {
		p       []byte
		reply   bool // gets the identifier of what was asked last, or any
		spoofed bool // in the name of somebody who is no server
	}{
		{p: udp(forged, toClient, shaped(radius.CodeAccessAccept, 56)), reply: true},
		{p: udp(forged, toServer, otherSecret)},
		{p: udp(forged, toClient, shaped(radius.CodeAccessReject, 56)), reply: true},
		{p: udp(forged, toServer, otherSecret), spoofed: true},
		{p: udp(forged, toClient, body[:packet.HeaderLen/2]), reply: true},
		{p: udp(forged, toServer, badlySigned(t))},
		{p: udp(forged, toClient, shaped(radius.CodeAccessChallenge, 200)), reply: true},
		{p: udp(forged, toServer, replayed)},
		{p: udp(forged, toServer, body[:packet.HeaderLen+1])},
	}
	r, network := openRaw(t, w), netip.MustParsePrefix(void)
	return func(i int) error {
		g := all[i%len(all)]
		if g.reply {
			id := &g.p[ipLen+udpLen+1]
			if _, *id = s.overheard(); i/len(all)%2 == 0 {
				*id = byte(i)
			}
		}
		if g.spoofed {
			setSource(g.p, network, i, 0)
		}
		return r.send(g.p)
	}
}
