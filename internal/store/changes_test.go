package store_test

import (
	"fmt"
	"strings"
	"testing"

	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/tenant"
)

// changed reads all changes of users after a revision: "+name note" and "-name".
func changed(t *testing.T, s *store.Store, parent string, after int64) (lines []string, upto int64) {
	t.Helper()
	for {
		changes, next, later, err := store.Changes[store.User](t.Context(), s, parent, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			line := "-" + c.Name
			if c.Record != nil {
				line = fmt.Sprintf("+%s %d", c.Record.Name, c.Record.MaxSessions)
				if c.Record.Name != c.Name || s.ChangedAt(c.Record.Etag) != c.Revision || c.Record.CreateTime.IsZero() {
					t.Errorf("the change of %s at %d has %+v", c.Name, c.Revision, c.Record.Meta)
				}
				if len(c.Record.Password) != 0 {
					t.Errorf("the change of %s shows a secret", c.Name)
				}
			}
			lines = append(lines, line)
		}
		after = next
		select {
		case <-later:
		default:
			return lines, after
		}
	}
}

func TestChanges(t *testing.T) {
	s := storetest.Open(t)
	made := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made(store.Create(s, &store.Tenant{Meta: store.Meta{Name: "tenants/a"}}))
	made(store.Create(s, &store.Tenant{Meta: store.Meta{Name: "tenants/a-b"}}))
	start, err := s.Revision()
	made(err)
	bob := &store.User{Meta: store.Meta{Name: "tenants/a/users/bob"}, Password: tenant.Secret("x"), MaxSessions: 1}
	made(store.Create(s, bob))
	made(store.Create(s, &store.Pool{Meta: store.Meta{Name: "tenants/a/pools/p"}, Ranges: []string{"10.0.0.0/24"}}))
	for n := 2; n < 4; n++ {
		bob.MaxSessions = n
		made(store.Update(s, bob))
	}
	made(store.Update(s, bob)) // as it was
	made(store.Create(s, &store.User{Meta: store.Meta{Name: "tenants/a-b/users/eve"}, Password: tenant.Secret("x")}))
	made(store.Delete[store.User](s, bob.Name, ""))
	end, err := s.Revision()
	made(err)
	for parent, want := range map[string]string{
		"tenants/a":   "+tenants/a/users/bob 1,+tenants/a/users/bob 2,+tenants/a/users/bob 3,-tenants/a/users/bob",
		"tenants/a-b": "+tenants/a-b/users/eve 0",
		"tenants/-": "+tenants/a/users/bob 1,+tenants/a/users/bob 2,+tenants/a/users/bob 3,+tenants/a-b/users/eve 0," +
			"-tenants/a/users/bob",
	} {
		if got, upto := changed(t, s, parent, start); strings.Join(got, ",") != want || upto != end {
			t.Errorf("of %s: %q up to %d, want %s up to %d", parent, got, upto, want, end)
		}
	}
	if _, _, _, err := store.Changes[store.User](t.Context(), s, "", start); err == nil {
		t.Error("users have changes under no tenant")
	}
	for etag, want := range map[string]int64{bob.Etag: start + 4, "": 0, "x": 0, s.Epoch() + "-": 0, "other-5": 0} {
		if got := s.ChangedAt(etag); got != want {
			t.Errorf("etag %q is of revision %d, want %d", etag, got, want)
		}
	}
}

// Secrets that are sealed anew are no change, and what was written before can be told of afterwards.
func TestChangesOfSecretsSealedAnew(t *testing.T) {
	v := newVault(t)
	s := v.open(t, v.kv)
	start, err := s.Revision()
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 3)
	before, upto := changed(t, s, "tenants/-", start)
	if done, err := s.Reencrypt(t.Context(), nil); err != nil || done.Resealed == 0 {
		t.Fatalf("Reencrypt = %+v, %v", done, err)
	}
	if after, _ := changed(t, s, "tenants/-", upto); len(after) != 0 {
		t.Errorf("sealing anew changed %q", after)
	}
	if again, _ := changed(t, s, "tenants/-", start); len(again) != 5 || strings.Join(again, ",") != strings.Join(before, ",") {
		t.Errorf("the users were told of as %q, now as %q", before, again)
	}
}
