//go:build interop

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// sweptPorts are the twenty that every address of the plan is asked for.
const sweptPorts = "21,22,23,25,53,80,88,111,135,139,143,389,443,445,1723,3306,3389,5900,7000,8080"

// TestFiftyTenants has a client in each of two out of fifty tenants with the same addresses, and has one of them ask every
// address of the plan: nothing of another tenant answers, or gets a packet.
func TestFiftyTenants(t *testing.T) {
	checkFifty(t, "1-1024")
}

// checkFifty is TestFiftyTenants. ports are those of the other's gateway and client that are asked, by TCP.
func checkFifty(t *testing.T, ports string) {
	f := startFifty(t, "fifty")
	guests := borrow(t, 2)
	// L2TP/IPsec for the one who asks: the guest's kernel does that, and pptp would lose some of so many packets.
	asking := overIPsec(fiftyAddress, "psk of t1", gcmECP)
	asking.User = "alice@t1.example"
	one := dial(t, guests[0], asking)
	two := dial(t, guests[1], Dial{Server: fiftyAddress, User: "bob@t2.example", Password: "builder-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	for _, l := range []*Link{one, two} {
		l.Guest.Must(t, fmt.Sprintf("ip route add %s dev %s; ip route add %s dev %s", planPool, l.Interface(), planInside, l.Interface()))
	}
	// What only the other has: all swept ports at its host, one at its gateway.
	for _, port := range strings.Split(sweptPorts, ",") {
		if port != "7000" { // the host's own service
			open(t, "t2far", innerHost+":"+port)
		}
	}
	open(t, "t2", innerGateway+":1000")

	capture := StartCapture(t, world.lab.NS("t2"))
	for i, l := range []*Link{one, two} {
		if name := l.HostName(t); name != f.hosts[i].Name {
			t.Errorf("%s reaches the host of %q, want that of %q", l.Guest.Name, name, f.hosts[i].Name)
		}
	}
	// The sweep can find what there is, and the capture sees it: by the other itself.
	own := two.Sweep(t, 500, "icmp:"+innerGateway+"/32", "tcp:"+innerGateway+"/32:1000-1001", "tcp:"+innerHost+"/32:"+sweptPorts)
	for _, want := range []string{innerGateway + " icmp 0 0", innerGateway + " tcp open 1000", innerGateway + " tcp closed", innerHost + " tcp open 443"} {
		if !own.Has(want) {
			t.Errorf("tenant two's client has not got %q from its own: %q", want, own.Answers)
		}
	}
	if n, _ := capture.Take(); n < 50 {
		t.Errorf("a capture in tenant two has seen %d packets of its client", n)
	}
	quiet(t, capture)

	before := f.sessionOf(t, one)
	rest := two.Counters(t)
	var delivered []uint64
	for _, tenant := range f.tenants {
		delivered = append(delivered, tenant.delivered(t))
	}
	begin := time.Now()
	swept := one.Sweep(t, 3000,
		"icmp:"+planPool, "icmp:"+planInside,
		"tcp:"+planPool+":"+sweptPorts, "tcp:"+planInside+":"+sweptPorts,
		"udp:"+planPool+":"+sweptPorts, "udp:"+planInside+":"+sweptPorts,
		"tcp:"+two.Remote.String()+"/32:"+ports, "tcp:"+innerGateway+"/32:"+ports, "tcp:"+two.Local.String()+"/32:"+ports,
	)
	after := f.sessionOf(t, one)
	// And with the other's address.
	out, _, err := one.Guest.Sh(t.Context(), fmt.Sprintf("ip addr add %s/32 dev %s; %s", two.Local, one.Interface(),
		strings.Join(append([]string{"ping", "-I", two.Local.String()}, pingCommand(innerHost, 5, 50*time.Millisecond)[1:]...), " ")))
	if err != nil {
		t.Fatal(err)
	}
	if p := parsePings(t, out); p.Sent < 5 || p.Received != 0 {
		t.Errorf("tenant one's client with the other's address: %+v", p)
	}
	if n := f.sessionOf(t, one).Drops["spoofed_source"] - after.Drops["spoofed_source"]; n < 5 {
		t.Errorf("%d packets were dropped for the source, want 5", n)
	}
	t.Logf("%d questions in %v, the daemon has got %d; answers: %q",
		swept.Asked, time.Since(begin).Round(time.Millisecond), after.InPackets-before.InPackets, swept.Answers)

	// Answers come from what is tenant one's own, and of it only the host's service is open.
	for _, want := range []string{innerGateway + " icmp 0 0", innerHost + " icmp 0 0", innerHost + " tcp open 7000"} {
		if !swept.Has(want) {
			t.Errorf("no %q of tenant one's own", want)
		}
	}
	mine := []string{one.Remote.String(), innerGateway, innerHost}
	for _, a := range swept.Answers {
		from, how, _ := strings.Cut(a, " ")
		if !slices.Contains(mine, from) || strings.HasPrefix(how, "tcp open") && a != innerHost+" tcp open 7000" || strings.HasPrefix(how, "udp") {
			t.Errorf("tenant one's client got %q", a)
		}
	}
	if came := int(after.InPackets - before.InPackets); came < swept.Asked*99/100 {
		t.Errorf("%d of %d questions have come to the daemon", came, swept.Asked)
	}
	// Nothing came out in any other tenant.
	if n, first := capture.Take(); n != 0 {
		t.Errorf("a capture in tenant two has seen %d packets: %q", n, first)
	}
	for i, tenant := range f.tenants {
		n := tenant.delivered(t) - delivered[i]
		if i == 0 && n == 0 {
			t.Error("tenant one's device got no packet")
		}
		if i > 0 && n != 0 {
			t.Errorf("%d packets came out in tenant %s", n, tenant.ID)
		}
	}
	if now := two.Counters(t).Sub(rest); now.RxPackets != 0 {
		t.Errorf("tenant two's client got %d packets", now.RxPackets)
	}
	for i, l := range []*Link{one, two} {
		if name := l.HostName(t); name != f.hosts[i].Name {
			t.Errorf("afterwards %s reaches the host of %q, want that of %q", l.Guest.Name, name, f.hosts[i].Name)
		}
		l.HangUp(t)
	}
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
}

// open has a part of the lab accept TCP at an address until the test ends.
func open(t *testing.T, part, address string) {
	t.Helper()
	l, err := listenIn(world.lab.NS(part), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			_ = c.Close()
		}
	}()
}

// quiet waits until a capture has seen nothing for a second: the last of a connection may take its time.
func quiet(t *testing.T, c *Capture) {
	t.Helper()
	eventually(t, 20*time.Second, func() string {
		c.Take()
		time.Sleep(time.Second)
		if n, first := c.Take(); n > 0 {
			return fmt.Sprintf("%d packets: %q", n, first)
		}
		return ""
	})
}

// sessionOf is the session of a link.
func (f *Fifty) sessionOf(t *testing.T, l *Link) Session {
	t.Helper()
	_, realm, _ := strings.Cut(l.Asked.User, "@")
	return f.OpenSession(t, strings.TrimSuffix(realm, ".example"), l)
}

// patience is how long the other end of a transfer that is undisturbed may be silent.
const patience = time.Second

// TestUndisturbed keeps a TCP transfer going in one tenant while everything around it is changed: tenants come, change and
// go, pools grow and shrink, keys are changed, and all secrets are sealed anew. The transfer does not notice.
func TestUndisturbed(t *testing.T) {
	f := startFifty(t, "undisturbed")
	g := borrow(t, 1)[0]
	d := overIPsec(fiftyAddress, "psk of t1", cbcSHA1)
	d.User, d.Password = "alice@t1.example", "wonder-1"
	link := dial(t, g, d)
	link.Route(t, innerHost)
	session := f.sessionOf(t, link)

	const over = 6 * time.Second
	stream := StartStream(t, "t1far", f.hosts[0], link)
	time.Sleep(over)
	still := stream.Stop(t)
	t.Logf("while nothing happens: %v", still)

	stream = StartStream(t, "t1far", f.hosts[0], link)
	rounds := 0
	for begin := time.Now(); time.Since(begin) < over; rounds++ {
		f.change(t, rounds, stream)
	}
	busy := stream.Stop(t)
	t.Logf("while all around it was changed %d times: %v", rounds, busy)
	if rounds < 2 {
		t.Errorf("%d rounds of changes in %v", rounds, over)
	}
	// A guest that is short of CPU acknowledges late, and TCP sends a segment again for nothing, now as then. What is lost is
	// another matter.
	if busy.octets < still.octets*8/10 || busy.lost() > still.lost()+3 || busy.silence > patience {
		t.Errorf("%v while all around it was changed, %v while nothing happened", busy, still)
	}
	if now := f.sessionOf(t, link); now.Name != session.Name {
		t.Errorf("the session is now %s, was %s", now.Name, session.Name)
	}
	// The key that the client came in with was changed, and is good still.
	link.HangUp(t)
	again := dial(t, g, d)
	if again.Local != link.Local {
		t.Errorf("address %s, was %s", again.Local, link.Local)
	}
	again.HangUp(t)
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
}

// change changes what it can, once, and back.
func (f *Fifty) change(t *testing.T, round int, stream *Stream) {
	t.Helper()
	ctl := func(args ...string) {
		t.Helper()
		begin := time.Now()
		if _, err := f.Ctl(t.Context(), args...); err != nil {
			t.Error(err)
		}
		took := time.Since(begin)
		if silence := stream.Silence(); silence > patience/4 {
			t.Logf("%v of silence by the end of ctl %.80q, which took %v", silence, args, took)
		}
	}
	id := fmt.Sprintf("new%d", round)
	var names []string
	for _, tenant := range f.tenants {
		names = append(names, "tenants/"+tenant.ID)
	}
	listener := func(tenants []string) { ctl("listener", "update", "fifty", "--tenants", strings.Join(tenants, ",")) }

	// A tenant comes, changes, and goes.
	ns := world.lab.NS(id)
	t.Cleanup(func() { removeNamespace(ns) })
	ctl("tenant", "create", id, "--network.namespace", ns, "--realms", id+".example", "--ipsec.psks", `[{"id":"main","secret":"psk of `+id+`"}]`)
	ctl("pool", "create", "main", "--tenant", id, "--ranges", planPool)
	ctl("profile", "create", "default", "--tenant", id, "--pool", "tenants/"+id+"/pools/main")
	ctl("user", "create", "alice", "--tenant", id, "--password", "wonder-1")
	listener(append(slices.Clone(names), "tenants/"+id))
	ctl("tenant", "update", id, "--network.mtu", "1400")
	ctl("tenant", "update", id, "--network.masquerade=true")
	// Pools of the transfer's own tenant and of another grow and shrink.
	for _, tenant := range []string{"t1", "t2"} {
		ctl("pool", "update", "main", "--tenant", tenant, "--ranges", planPool+",10.72.0.0/22")
		ctl("pool", "update", "main", "--tenant", tenant, "--ranges", planPool)
	}
	// Keys, the transfer's own too; then the new ones are taken out again.
	for _, tenant := range []string{"t1", "t2"} {
		ctl("tenant", "rotate-psk", tenant)
		ctl("tenant", "update", tenant, "--ipsec.psks", `[{"id":"main"}]`)
	}
	ctl("tenant", "update", "t3", "--network.client-to-client=true")
	ctl("tenant", "update", "t3", "--network.client-to-client=false")
	ctl("instance", "reencrypt")
	listener(names)
	ctl("user", "delete", "alice", "--tenant", id)
	ctl("profile", "delete", "default", "--tenant", id)
	ctl("pool", "delete", "main", "--tenant", id)
	ctl("tenant", "delete", id)
}
