package tun

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
)

// Uplink is a link (a veth pair) from a namespace that we made to the daemon's own, and the way out of it. The zero value is
// none.
type Uplink struct {
	Address netip.Prefix // of the inner end, with the link's prefix length
	Gateway netip.Addr   // of the outer end, in the same prefix
}

// ErrUplinkTaken is returned when a namespace has another device's uplink, or the uplink's prefix overlaps what another link
// of one of its namespaces has.
var ErrUplinkTaken = errors.New("tun: the uplink is in the way of another link")

const (
	innerEnd    = "uplink"     // in the tenant's namespace
	outerPrefix = "upl-"       // of the names in the daemon's; the rule that keeps tenants apart names it
	uplinkMark  = "uplink of " // before the device's name: the alias of the inner end
	mostAlias   = 255          // octets that Linux takes
)

// uplinksTable is the nftables table in the daemon's namespace that keeps tenants with uplinks apart.
const uplinksTable = "concentrator_uplinks"

// uplinks serialises what concerns all of them in the daemon's namespace, the address plan and the table, and counts those of
// this process. It is not held while links are made and removed, which takes the kernel many milliseconds.
var uplinks struct {
	sync.Mutex
	n int
}

// outerEnd names the end in the daemon's namespace after the tenant's, which has one uplink.
func outerEnd(namespace string) string {
	name := outerPrefix + namespace
	if checkName(name) == nil {
		return name
	}
	sum := sha256.Sum256([]byte(namespace))
	return outerPrefix + hex.EncodeToString(sum[:5])
}

// setUplink makes, mends or removes the uplink. It always looks at what is there, because after a crash that is what an
// earlier run left. d.mu must be held.
func (d *Device) setUplink(want Uplink) (err error) {
	d.uplinkWarnings = nil
	d.config.Uplink = want
	if !d.ours {
		if want != (Uplink{}) {
			d.uplinkWarnings = append(d.uplinkWarnings, "the uplink is not made: its namespace was not made by the concentrator")
		}
		return nil
	}
	if want == (Uplink{}) {
		return d.removeUplink()
	}
	own, err := netns.Open("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	nl, err := own.Netlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	inner, err := d.innerEnd(nl)
	if err != nil {
		return err
	}
	if err := d.keepApart(own); err != nil { // before there is a way
		return err
	}
	inner, outer, err := d.pair(inner, own, nl)
	if err != nil {
		return err
	}
	uplinks.Lock() // of two that want the same prefix one comes second
	err = setEnd(nl, outer, netip.PrefixFrom(want.Gateway, want.Address.Bits()))
	uplinks.Unlock()
	if err != nil {
		return err
	}
	if err := setEnd(d.nl, inner, want.Address); err != nil {
		return err
	}
	if err := d.setDefault(inner, want.Gateway); err != nil {
		return err
	}
	return own.Do(d.checkForwarding)
}

// checkForwarding runs in the daemon's namespace.
func (d *Device) checkForwarding() error {
	forward, err := netns.ReadSysctl("net/ipv4/ip_forward")
	if err != nil {
		return err
	}
	if forward != "1" {
		d.uplinkWarnings = append(d.uplinkWarnings,
			"net.ipv4.ip_forward is off in the concentrator's own namespace: by the uplink clients reach only this host")
	}
	return nil
}

// innerEnd finds the inner end that this device's uplink has; nil if there is none. One that is left of a device that is gone,
// or of a crash in the middle of making it, is removed. nl is the daemon's namespace.
func (d *Device) innerEnd(nl *netlink.Handle) (netlink.Link, error) {
	link, err := linkOf(d.nl, innerEnd)
	if err != nil || link == nil {
		return nil, err
	}
	device, marked := strings.CutPrefix(link.Attrs().Alias, uplinkMark)
	if marked && device == d.name {
		return link, nil
	}
	if marked {
		owner, err := linkOf(d.nl, device)
		if err != nil {
			return nil, err
		}
		if owner != nil {
			return nil, fmt.Errorf("%w: namespace %s has that of %s", ErrUplinkTaken, d.namespace, device)
		}
		return nil, del(d.nl, link)
	}
	outer, err := linkOf(nl, outerEnd(d.namespace))
	if err != nil {
		return nil, err
	}
	if outer == nil || !paired(link, outer) {
		return nil, fmt.Errorf("%w: %s in namespace %s", ErrDeviceExists, innerEnd, d.namespace)
	}
	return nil, del(d.nl, link) // it never got its mark
}

// pair returns both ends, made if they don't stand as they should.
func (d *Device) pair(inner netlink.Link, own *netns.Handle, nl *netlink.Handle) (in, out netlink.Link, err error) {
	name := outerEnd(d.namespace)
	if out, err = linkOf(nl, name); err != nil {
		return nil, nil, err
	}
	if inner != nil && out != nil && paired(inner, out) {
		return inner, out, nil
	}
	if out != nil {
		return nil, nil, fmt.Errorf("%w: %s in the concentrator's own namespace", ErrDeviceExists, name)
	}
	if inner != nil { // somebody has moved or renamed its other end
		if err := del(d.nl, inner); err != nil {
			return nil, nil, err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = innerEnd
	err = d.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(own.FD())})
	if err != nil {
		return nil, nil, fmt.Errorf("make uplink: %w", err)
	}
	if in, err = d.nl.LinkByName(innerEnd); err == nil {
		out, err = nl.LinkByName(name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find uplink: %w", err)
	}
	alias := "to namespace " + d.namespace
	err = errors.Join(d.nl.LinkSetAlias(in, uplinkMark+d.name), nl.LinkSetAlias(out, alias[:min(len(alias), mostAlias)]))
	if err != nil {
		return nil, nil, fmt.Errorf("mark uplink: %w", err)
	}
	err = own.Do(func() error { return netns.Sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1") })
	return in, out, err
}

// paired says whether two links are the ends of one veth pair: each names the other's index, and the names are ours.
func paired(a, b netlink.Link) bool {
	return a.Type() == "veth" && b.Type() == "veth" &&
		a.Attrs().ParentIndex == b.Attrs().Index && b.Attrs().ParentIndex == a.Attrs().Index
}

// linkOf finds a link; nil if there is none.
func linkOf(nl *netlink.Handle, name string) (netlink.Link, error) {
	link, err := nl.LinkByName(name)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for link %s: %w", name, err)
	}
	return link, nil
}

// del deletes a link, which takes its other end with it.
func del(nl *netlink.Handle, link netlink.Link) error {
	if err := nl.LinkDel(link); err != nil && !gone(err) {
		return fmt.Errorf("remove %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// setEnd gives an end its one address, and sets it up.
func setEnd(nl *netlink.Handle, link netlink.Link, want netip.Prefix) error {
	all, err := nl.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	have := false
	for i := range all {
		p, ok := prefixOf(all[i].IPNet)
		switch {
		case !ok:
		case all[i].LinkIndex != link.Attrs().Index:
			if p.Overlaps(want) {
				return fmt.Errorf("%w: %v overlaps %v", ErrUplinkTaken, want, p)
			}
		case p == want:
			have = true
		}
	}
	for i := range all { // before the new one comes: an address takes those of its prefix with it that came later
		if p, _ := prefixOf(all[i].IPNet); all[i].LinkIndex != link.Attrs().Index || p == want {
			continue
		}
		have = false
		if err := nl.AddrDel(link, &all[i]); err != nil && !gone(err) {
			return fmt.Errorf("remove address %v from the uplink: %w", all[i].IPNet, err)
		}
	}
	if !have {
		ip := &net.IPNet{IP: want.Addr().AsSlice(), Mask: net.CIDRMask(want.Bits(), 32)}
		if err := nl.AddrReplace(link, &netlink.Addr{IPNet: ip}); err != nil {
			return fmt.Errorf("add address %v to the uplink: %w", want, err)
		}
	}
	if err := nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the uplink up: %w", err)
	}
	return nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits), ok
}

// setDefault makes the gateway the namespace's default route. An operator's own is not touched: ErrRouteExists.
func (d *Device) setDefault(inner netlink.Link, gateway netip.Addr) error {
	index := inner.Attrs().Index
	routes, err := d.nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: index}, netlink.RT_FILTER_OIF)
	if err != nil {
		return fmt.Errorf("list routes by the uplink: %w", err)
	}
	for i := range routes {
		r := &routes[i]
		if r.Gw == nil {
			continue
		}
		if r.Gw.Equal(gateway.AsSlice()) {
			return nil
		}
		if err := d.nl.RouteDel(r); err != nil && !gone(err) {
			return fmt.Errorf("remove the old default route: %w", err)
		}
	}
	err = d.nl.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.AsSlice(), Protocol: unix.RTPROT_STATIC})
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: the default route", ErrRouteExists)
	}
	if err != nil {
		return fmt.Errorf("add the default route by %v: %w", gateway, err)
	}
	return nil
}

// removeUplink removes this device's uplink, which may be of an earlier run.
func (d *Device) removeUplink() error {
	inner, err := linkOf(d.nl, innerEnd)
	if err == nil && inner != nil && inner.Attrs().Alias == uplinkMark+d.name {
		err = del(d.nl, inner)
	}
	if err != nil {
		return err
	}
	if !d.uplinked {
		return nil
	}
	uplinks.Lock()
	defer uplinks.Unlock()
	d.uplinked = false
	uplinks.n--
	if uplinks.n > 0 {
		return nil
	}
	own, err := netns.Open("")
	if err != nil {
		return err
	}
	return errors.Join(removeTable(own, uplinksTable), own.Close())
}

// keepApart counts this device's uplink and sees to the table in the daemon's namespace
//
//	table ip concentrator_uplinks {
//		chain forward {
//			type filter hook forward priority filter;
//			iifname "upl-*" oifname "upl-*" drop
//		}
//	}
//
// without which the daemon's namespace would pass packets from one tenant to another.
func (d *Device) keepApart(own *netns.Handle) error {
	uplinks.Lock()
	defer uplinks.Unlock()
	others := uplinks.n > 0
	if !d.uplinked {
		d.uplinked = true
		uplinks.n++
	}
	if others {
		if there, err := hasTable(own, uplinksTable); there || err != nil {
			return err
		}
	}
	return putTable(own, uplinksTable, nftables.Chain{
		Name: "forward", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	}, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(outerPrefix)},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(outerPrefix)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	})
}
