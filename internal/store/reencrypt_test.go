package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/tenant"
)

// vault is a store whose engine and key file a test can get at.
type vault struct {
	kv  *bolt.DB
	key string
}

func newVault(t *testing.T) vault {
	t.Helper()
	dir := t.TempDir()
	kv, err := bolt.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kv.Close(); err != nil {
			t.Error(err)
		}
	})
	return vault{kv, filepath.Join(dir, "master.key")}
}

// open is a start of the program, with its engine wrapped or not.
func (v vault) open(t *testing.T, kv store.KV) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), kv, v.key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	acme  = "tenants/acme"
	alice = "tenants/acme/users/alice"
)

// fill makes records with secrets, and some users more.
func fill(t *testing.T, s *store.Store, more int) {
	t.Helper()
	create(t, s, &store.Tenant{
		Meta: named(acme), L2TPTunnelSecret: tenant.Secret("tunnel"),
		IPsec: store.IPsec{PSKs: []store.PSK{{ID: "one", Secret: tenant.Secret("psk-1")}, {ID: "two", Secret: tenant.Secret("psk-2")}}},
	})
	create(t, s, &store.Tenant{Meta: named("tenants/beta")})
	create(t, s, &store.User{Meta: named(alice), Password: tenant.Secret("alice's")})
	create(t, s, &store.User{Meta: named("tenants/beta/users/alice"), Password: tenant.Secret("the other alice's")})
	create(t, s, &store.RadiusServer{
		Meta: named("tenants/acme/radiusServers/r"), Secrets: []tenant.Secret{tenant.Secret("new"), tenant.Secret("old")},
		TLS: store.RadiusTLS{CertificateKey: tenant.Secret("key")},
	})
	create(t, s, &store.Listener{Meta: named("listeners/main"), CertificateKey: tenant.Secret("private")})
	var wg sync.WaitGroup // so that many share a commit to the disk
	for i := range more {
		wg.Go(func() {
			u := &store.User{Meta: named(fmt.Sprintf("tenants/beta/users/u%d", i)), Password: tenant.Secret(fmt.Sprint("of ", i))}
			if err := store.Create(s, u); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// withSecrets is how many records of fill have one.
const withSecrets = 5

// contents is all that a store says, secrets and etags too.
func contents(t *testing.T, s *store.Store) string {
	t.Helper()
	var b strings.Builder
	tenants, _, err := store.List[store.Tenant](s, "", "", 0)
	for _, r := range tenants {
		fmt.Fprintln(&b, r.Meta, r.DisplayName, string(r.L2TPTunnelSecret))
		for _, k := range r.IPsec.PSKs {
			fmt.Fprintln(&b, k.ID, string(k.Secret))
		}
	}
	users, _, err2 := store.List[store.User](s, "tenants/-", "", 0)
	for _, r := range users {
		fmt.Fprintln(&b, r.Meta, string(r.Password))
	}
	servers, _, err3 := store.List[store.RadiusServer](s, "tenants/-", "", 0)
	for _, r := range servers {
		fmt.Fprintln(&b, r.Meta, string(r.TLS.CertificateKey))
		for _, k := range r.Secrets {
			fmt.Fprintln(&b, string(k))
		}
	}
	listeners, _, err4 := store.List[store.Listener](s, "", "", 0)
	for _, r := range listeners {
		fmt.Fprintln(&b, r.Meta, string(r.CertificateKey))
	}
	if err := errors.Join(err, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// ciphertexts are the secrets as they lie in the engine, by record key and field.
func ciphertexts(t *testing.T, kv store.KV) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for r, more := (store.Range{Start: "r/", End: "s"}), true; more; {
		var items []store.Item
		var err error
		if items, _, more, err = kv.List(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			var e struct{ Secrets map[string][]byte }
			if err := json.Unmarshal(item.Value, &e); err != nil {
				t.Fatal(err)
			}
			for field, sealed := range e.Secrets {
				all[item.Key+" "+field] = sealed
			}
			r.Start = item.Key + "\x00"
		}
	}
	return all
}

// keysOf counts the keys that seal something. A ciphertext begins with the one of its key.
func keysOf(t *testing.T, kv store.KV) map[string]int {
	keys := map[string]int{}
	for _, sealed := range ciphertexts(t, kv) {
		keys[string(sealed[:5])]++
	}
	return keys
}

func TestReencrypt(t *testing.T) {
	v := newVault(t)
	s := v.open(t, v.kv)
	fill(t, s, 250) // more than fit into one commit
	before, old := contents(t, s), ciphertexts(t, v.kv)
	keyset, err := v.kv.Get(t.Context(), "meta/keyset")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.Revision()
	if err != nil {
		t.Fatal(err)
	}

	total, err := s.Records(t.Context())
	if want := withSecrets + 250 + 1; total != want || err != nil {
		t.Errorf("Records = %d, %v, want %d", total, err, want)
	}
	var seen []int
	got, err := s.Reencrypt(t.Context(), func(n int) { seen = append(seen, n) })
	if want := (store.Reencryption{Records: withSecrets + 250, Resealed: withSecrets + 250}); got != want || err != nil {
		t.Fatalf("Reencrypt = %+v, %v; want %+v", got, err, want)
	}
	if !slices.IsSorted(seen) || len(seen) < 3 || seen[len(seen)-1] != total {
		t.Errorf("it told of %v records, of %d", seen, total)
	}
	if s.Reencrypting() {
		t.Error("the old key is still there")
	}
	if now, err := s.Revision(); err != nil || now-rev > 8 {
		t.Errorf("it took %d commits (%v)", now-rev, err)
	}
	for _, s := range []*store.Store{s, v.open(t, v.kv)} { // now, and after a restart
		if now := contents(t, s); now != before {
			t.Errorf("the records changed:\n%s\nwere\n%s", now, before)
		}
	}
	now := ciphertexts(t, v.kv)
	for place, sealed := range old {
		if string(now[place][:5]) == string(sealed[:5]) {
			t.Errorf("%s is still sealed with the old key", place)
		}
	}
	if len(now) != len(old) || len(keysOf(t, v.kv)) != 1 {
		t.Errorf("%d ciphertexts, were %d; keys: %v", len(now), len(old), keysOf(t, v.kv))
	}
	if after, err := v.kv.Get(t.Context(), "meta/keyset"); err != nil || len(after.Value) > len(keyset.Value)+8 {
		t.Errorf("the keyset has %d octets, had %d (%v)", len(after.Value), len(keyset.Value), err)
	}

	// Etags from before are still good.
	u := mustGet[store.User](t, s, alice)
	if _, err := s.Reencrypt(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	u.Disabled = true
	if err := store.Update(s, u); err != nil {
		t.Errorf("Update with the etag from before: %v", err)
	}
	first := u.Etag
	if _, err := s.Reencrypt(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete[store.User](s, alice, first+"x"); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Delete with a wrong etag: %v", err)
	}
	if err := store.Delete[store.User](s, alice, first); err != nil {
		t.Errorf("Delete with the etag from before: %v", err)
	}
}

var errCut = errors.New("cut off")

// cut is an engine that dies at one commit: before it, or after it but before it could say so.
type cut struct {
	store.KV
	left  int
	after bool
}

func (c *cut) Commit(ctx context.Context, guards []store.Guard, ops []store.Op) (int64, bool, error) {
	switch {
	case c.left < 0:
		return 0, false, errCut
	case c.left == 0 && c.after:
		if _, _, err := c.KV.Commit(ctx, guards, ops); err != nil {
			return 0, false, err
		}
		fallthrough
	case c.left == 0:
		c.left--
		return 0, false, errCut
	}
	c.left--
	return c.KV.Commit(ctx, guards, ops)
}

// Wherever a re-encryption is cut off, all can be read at the next start, and the next one finishes it.
func TestReencryptGoesOnWhereItStopped(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 0; ; n++ {
			v := newVault(t)
			s := v.open(t, v.kv)
			fill(t, s, 100)
			before, key := contents(t, s), keysOf(t, v.kv)
			kv := &cut{v.kv, n, after}
			_, err := v.open(t, kv).Reencrypt(t.Context(), nil)
			if err == nil {
				if n != 4 { // the key, two commits of records, the old key
					t.Errorf("it took %d commits; want 4", n)
				}
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatalf("cut off at commit %d (%t): %v", n, after, err)
			}
			s = v.open(t, v.kv)
			if now := contents(t, s); now != before {
				t.Fatalf("cut off at commit %d (%t): the records changed", n, after)
			}
			if want := n > 0 && n < 3 || n == 0 && after || n == 3 && !after; s.Reencrypting() != want {
				t.Errorf("cut off at commit %d (%t): Reencrypting = %t", n, after, !want)
			}
			broken := s.Reencrypting()
			done, err := s.Reencrypt(t.Context(), nil)
			if err != nil || contents(t, s) != before || s.Reencrypting() {
				t.Fatalf("cut off at commit %d (%t): the next one: %v", n, after, err)
			}
			now := keysOf(t, v.kv)
			for k := range key {
				if now[k] > 0 || len(now) != 1 {
					t.Errorf("cut off at commit %d (%t): keys are %v", n, after, now)
				}
			}
			if broken && n > 1 && done.Resealed == done.Records {
				t.Errorf("cut off at commit %d (%t): it began anew", n, after)
			}
		}
	}
}

// hook runs something once: right after a read of a key or a page with it, or right before a commit.
type hook struct {
	store.KV
	read, list, commit func()
}

func once(f *func()) {
	if g := *f; g != nil {
		*f = nil
		g()
	}
}

func (h *hook) Get(ctx context.Context, key string) (store.Item, error) {
	item, err := h.KV.Get(ctx, key)
	if strings.HasPrefix(key, "r/users/") {
		once(&h.read)
	}
	return item, err
}

func (h *hook) List(ctx context.Context, r store.Range) ([]store.Item, int64, bool, error) {
	items, rev, more, err := h.KV.List(ctx, r)
	once(&h.list)
	return items, rev, more, err
}

func (h *hook) Commit(ctx context.Context, guards []store.Guard, ops []store.Op) (int64, bool, error) {
	once(&h.commit)
	return h.KV.Commit(ctx, guards, ops)
}

// Whoever is in the middle of a read or a write when the key changes, in this process or in another on the same store,
// reads and writes as if nothing had been.
func TestReencryptUnderReadsAndWrites(t *testing.T) {
	for _, tt := range []struct {
		name   string
		place  func(h *hook, f func())
		do     func(s *store.Store) error
		absent bool // what it was about is deleted
	}{
		{"get", func(h *hook, f func()) { h.read = f }, func(s *store.Store) error {
			u, err := store.Get[store.User](s, alice)
			if err == nil && string(u.Password) != "alice's" {
				err = errors.New("another password: " + string(u.Password))
			}
			return err
		}, false},
		{"list", func(h *hook, f func()) { h.list = f }, func(s *store.Store) error {
			all, _, err := store.List[store.User](s, "tenants/-", "", 0)
			if err == nil && len(all) != 2 {
				err = fmt.Errorf("%d users", len(all))
			}
			return err
		}, false},
		{"create", func(h *hook, f func()) { h.commit = f }, func(s *store.Store) error {
			return store.Create(s, &store.User{Meta: named("tenants/acme/users/new"), Password: tenant.Secret("n")})
		}, false},
		{"update", func(h *hook, f func()) { h.commit = f }, func(s *store.Store) error {
			return store.Update(s, &store.User{Meta: named(alice), Password: tenant.Secret("p")})
		}, false},
		{"create under what has no secret", func(h *hook, f func()) { h.commit = f }, func(s *store.Store) error {
			return store.Create(s, &store.User{Meta: named("tenants/beta/users/new"), Password: tenant.Secret("n")})
		}, false},
		{"create under nothing", func(h *hook, f func()) { h.commit = f }, func(s *store.Store) error {
			return store.Create(s, &store.Listener{Meta: named("listeners/new"), CertificateKey: tenant.Secret("n")})
		}, false},
		{"update of what had no secret", func(h *hook, f func()) { h.commit = f }, func(s *store.Store) error {
			return store.Update(s, &store.Tenant{Meta: named("tenants/beta"), L2TPTunnelSecret: tenant.Secret("t")})
		}, false},
		{"delete", func(h *hook, f func()) { h.commit = f }, func(s *store.Store) error {
			return store.Delete[store.User](s, alice, "")
		}, true},
	} {
		for _, shared := range []bool{true, false} {
			v := newVault(t)
			fill(t, v.open(t, v.kv), 0)
			h := &hook{KV: v.kv}
			s := v.open(t, h)
			by := s
			if !shared {
				by = v.open(t, v.kv) // another process's
			}
			ran := false
			tt.place(h, func() {
				ran = true
				if _, err := by.Reencrypt(t.Context(), nil); err != nil {
					t.Errorf("%s: Reencrypt: %v", tt.name, err)
				}
			})
			if err := tt.do(s); err != nil || !ran {
				t.Errorf("%s (one process: %t): %v; ran: %t", tt.name, shared, err, ran)
			}
			if len(keysOf(t, v.kv)) != 1 {
				t.Errorf("%s (one process: %t): the old key sealed what was written", tt.name, shared)
			}
			contents(t, s)
			contents(t, v.open(t, v.kv)) // all opens with the keyset that lies there
			if _, err := store.Get[store.User](s, alice); errors.Is(err, store.ErrNotFound) != tt.absent {
				t.Errorf("%s: afterwards: %v", tt.name, err)
			}
		}
	}
}

// A write that comes between the reading of a record and its sealing anew counts, and the others of its commit too.
func TestReencryptKeepsWhatIsWrittenMeanwhile(t *testing.T) {
	v := newVault(t)
	other := v.open(t, v.kv)
	fill(t, other, 3)
	h := &hook{KV: v.kv}
	h.list = func() {
		if err := store.Update(other, &store.User{Meta: named(alice), Password: tenant.Secret("another")}); err != nil {
			t.Error(err)
		}
		if err := store.Delete[store.User](other, "tenants/beta/users/u1", ""); err != nil {
			t.Error(err)
		}
	}
	s := v.open(t, h)
	got, err := s.Reencrypt(t.Context(), nil)
	if want := (store.Reencryption{Records: withSecrets + 3, Resealed: withSecrets + 1}); got != want || err != nil {
		t.Errorf("Reencrypt = %+v, %v; want %+v", got, err, want)
	}
	if u := mustGet[store.User](t, s, alice); string(u.Password) != "another" {
		t.Errorf("the password is %q", string(u.Password))
	}
	if _, err := store.Get[store.User](s, "tenants/beta/users/u1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the deleted user: %v", err)
	}
	if len(keysOf(t, v.kv)) != 1 {
		t.Error("the old key seals something")
	}
}

// Many readers and writers while the key changes again and again: none of them notices.
func TestReencryptUndisturbed(t *testing.T) {
	v := newVault(t)
	s := v.open(t, v.kv)
	fill(t, s, 40)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		name := fmt.Sprintf("tenants/beta/users/u%d", i)
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				password := tenant.Secret(fmt.Sprint("password ", n))
				if err := store.Update(s, &store.User{Meta: named(name), Password: password}); err != nil {
					t.Errorf("update: %v", err)
				}
				if u, err := store.Get[store.User](s, name); err != nil || string(u.Password) != string(password) {
					t.Errorf("get: %v", err)
				}
				if r, err := store.Shared[store.Tenant](s, acme); err != nil || string(r.IPsec.PSKs[1].Secret) != "psk-2" {
					t.Errorf("shared: %v", err)
				}
				if all, _, err := store.List[store.User](s, "tenants/beta", "", 0); err != nil || len(all) != 41 {
					t.Errorf("list: %d, %v", len(all), err)
				}
			}
		})
	}
	for range 5 {
		if _, err := s.Reencrypt(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	if s.Reencrypting() || len(keysOf(t, v.kv)) != 1 {
		t.Errorf("keys: %v", keysOf(t, v.kv))
	}
}

// Two at once do not take each other's keys away.
func TestReencryptTwice(t *testing.T) {
	v := newVault(t)
	s := v.open(t, v.kv)
	fill(t, s, 120)
	before := contents(t, s)
	for _, by := range []*store.Store{s, v.open(t, v.kv)} {
		h := &hook{KV: v.kv}
		h.list = func() {
			if _, err := by.Reencrypt(t.Context(), nil); err != nil {
				t.Error(err)
			}
			if _, err := by.Reencrypt(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}
		if _, err := v.open(t, h).Reencrypt(t.Context(), nil); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the one that was overtaken: %v, want ErrConflict", err)
		}
		if contents(t, s) != before || s.Reencrypting() {
			t.Error("the records changed, or the old key is there")
		}
	}
}

// A ciphertext opens only where it was made: not for another user, tenant, field or kind, before and after the key changed.
func TestCiphertextsStayWhereTheyWereMade(t *testing.T) {
	for _, rotated := range []bool{false, true} {
		v := newVault(t)
		s := v.open(t, v.kv)
		fill(t, s, 1)
		if rotated {
			if _, err := s.Reencrypt(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		all := ciphertexts(t, v.kv)
		moved := 0
		for from, sealed := range all {
			for to := range all {
				if from == to {
					continue
				}
				key, field, _ := strings.Cut(to, " ")
				item, err := v.kv.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				var e map[string]any
				if err := json.Unmarshal(item.Value, &e); err != nil {
					t.Fatal(err)
				}
				e["secrets"].(map[string]any)[field] = sealed
				forged, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				put := func(value []byte) {
					if _, ok, err := v.kv.Commit(t.Context(), nil, []store.Op{{Key: key, Value: value}}); !ok || err != nil {
						t.Fatal(ok, err)
					}
				}
				put(forged)
				if err := readRecord(s, key); err == nil {
					t.Errorf("the ciphertext of %s opened at %s", from, to)
				}
				put(item.Value)
				if err := readRecord(s, key); err != nil {
					t.Fatal(err)
				}
				moved++
			}
		}
		if moved < 50 {
			t.Errorf("only %d moves", moved)
		}
	}
}

func readRecord(s *store.Store, key string) error {
	collection, name, _ := strings.Cut(strings.TrimPrefix(key, "r/"), "/")
	var err error
	switch collection {
	case "tenants":
		_, err = store.Get[store.Tenant](s, name)
	case "users":
		_, err = store.Get[store.User](s, name)
	case "radiusServers":
		_, err = store.Get[store.RadiusServer](s, name)
	case "listeners":
		_, err = store.Get[store.Listener](s, name)
	default:
		err = errors.New("no such kind: " + collection)
	}
	return err
}

// What does not open keeps the old keys where they are, and is named.
func TestReencryptUnreadable(t *testing.T) {
	v := newVault(t)
	s := v.open(t, v.kv)
	fill(t, s, 0)
	const key, other = "r/users/" + alice, "r/users/tenants/beta/users/alice"
	right, err := v.kv.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := v.kv.Get(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := v.kv.Commit(t.Context(), nil, []store.Op{{Key: key, Value: wrong.Value}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	got, err := s.Reencrypt(t.Context(), nil)
	var unreadable *store.UnreadableError
	if !errors.As(err, &unreadable) || !slices.Equal(unreadable.Secrets, []string{"password of " + alice}) {
		t.Errorf("Reencrypt names %v", unreadable)
	}
	if !errors.Is(err, store.ErrUnreadable) || !strings.Contains(err.Error(), "password of "+alice) || got.Resealed != withSecrets-1 {
		t.Errorf("Reencrypt = %+v, %v; want ErrUnreadable with the name", got, err)
	}
	if !s.Reencrypting() {
		t.Error("the old key is gone")
	}
	// The right record is put back from a copy: the old key opens it.
	if _, ok, err := v.kv.Commit(t.Context(), nil, []store.Op{{Key: key, Value: right.Value}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got, err := s.Reencrypt(t.Context(), nil); err != nil || got.Resealed != 1 || s.Reencrypting() {
		t.Errorf("Reencrypt = %+v, %v", got, err)
	}
	if u := mustGet[store.User](t, s, alice); string(u.Password) != "alice's" {
		t.Errorf("the password is %q", string(u.Password))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Reencrypt(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Reencrypt with a context that is over: %v", err)
	}
}
