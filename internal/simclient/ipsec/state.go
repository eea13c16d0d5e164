package ipsec

import (
	"context"
	"time"
)

// afterwards is how long PPP has, when its call is gone, to say why: a link that the server has terminated goes on for a second,
// to answer repetitions.
const afterwards = 1500 * time.Millisecond

// Login is Connect for a client that is polite when it has failed too: it lives on, and HangUp must follow, or Die.
func (c *Client) Login(ctx context.Context) error { return c.connect(ctx) }

// Err says why the connection is over; nil while it stands, and before Connect.
func (c *Client) Err() error {
	c.link.mu.Lock()
	over, open, err := c.link.over, c.link.open, c.link.err
	c.link.mu.Unlock()
	if over {
		if err == nil {
			err = ErrDown
		}
		return err
	}
	if t := c.l2tpClient(); t != nil && t.Err() != nil {
		return t.Err()
	}
	if err := c.callErr(); err != nil { // the server may keep the tunnel
		return err
	}
	if open && !c.alive() {
		return ErrDown
	}
	return nil
}

// callErr says why the call has been over for a while; nil while it stands, and before there is one.
func (c *Client) callErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.call == nil || c.call.Err() == nil {
		return nil
	}
	if c.callGone.IsZero() {
		c.callGone = time.Now()
	}
	if time.Since(c.callGone) < afterwards {
		return nil
	}
	return c.call.Err()
}
