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

// The flood of TestForgedGRE: all call IDs once, in a time short enough that 5 % of it allow 3 µs for a packet.
const (
	forgedPackets = 1 << 16
	forgedTime    = 4 * time.Second
	forgedShare   = 0.05 // of a CPU
)

// TestForgedGRE floods the daemon with GRE packets in a client's name while the client works: the session lives, its
// traffic goes on, and no shard spends more than its share of a CPU on them.
//
// What the packets cost is the CPU time of a shard's thread while the client pings at a steady rate and the flood runs,
// less that of the same pings without the flood, over the time that passed. The client's load must not depend on the
// flood, or it would hide the cost; therefore pings and no bulk transfer.
func TestForgedGRE(t *testing.T) {
	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	link.Route(t, innerHost)
	session := world.daemon.OpenSession(t, "acme", link)
	own := link.CallID(t)
	shards := pinnedThreads(t, world.daemon.PID())

	// traffic pings for as long as a flood takes and returns each shard's CPU time in it.
	traffic := func(t *testing.T) []time.Duration {
		t.Helper()
		const interval = 20 * time.Millisecond
		const count = int(forgedTime / interval)
		used := make([]time.Duration, len(shards))
		for i, tid := range shards {
			used[i] = -threadCPU(t, world.daemon.PID(), tid)
		}
		if n := link.Ping(t, innerHost, count, interval); n < count*99/100 {
			t.Errorf("%d of %d pings came back", n, count)
		}
		for i, tid := range shards {
			used[i] += threadCPU(t, world.daemon.PID(), tid)
		}
		return used
	}

	quiet := traffic(t)
	for _, c := range []struct {
		name string
		call func(i int) uint16
	}{
		{"all call IDs", func(i int) uint16 { return uint16(i) }},
		{"the session's own call ID", func(int) uint16 { return own }},
	} {
		t.Run(c.name, func(t *testing.T) {
			flood := Forgery{
				From: g.Addr, To: netip.MustParseAddr("198.51.100.1"), Count: forgedPackets, Over: forgedTime, Call: c.call,
			}
			arrived := -received(t, "srv", "outer")
			sent := make(chan error, 1)
			go func() { sent <- flood.Send(t.Context(), world.lab) }()
			busy := traffic(t)
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if arrived += received(t, "srv", "outer"); arrived < forgedPackets {
				t.Errorf("only %d of %d forged packets reached the daemon's network", arrived, forgedPackets)
			}
			for i := range shards {
				share := (busy[i] - quiet[i]).Seconds() / forgedTime.Seconds()
				t.Logf("shard thread %d: %v with the flood, %v without: %.2f %% of a CPU", i, busy[i], quiet[i], 100*share)
				if share > forgedShare {
					t.Errorf("shard thread %d spent %.1f %% of a CPU on forged packets, want at most %.0f %%", i, 100*share, 100*forgedShare)
				}
			}
			if now := world.daemon.OpenSession(t, "acme", link); now.Name != session.Name {
				t.Errorf("the session is now %s, was %s", now.Name, session.Name)
			}
			if name := link.HostName(t); name != world.lan.Name {
				t.Errorf("TCP to the host: got %q", name)
			}
			t.Logf("drops: %v", world.daemon.OpenSession(t, "acme", link).Drops)
		})
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
