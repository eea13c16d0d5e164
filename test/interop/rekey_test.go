//go:build interop

package interop

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestRekey has a client begin new SAs of both phases every few seconds.
func TestRekey(t *testing.T) {
	t.Parallel()
	d := overIPsec(acmeServer, acmePSK, cbcSHA1)
	d.L2TP.IPsec.ESPLifetime, d.L2TP.IPsec.IKELifetime, d.L2TP.IPsec.Margin = 14*time.Second, 18*time.Second, 7*time.Second
	checkRekey(t, rekeyCase{dial: d, tenant: "acme", over: 26 * time.Second, wantESP: 3, wantIKE: 2})
}

// rekeyCase is a session that lives through new SAs.
type rekeyCase struct {
	dial             Dial
	nat              bool
	tenant           string
	over             time.Duration
	byDaemon         bool // who begins them, or else the client
	wantESP, wantIKE int  // new SAs, at least
}

// What charon logs of new SAs: how each began, and that it is there.
var (
	espByClient    = regexp.MustCompile(`generating QUICK_MODE request \d+ \[ HASH SA`)
	espByDaemon    = regexp.MustCompile(`parsed QUICK_MODE request \d+ \[ HASH SA`)
	espEstablished = regexp.MustCompile(`CHILD_SA \S+ established with SPIs`)
	ikeByClient    = regexp.MustCompile(`\] initiating Main Mode IKE_SA`)
	ikeByDaemon    = regexp.MustCompile(`is initiating a Main Mode IKE_SA`)
	ikeEstablished = regexp.MustCompile(`IKE_SA \S+ established between`)
)

// checkRekey pings a client every 10 ms, and keeps one TCP connection of it busy, while its SAs are replaced. The session
// stays the same, and at most max(10, 0.1 %) of the pings are lost.
func checkRekey(t *testing.T, c rekeyCase) {
	g := borrow(t, 1)[0]
	if c.nat {
		g.GoBehind(t, g.index, PrivateAddr(g.index))
	}
	link := dial(t, g, c.dial)
	link.Route(t, innerHost)
	before := world.daemon.OpenSession(t, c.tenant, link)

	tcp := make(chan error, 1)
	go func() {
		out, status, err := g.Sh(t.Context(), echoScript(c.over))
		if err == nil && (status != 0 || !strings.HasSuffix(out, " lines\n")) {
			err = fmt.Errorf("status %d: %s", status, out)
		}
		tcp <- err
	}()
	const interval = 10 * time.Millisecond
	pings := world.lab.PingFrom(t, "lan", link.Local.String(), int(c.over/interval), interval)
	if err := <-tcp; err != nil {
		t.Errorf("the TCP connection inside did not survive: %v", err)
	}

	log := link.logs("charon")
	count := func(re *regexp.Regexp) int { return len(re.FindAllString(log, -1)) }
	esp, ike := count(espEstablished)-1, count(ikeEstablished)-1
	lost := pings.Sent - pings.Received
	t.Logf("%d new ESP SAs, %d new IKE SAs, %d of %d pings lost", esp, ike, lost, pings.Sent)
	if esp < c.wantESP || ike < c.wantIKE {
		t.Errorf("%d new ESP SAs and %d new IKE SAs, want at least %d and %d:\n%s", esp, ike, c.wantESP, c.wantIKE, tail(link.path("charon"), 60))
	}
	begunESP, begunIKE := count(espByClient)-1, count(ikeByClient)-1
	if c.byDaemon {
		begunESP, begunIKE = count(espByDaemon), count(ikeByDaemon)
	}
	if begunESP < c.wantESP || begunIKE < c.wantIKE {
		t.Errorf("this side began %d new ESP SAs and %d new IKE SAs, want at least %d and %d", begunESP, begunIKE, c.wantESP, c.wantIKE)
	}
	if least := int(c.over/interval) / 2; pings.Sent < least {
		t.Errorf("only %d pings were sent, want at least %d", pings.Sent, least)
	}
	if lost > max(10, pings.Sent/1000) {
		t.Errorf("%d of %d pings were lost", lost, pings.Sent)
	}
	after := world.daemon.OpenSession(t, c.tenant, link)
	t.Logf("drops: %v", after.Drops)
	if after.Name != before.Name {
		t.Errorf("the session is now %s, was %s", after.Name, before.Name)
	}
	if strings.Contains(link.Log(t), "Connection terminated") {
		t.Errorf("the PPP link did not survive:\n%s", link.Log(t))
	}
	checkGoodbye(t, link, after)
}
