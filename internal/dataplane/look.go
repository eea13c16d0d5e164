package dataplane

import (
	"errors"
	"net/netip"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/tun"
)

// What Network.Check and Dataplane.Look find.
var (
	// ErrAnew is returned for a network whose namespace is another one by now, or was ours and is gone. Close it and open
	// another.
	ErrAnew = tun.ErrAnew
	// ErrNameless is returned while an operator's namespace is gone. What is open in it works on.
	ErrNameless = tun.ErrNameless
)

// Sight is what a namespace looks like.
type Sight = netio.Sight

// Look looks at a namespace; "" is the daemon's own. Nothing is known, and the Sight zero, where the Opener can't look.
// ErrNameless.
func (d *Dataplane) Look(namespace string) (Sight, error) {
	l, can := d.opener.(netio.Looker)
	if !can {
		return Sight{}, nil
	}
	s, err := l.Look(namespace)
	if errors.Is(err, netns.ErrNotFound) {
		err = errors.Join(ErrNameless, err)
	}
	return s, err
}

// Hears says whether what is sent to an address can come in: one of links that are up has it; 0.0.0.0 wants any but
// loopback's. Where nothing is known it can.
func Hears(s Sight, at netip.Addr) bool {
	if s.Up == nil {
		return true
	}
	if !at.IsUnspecified() {
		return s.Up[at]
	}
	for a, up := range s.Up {
		if up && !a.IsLoopback() {
			return true
		}
	}
	return false
}

// Check says what keeps packets from going between the network and its sessions, as far as can be told from outside; nil:
// nothing. It may be called at any time and makes good what it can. ErrAnew, ErrNameless, and others for people.
func (n *Network) Check() error {
	c, can := n.dev.(netio.Checker)
	if !can {
		return nil
	}
	if err := c.Check(); !errors.Is(err, tun.ErrClosed) {
		return err
	}
	return nil
}
