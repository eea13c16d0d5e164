//go:build interop

package interop

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// The flood: as many packets as there are call IDs.
const (
	forgedPackets = 1 << 16
	forgedShare   = 0.05 // of a CPU that a shard may spend on them
)

// TestForgedGRE floods the daemon with GRE packets for all call IDs in a client's name, so fast that 5 % of a CPU is 3 µs
// for each.
func TestForgedGRE(t *testing.T) {
	checkFlood(t, 4*time.Second, func(i int, _ uint16) uint16 { return uint16(i) })
}

// checkFlood floods the daemon for that long with GRE packets in a client's name while the client works: the session lives,
// its traffic goes on, and no shard spends more than its share of a CPU on them. callID chooses the call ID of packet i; own
// is that of the client's session.
//
// What the packets cost is the CPU time of a shard's thread while the client pings at a steady rate and the flood runs,
// less that of the same pings without the flood, over the time that passed. The client's load must not depend on the
// flood, or it would hide the cost; therefore pings and no bulk transfer.
func checkFlood(t *testing.T, over time.Duration, callID func(i int, own uint16) uint16) {
	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	link.Route(t, innerHost)
	session := world.daemon.OpenSession(t, "acme", link)
	shards := pinnedThreads(t, world.daemon.PID())

	// traffic pings for as long as the flood takes and returns each shard's CPU time in it.
	traffic := func() []time.Duration {
		t.Helper()
		used := make([]time.Duration, len(shards))
		for i, tid := range shards {
			used[i] = -threadCPU(t, world.daemon.PID(), tid)
		}
		// The last reply may come too late to be counted.
		if p := link.PingFor(t, innerHost, 20*time.Millisecond, over); p.Received < 50 || p.Sent-p.Received > 1+p.Sent/100 {
			t.Errorf("the client's traffic suffers: %+v", p)
		}
		for i, tid := range shards {
			used[i] += threadCPU(t, world.daemon.PID(), tid)
		}
		return used
	}
	quiet := traffic()

	own := link.CallID(t)
	flood := Forgery{
		From: g.Addr, To: netip.MustParseAddr("198.51.100.1"), Count: forgedPackets, Over: over,
		Call: func(i int) uint16 { return callID(i, own) },
	}
	before := received(t, "srv", "outer")
	sent := make(chan error, 1)
	go func() { sent <- flood.Send(t.Context(), world.lab) }()
	busy := traffic()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if n := received(t, "srv", "outer") - before; n < forgedPackets {
		t.Errorf("only %d packets reached the daemon's network, %d were forged", n, forgedPackets)
	}

	for i := range shards {
		share := (busy[i] - quiet[i]).Seconds() / over.Seconds()
		t.Logf("shard thread %d: %v with the flood, %v without: %.2f %% of a CPU", i, busy[i], quiet[i], 100*share)
		if share > forgedShare {
			t.Errorf("shard thread %d spent %.1f %% of a CPU on forged packets, want at most %.0f %%", i, 100*share, 100*forgedShare)
		}
	}
	after := world.daemon.OpenSession(t, "acme", link)
	t.Logf("drops: %v", after.Drops)
	if after.Name != session.Name {
		t.Errorf("the session is now %s, was %s", after.Name, session.Name)
	}
	if name := link.HostName(t); name != world.lan.Name {
		t.Errorf("TCP to the host: got %q", name)
	}
	link.HangUp(t)
}

// received is how many packets an interface of a part of the lab has received.
func received(t *testing.T, part, device string) (packets int) {
	t.Helper()
	if err := inNamespace(world.lab.NS(part), func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		_, line, _ := strings.Cut(string(text), " "+device+":")
		_, err = fmt.Sscan(line, new(int), &packets) // octets, packets, …
		return err
	}); err != nil {
		t.Fatalf("counters of %s in %s: %v", device, part, err)
	}
	return packets
}
