package ipsec

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/tenant"
)

// mute is a client of a server that says nothing; sent counts what it sends.
func mute(s *Stack, sent *atomic.Int32) *Client {
	return s.New(Config{
		IKE: simike.Windows(), L2TP: siml2tp.Windows("DESKTOP", 1), PPP: simppp.Windows("ann", "secret"),
		PSK: tenant.Secret("key"), Own: netip.MustParseAddr("192.168.1.2"), Server: netip.MustParseAddr("198.51.100.1"),
		Send: func(port uint16, b []byte) {
			if port != PortIKE || len(b) != 408 {
				panic("not message 1")
			}
			sent.Add(1)
		},
	})
}

// TestSilentServer: the client repeats its first message and gives up; nothing is left.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int32
		s := NewStack(nil)
		c := mute(s, &sent)
		began := time.Now()
		var refused *RefusedError
		if err := c.Connect(t.Context()); !errors.As(err, &refused) || refused.Refusal.Reason != tenant.ReasonPeerTimeout {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); sent.Load() != 6 || took < 2*time.Minute {
			t.Errorf("%d messages in %v", sent.Load(), took)
		}
		if st := s.Stats(); st.SAs != 0 || st.Handshakes != 0 || c.SAs() != 0 {
			t.Errorf("left: %+v", st)
		}
		if err := c.Send(nil); !errors.Is(err, ErrDown) {
			t.Errorf("Send: %v", err)
		}
		if err := c.RekeyESP(t.Context()); !errors.Is(err, ErrNoSA) {
			t.Errorf("RekeyESP: %v", err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestGivenUp: a client whose context ends, or that dies, sends nothing any more and returns at once.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int32
		s := NewStack(nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := mute(s, &sent).Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || sent.Load() != 2 {
			t.Errorf("%v after %d messages", err, sent.Load())
		}
		sent.Store(0)
		c := mute(s, &sent)
		time.AfterFunc(time.Second, c.Die)
		if err := c.Connect(t.Context()); !errors.Is(err, ErrClosed) || sent.Load() != 1 {
			t.Errorf("%v after %d messages", err, sent.Load())
		}
		if err := c.Connect(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("once more: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if sent.Load() != 1 {
			t.Errorf("the dead client has sent %d messages", sent.Load())
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestChecksum: the server's side of UDP in ESP takes what we compute, and nothing with another address in it.
func TestChecksum(t *testing.T) {
	own, server := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("198.51.100.1")
	for n := range 300 {
		p := make([]byte, udpHeaderLen+n)
		for i := range n {
			p[udpHeaderLen+i] = byte(i * n)
		}
		binary.BigEndian.PutUint16(p, 49152)
		binary.BigEndian.PutUint16(p[2:], 1701)
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[6:], checksum(p, own, server))
		var b pktbuf.Buf
		b.SetBytes(p)
		if port, v := l2tpdata.StripUDP(&b, true, own.As4(), server.As4()); v != l2tpdata.OK || port != 49152 || b.Len() != n {
			t.Errorf("%d octets: port %d, %v", n, port, v)
		}
		b.SetBytes(p)
		if _, v := l2tpdata.StripUDP(&b, true, own.Next().As4(), server.As4()); v != l2tpdata.Checksum {
			t.Errorf("%d octets from another address: %v", n, v)
		}
	}
}
