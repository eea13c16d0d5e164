package session

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/ippool"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
)

// leaseFile opens the file of leases; the caller closes it.
func leaseFile(t *testing.T, path string) *bolt.DB {
	t.Helper()
	kv, err := bolt.OpenWith(path, bolt.Options{LogRevisions: 1, LogBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// withLeases makes a world whose leases are kept in kv.
func withLeases(t *testing.T, bubble bool, kv store.KV) *world {
	return newWorldOf(t, bubble, 100, func(cfg Config) *Manager {
		cfg.Leases = LeaseStorage(kv)
		return New(cfg)
	})
}

// After a restart clients get the addresses that they had, whoever comes first.
func TestLeasesOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	had := map[string]netip.Addr{}
	users := []string{alice, "bob", "carol"}
	for i, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		t.Run(fmt.Sprint("run ", i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := leaseFile(t, path)
				t.Cleanup(func() {
					if err := kv.Close(); err != nil { // after the world's end
						t.Error(err)
					}
				})
				w := withLeases(t, true, kv)
				w.furnish()
				w.addUser("acme", "bob", nil)
				w.addUser("acme", "carol", nil)
				w.start()
				for _, n := range order {
					got := w.login(simppp.Windows(users[n], password)).network().Address
					if i > 0 && got != had[users[n]] {
						t.Errorf("%s got %s, had %s", users[n], got, had[users[n]])
					}
					had[users[n]] = got
				}
			})
		})
	}
}

// Fifty tenants with a full /24 each: a start is ready within two seconds, with all leases as they were.
func TestRestartOfFiftyTenants(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a few hundred records")
	}
	const tenants, each = 50, 253
	path := filepath.Join(t.TempDir(), "leases.db")
	pool := func(i int) string { return fmt.Sprintf("tenants/t%d/pools/main", i) }
	var had [tenants][each]netip.Addr
	for run := range 2 {
		t.Run(fmt.Sprint("run ", run), func(t *testing.T) {
			kv := leaseFile(t, path)
			w := withLeases(t, false, kv)
			for i := range tenants {
				w.addTenant(fmt.Sprint("t", i), "10.7.0.0/24")
				alter(w, fmt.Sprint("tenants/t", i), func(t *store.Tenant) { t.Network.Namespace = fmt.Sprint("ns", i) })
			}
			began := time.Now()
			w.start()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("ready after %s", took)
			} else {
				t.Logf("ready after %s", took)
			}
			for i := range tenants {
				for n := range each {
					u := n
					if run > 0 {
						u = each - 1 - n // in another order
					}
					owner := fmt.Sprint("s", u)
					a, err := w.pools.Lease(pool(i), fmt.Sprint("user", u), owner)
					if err != nil || run > 0 && a != had[i][u] {
						t.Fatalf("%s: user%d got %s, %v, had %s", pool(i), u, a, err, had[i][u])
					}
					had[i][u] = a
				}
				if _, err := w.pools.Lease(pool(i), "more", "more"); !errors.Is(err, ippool.ErrExhausted) {
					t.Errorf("%s: %v", pool(i), err)
				}
			}
			for i := range tenants {
				for u := range each {
					w.pools.Release(pool(i), had[i][u], fmt.Sprint("s", u))
				}
			}
			w.shutdown(time.Minute)
			if err := kv.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file that can't be used costs the addresses, and no log-in.
func TestLeasesThatCannotBeKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	synctest.Test(t, func(t *testing.T) {
		kv := leaseFile(t, path)
		w := withLeases(t, true, kv)
		if err := kv.Close(); err != nil {
			t.Fatal(err)
		}
		w.ready()
		w.login(simppp.Windows(alice, password))
		time.Sleep(time.Minute)
		if got := w.leased(acmePool); got != 1 {
			t.Errorf("%d leased", got)
		}
	})
}
