//go:build interop

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

const (
	shortKills = 5
	// writers is how many callers of the API change something at the same time.
	writers = 6
	// clients log in, and churn of them hang up and log in again each second.
	clients = "40"
	churn   = "30"
	// earliest and latest are when the daemon dies after the load has begun.
	earliest = 200 * time.Millisecond
	latest   = 1700 * time.Millisecond
	// booked is how long after a session is up it must be in the ledger: it is shown as open one commit before.
	booked = 300 * time.Millisecond
	// startTime is how long the daemon may take to its being ready, on a machine that does other things too.
	startTime = 15 * time.Second
)

// TestKills kills the daemon at random moments while clients come and go and the API is written to.
func TestKills(t *testing.T) { kills(t, shortKills) }

// seedOf is the seed of a test's random numbers: CRASH_SEED, or a new one.
func seedOf(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CRASH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CRASH_SEED=%d", seed)
	return seed
}

func kills(t *testing.T, rounds int) {
	seed := seedOf(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	said := newTold()
	var ready []time.Duration
	up, during := 0, 0 // sessions at the moment of a kill; kills with one at least
	begin := func() *rest {
		t.Helper()
		begun := time.Now()
		if err := d.Begin(t); err != nil {
			t.Fatal(err)
		}
		if err := d.Ready(startTime); err != nil {
			t.Fatalf("round %d: %v", len(ready), err)
		}
		ready = append(ready, time.Since(begun))
		r := newREST(t, l, d)
		if i := d.Instance(t); i.Sessions != 0 || len(i.Faults) != 0 {
			t.Errorf("round %d begins with %d sessions, faults %+v", len(ready), i.Sessions, i.Faults)
		}
		var pool struct{ Usage struct{ Leased string } }
		if err := r.call(t.Context(), "GET", "tenants/acme/pools/main", nil, &pool); err != nil || pool.Usage.Leased != "" && pool.Usage.Leased != "0" {
			t.Errorf("round %d begins with %q leases, %v", len(ready), pool.Usage.Leased, err)
		}
		said.check(t, r)
		return r
	}
	for round := range rounds {
		r := begin()
		load := l.StartLoad(t, "hold", "--protocol", "MIX", "--count", clients, "--churn", churn, "--duration", "1h",
			"--source-net", "10.200.0.0/24")
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var unexpected sync.Map
		for w := range writers {
			name, s := fmt.Sprintf("k%d-%d", round, w), rnd.Uint64()
			wg.Go(func() {
				var err error
				if w == 0 {
					err = said.bring(ctx, r, name)
				} else {
					err = said.write(ctx, r, name, s)
				}
				if a, ok := refused(err); ok {
					unexpected.Store(name, a)
				}
			})
		}
		time.Sleep(earliest + time.Duration(rnd.Int64N(int64(latest-earliest))))
		if n := said.look(ctx, r); n > 0 {
			up += n
			during++
		}
		time.Sleep(booked + time.Duration(rnd.IntN(30))*time.Millisecond)
		d.Kill()
		cancel()
		wg.Wait()
		load.Kill()
		unexpected.Range(func(name, a any) bool {
			t.Errorf("round %d, %v: %v", round, name, a)
			return true
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	begin()
	d.Stop(t)
	b := checkAccounting(t, d, said.live)
	slices.Sort(ready)
	t.Logf("%d kills: %d calls acknowledged, %d imports, %d sessions with a Start and a Stop, %d of them ended by a kill, %d seen in %d kills; ready after %v, at most %v",
		rounds, said.calls, len(said.brought)/importRows, len(b.starts), b.crashed, up, during, ready[len(ready)/2].Round(time.Millisecond), ready[len(ready)-1].Round(time.Millisecond))
	if b.crashed == 0 || during < rounds/2 || said.calls < 10*rounds {
		t.Errorf("too little was going on to show anything")
	}
}
