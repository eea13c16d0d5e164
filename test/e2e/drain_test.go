package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"concentrator/internal/session"
	"concentrator/internal/tenant"
)

// TestDrain: while the instance is taken out of service, those who are in go on, through new keys of either phase too, and who
// comes is refused by IKE. Then they are sent away one after the other, and told so.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	kinds := []personality{windows, macOS, swan, android, libre, chrome}
	var clients []*client
	for i, k := range kinds {
		user := fmt.Sprintf("user%d", i)
		w.user(acme, user)
		clients = append(clients, w.come(k.at(user, fmt.Sprintf("192.168.1.%d", 2+i), fmt.Sprintf("203.0.113.%d", 9+i))))
	}
	w.start()
	w.all(clients, "connect", func(ctx context.Context, _ int, c *client) error { return c.Connect(ctx) })

	w.m.SetDraining(true)
	w.all(clients, "go on", func(ctx context.Context, _ int, c *client) error {
		if err := c.RekeyIKE(ctx); err != nil {
			return fmt.Errorf("phase 1: %w", err)
		}
		if err := c.RekeyESP(ctx); err != nil {
			return fmt.Errorf("phase 2: %w", err)
		}
		return c.ping(ctx)
	})
	late := w.come(windows.at("user0", "192.168.1.77", "203.0.113.77"))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := late.Connect(ctx); err == nil {
		t.Error("a client was let in")
	}
	w.until("the refusal is recorded", func() error { // the client may know a moment earlier
		refused := w.m.Logins(session.LoginFilter{Outcome: session.OutcomeRefused})
		if len(refused) == 0 || refused[0].Reason != tenant.ReasonDraining || refused[0].Stage != tenant.StageIKEMainMode {
			return fmt.Errorf("the refusals are %+v", refused)
		}
		return nil
	})

	const deadline = 2 * time.Second
	begin := time.Now()
	var half, most atomic.Int64 // how many were left at half time, and at first
	bound, cancel := w.patient()
	defer cancel()
	err := w.m.Drain(bound, begin.Add(deadline), func(left int) {
		most.CompareAndSwap(0, int64(left))
		if time.Since(begin) < deadline/2 {
			half.Store(int64(left))
		}
	})
	if took := time.Since(begin); err != nil || took < deadline/2 {
		t.Errorf("the drain took %s: %v", took, err)
	}
	if half.Load() == 0 || most.Load() != int64(len(clients)) {
		t.Errorf("of %d, %d were left at half time", most.Load(), half.Load())
	}
	for i, c := range clients {
		w.until(fmt.Sprintf("client %d knows", i), func() error {
			if c.Open() {
				return errors.New("it believes to be in")
			}
			return nil
		})
	}
	w.m.SetDraining(false)
	again := w.connected(windows.at("user0", "192.168.1.2", "203.0.113.99"))
	w.goodbye(append(clients, again)...)
}
