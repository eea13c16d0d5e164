//go:build interop

package interop

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestRateLimit moves octets by TCP through a session that has a limit each way, in ESP behind a NAT: it gets what its limit
// leaves to TCP, and no more.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	d := overIPsec(acmeServer, acmePSK, gcmECP)
	d.User, d.Password = "slow", "snail-4"
	g := borrow(t, 1)[0]
	g.GoBehind(t, g.index, PrivateAddr(g.index))
	link := dial(t, g, d)
	s := world.daemon.OpenSession(t, "acme", link)
	if s.Profile != "tenants/acme/profiles/slow" || s.RateLimit.UpBps != 12_000_000 || s.RateLimit.DownBps != 16_000_000 {
		t.Errorf("ctl session list shows %+v", s)
	}
	link.Route(t, innerHost)
	for _, way := range []struct {
		name  string
		move  func(testing.TB, *Host) float64
		limit float64 // Mbit/s of inner IP
	}{
		{"down", link.Download, 16}, {"up", link.Upload, 12},
	} {
		got := way.move(t, world.lan)
		t.Logf("%s: %.1f of %.0f Mbit/s", way.name, got, way.limit)
		// TCP and IP headers are part of the limit; at the beginning there is a burst of 50 ms more.
		if got > way.limit*1.05 || got < way.limit*0.6 {
			t.Errorf("%s: %.1f Mbit/s with a limit of %.0f", way.name, got, way.limit)
		}
	}
	now := world.daemon.OpenSession(t, "acme", link)
	for reason, n := range now.Drops {
		if reason != "rate_limit" && n > 0 {
			t.Errorf("%d packets were dropped as %s", n, reason)
		}
	}
	checkChecksums(t, world.lan, g)
	checkGoodbye(t, link, s)
}

// checkChecksums checks that neither kernel at the ends has seen a TCP or UDP packet whose checksum is wrong. The checksum
// offloads of the devices between are off, so what the daemon joins and cuts is really looked at.
func checkChecksums(t *testing.T, h *Host, g *Guest) {
	t.Helper()
	const snmp = "/proc/net/snmp"
	var at []byte
	if err := inNamespace(world.lab.NS(h.Name), func() (err error) {
		at, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"the host": string(at), "the client": g.Must(t, "cat "+snmp)} {
		for _, protocol := range []string{"Tcp:", "Udp:"} {
			if n := counter(t, text, protocol, "InCsumErrors"); n != 0 {
				t.Errorf("%s has got %d packets of %s with a wrong checksum", where, n, strings.TrimSuffix(protocol, ":"))
			}
		}
	}
}

// counter finds a counter in /proc/net/snmp, which has a line of names and one of values for each protocol.
func counter(t *testing.T, snmp, protocol, name string) int {
	t.Helper()
	var names []string
	for line := range strings.Lines(snmp) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != protocol {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n != name || i >= len(fields) {
				continue
			}
			v, err := strconv.Atoi(fields[i])
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no %s of %s in %s", name, protocol, snmp)
	return 0
}
