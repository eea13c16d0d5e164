package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What Check finds.
var (
	// ErrDown is returned while a link that packets go by is down.
	ErrDown = errors.New("tun: a link is down")
	// ErrNameless is returned while an operator's namespace has lost its name. It lives as long as we hold it, and so does all
	// in it.
	ErrNameless = errors.New("tun: the namespace was deleted")
	// ErrAnew is returned when the device must be opened anew: the namespace is another one now, or was deleted and is ours to make.
	ErrAnew = errors.New("tun: must be opened anew")
)

// Check says what keeps packets from going by the device, nil if nothing does that is seen from here. What somebody has set
// down is not set up; what went with that, routes, and an uplink that is gone is made again. ErrClosed, ErrDown, ErrNameless,
// ErrAnew.
func (d *Device) Check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if d.namespace != "" {
		same, there, err := d.ns.Named(d.namespace)
		switch {
		case err != nil:
			return err
		case !there && d.ours:
			return fmt.Errorf("%w: namespace %s was deleted", ErrAnew, d.namespace)
		case !there:
			return fmt.Errorf("%w: %s", ErrNameless, d.namespace)
		case !same:
			return fmt.Errorf("%w: another namespace is called %s", ErrAnew, d.namespace)
		}
	}
	if up, err := d.isUp(d.name); err != nil || !up {
		return errors.Join(err, fmt.Errorf("%w: %s", ErrDown, d.name))
	}
	if err := d.restoreRoutes(); err != nil {
		return err
	}
	return d.checkUplink()
}

// isUp says whether a link of the namespace is there and up, at its other end too where it has one.
func (d *Device) isUp(name string) (bool, error) {
	link, err := linkOf(d.nl, name)
	if err != nil || link == nil {
		return false, err
	}
	return IsUp(link), nil
}

// IsUp says whether a link is set up and its carrier there.
func IsUp(link netlink.Link) bool {
	a := link.Attrs()
	switch a.OperState {
	case netlink.OperDown, netlink.OperLowerLayerDown, netlink.OperNotPresent, netlink.OperDormant:
		return false
	default: // up, or a kind of link that does not say
		return a.Flags&net.FlagUp != 0
	}
}

// restoreRoutes puts routes back that the kernel has taken away when the device was down. One of them tells of all.
func (d *Device) restoreRoutes() error {
	probe, any := d.inside()
	if !any {
		return nil
	}
	routes, err := d.nl.RouteGet(probe.AsSlice())
	if err == nil && len(routes) > 0 && routes[0].LinkIndex == d.link.Attrs().Index {
		return nil
	}
	again := func(p netip.Prefix) error {
		if err := d.addRoute(p); err != nil && !errors.Is(err, ErrRouteExists) {
			return err
		}
		return nil
	}
	for p := range d.pools {
		if err := again(p); err != nil {
			return err
		}
	}
	for p, own := range d.hosts {
		if own {
			if err := again(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// inside is an address that one of the pools' routes leads to.
func (d *Device) inside() (a netip.Addr, any bool) {
	for p := range d.pools {
		for a = p.Addr(); p.Contains(a); a = a.Next() {
			if !slices.Contains(d.config.Addresses, a) {
				return a, true
			}
		}
	}
	return a, false
}

// somewhere is an address that only a default route leads to: it is for documentation (RFC 5737).
var somewhere = net.IPv4(192, 0, 2, 1)

// checkUplink looks at the uplink, and makes it again if it is gone or has lost its route.
func (d *Device) checkUplink() error {
	if d.config.Uplink == (Uplink{}) || !d.ours {
		return nil
	}
	inner, err := linkOf(d.nl, innerEnd)
	if err != nil {
		return err
	}
	if inner != nil && !IsUp(inner) {
		return fmt.Errorf("%w: %s in namespace %s", ErrDown, innerEnd, d.namespace)
	}
	if inner != nil {
		_, err := d.nl.RouteGet(somewhere)
		if !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) {
			return err
		}
	}
	if err := d.setUplink(d.config.Uplink); err != nil {
		return fmt.Errorf("make the uplink again: %w", err)
	}
	return nil
}
