package netio

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/tun"
)

// Sight is what a namespace looks like.
type Sight struct {
	// Namespace is its number: another namespace that comes under the same name has another.
	Namespace uint64
	// Up are its IPv4 addresses; true is one of a link that is up.
	Up map[netip.Addr]bool
}

// Looker is an Opener that can look around. The methods are those of an Opener in what they may.
type Looker interface {
	// Look looks at a namespace; "" is the daemon's own. netns.ErrNotFound.
	Look(namespace string) (Sight, error)
}

// Checker is a Device that can say whether it works.
type Checker interface {
	// Check says what keeps packets from going by the device. tun.ErrDown, tun.ErrNameless, tun.ErrAnew.
	Check() error
}

var (
	_ Looker  = Linux{}
	_ Checker = (*tun.Device)(nil)
)

// Look implements Looker.
func (Linux) Look(namespace string) (s Sight, err error) {
	if s.Namespace, err = netns.Identity(namespace); err != nil {
		return s, err
	}
	h, err := netns.Open(namespace)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	nl, err := h.Netlink()
	if err != nil {
		return s, err
	}
	defer nl.Close()
	links, err := nl.LinkList()
	if err != nil {
		return s, fmt.Errorf("list links: %w", err)
	}
	up := make(map[int]bool, len(links))
	for _, l := range links {
		up[l.Attrs().Index] = tun.IsUp(l)
	}
	all, err := nl.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return s, fmt.Errorf("list addresses: %w", err)
	}
	s.Up = make(map[netip.Addr]bool, len(all))
	for i := range all {
		if a, ok := netip.AddrFromSlice(all[i].IP); ok {
			a = a.Unmap()
			s.Up[a] = s.Up[a] || up[all[i].LinkIndex]
		}
	}
	return s, nil
}
