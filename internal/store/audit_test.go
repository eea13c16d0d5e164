package store_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/store/storetest"
	"concentrator/internal/tenant"
)

// audit writes one event of a tenant.
func audit(t *testing.T, s *store.Store, tenantName, resource string) store.AuditEvent {
	t.Helper()
	e := store.AuditEvent{Tenant: tenantName, Caller: "root", Method: "UpdateUser", Resource: resource, Code: "OK"}
	if err := s.Audit(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func verify(t *testing.T, s *store.Store) store.AuditReport {
	t.Helper()
	r, err := s.VerifyAudit(t.Context(), store.Fingerprint{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A write and its event are one commit; what is not written leaves no event.
func TestWriteAndItsEventAreOneCommit(t *testing.T) {
	s := storetest.Open(t)
	revision := func() int64 {
		rev, err := s.Revision()
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	acme := &store.Tenant{Meta: named("tenants/acme")}
	for _, tt := range []struct {
		name    string
		write   func(also store.Also) error
		err     error
		commits int64
	}{
		{"create", func(a store.Also) error { return store.Create(s, acme, a) }, nil, 1},
		{"create again", func(a store.Also) error { return store.Create(s, &store.Tenant{Meta: named("tenants/acme")}, a) }, store.ErrExists, 0},
		{"create under nothing", func(a store.Also) error { return store.Create(s, &store.User{Meta: named("tenants/no/users/a")}, a) }, store.ErrNotFound, 0},
		{"update", func(a store.Also) error { acme.DisplayName = "A"; return store.Update(s, acme, a) }, nil, 1},
		{"update to the same", func(a store.Also) error { return store.Update(s, acme, a) }, nil, 0},
		{"update of an old one", func(a store.Also) error {
			return store.Update(s, &store.Tenant{Meta: store.Meta{Name: "tenants/acme", Etag: "x"}}, a)
		}, store.ErrConflict, 0},
		{"delete of another", func(a store.Also) error { return store.Delete[store.Tenant](s, "tenants/b", "", a) }, store.ErrNotFound, 0},
		{"delete", func(a store.Also) error { return store.Delete[store.Tenant](s, "tenants/acme", "", a) }, nil, 1},
	} {
		e := &store.AuditEvent{Method: tt.name}
		before := revision()
		if err := tt.write(store.WithAudit(e, nil)); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		if got := revision() - before; got != tt.commits || (e.Sequence != 0) != (tt.commits > 0) {
			t.Errorf("%s: %d commits and event %d, want %d commits", tt.name, got, e.Sequence, tt.commits)
		}
		if e.Sequence == 0 {
			continue
		}
		stored, err := s.AuditEvent(t.Context(), e.Sequence)
		if err != nil || stored.Method != tt.name || stored.Hash != e.Hash || stored.Time.IsZero() {
			t.Errorf("%s: stored as %+v, %v", tt.name, stored, err)
		}
	}
	if r := verify(t, s); r.Problem != "" || r.Checked != 3 || r.Last != 3 {
		t.Errorf("%+v", r)
	}
}

// Events of many writers at once are one chain, and a new process goes on with it.
func TestAuditChainOfManyWriters(t *testing.T) {
	dir := t.TempDir()
	open := func() (*store.Store, *bolt.DB) {
		kv, err := bolt.Open(filepath.Join(dir, "state.db"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
		if err != nil {
			t.Fatal(err)
		}
		return s, kv
	}
	s, kv := open()
	other := store.New(kv, nil) // as another instance on the same store: it has its own idea of the head
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				for _, s := range []*store.Store{s, other}[:1+i%2] {
					if err := s.Audit(t.Context(), &store.AuditEvent{Method: "M"}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if r := verify(t, s); r.Problem != "" || r.Checked != 60 || r.First != 1 || r.Last != 60 {
		t.Errorf("%+v", r)
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	s, kv = open()
	defer kv.Close()
	if e := audit(t, s, "", "x"); e.Sequence != 61 {
		t.Errorf("the next run begins at %d", e.Sequence)
	}
	r := verify(t, s)
	if r.Problem != "" || r.Checked != 61 {
		t.Errorf("%+v", r)
	}
	for _, tt := range []struct {
		known store.Fingerprint
		found bool
	}{{r.LastHash, true}, {store.Fingerprint{1}, false}} {
		if got, err := s.VerifyAudit(t.Context(), tt.known); err != nil || (got.Problem == "") != tt.found {
			t.Errorf("known %x: %+v, %v", tt.known[:2], got, err)
		}
	}
}

// When the trail is too large its oldest events go, and what stays can be verified from where it begins.
func TestAuditTrailIsBounded(t *testing.T) {
	s := storetest.Open(t)
	const bound = 32 << 10
	s.LimitAudit(bound)
	var hashes []store.Fingerprint
	big := strings.Repeat("x", 400)
	for range 300 {
		hashes = append(hashes, audit(t, s, "", big).Hash)
	}
	first, last, err := s.AuditBounds(t.Context())
	if err != nil || last != 300 || first < 200 || first > 260 {
		t.Errorf("events %d to %d, %v", first, last, err)
	}
	if _, err := s.AuditEvent(t.Context(), first-1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("event %d: %v", first-1, err)
	}
	if r := verify(t, s); r.Problem != "" || r.Checked != last-first+1 || r.First != first {
		t.Errorf("%+v", r)
	}
	// A hash that was noted of the last event that was dropped is still known; one before it is not.
	for i, want := range map[int64]bool{first - 1: true, first: true, first - 2: false} {
		if r, err := s.VerifyAudit(t.Context(), hashes[i-1]); err != nil || (r.Problem == "") != want {
			t.Errorf("hash of %d: %+v, %v", i, r, err)
		}
	}
	all, err := s.AuditEvents(t.Context(), first, last, "")
	if size := len(all) * 700; err != nil || size > bound*5/4 {
		t.Errorf("%d events, %v", len(all), err)
	}
	// A smaller bound is reached step by step; an event that is larger than the bound itself stays.
	s.LimitAudit(10)
	for range 10 {
		audit(t, s, "", "y")
	}
	if first, last, err := s.AuditBounds(t.Context()); first != last || last != 310 || err != nil {
		t.Errorf("events %d to %d, %v", first, last, err)
	}
	if r := verify(t, s); r.Problem != "" || r.Checked != 1 {
		t.Errorf("%+v", r)
	}
}

func TestAuditEventThatIsTooLarge(t *testing.T) {
	s := storetest.Open(t)
	huge := json.RawMessage(`"` + strings.Repeat("x", 100<<10) + `"`)
	e := &store.AuditEvent{Method: "UpdateTenant", Before: huge, After: huge}
	if err := s.Audit(t.Context(), e); err != nil || e.Before != nil || e.After != nil || e.Sequence != 1 {
		t.Errorf("%v, %d octets of before, sequence %d", err, len(e.Before), e.Sequence)
	}
	if err := s.Audit(t.Context(), &store.AuditEvent{Detail: strings.Repeat("x", 200<<10)}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	// One that could not be written locks nothing.
	if e := audit(t, s, "", ""); e.Sequence != 2 {
		t.Errorf("sequence %d", e.Sequence)
	}
}

// tamper runs f on the events of a state file that nobody has open, and returns what Verify says of it.
func tamper(t *testing.T, n int, f func(kv *bbolt.Bucket, key func(int) []byte) error) store.AuditReport {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	open := func() (*store.Store, *bolt.DB) {
		kv, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
		if err != nil {
			t.Fatal(err)
		}
		return s, kv
	}
	s, kv := open()
	for i := range n {
		audit(t, s, "tenants/acme", fmt.Sprintf("tenants/acme/users/u%d", i+1))
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Update(func(tx *bbolt.Tx) error {
		return f(tx.Bucket([]byte("kv")), func(i int) []byte { return fmt.Appendf(nil, "a/e/%016d", i) })
	})
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	s, kv = open()
	defer kv.Close()
	return verify(t, s)
}

// Whatever is done to the rows of the file, Verify finds it, and says where.
func TestVerifyFinds(t *testing.T) {
	copied := func(b []byte) []byte { return append([]byte(nil), b...) }
	for _, tt := range []struct {
		name string
		bad  int64 // sequence; 0: nothing is wrong
		says string
		do   func(kv *bbolt.Bucket, key func(int) []byte) error
	}{
		{"nothing", 0, "", func(*bbolt.Bucket, func(int) []byte) error { return nil }},
		{"an altered row", 4, "its hash", func(kv *bbolt.Bucket, key func(int) []byte) error {
			v := []byte(strings.Replace(string(kv.Get(key(4))), "users/u4", "users/u7", 1))
			return kv.Put(key(4), v)
		}},
		{"an altered row that can't be read", 4, "can't be read", func(kv *bbolt.Bucket, key func(int) []byte) error {
			return kv.Put(key(4), copied(kv.Get(key(4)))[:60])
		}},
		{"an altered hash", 4, "its hash", func(kv *bbolt.Bucket, key func(int) []byte) error {
			v := copied(kv.Get(key(4)))
			v[8] ^= 1 // behind the revision
			return kv.Put(key(4), v)
		}},
		{"an altered row with its hash", 5, "not written after event 4", func(kv *bbolt.Bucket, key func(int) []byte) error {
			return kv.Put(key(4), rehash(kv.Get(key(4)), "users/u4", "users/u7"))
		}},
		{"the last row altered with its hash", 9, "head", func(kv *bbolt.Bucket, key func(int) []byte) error {
			return kv.Put(key(9), rehash(kv.Get(key(9)), "users/u9", "users/u7"))
		}},
		{"a removed row", 4, "missing", func(kv *bbolt.Bucket, key func(int) []byte) error { return kv.Delete(key(4)) }},
		{"the first row removed", 1, "missing", func(kv *bbolt.Bucket, key func(int) []byte) error { return kv.Delete(key(1)) }},
		{"the last row removed", 9, "missing", func(kv *bbolt.Bucket, key func(int) []byte) error { return kv.Delete(key(9)) }},
		{"all rows removed", 1, "missing", func(kv *bbolt.Bucket, key func(int) []byte) error {
			for i := range 9 {
				if err := kv.Delete(key(i + 1)); err != nil {
					return err
				}
			}
			return nil
		}},
		{"a removed row and the others moved up", 4, "says that it is event 5", func(kv *bbolt.Bucket, key func(int) []byte) error {
			for i := 4; i < 9; i++ {
				if err := kv.Put(key(i), copied(kv.Get(key(i+1)))); err != nil {
					return err
				}
			}
			return kv.Delete(key(9))
		}},
		{"two rows in the other order", 4, "says that it is event 5", func(kv *bbolt.Bucket, key func(int) []byte) error {
			a, b := copied(kv.Get(key(4))), copied(kv.Get(key(5)))
			return errors.Join(kv.Put(key(4), b), kv.Put(key(5), a))
		}},
		{"an inserted row", 5, "none of the trail", func(kv *bbolt.Bucket, key func(int) []byte) error {
			return kv.Put([]byte("a/e/0000000000000004a"), copied(kv.Get(key(4))))
		}},
		{"a row before the first", 1, "before the trail's first", func(kv *bbolt.Bucket, _ func(int) []byte) error {
			head := string(kv.Get([]byte("a/head")))
			return kv.Put([]byte("a/head"), []byte(strings.Replace(head, `"first":1`, `"first":2`, 1)))
		}},
		{"a row behind the last", 10, "behind the trail's last", func(kv *bbolt.Bucket, key func(int) []byte) error {
			v := kv.Get(key(9))
			hash := fmt.Sprintf("%x", v[8:40])
			body := strings.Replace(string(v[40:]), `"sequence":9`, `"sequence":10`, 1)
			i := strings.Index(body, `"previousHash":"`) + len(`"previousHash":"`)
			return kv.Put(key(10), rehash([]byte(string(v[:40])+body[:i]+hash+body[i+64:]), "", ""))
		}},
		{"a broken head", 0, "head of the trail can't be read", func(kv *bbolt.Bucket, _ func(int) []byte) error {
			return kv.Put([]byte("a/head"), binary.BigEndian.AppendUint64(nil, 3))
		}},
		{"no head", 1, "", func(kv *bbolt.Bucket, _ func(int) []byte) error { return kv.Delete([]byte("a/head")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tamper(t, 9, tt.do)
			if r.BadSequence != tt.bad || !strings.Contains(r.Problem, tt.says) || (r.Problem == "") != (tt.name == "nothing") {
				t.Errorf("%+v, want event %d and a word of %q", r, tt.bad, tt.says)
			}
		})
	}
}

// rehash alters a stored row, and its own hash with it, as somebody would who knows how it is made.
func rehash(stored []byte, from, to string) []byte {
	body := []byte(strings.Replace(string(stored[40:]), from, to, 1))
	sum := sha256.Sum256(body)
	return append(append(append([]byte(nil), stored[:8]...), sum[:]...), body...)
}

// Steps of a watch give each event once and in order, from any sequence that is still there, whoever writes meanwhile.
func TestAuditAfter(t *testing.T) {
	s := storetest.Open(t)
	for range 150 {
		audit(t, s, "tenants/acme", "")
		audit(t, s, "tenants/beta", "")
	}
	for _, tt := range []struct {
		tenant string
		after  int64
		want   int
	}{{"", 0, 500}, {"", 299, 201}, {"tenants/acme", 0, 250}, {"tenants/none", 0, 0}} {
		var wg sync.WaitGroup
		if tt.want == 500 {
			wg.Go(func() {
				for range 100 {
					audit(t, s, "tenants/acme", "")
					audit(t, s, "tenants/beta", "")
				}
			})
		}
		got, last, at := 0, tt.after, tt.after
		for at < 500 {
			events, upto, later, err := s.AuditAfter(t.Context(), at, tt.tenant)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if tt.tenant == "" && e.Sequence != last+1 || e.Sequence <= last || e.Sequence > upto {
					t.Errorf("event %d after %d, up to %d", e.Sequence, last, upto)
				}
				last = e.Sequence
				got++
			}
			at = upto
			if later != nil {
				select {
				case <-later:
				case <-time.After(10 * time.Second):
					t.Fatalf("after %d nobody said that there is more", at)
				}
			}
		}
		wg.Wait()
		if got != tt.want {
			t.Errorf("%q after %d: %d events, want %d", tt.tenant, tt.after, got, tt.want)
		}
	}
	// Other commits wake a watch, but there is nothing in them.
	_, _, later, err := s.AuditAfter(t.Context(), 500, "")
	if err != nil || later == nil {
		t.Fatalf("at the end: %v, %v", later, err)
	}
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	<-later
	if events, upto, _, err := s.AuditAfter(t.Context(), 500, ""); len(events) > 0 || upto != 500 || err != nil {
		t.Errorf("%d events up to %d, %v", len(events), upto, err)
	}
	s.LimitAudit(1)
	for range 10 {
		audit(t, s, "", "")
	}
	for _, after := range []int64{1, 511} {
		if _, _, _, err := s.AuditAfter(t.Context(), after, ""); !errors.Is(err, store.ErrCompacted) {
			t.Errorf("after %d: %v, want ErrCompacted", after, err)
		}
	}
}

func TestSecretFields(t *testing.T) {
	a := &store.Tenant{L2TPTunnelSecret: tenant.Secret("x"), IPsec: store.IPsec{PSKs: []store.PSK{{ID: "a", Secret: tenant.Secret("1")}}}}
	b := &store.Tenant{IPsec: store.IPsec{PSKs: []store.PSK{{ID: "a", Secret: tenant.Secret("2")}, {ID: "b", Secret: tenant.Secret("3")}}}}
	if got := fmt.Sprint(store.SecretFields(a), store.SecretFields[store.User](nil)); got != "[ipsec.psks[0].secret l2tp.tunnelSecret] []" {
		t.Error(got)
	}
	if got := fmt.Sprint(store.ChangedSecrets(a, b)); got != "[ipsec.psks[0].secret ipsec.psks[1].secret l2tp.tunnelSecret]" {
		t.Error(got)
	}
	if got := store.ChangedSecrets(a, a); len(got) != 0 {
		t.Error(got)
	}
}

func BenchmarkAudit(b *testing.B) {
	s := storetest.Open(b)
	e := &store.AuditEvent{Method: "UpdateUser", Resource: "tenants/acme/users/alice", After: json.RawMessage(`{"disabled":true}`)}
	for b.Loop() {
		if err := s.Audit(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}
