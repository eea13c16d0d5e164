package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/tenant"
)

// derivedUsers makes users and what is kept of them: name, etag and sessions. made counts how often one was decoded.
func derivedUsers(t testing.TB, names ...string) (*store.Store, *store.Derived[store.User, string], *int) {
	t.Helper()
	s := storetest.Open(t)
	if err := store.Create(s, &store.Tenant{Meta: store.Meta{Name: "tenants/acme"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := store.Create(s, &store.User{Meta: store.Meta{Name: "tenants/acme/users/" + name}, Password: tenant.Secret("x")}); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	made := 0
	return s, store.NewDerived(s, func(u *store.User) string {
		mu.Lock()
		defer mu.Unlock()
		made++
		return fmt.Sprintf("%s %s %d", strings.TrimPrefix(u.Name, "tenants/acme/users/"), u.Etag, u.MaxSessions)
	}), &made
}

// listed is all that is kept, page by page, and what the store itself has.
func listed(t *testing.T, s *store.Store, d *store.Derived[store.User, string], limit int) (got, want []string) {
	t.Helper()
	for after, more := "", true; more; {
		var page []string
		var err error
		if page, after, more, err = d.List("tenants/acme", after, limit); err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
	}
	all, _, err := store.List[store.User](s, "tenants/acme", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all {
		want = append(want, fmt.Sprintf("%s %s %d", strings.TrimPrefix(u.Name, "tenants/acme/users/"), u.Etag, u.MaxSessions))
	}
	return got, want
}

func TestDerivedFollowsTheStore(t *testing.T) {
	s, d, made := derivedUsers(t, "a", "b", "c", "d", "e")
	check := func(what string, decoded int) {
		t.Helper()
		before := *made
		for _, limit := range []int{0, 2} {
			if got, want := listed(t, s, d, limit); !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", what, got, want)
			}
		}
		if n := *made - before; n != decoded {
			t.Errorf("%s: %d were decoded, want %d", what, n, decoded)
		}
	}
	check("at first", 5)
	check("again", 0)
	if err := store.Update(s, &store.User{Meta: store.Meta{Name: "tenants/acme/users/b"}, MaxSessions: 7}); err != nil {
		t.Fatal(err)
	}
	check("after an update", 1)
	if err := store.Delete[store.User](s, "tenants/acme/users/c", ""); err != nil {
		t.Fatal(err)
	}
	check("after a deletion", 0)
	if err := store.Create(s, &store.User{Meta: store.Meta{Name: "tenants/acme/users/c"}, MaxSessions: 1}); err != nil {
		t.Fatal(err)
	}
	check("after it came back", 1)
	if _, err := s.Reencrypt(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	check("after a new key", 3) // those with a password
	if _, _, _, err := d.List("tenants/no/such", "", 0); err == nil {
		t.Error("a parent that is none was taken")
	}
}

func TestDerivedUnderWrites(t *testing.T) {
	s, d, _ := derivedUsers(t, "a", "b", "c")
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range 50 {
				u := &store.User{Meta: store.Meta{Name: "tenants/acme/users/" + string(rune('a'+w))}, MaxSessions: i}
				if err := store.Update(s, u); err != nil {
					t.Error(err)
				}
				page, _, _, err := d.List("tenants/acme", "", 0)
				if err != nil || !slices.Contains(page, fmt.Sprintf("%c %s %d", 'a'+w, u.Etag, i)) {
					t.Errorf("own write is not in %v, %v", page, err)
				}
			}
		})
	}
	wg.Wait()
}
