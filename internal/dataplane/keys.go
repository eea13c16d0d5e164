package dataplane

import (
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/wipe"
)

// setDecrypt gives a call its receive key, nil for none, and wipes the one before it, with what working with it has left.
func (s *shard) setDecrypt(c *call, r *mppe.Receiver) {
	if c.removed {
		r.Wipe()
		return
	}
	if old := c.decrypt; old != nil {
		s.flush() // what waits was to be opened by it
		old.Wipe()
		wipe.Stack(s.scratch.Wipe)
	}
	c.decrypt = r
}

// setEncrypt is setDecrypt for the send key.
func (s *shard) setEncrypt(c *call, e *mppe.Sender) {
	if c.removed {
		e.Wipe()
		return
	}
	if old := c.encrypt; old != nil {
		s.flush() // what waits is to be sealed by it
		old.Wipe()
		wipe.Stack(s.scratch.Wipe)
	}
	c.encrypt = e
}

// wipeKeys takes the keys of a call that was removed out of memory, and what working with them has left behind. Nothing of
// it waits any more.
func (s *shard) wipeKeys(c *call) {
	if c.encrypt == nil && c.decrypt == nil {
		return
	}
	c.encrypt.Wipe()
	c.decrypt.Wipe()
	c.encrypt, c.decrypt = nil, nil
	wipe.Stack(s.scratch.Wipe)
}
