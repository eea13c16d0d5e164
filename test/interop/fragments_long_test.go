//go:build interop && interop_long

package interop

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestIPFragments logs a client in over a link that takes 800 octets: its IKE messages with certificates, which strongSwan
// is told not to fragment itself, and its ESP in UDP come as IP fragments.
func TestIPFragments(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	pki := world.lab.PKI
	d := byCertificate(acmeServer, pki.Alice, pki.RSA, gcmECP)
	d.L2TP.IPsec.More = "fragmentation=no\nforceencaps=yes"
	g.Must(t, "ip link set vec0 mtu 800")
	t.Cleanup(func() { g.Must(t, "ip link set vec0 mtu 1500") })
	made := func() int {
		t.Helper()
		// The first line that begins with "Ip:" names the columns of the second.
		out := g.Must(t, `{ read -r -a names; read -r -a values; } </proc/net/snmp
			for i in "${!names[@]}"; do [ "${names[i]}" != FragCreates ] || echo "${values[i]}"; done`)
		n, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil {
			t.Fatalf("the guest counts %q fragments", out)
		}
		return n
	}
	before := made()
	link := dial(t, g, d)
	if n := made() - before; n < 2 {
		t.Errorf("IKE came in %d fragments", n)
	}
	s := checkESP(t, link, tunnelCase{dial: d, nat: true, suite: gcmECP, tenant: "acme"})
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 5, 50*time.Millisecond); p.Received < 5 {
		t.Fatalf("%+v", p)
	}
	before = made()
	up := link.Upload(t, world.lan)
	n := made() - before
	t.Logf("%.1f Mbit/s up, in %d fragments", up, n)
	if least := bulkSize / 1400; n < least {
		t.Errorf("%s came in %d fragments, want %d at least", fmt.Sprint(bulkSize), n, least)
	}
	checkGoodbye(t, link, s)
}
