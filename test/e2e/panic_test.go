package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/session"
)

// bombs is a Plane whose first call makes its shard panic with the next control frame, once it is armed.
type bombs struct {
	session.Plane
	armed atomic.Bool
	once  sync.Once
}

// bomb is what takes the first call's control frames.
type bomb struct {
	dataplane.Sink
	armed *atomic.Bool
}

func (b bomb) Deliver(protocol uint16, packet []byte) {
	if b.armed.Load() {
		panic("bomb")
	}
	b.Sink.Deliver(protocol, packet)
}

func (b *bombs) OpenL2TPCall(peer session.Peer, d session.Datagrams, spec dataplane.CallSpec) (session.Call, error) {
	b.once.Do(func() { spec.Sink = bomb{spec.Sink, &b.armed} })
	return b.Plane.OpenL2TPCall(peer, d, spec)
}

// TestShardPanics: a session whose packet makes its shard panic ends with a reason, and its client is told. The sessions of
// others on that shard and elsewhere have their traffic before, meanwhile and after, and the client may come again.
func TestShardPanics(t *testing.T) {
	var b *bombs
	w := newWorldOn(t, func(p session.Plane) session.Plane {
		b = &bombs{Plane: p}
		return b
	})
	var clients []*client
	for i := range 8 {
		user := fmt.Sprintf("user%d", i)
		w.user(acme, user)
		clients = append(clients, w.come(swan.at(user, fmt.Sprintf("192.168.1.%d", 2+i), "203.0.113.9")))
	}
	w.start()
	connect := func(ctx context.Context, _ int, c *client) error { return c.Connect(ctx) }
	w.all(clients[:1], "connect the first", connect)
	w.all(clients[1:], "connect", connect)
	ping := func(ctx context.Context, _ int, c *client) error { return c.ping(ctx) }
	w.all(clients, "ping", ping)
	bad, good := clients[0], clients[1:]
	stop := w.push(good[0])
	b.armed.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = bad.HangUp(ctx) // its Terminate-Request is what goes off
	w.until("its session has ended", func() error {
		if n := len(w.m.Sessions(acme)); n != len(good) {
			return fmt.Errorf("%d sessions are there, want %d", n, len(good))
		}
		return nil
	})
	b.armed.Store(false)
	var panics uint64
	for _, s := range w.plane.ShardStats() {
		panics += s.Panics
	}
	if panics != 1 {
		t.Errorf("%d panics, want 1", panics)
	}
	time.Sleep(50 * time.Millisecond)
	stop()
	w.all(good, "ping again", ping)
	again := w.come(swan.at("user0", "192.168.1.99", "203.0.113.10"))
	w.all([]*client{again}, "connect again", connect)
	w.all([]*client{again}, "ping again", ping)
}
