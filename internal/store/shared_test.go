package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/tenant"
)

func mustShare[T store.Record](t *testing.T, s *store.Store, name string) *T {
	t.Helper()
	r, err := store.Shared[T](s, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Shared decodes a record once as long as nothing changes, and after any change shows what Get shows.
func TestSharedFollowsTheStore(t *testing.T) {
	s := storetest.Open(t)
	acme := create(t, s, &store.Tenant{Meta: named("tenants/acme"), L2TPTunnelSecret: tenant.Secret("first")})
	create(t, s, &store.Profile{Meta: named("tenants/acme/profiles/default"), MTU: 1300})

	a := mustShare[store.Tenant](t, s, "tenants/acme")
	if string(a.L2TPTunnelSecret) != "first" || a.Etag != acme.Etag {
		t.Errorf("got secret %q and etag %s, want those of the record", string(a.L2TPTunnelSecret), a.Etag)
	}
	p := mustShare[store.Profile](t, s, "tenants/acme/profiles/default")
	if b := mustShare[store.Tenant](t, s, "tenants/acme"); b != a {
		t.Error("a record that has not changed was decoded again")
	}
	// What others hold must stay as it was.
	acme.L2TPTunnelSecret = tenant.Secret("second")
	if err := store.Update(s, acme); err != nil {
		t.Fatal(err)
	}
	if b := mustShare[store.Tenant](t, s, "tenants/acme"); string(b.L2TPTunnelSecret) != "second" || b.Etag != acme.Etag {
		t.Errorf("after the update: got secret %q and etag %s", string(b.L2TPTunnelSecret), b.Etag)
	}
	if string(a.L2TPTunnelSecret) != "first" {
		t.Error("the update has changed the record that was handed out before")
	}
	if q := mustShare[store.Profile](t, s, "tenants/acme/profiles/default"); q.MTU != p.MTU {
		t.Errorf("the profile has MTU %d, want %d", q.MTU, p.MTU)
	}
	if err := store.Delete[store.Profile](s, "tenants/acme/profiles/default", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Shared[store.Profile](s, "tenants/acme/profiles/default"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the deletion: got %v, want ErrNotFound", err)
	}
	create(t, s, &store.Profile{Meta: named("tenants/acme/profiles/default"), MTU: 1200})
	if q := mustShare[store.Profile](t, s, "tenants/acme/profiles/default"); q.MTU != 1200 {
		t.Errorf("made anew: got MTU %d, want 1200", q.MTU)
	}
}

// A name says nothing about the kind.
func TestSharedKeepsKindsApart(t *testing.T) {
	s := storetest.Open(t)
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	mustShare[store.Tenant](t, s, "tenants/acme")
	if _, err := store.Shared[store.Listener](s, "tenants/acme"); !errors.Is(err, store.ErrInvalidName) {
		t.Errorf("a listener by a tenant's name: got %v, want ErrInvalidName", err)
	}
}

// Who has written sees what was written, however many others read meanwhile.
func TestSharedIsNeverOlderThanTheLastWrite(t *testing.T) {
	s := storetest.Open(t)
	acme := create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := store.Shared[store.Tenant](s, "tenants/acme"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 50 {
		acme.DisplayName = fmt.Sprint(i)
		if err := store.Update(s, acme); err != nil {
			t.Fatal(err)
		}
		if r := mustShare[store.Tenant](t, s, "tenants/acme"); r.DisplayName != acme.DisplayName {
			t.Fatalf("after write %d: got %q", i, r.DisplayName)
		}
	}
	close(stop)
	readers.Wait()
}

func BenchmarkShared(b *testing.B) {
	s := storetest.Open(b)
	if err := store.Create(s, &store.Tenant{Meta: named("tenants/acme")}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := store.Shared[store.Tenant](s, "tenants/acme"); err != nil {
			b.Fatal(err)
		}
	}
}
