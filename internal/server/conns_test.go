package server

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"concentrator/internal/telemetry"
)

// dropped is how many connections are counted as closed because there were too many of something.
func dropped(t *testing.T, m *telemetry.Metrics, what string) (n float64) {
	t.Helper()
	families, err := m.Gatherer().Gather()
	must(t)(families, err)
	for _, f := range families {
		for _, series := range f.GetMetric() {
			if f.GetName() == "concentrator_api_connections_dropped_total" && series.GetLabel()[0].GetValue() == what {
				n += series.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestConnectionsAreBounded(t *testing.T) {
	metrics := telemetry.NewMetrics()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	must(t)(inner, err)
	l := &limited{Listener: inner, slots: make(chan struct{}, 1), metrics: metrics}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		must(t)(c, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	held := <-accepted
	if n, err := dial().Read(make([]byte, 1)); err == nil {
		t.Errorf("the second connection reads %d octets", n)
	}
	if n := dropped(t, metrics, "connections"); n != 1 {
		t.Errorf("%v are counted", n)
	}
	must(t)(nil, held.Close())
	_ = held.Close() // gives its slot back once only
	dial()
	_ = (<-accepted).Close()
	if n := len(l.slots); n != 0 {
		t.Errorf("%d slots are taken", n)
	}
}

// Handshakes beyond a burst wait for their turn, and one whose time is up meanwhile is counted.
func TestHandshakesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := telemetry.NewMetrics()
		turns := newTurns(metrics)
		begin := time.Now()
		for range handshakeBurst + handshakesPerSecond {
			must(t)(nil, turns.wait(t.Context()))
		}
		if took := time.Since(begin).Round(time.Millisecond); took != time.Second {
			t.Errorf("a second's more than a burst took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/handshakesPerSecond/2)
		defer cancel()
		if err := turns.wait(ctx); err == nil {
			t.Error("one that had no time to wait went on")
		}
		if n := dropped(t, metrics, "handshakes"); n != 1 {
			t.Errorf("%v are counted", n)
		}
	})
	f := start(t)
	if f.Server.http.TLSConfig.GetConfigForClient == nil {
		t.Error("nobody waits")
	}
}

// Calls of strangers beyond a burst make their connection wait.
func TestStrangersWait(t *testing.T) {
	f := start(t)
	conn := f.dialTLS(t)
	const more = 60
	begin := time.Now()
	for range strangersBurst + more {
		if err := ask(t.Context(), conn); status.Code(err) != codes.Unauthenticated {
			t.Fatal(err)
		}
	}
	const perPause = 1 + int(strangersPerSecond*strangerPause/time.Second) // one that waits, and those that may go on then
	if took, least := time.Since(begin), time.Duration(more/perPause-1)*strangerPause; took < least {
		t.Errorf("%d calls took %v, want %v at least", strangersBurst+more, took, least)
	}
}
