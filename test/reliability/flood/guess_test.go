//go:build interop

package flood

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"concentrator/internal/simclient/load"
	"concentrator/internal/tenant"
	"concentrator/test/reliability/lab"
)

// guessers is how many guesses are under way at once, and guessesPerSecond how many there are: far more than come through.
const (
	guessers         = 4
	guessesPerSecond = 100
)

// guesses tries wrong passwords of the user whom everybody else logs in as, from many addresses or from one.
func guesses(protocol tenant.Protocol, many bool) func(*testing.T, *world) flooder {
	return func(t *testing.T, w *world) flooder {
		cfg := load.Config{
			Server: netip.MustParseAddr(lab.AttackedAt), Protocols: []tenant.Protocol{protocol}, Password: "a wrong one",
		}
		if many {
			for i := range maxLogins {
				cfg.Sources = append(cfg.Sources, nth(netip.MustParsePrefix(villains), i))
			}
		}
		d := w.dial(t, "atk", cfg, maxLogins)
		return func(ctx context.Context) (int, error) {
			var (
				group sync.WaitGroup
				n     atomic.Int64
			)
			begin := time.Now()
			for range guessers {
				group.Go(func() {
					for {
						i := int(n.Add(1)) - 1
						if !turn(ctx, begin, i, guessesPerSecond) {
							return
						}
						s, _, _ := d.login(ctx, i) // it is to be refused
						hangUp(s)
					}
				})
			}
			group.Wait()
			return int(n.Load()), nil
		}
	}
}
