//go:build interop

package flood

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
)

// handshakes opens connections to the API, of which some say nothing, some say half of what TLS begins with, and the others
// have the server do its part of a handshake.
func handshakes(t *testing.T, w *world) flooder {
	say := hello(t)
	return opens(t, w, func(i int) (port uint16, _ []byte) {
		switch port = []uint16{portREST, portGRPC}[i%2]; i / 2 % 4 {
		case 0:
			return port, nil
		case 1:
			return port, say[:len(say)/2]
		}
		return port, say
	})
}

// hello is the first message of a TLS handshake: whoever sends the same one again has no work with it, and the server has.
func hello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		_ = tls.Client(ours, clientTLS("h2")).Handshake() // it never gets an answer
		_ = ours.Close()
	}()
	const head = 5
	b := make([]byte, head)
	if _, err := io.ReadFull(theirs, b); err != nil {
		t.Fatal(err)
	}
	b = append(b, make([]byte, binary.BigEndian.Uint16(b[3:]))...)
	if _, err := io.ReadFull(theirs, b[head:]); err != nil {
		t.Fatal(err)
	}
	return b
}

func clientTLS(protocol string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
}

// Bounds of those who pester the API.
const (
	pests           = 60
	pestsAt         = 220_000 // where they are among the attacker's addresses
	pestsPerSecond  = 150     // who come, or come again once they are cut off
	piecesPerSecond = 2000    // of what all of them send
)

// pest is somebody without credentials who pesters the API, on one connection after the other.
type pest struct {
	port     uint16
	protocol string
	begin    func() []byte      // what is sent first
	next     func(i int) []byte // what is sent then; nil: nothing more
}

// kindsOfPests are there in turn.
var kindsOfPests = []pest{
	{portREST, "http/1.1", endlessBody, chunk},
	{portREST, "http/1.1", slowHeader, oneByte},
	{portREST, "http/1.1", slowHeader, bigHeader},
	{portREST, "h2", http2Begin, resets},
	{portGRPC, "h2", http2Begin, resets},
	{portREST, "h2", http2Begin, blocked},
	{portGRPC, "h2", http2Begin, blocked},
	{portREST, "h2", http2Begin, endlessHeader},
	{portGRPC, "h2", http2Begin, endlessHeader},
	{portGRPC, "h2", http2Begin, endlessCall},
}

// requests are what strangers ask the API for, or never come to the end of.
func requests(t *testing.T, w *world) flooder {
	h, err := netns.Open(w.lab.NS("atk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return func(ctx context.Context) (int, error) {
		var (
			group     sync.WaitGroup
			n, coming atomic.Int64
		)
		begin := time.Now()
		for i := range pests {
			group.Go(func() {
				p := kindsOfPests[i%len(kindsOfPests)]
				for turn(ctx, begin, int(coming.Add(1)), pestsPerSecond) {
					var c net.Conn
					if err := h.Do(func() (err error) {
						c, err = dialAs(ctx, nth(netip.MustParsePrefix(villains), pestsAt+i), p.port)
						return err
					}); err != nil {
						continue
					}
					p.pester(ctx, c, func() bool { return turn(ctx, begin, int(n.Add(1)), piecesPerSecond) })
				}
			})
		}
		group.Wait()
		return int(n.Load()), nil
	}
}

// pester uses a connection until it is cut off, or ctx ends.
func (p *pest) pester(ctx context.Context, tcp net.Conn, turn func() bool) {
	defer tcp.Close()
	defer context.AfterFunc(ctx, func() { tcp.Close() })()
	c := tls.Client(tcp, clientTLS(p.protocol))
	if c.HandshakeContext(ctx) != nil {
		return
	}
	gone := make(chan struct{})
	go func() { // the daemon's answers are not read by all
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	defer func() {
		tcp.Close()
		<-gone
	}()
	if _, err := c.Write(p.begin()); err != nil {
		return
	}
	for i := 0; turn(); i++ {
		b := p.next(i)
		if b == nil {
			<-gone
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

const (
	someHost = "Host: concentrator\r\n"
	piece    = 16 << 10
)

func endlessBody() []byte {
	return []byte("POST /v1/tenants HTTP/1.1\r\n" + someHost + "Transfer-Encoding: chunked\r\n\r\n")
}

var aChunk = fmt.Appendf(nil, "%x\r\n%s\r\n", piece, strings.Repeat("x", piece))

func chunk(int) []byte { return aChunk }

func slowHeader() []byte { return []byte("GET /v1/tenants HTTP/1.1\r\n" + someHost) }

func oneByte(int) []byte { return []byte{'x'} }

// bigHeader is nearly all that a request's headers may have, without their end.
func bigHeader(i int) []byte {
	if i > 0 {
		return nil
	}
	return []byte("X-Big: " + noise[:60<<10])
}

// noise is what headers are filled with. It is the same for all: the attacker's work is done on the daemon's CPUs.
var noise = func() string {
	b := make([]byte, 32<<10)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}()

// Frames of HTTP/2 (RFC 9113 section 6).
const (
	frameData, frameHeaders, frameReset, frameSettings, frameContinuation = 0, 1, 3, 4, 9
	flagEndStream, flagEndHeaders                                         = 1, 4
)

// maxFrame is what a frame may hold, in octets.
const maxFrame = 16 << 10

func frame(kind, flags byte, stream int, payload []byte) []byte {
	b := append([]byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[5:], uint32(stream))
	return append(b, payload...)
}

// http2Begin is what a client says first. Its window is closed: nothing but headers can be answered.
func http2Begin() []byte {
	const initialWindow = 4
	b := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	return append(b, frame(frameSettings, 0, 0, []byte{0, initialWindow, 0, 0, 0, 0})...)
}

// call is the headers of a call, and one more.
func call(more string) (b []byte) {
	for _, h := range [][2]string{
		{":method", "POST"},
		{":scheme", "https"},
		{":path", "/concentrator.v1.TenantService/ListTenants"},
		{":authority", "concentrator"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"x-more", more},
	} {
		b = text(text(append(b, 0), h[0]), h[1]) // a literal that goes into no table (RFC 7541 section 6.2.2)
	}
	return b
}

// stream is the number of a client's stream i.
func stream(i int) int { return 2*i + 1 }

// resets begins calls and takes them back at once, many in a piece.
func resets(i int) (b []byte) {
	const cancel, many = 8, 20
	for n := range many {
		b = append(b, frame(frameHeaders, flagEndHeaders|flagEndStream, stream(i*many+n), call(""))...)
		b = append(b, frame(frameReset, 0, stream(i*many+n), []byte{0, 0, 0, cancel})...)
	}
	return b
}

// blocked makes calls whose answers can't go out, with large headers.
func blocked(i int) []byte {
	return frame(frameHeaders, flagEndHeaders|flagEndStream, stream(i), call(noise[:maxFrame-1024]))
}

// endlessHeader begins headers that don't end.
func endlessHeader(i int) []byte {
	if i == 0 {
		return frame(frameHeaders, 0, stream(0), call(""))
	}
	return frame(frameContinuation, 0, stream(0), text(text([]byte{0}, "x-more"), noise[:maxFrame/4]))
}

// endlessCall makes a call whose request doesn't end.
func endlessCall(i int) []byte {
	if i == 0 {
		return frame(frameHeaders, flagEndHeaders, stream(0), call(""))
	}
	return frame(frameData, 0, stream(0), []byte(noise[:maxFrame]))
}

// text appends a string of HPACK (RFC 7541 section 5.2).
func text(b []byte, s string) []byte { return append(integer(b, len(s)), s...) }

// integer appends one of HPACK with a prefix of 7 bits (RFC 7541 section 5.1).
func integer(b []byte, n int) []byte {
	const most = 127
	if n < most {
		return append(b, byte(n))
	}
	b = append(b, most)
	for n -= most; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}
