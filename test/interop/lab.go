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
//	srv   outer 198.51.100.1-8 --+                  inner 10.99.0.1 ---- 10.99.0.2  lan   host and FreeRADIUS
//	                             |
//	sw    bridge ----------------+-- taps of the guests, 198.51.100.11 and up
//	                             |
//	demo  outer 198.51.100.9 ----+   a machine of its own, for `make run`
//	                             |
//	atk   outer 198.51.100.250 --+
//
//	net1  inner 10.99.0.1 ---- 10.99.0.2  far1     two tenants' own networks, with the same addresses
//	net2  inner 10.99.0.1 ---- 10.99.0.2  far2
const (
	outerPrefix  = "198.51.100."
	innerGateway = "10.99.0.1"
	innerHost    = "10.99.0.2"
	numListeners = 8  // addresses of the daemon, from .1
	firstGuest   = 11 // last octet of guest 0
	demoAddress  = "198.51.100.9"
	attacker     = "198.51.100.250"
)

// labPrefix begins the names of all namespaces of all runs; the process ID and a part's name follow.
const labPrefix = "interop-"

// Lab is the network that the tests play in, and the folder for all that they write.
type Lab struct {
	Dir string // scratch folder, seen by the guests too
}

// NewLab builds the namespaces. Close removes them.
func NewLab() (*Lab, error) {
	removeStale()
	dir, err := os.MkdirTemp("", labPrefix)
	if err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}
	l := &Lab{Dir: dir}
	if err := l.build(); err != nil {
		l.Close()
		return nil, fmt.Errorf("build the lab's network: %w", err)
	}
	return l, nil
}

// NS is the full name of the namespace of a part of the lab.
func (l *Lab) NS(part string) string { return fmt.Sprintf("%s%d-%s", labPrefix, os.Getpid(), part) }

var parts = []string{"sw", "srv", "lan", "demo", "atk", "net1", "far1", "net2", "far2"}

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
	sw := l.NS("sw")
	if err := run("ip", "-n", sw, "link", "add", "name", "bridge0", "type", "bridge"); err != nil {
		return err
	}
	if err := run("ip", "-n", sw, "link", "set", "bridge0", "up"); err != nil {
		return err
	}
	var serverAddresses []string
	for i := range numListeners {
		serverAddresses = append(serverAddresses, outerPrefix+strconv.Itoa(i+1)+"/24")
	}
	for _, link := range []struct {
		part       string
		name       string
		addresses  []string
		peer       string
		peerName   string
		peerAddr   string
		onTheOuter bool // the peer's end is a port of the switch
	}{
		{"srv", "outer", serverAddresses, "sw", "srv", "", true},
		{"demo", "outer", []string{demoAddress + "/24"}, "sw", "demo", "", true},
		{"atk", "outer", []string{attacker + "/24"}, "sw", "atk", "", true},
		{"srv", "inner", []string{innerGateway + "/24"}, "lan", "eth0", innerHost + "/24", false},
		{"net1", "inner", []string{innerGateway + "/24"}, "far1", "eth0", innerHost + "/24", false},
		{"net2", "inner", []string{innerGateway + "/24"}, "far2", "eth0", innerHost + "/24", false},
	} {
		ns, peer := l.NS(link.part), l.NS(link.peer)
		if err := run("ip", "link", "add", "name", link.name, "netns", ns, "type", "veth", "peer", "name", link.peerName, "netns", peer); err != nil {
			return err
		}
		for _, a := range link.addresses {
			if err := run("ip", "-n", ns, "addr", "add", a, "dev", link.name); err != nil {
				return err
			}
		}
		if link.onTheOuter {
			if err := run("ip", "-n", peer, "link", "set", link.peerName, "master", "bridge0"); err != nil {
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
		if !link.onTheOuter {
			if err := run("ip", "-n", peer, "route", "add", "default", "via", innerGateway); err != nil {
				return err
			}
		}
	}
	for _, part := range []string{"srv", "net1", "net2"} {
		for _, key := range []string{"all", "default", "inner"} {
			if err := sysctl(l.NS(part), "net/ipv4/conf/"+key+"/rp_filter", "0"); err != nil {
				return err
			}
		}
		if err := sysctl(l.NS(part), "net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	return nil
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

// addTap makes a port of the switch for a guest and returns its name.
func (l *Lab) addTap(guest int) (string, error) {
	name, sw := fmt.Sprintf("tap%d", guest), l.NS("sw")
	_ = run("ip", "-n", sw, "link", "del", name) // of the same guest before a power cut
	return name, errors.Join(
		run("ip", "-n", sw, "tuntap", "add", "dev", name, "mode", "tap"),
		run("ip", "-n", sw, "link", "set", name, "master", "bridge0", "up"),
	)
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
