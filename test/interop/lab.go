//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The addresses of the lab. The outer network is one Ethernet switch with the daemon, the guests and an attacker on it:
//
//	srv   outer 198.51.100.1-10 -+                  inner 10.99.0.1 ---- 10.99.0.2  lan   host and FreeRADIUS
//	                             |
//	sw    bridge ----------------+-- taps of the guests, 198.51.100.11 and up
//	                             |
//	demo  outer 198.51.100.9 ----+   a machine of its own, for `make run`
//	                             |
//	atk   outer 198.51.100.250 --+
//
//	acc   outer 198.51.100.31 --+   a daemon of its own, that may be killed
//	                             |   inner 10.98.0.1 ---- 10.98.0.2 to .4  accfar   its FreeRADIUS servers
//	gen   outer 198.51.100.32 --+   simulated clients
//
//	net1  inner 10.99.0.1 ---- 10.99.0.2  far1     two tenants' own networks, with the same addresses
//	net2  inner 10.99.0.1 ---- 10.99.0.2  far2
//
//	fifty outer 198.51.100.33 --+   a daemon of its own with fifty tenants, t1 and up, each in a network of its own
//	t1    inner 10.99.0.1 ---- 10.99.0.2  t1far    the first two of them; the daemon makes the others
//	t2    inner 10.99.0.1 ---- 10.99.0.2  t2far
//
// Each guest has a NAT router, whose inner side is a switch of its own; all of them have the same addresses inside. A guest
// that goes behind a NAT, its own or another's, has its tap moved there:
//
//	nat0  wan 198.51.100.201 --+  lan 192.168.77.1 ---- lan0  bridge in sw, guests 192.168.77.11 and up
//	nat1  wan 198.51.100.202 --+  lan 192.168.77.1 ---- lan1  the same
//
// Replies to the addresses that floods are sent from, 100.64.0.0/10, go to the attacker, who drops them.
const (
	outerPrefix   = "198.51.100."
	privatePrefix = "192.168.77."
	innerGateway  = "10.99.0.1"
	innerHost     = "10.99.0.2"
	firstGuest    = 11 // last octet of guest 0, outside and behind a NAT
	firstNAT      = 201
	demoAddress   = "198.51.100.9"
	accAddress    = "198.51.100.31"
	accGateway    = "10.98.0.1"
	accRadius     = "10.98.0.2"
	accRadius2    = "10.98.0.3"
	accSlow       = "10.98.0.4" // leads to accRadius, slowly
	genAddress    = "198.51.100.32"
	genNet        = "198.51.100.160/28" // more addresses of the same
	fiftyAddress  = "198.51.100.33"
	attacker      = "198.51.100.250"
	spoofed       = "100.64.0.0/10" // RFC 6598
)

// listenerAddresses are the daemon's; demoAddress lies between.
var listenerAddresses = []int{1, 2, 3, 4, 5, 6, 7, 8, 10, 20, 21, 22}

// labPrefix begins the names of all namespaces of all runs; the process ID and a part's name follow.
const labPrefix = "interop-"

// Lab is the network that the tests play in, and the folder for all that they write.
type Lab struct {
	Dir string // scratch folder, seen by the guests too
	PKI *PKI
}

// NewLab builds the namespaces. Close removes them.
func NewLab() (*Lab, error) {
	removeStale()
	dir, err := os.MkdirTemp("", labPrefix)
	if err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	l := &Lab{Dir: dir}
	if l.PKI, err = NewPKI(); err != nil {
		return nil, err
	}
	if err := l.build(); err != nil {
		l.Close()
		return nil, fmt.Errorf("build the lab's network: %w", err)
	}
	return l, nil
}

// NS is the full name of the namespace of a part of the lab.
func (l *Lab) NS(part string) string { return fmt.Sprintf("%s%d-%s", labPrefix, os.Getpid(), part) }

var parts = []string{
	"sw", "srv", "lan", "demo", "atk", "net1", "far1", "net2", "far2", "acc", "accfar", "gen", "nat0", "nat1", "nat2",
	"fifty", "t1", "t1far", "t2", "t2far",
}

// bridge0 is the outer switch; lanN is the one behind NAT number N.
const bridge0 = "bridge0"

func natPart(n int) string { return "nat" + strconv.Itoa(n) }

func natBridge(n int) string { return "lan" + strconv.Itoa(n) }

// NATAddr is the outer address of NAT router number n.
func NATAddr(n int) netip.Addr { return netip.MustParseAddr(outerPrefix + strconv.Itoa(firstNAT+n)) }

// labLink is a veth pair between two parts of the lab. The peer's end has an address, or is a port of a switch.
type labLink struct {
	part, name     string
	addresses      []string
	peer, peerName string
	peerAddr       string
	port           string // of this bridge
}

func (l *Lab) build() error {
	for _, part := range parts {
		ns := l.NS(part)
		if err := errors.Join(run("ip", "netns", "add", ns), run("ip", "-n", ns, "link", "set", "lo", "up")); err != nil {
			return err
		}
		if err := sysctl(ns, "net/ipv6/conf/all/disable_ipv6", "1"); err != nil {
			return err
		}
	}
	bridges := []string{bridge0}
	for n := range numGuests {
		bridges = append(bridges, natBridge(n))
	}
	for _, name := range bridges {
		if err := errors.Join(
			run("ip", "-n", l.NS("sw"), "link", "add", "name", name, "type", "bridge"),
			run("ip", "-n", l.NS("sw"), "link", "set", name, "up"),
		); err != nil {
			return err
		}
	}
	for _, link := range links() {
		ns, peer := l.NS(link.part), l.NS(link.peer)
		if err := run("ip", "link", "add", "name", link.name, "netns", ns, "type", "veth", "peer", "name", link.peerName, "netns", peer); err != nil {
			return err
		}
		for _, a := range link.addresses {
			if err := run("ip", "-n", ns, "addr", "add", a, "dev", link.name); err != nil {
				return err
			}
		}
		if link.port != "" {
			if err := run("ip", "-n", peer, "link", "set", link.peerName, "master", link.port); err != nil {
				return err
			}
		} else if err := run("ip", "-n", peer, "addr", "add", link.peerAddr, "dev", link.peerName); err != nil {
			return err
		}
		if err := errors.Join(
			run("ip", "-n", ns, "link", "set", link.name, "up"),
			run("ip", "-n", peer, "link", "set", link.peerName, "up"),
			// Who reads raw packets must see real checksums and real packets.
			run("nsenter", "--net=/run/netns/"+ns, "ethtool", "-K", link.name, "tx", "off", "gso", "off", "tso", "off", "gro", "off"),
			run("nsenter", "--net=/run/netns/"+peer, "ethtool", "-K", link.peerName, "tx", "off", "gso", "off", "tso", "off", "gro", "off"),
		); err != nil {
			return err
		}
		if link.port == "" {
			if err := run("ip", "-n", peer, "route", "add", "default", "via", strings.TrimSuffix(link.addresses[0], "/24")); err != nil {
				return err
			}
		}
	}
	for _, part := range []string{"srv", "net1", "net2", "acc", "t1", "t2"} {
		for _, key := range []string{"all", "default", "inner"} {
			if err := sysctl(l.NS(part), "net/ipv4/conf/"+key+"/rp_filter", "0"); err != nil {
				return err
			}
		}
		if err := sysctl(l.NS(part), "net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	for n := range numGuests {
		if err := l.buildNAT(n); err != nil {
			return err
		}
	}
	return errors.Join(
		run("ip", "-n", l.NS("srv"), "route", "add", spoofed, "via", attacker),
		run("ip", "-n", l.NS("accfar"), "addr", "add", accRadius2+"/24", "dev", "eth0"),
		run("ip", "-n", l.NS("accfar"), "addr", "add", accSlow+"/24", "dev", "eth0"),
		l.addGenNet(),
	)
}

// addGenNet gives the simulated clients the addresses of genNet.
func (l *Lab) addGenNet() error {
	p := netip.MustParsePrefix(genNet)
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		if err := run("ip", "-n", l.NS("gen"), "addr", "add", a.String()+"/24", "dev", "outer"); err != nil {
			return err
		}
	}
	return nil
}

// links lists the cables of the lab.
func links() []labLink {
	var serverAddresses []string
	for _, a := range listenerAddresses {
		serverAddresses = append(serverAddresses, outerPrefix+strconv.Itoa(a)+"/24")
	}
	all := []labLink{
		{part: "srv", name: "outer", addresses: serverAddresses, peer: "sw", peerName: "srv", port: bridge0},
		{part: "demo", name: "outer", addresses: []string{demoAddress + "/24"}, peer: "sw", peerName: "demo", port: bridge0},
		{part: "acc", name: "outer", addresses: []string{accAddress + "/24"}, peer: "sw", peerName: "acc", port: bridge0},
		{part: "acc", name: "inner", addresses: []string{accGateway + "/24"}, peer: "accfar", peerName: "eth0", peerAddr: accRadius + "/24"},
		{part: "gen", name: "outer", addresses: []string{genAddress + "/24"}, peer: "sw", peerName: "gen", port: bridge0},
		{part: "atk", name: "outer", addresses: []string{attacker + "/24"}, peer: "sw", peerName: "atk", port: bridge0},
		{part: "srv", name: "inner", addresses: []string{innerGateway + "/24"}, peer: "lan", peerName: "eth0", peerAddr: innerHost + "/24"},
		{part: "net1", name: "inner", addresses: []string{innerGateway + "/24"}, peer: "far1", peerName: "eth0", peerAddr: innerHost + "/24"},
		{part: "net2", name: "inner", addresses: []string{innerGateway + "/24"}, peer: "far2", peerName: "eth0", peerAddr: innerHost + "/24"},
		{part: "fifty", name: "outer", addresses: []string{fiftyAddress + "/24"}, peer: "sw", peerName: "fifty", port: bridge0},
		{part: "t1", name: "inner", addresses: []string{innerGateway + "/24"}, peer: "t1far", peerName: "eth0", peerAddr: innerHost + "/24"},
		{part: "t2", name: "inner", addresses: []string{innerGateway + "/24"}, peer: "t2far", peerName: "eth0", peerAddr: innerHost + "/24"},
	}
	for n := range numGuests {
		part := natPart(n)
		all = append(all,
			labLink{part: part, name: "wan", addresses: []string{NATAddr(n).String() + "/24"}, peer: "sw", peerName: part + "wan", port: bridge0},
			labLink{part: part, name: "lan", addresses: []string{privatePrefix + "1/24"}, peer: "sw", peerName: part + "lan", port: natBridge(n)})
	}
	return all
}

// buildNAT makes a router of a part that has its links: everything that leaves by wan gets its address.
func (l *Lab) buildNAT(n int) error {
	ns := l.NS(natPart(n))
	if err := sysctl(ns, "net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	rules := inside(ns, "nft", "add table ip nat; add chain ip nat out { type nat hook postrouting priority srcnat; };"+
		" add rule ip nat out oifname wan masquerade")
	return run(rules[0], rules[1:]...)
}

// sysctl writes a network setting of the namespace ns.
func sysctl(ns, key, value string) error {
	return inNamespace(ns, func() error {
		// /proc/sys/net shows the namespace of the thread that opens it.
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set %s in %s: %w", key, ns, err)
		}
		return nil
	})
}

// addTap makes a port of a switch for a guest and returns its name.
func (l *Lab) addTap(guest int, bridge string) (string, error) {
	name, sw := fmt.Sprintf("tap%d", guest), l.NS("sw")
	_ = run("ip", "-n", sw, "link", "del", name) // of the same guest before a power cut
	return name, errors.Join(
		run("ip", "-n", sw, "tuntap", "add", "dev", name, "mode", "tap"),
		run("ip", "-n", sw, "link", "set", name, "master", bridge, "up"),
	)
}

// moveTap plugs a guest into another switch.
func (l *Lab) moveTap(guest int, bridge string) error {
	return run("ip", "-n", l.NS("sw"), "link", "set", fmt.Sprintf("tap%d", guest), "master", bridge)
}

// GuestAddr is the outer address of a guest.
func GuestAddr(guest int) netip.Addr {
	return netip.MustParseAddr(outerPrefix + strconv.Itoa(firstGuest+guest))
}

// Close removes the namespaces and all that is in them. The folder stays.
func (l *Lab) Close() {
	for _, part := range parts {
		removeNamespace(l.NS(part))
	}
}

// removeNamespace ends the processes in a namespace of a lab and removes it.
func removeNamespace(ns string) {
	out, _ := exec.Command("ip", "netns", "pids", ns).Output()
	for pid := range strings.FieldsSeq(string(out)) {
		// One of our own threads may be in there, when an interrupted run ends.
		if pid, err := strconv.Atoi(pid); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have just ended
		}
	}
	_ = run("ip", "netns", "del", ns) // it may not have been made yet
}

// removeStale removes the namespaces of runs whose process is gone, and what was left running in them.
func removeStale() {
	names, _ := filepath.Glob(filepath.Join(netnsDir, labPrefix+"*"))
	for _, path := range names {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, labPrefix), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			removeNamespace(name)
		}
	}
}
