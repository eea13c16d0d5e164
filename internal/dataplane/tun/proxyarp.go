package tun

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// answer is the kernel's entry that answers ARP for a. It names no link, and so holds for every one of the namespace but
// the one that leads to a, those included that come later. The ip(8) command can't make such an entry: it is ours.
func answer(a netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{Family: unix.AF_INET, Flags: unix.NTF_PROXY, IP: a.AsSlice()}
}

// startAnswering has ARP for p answered if p is one address. d.mu must be held.
func (d *Device) startAnswering(p netip.Prefix) error {
	if !p.IsSingleIP() || d.answered[p.Addr()] {
		return nil
	}
	if err := d.nl.NeighAdd(answer(p.Addr())); err != nil {
		return fmt.Errorf("answer ARP for %v: %w", p.Addr(), err)
	}
	d.answered[p.Addr()] = true
	return nil
}

// stopAnswering undoes startAnswering. d.mu must be held.
func (d *Device) stopAnswering(a netip.Addr) error {
	if !d.answered[a] {
		return nil
	}
	if err := d.nl.NeighDel(answer(a)); err != nil && !missing(err) {
		return fmt.Errorf("stop answering ARP for %v: %w", a, err)
	}
	delete(d.answered, a)
	return nil
}

// setProxyARP has ARP for the addresses of all sessions answered, or for none. d.mu must be held.
func (d *Device) setProxyARP(on bool) error {
	d.config.ProxyARP = on // for sessions that come, even if it fails for one that is there
	if on {
		for p := range d.hosts {
			if err := d.startAnswering(p); err != nil {
				return err
			}
		}
		return nil
	}
	for a := range d.answered {
		if err := d.stopAnswering(a); err != nil {
			return err
		}
	}
	return nil
}

// forgetAnswers removes what a crash left in the namespace: our entries for addresses that no TUN device leads to. Those of
// other devices that live have a route by theirs, and stay.
func (d *Device) forgetAnswers() error {
	entries, err := d.nl.NeighProxyList(0, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list addresses that ARP is answered for: %w", err)
	}
	for _, e := range entries {
		a, ok := netip.AddrFromSlice(e.IP)
		if !ok || e.LinkIndex != 0 || d.leadsToTUN(a) {
			continue
		}
		if err := d.nl.NeighDel(answer(a)); err != nil && !missing(err) {
			return fmt.Errorf("stop answering ARP for %v: %w", a, err)
		}
	}
	return nil
}

// leadsToTUN says whether the namespace routes a to a TUN device.
func (d *Device) leadsToTUN(a netip.Addr) bool {
	routes, err := d.nl.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return false
	}
	link, err := d.nl.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return false
	}
	_, isTUN := link.(*netlink.Tuntap)
	return isTUN
}
