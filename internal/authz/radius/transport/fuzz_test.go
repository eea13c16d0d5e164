package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

// FuzzParseStream gives the reader of a TLS connection any octets, in two pieces: it must not panic, answer the request that
// is under way, or lose its identifier.
func FuzzParseStream(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{2, 0, 0, 20}, []byte{19: 0})
	f.Add([]byte{2, 0, 0, 0}, []byte{})
	f.Add([]byte{43, 0, 0, 20, 19: 1}, []byte{2, 0, 16, 0})
	f.Add([]byte{11, 0, 0, 40, 19: 1}, append([]byte{80, 18, 17: 0}, 1, 2))
	secrets := []tenant.Secret{tenant.Secret("no one knows")}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		g, err := New(Config{
			Log: corpus.Log(t), Servers: []ServerConfig{{Name: "one", Address: "192.0.2.1", Secrets: secrets}},
			Incoming: func(string, []byte, func([]byte)) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := g.servers[0].ports[Access]
		near, far := net.Pipe()
		k := newConn(p, near, netip.MustParseAddrPort("192.0.2.1:2083"))
		k.queue, k.calls = make(chan []byte, queueLen), make(chan struct{}, maxCalls)
		x := &exchange{conn: k, id: k.take(), code: radius.CodeAccessRequest, secrets: secrets, done: make(chan struct{})}
		k.pending[x.id] = x
		go func() {
			far.Write(one) //nolint:errcheck // the reader may have given up
			far.Write(two) //nolint:errcheck // the same
			far.Close()
		}()
		if err := p.readStream(k); err == nil {
			t.Error("the end of the connection is not told")
		}
		near.Close()
		if x.answered.Load() {
			t.Error("a forged packet was taken for the answer")
		}
		if k.unused != identifiers-1 {
			t.Error("an identifier is lost")
		}
		g.Close()
	})
}

// FuzzParseDatagram gives a request that waits any datagram before its answer.
func FuzzParseDatagram(f *testing.F) {
	corpus.Add(f)
	q := query{raw: []byte{1, 0, 0, 20, 19: 0}}
	for _, a := range []answerOf{accept, reject, ack, {code: 2, wrongRA: true}, {code: 2, macs: 2}, {code: 2, cut: 3}} {
		f.Add(a.to(q))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if len(datagram) == 0 || len(datagram) > packet.MaxLen {
			return
		}
		dial := func(context.Context, Dial) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				buf := make([]byte, packet.MaxLen)
				n, err := far.Read(buf)
				if err != nil {
					return
				}
				far.Write(datagram)                                                                       //nolint:errcheck // the transport may be gone
				far.Write(answerOf{code: 3, secret: "no one knows"}.to(query{raw: bytes.Clone(buf[:n])})) //nolint:errcheck // the same
			}()
			return near, nil
		}
		g, err := New(Config{Log: corpus.Log(t), Dial: dial, Servers: []ServerConfig{{
			Name: "one", Address: "192.0.2.1", Secrets: []tenant.Secret{tenant.Secret("no one knows")}, Timeout: time.Minute, Tries: 1,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		r, err := g.Exchange(t.Context(), login("alice"))
		if errors.Is(err, ErrClosed) || err != nil || r.Packet[0] != 3 {
			t.Fatalf("%+v, %v, want the reject that followed", r, err)
		}
	})
}
