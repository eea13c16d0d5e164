package ipsec

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogin: a login that fails leaves a client that can be hung up, at once if there is nothing to end.
func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int32
		s := NewStack(nil)
		c := mute(s, &sent)
		if err := c.Err(); err != nil {
			t.Errorf("before: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := c.Login(ctx); !errors.Is(err, context.DeadlineExceeded) || c.dead.Load() {
			t.Errorf("%v, dead: %v", err, c.dead.Load())
		}
		began := time.Now()
		if err := c.HangUp(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("hang up: %v after %v", err, time.Since(began))
		}
		if err := c.Err(); !errors.Is(err, ErrClosed) || !c.dead.Load() {
			t.Errorf("afterwards: %v", err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
