package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
)

// prefix begins the names of our namespaces; the process ID follows.
const prefix = "ccbench"

// Addresses of the lab. Clients and server meet on the outer network; the sessions' inner addresses lie behind the TUN
// device; what clients send goes to sinkhole, where the routing drops it.
const (
	serverAddr  = "192.0.2.1"
	clientAddr  = "192.0.2.2"
	gatewayAddr = "10.50.0.1"
	poolPrefix  = "10.50.0.0/16"
	insideAddr  = "10.99.0.1"
	sinkhole    = "10.99.0.2"
)

// tunQueue is the length of the TUN devices' queues in packets: a whole phase must wait there.
const tunQueue = 8192

// lab is a set of namespaces.
type lab struct {
	made []string
}

// ns is the name of a part of the lab.
func (l *lab) ns(part string) string { return fmt.Sprintf("%s%d-%s", prefix, os.Getpid(), part) }

// add makes a part.
func (l *lab) add(part string) error {
	name := l.ns(part)
	if err := run("ip", "netns", "add", name); err != nil {
		return err
	}
	l.made = append(l.made, name)
	if err := l.do(part, func() error {
		return errors.Join(
			netns.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"),
			netns.Sysctl("net/ipv6/conf/default/disable_ipv6", "1"),
			netns.Sysctl("net/ipv4/ip_forward", "1"),
			netns.Sysctl("net/ipv4/conf/all/rp_filter", "0"),
			netns.Sysctl("net/ipv4/conf/default/rp_filter", "0"),
		)
	}); err != nil {
		return err
	}
	return run("ip", "-n", name, "link", "set", "lo", "up")
}

// close removes what was made.
func (l *lab) close() error {
	var errs []error
	for _, name := range l.made {
		errs = append(errs, run("ip", "netns", "del", name))
	}
	l.made = nil
	return errors.Join(errs...)
}

// do runs f on a thread in a part of the lab. Sockets that f opens stay there.
func (l *lab) do(part string, f func() error) error {
	h, err := netns.Open(l.ns(part))
	if err != nil {
		return err
	}
	return errors.Join(h.Do(f), h.Close())
}

// cable joins two parts by a veth pair.
func (l *lab) cable(a, nameA, addrA, b, nameB, addrB string) error {
	err := run("ip", "-n", l.ns(a), "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", l.ns(b))
	for _, end := range [][3]string{{a, nameA, addrA}, {b, nameB, addrB}} {
		if err == nil {
			err = errors.Join(
				run("ip", "-n", l.ns(end[0]), "address", "add", end[2]+"/24", "dev", end[1]),
				run("ip", "-n", l.ns(end[0]), "link", "set", end[1], "up"),
			)
		}
	}
	return err
}

// outer makes the two ends of an outer network.
func (l *lab) outer(server, client string) error {
	for _, part := range []string{server, client} {
		if err := l.add(part); err != nil {
			return err
		}
	}
	return l.cable(server, "s0", serverAddr, client, "c0", clientAddr)
}

// behind makes a host that a server reaches from its inside, and that has its way to everybody through it.
func (l *lab) behind(server, host string) error {
	if err := l.add(host); err != nil {
		return err
	}
	return errors.Join(
		l.cable(server, "t0", insideAddr, host, "h0", farHost),
		run("ip", "-n", l.ns(host), "route", "add", "default", "via", insideAddr),
	)
}

// enter is the option with which nsenter(1) enters a part. It becomes the program that follows, so that the process ID is the
// program's; `ip netns exec` would not.
func (l *lab) enter(part string) string { return "--net=" + netns.Dir + "/" + l.ns(part) }

// inside gives the namespace of a TUN device a source of packets, a sink for them and a long queue.
func (l *lab) inside(part, device string) error {
	ns := l.ns(part)
	return errors.Join(
		run("ip", "-n", ns, "address", "add", insideAddr+"/32", "dev", "lo"),
		run("ip", "-n", ns, "route", "add", "blackhole", sinkhole+"/32"),
		run("ip", "-n", ns, "link", "set", "dev", device, "txqueuelen", strconv.Itoa(tunQueue)),
	)
}

// run runs a command to its end; what it printed is in the error.
func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// removeStale removes the namespaces of runs whose process is gone.
func removeStale() error {
	paths, err := filepath.Glob(filepath.Join(netns.Dir, prefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || unix.Kill(n, 0) == nil {
			continue
		}
		errs = append(errs, run("ip", "netns", "del", name))
	}
	return errors.Join(errs...)
}
