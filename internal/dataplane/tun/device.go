package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/steer"
)

// queueLength is how many packets wait in a queue for their shard before the kernel drops: some milliseconds at line
// rate.
const queueLength = 2048

// ErrDeviceName is returned for a name that no network device can have.
var ErrDeviceName = errors.New("tun: not a device name")

// ErrDeviceExists is returned when the namespace has a device of that name, somebody else's.
var ErrDeviceExists = errors.New("tun: a device of this name exists")

// ErrRouteExists is returned when the namespace routes a prefix to another device already.
var ErrRouteExists = errors.New("tun: the namespace has another route to this prefix")

// ErrClosed is returned by methods of a closed Device.
var ErrClosed = errors.New("tun: device is closed")

// Spec asks for a TUN device.
type Spec struct {
	Namespace string // "" is the daemon's own; another is made if missing
	Device    string // 1 to 15 octets, unused in the namespace
	Queues    int    // one for each shard
	MTU       int    // octets of inner IP packet
	NoOffload bool   // every packet passes by itself and finished
}

// Config is what a Device carries besides its sessions' routes.
type Config struct {
	MTU        int            // octets of inner IP packet
	Addresses  []netip.Addr   // ours; /32 on the device
	Routes     []netip.Prefix // of the pools
	Masquerade bool           // rewrite the sources of what leaves the namespace by another device
	ProxyARP   bool           // answer ARP for sessions' addresses on the namespace's other links
	Uplink     Uplink         // only in a namespace that we made
}

// Device is a multi-queue TUN device in some namespace. Safe for concurrent use.
type Device struct {
	name      string
	namespace string
	ours      bool // the namespace: made by us
	queues    []int
	offloads  Offloads
	warnings  []string

	mu             sync.Mutex // guards all below
	closed         bool
	stats          statistics
	ns             *netns.Handle
	nl             *netlink.Handle
	link           netlink.Link
	table          *steer.Table
	config         Config
	pools          map[netip.Prefix]bool // routes in the kernel for Config.Routes
	hosts          map[netip.Prefix]bool // added prefixes; true: with a route of their own
	answered       map[netip.Addr]bool   // those that ARP is answered for
	uplinked       bool                  // counted in uplinks
	uplinkWarnings []string
}

// Open makes the device, up, with the steering program and no addresses. Where it fails it leaves nothing behind but the
// namespace.
func Open(spec Spec) (*Device, error) {
	if err := checkName(spec.Device); err != nil {
		return nil, err
	}
	d := &Device{
		name: spec.Device, namespace: spec.Namespace, stats: statistics{fd: -1},
		pools: map[netip.Prefix]bool{}, hosts: map[netip.Prefix]bool{}, answered: map[netip.Addr]bool{},
	}
	if err := d.open(spec); err != nil {
		return nil, errors.Join(fmt.Errorf("TUN device %s in namespace %q: %w", spec.Device, spec.Namespace, err), d.release())
	}
	return d, nil
}

func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\x00%") {
		return fmt.Errorf("%w: %q", ErrDeviceName, name)
	}
	return nil
}

func (d *Device) open(spec Spec) error {
	ns, made, err := netns.Ensure(spec.Namespace)
	if err != nil {
		return err
	}
	d.ns, d.ours = ns, made
	if d.table, err = steer.NewTable(); err != nil {
		return err
	}
	if err = ns.Do(func() error { return d.create(spec, made) }); err != nil {
		return err
	}
	if d.nl, err = ns.Netlink(); err != nil {
		return err
	}
	if d.link, err = d.nl.LinkByName(d.name); err != nil {
		return fmt.Errorf("find it: %w", err)
	}
	if err = d.nl.LinkSetTxQLen(d.link, queueLength); err != nil {
		return fmt.Errorf("set its queue length: %w", err)
	}
	if err = d.setMTU(spec.MTU); err != nil {
		return err
	}
	if err = d.skipScheduler(); err != nil {
		return err
	}
	if err = d.nl.LinkSetUp(d.link); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	// What a run that crashed left; its uplink is Configure's to take over.
	return errors.Join(removeTable(ns, tableName(d.name)), d.forgetAnswers())
}

// skipScheduler takes the packet scheduler out of the device's way, which never holds a packet: a queue that is full drops.
// By default the kernel makes a scheduler for each of 256 queues that the device may have one day, of the length of a queue:
// 13 MiB. The device must not be up yet.
func (d *Device) skipScheduler() error {
	err := d.nl.QdiscReplace(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: d.link.Attrs().Index, Parent: netlink.HANDLE_ROOT}, QdiscType: "noqueue",
	})
	if err != nil {
		return fmt.Errorf("take away its packet scheduler: %w", err)
	}
	return nil
}

// create runs inside the namespace: /dev/net/tun remembers the one of the thread that opens it.
func (d *Device) create(spec Spec, made bool) (err error) {
	if d.stats, err = openStatistics(); err != nil {
		return err
	}
	for q := range spec.Queues {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		d.queues = append(d.queues, fd)
		ifr, err := unix.NewIfreq(d.name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDeviceName, err)
		}
		flags := unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE
		if q == 0 {
			flags |= unix.IFF_TUN_EXCL // never somebody's persistent device
		}
		ifr.SetUint16(uint16(flags))
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%w: %w", ErrDeviceExists, err)
		}
		if err != nil {
			return fmt.Errorf("make queue %d: %w", q, err)
		}
	}
	if !spec.NoOffload {
		var err error
		if d.offloads, err = setOffloads(d.queues[0]); err != nil {
			return err
		}
	}
	prog := int32(d.table.ProgramFD())
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.queues[0]), unix.TUNSETSTEERINGEBPF,
		uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return fmt.Errorf("attach steering program: %w", errno)
	}
	conf := "net/ipv4/conf/" + d.name + "/"
	for _, s := range []struct{ path, value string }{
		// The shard answers with ICMP from our own address, by this device: without it the kernel takes that for a martian.
		{conf + "accept_local", "1"},
		// Client to client goes in and out by this device; telling clients of a shorter way would be wrong.
		{conf + "send_redirects", "0"},
		{"net/ipv6/conf/" + d.name + "/disable_ipv6", "1"},
	} {
		if err := netns.Sysctl(s.path, s.value); err != nil {
			return err
		}
	}
	if made {
		return nil
	}
	forward, err := netns.ReadSysctl("net/ipv4/ip_forward")
	if err != nil {
		return err
	}
	if forward != "1" {
		d.warnings = append(d.warnings, "net.ipv4.ip_forward is off in this namespace: clients reach only this host")
	}
	return nil
}

// Queues holds one non-blocking descriptor for each queue. They stay the Device's.
func (d *Device) Queues() []int { return d.queues }

// Offloads is which trains the device takes from a Coalescer and gives to a Train. Without any it gives only whole,
// finished packets.
func (d *Device) Offloads() Offloads { return d.offloads }

// Warnings are sentences for an operator about namespaces that are not ours to configure, as of the last Configure.
func (d *Device) Warnings() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(d.warnings, d.uplinkWarnings)
}

// Dropped is how many packets the kernel has dropped because a queue was full. ErrClosed.
func (d *Device) Dropped() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, ErrClosed
	}
	return d.stats.dropped(d.name)
}

func (d *Device) setMTU(mtu int) error {
	if err := d.nl.LinkSetMTU(d.link, mtu); err != nil {
		return fmt.Errorf("set MTU of %s to %d: %w", d.name, mtu, err)
	}
	d.config.MTU = mtu
	return nil
}

// Configure makes the device's MTU, addresses, pool routes, masquerading, ARP answers and uplink those of c. After an error
// some of it may be as before; calling it again completes it.
func (d *Device) Configure(c Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if c.MTU != d.config.MTU {
		if err := d.setMTU(c.MTU); err != nil {
			return err
		}
	}
	if err := d.setAddresses(c.Addresses); err != nil {
		return err
	}
	if err := d.setRoutes(c.Routes); err != nil {
		return err
	}
	if c.Masquerade != d.config.Masquerade {
		if err := setMasquerade(d.ns, d.name, c.Masquerade); err != nil {
			return fmt.Errorf("masquerading for %s: %w", d.name, err)
		}
		d.config.Masquerade = c.Masquerade
	}
	if err := d.setProxyARP(c.ProxyARP); err != nil {
		return err
	}
	return d.setUplink(c.Uplink)
}

func (d *Device) setAddresses(want []netip.Addr) error {
	have := d.config.Addresses
	for _, a := range want {
		if slices.Contains(have, a) {
			continue
		}
		err := d.nl.AddrReplace(d.link, &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice())})
		if err != nil {
			return fmt.Errorf("add address %v to %s: %w", a, d.name, err)
		}
		d.config.Addresses = append(d.config.Addresses, a)
	}
	for _, a := range slices.Clone(d.config.Addresses) {
		if slices.Contains(want, a) {
			continue
		}
		err := d.nl.AddrDel(d.link, &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice())})
		if err != nil && !gone(err) {
			return fmt.Errorf("remove address %v from %s: %w", a, d.name, err)
		}
		d.config.Addresses = slices.DeleteFunc(d.config.Addresses, func(b netip.Addr) bool { return a == b })
	}
	return nil
}

// setRoutes changes the pools' routes and gives sessions outside them a route of their own, before the old ones go: a
// smaller pool never cuts off a session that lives.
func (d *Device) setRoutes(want []netip.Prefix) error {
	next := map[netip.Prefix]bool{}
	for _, p := range want {
		next[p.Masked()] = true
	}
	for p := range next {
		if d.pools[p] {
			continue
		}
		if own := d.hosts[p]; !own { // else the session's route becomes the pool's
			if err := d.addRoute(p); err != nil {
				return err
			}
		} else {
			d.hosts[p] = false
		}
		d.pools[p] = true
	}
	for p, own := range d.hosts {
		if own || covered(next, p) {
			continue
		}
		if d.pools[p] { // the pool's route becomes the session's
			delete(d.pools, p)
		} else if err := d.addRoute(p); err != nil {
			return err
		}
		d.hosts[p] = true
	}
	for p := range d.pools {
		if next[p] {
			continue
		}
		if err := d.delRoute(p); err != nil {
			return err
		}
		delete(d.pools, p)
	}
	return nil
}

// covered says whether one of the routes leads to all of p.
func covered(routes map[netip.Prefix]bool, p netip.Prefix) bool {
	for r := range routes {
		if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

func (d *Device) route(p netip.Prefix) *netlink.Route {
	return &netlink.Route{
		LinkIndex: d.link.Attrs().Index, Scope: netlink.SCOPE_LINK, Protocol: unix.RTPROT_STATIC,
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
	}
}

func (d *Device) addRoute(p netip.Prefix) error {
	err := d.nl.RouteAdd(d.route(p))
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %v", ErrRouteExists, p)
	}
	if err != nil {
		return fmt.Errorf("route %v to %s: %w", p, d.name, err)
	}
	return nil
}

func (d *Device) delRoute(p netip.Prefix) error {
	err := d.nl.RouteDel(d.route(p))
	if err != nil && !gone(err) {
		return fmt.Errorf("remove route %v to %s: %w", p, d.name, err)
	}
	return nil
}

// gone says that what was to be removed is not there, perhaps by an operator's hand, perhaps with the whole device.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
}

// missing is gone for entries of the neighbour tables.
func missing(err error) bool { return errors.Is(err, unix.ENOENT) || gone(err) }

// Add steers what goes to p to queue and, unless a pool's route covers p, routes p to the device.
func (d *Device) Add(p netip.Prefix, queue int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	p = p.Masked()
	if err := d.table.Set(p, queue); err != nil {
		return err
	}
	if _, again := d.hosts[p]; again {
		return nil
	}
	own := !covered(d.pools, p)
	if own {
		if err := d.addRoute(p); err != nil {
			return errors.Join(err, d.table.Unset(p))
		}
	}
	d.hosts[p] = own
	if d.config.ProxyARP {
		if err := d.startAnswering(p); err != nil {
			return errors.Join(err, d.remove(p))
		}
	}
	return nil
}

// Remove undoes Add.
func (d *Device) Remove(p netip.Prefix) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil // everything went with the device
	}
	return d.remove(p.Masked())
}

func (d *Device) remove(p netip.Prefix) error {
	err := d.table.Unset(p)
	if p.IsSingleIP() {
		err = errors.Join(err, d.stopAnswering(p.Addr()))
	}
	if d.hosts[p] {
		err = errors.Join(err, d.delRoute(p))
	}
	delete(d.hosts, p)
	return err
}

// Close removes the device, its ARP answers, its uplink and the masquerading. The namespace stays.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	err := errors.Join(d.setProxyARP(false), d.setUplink(Uplink{}))
	if d.config.Masquerade {
		err = errors.Join(err, setMasquerade(d.ns, d.name, false))
	}
	return errors.Join(err, d.release())
}

// release gives back every descriptor; the device goes with the last of its queues.
func (d *Device) release() error {
	var errs []error
	for _, fd := range d.queues {
		errs = append(errs, unix.Close(fd))
	}
	if d.stats.fd >= 0 {
		errs = append(errs, unix.Close(d.stats.fd))
	}
	if d.table != nil {
		errs = append(errs, d.table.Close())
	}
	if d.nl != nil {
		d.nl.Close()
	}
	if d.ns != nil {
		errs = append(errs, d.ns.Close())
	}
	return errors.Join(errs...)
}
