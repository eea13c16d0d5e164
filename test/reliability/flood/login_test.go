//go:build interop

package flood

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"concentrator/internal/tenant"
	"concentrator/test/reliability/lab"
)

// kind is one kind of log-in that is measured.
type kind struct {
	protocol tenant.Protocol
	fresh    bool // from an address from which nobody has logged in before
}

func (k kind) String() string {
	if k.fresh {
		return string(k.protocol) + " from a new address"
	}
	return string(k.protocol)
}

// protocols are those of the log-ins that are measured, as the dialer takes them in turn.
var protocols = []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec}

// kinds are measured in turn, from newKinds on those from a new address.
var kinds = []kind{
	{tenant.ProtocolPPTP, false}, {tenant.ProtocolL2TPIPsec, false}, {tenant.ProtocolPPTP, true}, {tenant.ProtocolL2TPIPsec, true},
}

const newKinds = 2

// maxLogins is how many log-ins there can be in a run.
const maxLogins = 50_000

// loginTimeout is for one log-in. Real clients give up later.
const loginTimeout = 10 * time.Second

// sources are the addresses of the clients by their index: with four in a row, as kinds has them, the first two come from one
// address and the others from one each.
func sources() (all []netip.Addr) {
	network := netip.MustParsePrefix(newcomers)
	for i := range maxLogins {
		at := netip.MustParseAddr(clientsAt)
		if kinds[i%len(kinds)].fresh {
			at = nth(network, i)
		}
		all = append(all, at)
	}
	return all
}

// next is the index of a client of a kind that was none before.
func (w *world) next(k kind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(kinds, k) + len(kinds)*w.used[k]
	w.used[k]++
	return i
}

// login logs one client of a kind in and out. It gives up when ctx ends.
func (w *world) login(ctx context.Context, k kind) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	s, took, err := w.clients.login(ctx, w.next(k))
	hangUp(s)
	if err != nil {
		return took, fmt.Errorf("%v: %w", k, err)
	}
	return took, nil
}

// logins are what came of some log-ins.
type logins struct {
	mu     sync.Mutex // guards what follows while there are more
	took   map[kind][]time.Duration
	failed map[kind]error // the last one
}

func newLogins() *logins {
	return &logins{took: map[kind][]time.Duration{}, failed: map[kind]error{}}
}

func (l *logins) add(k kind, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed[k] = err
	}
	l.took[k] = append(l.took[k], took)
}

// median of the log-ins of a kind; one that has failed took for ever.
func (l *logins) median(k kind) time.Duration { return median(l.took[k]) }

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// measure logs clients in and out, one after the other, until more says no.
func (w *world) measure(more func(round int) bool) *logins {
	l := newLogins()
	w.each(context.Background(), l, kinds, more)
	return l
}

// measureBeside logs clients from a known address in and out, one after the other, until ctx ends, and beside them such from new
// addresses, which may have to wait, now and then. A new address that has waited in vain until then does not count.
func (w *world) measureBeside(ctx context.Context) *logins {
	const pause = 100 * time.Millisecond // they are told of only, and are not to be a flood of their own
	l, more := newLogins(), func(int) bool { return ctx.Err() == nil }
	var both sync.WaitGroup
	both.Go(func() { w.each(context.Background(), l, kinds[:newKinds], more) })
	both.Go(func() {
		w.each(ctx, l, kinds[newKinds:], func(int) bool {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(pause):
				return true
			}
		})
	})
	both.Wait()
	return l
}

// each logs clients of some kinds in and out, in turn, until more says no, or ctx has ended during a log-in.
func (w *world) each(ctx context.Context, l *logins, kinds []kind, more func(round int) bool) {
	for round := 0; ; round++ {
		for _, k := range kinds {
			if !more(round) {
				return
			}
			took, err := w.login(ctx, k)
			if ctx.Err() != nil {
				return
			}
			l.add(k, took, err)
		}
	}
}

// calm measures without a flood. The first round is not counted: nothing is warm, and nobody known.
func (w *world) calm(t *testing.T) {
	t.Helper()
	w.measure(func(round int) bool { return round < 1 })
	l := w.measure(func(round int) bool { return round < samples })
	for _, k := range kinds {
		if err := l.failed[k]; err != nil {
			t.Fatalf("without a flood: %v", err)
		}
		w.quiet[k] = l.median(k)
		t.Logf("without a flood, %v: %v", k, w.quiet[k])
	}
	w.memory = w.daemon.Resident(t)
}

// slack is what is allowed beside twice the median: the floods, the clients and the daemon share two CPUs.
const slack = 20 * time.Millisecond

// limit is how long a log-in of a kind may take.
func (w *world) limit(k kind) time.Duration { return 2*w.quiet[k] + slack }

// recovered waits until log-ins are as fast as without a flood, those of newcomers too unless they are locked out, and no fault
// stands. It says how long that took.
func (w *world) recovered(t *testing.T, lockedOut bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for time.Since(begin) < recovery {
		well := true
		for _, k := range kinds {
			if k.fresh && lockedOut {
				continue
			}
			took, err := w.login(t.Context(), k)
			well = well && err == nil && took <= w.limit(k)
		}
		if well && len(w.faults(t)) == 0 {
			return time.Since(begin)
		}
	}
	return time.Since(begin)
}

// faults are those that stand.
func (w *world) faults(t *testing.T) []lab.Fault {
	t.Helper()
	return w.daemon.Instance(t).Faults
}
