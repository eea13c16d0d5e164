package accounting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

var errCut = errors.New("the storage is cut off")

// memory is a Storage that can be cut off at a commit, as by the death of the process.
type memory struct {
	t *testing.T

	mu      sync.Mutex
	items   map[string][]byte
	commits int
	fail    error // what every call returns, if not nil
	cutAt   int   // the commit, from 1, from which on everything fails; 0: never
	cutLate bool  // that commit is done all the same, though nobody learns it
}

func newMemory(t *testing.T) *memory { return &memory{t: t, items: make(map[string][]byte)} }

func (m *memory) Load(fn func(string, []byte) error) error {
	m.mu.Lock()
	items := maps.Clone(m.items)
	m.mu.Unlock()
	for k, v := range items { // in any order
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.items[key]
	switch {
	case m.fail != nil:
		return nil, m.fail
	case !ok:
		return nil, fmt.Errorf("no key %q", key)
	}
	return slices.Clone(v), nil
}

func (m *memory) Commit(puts []Item, deletes []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := make(map[string]bool)
	for _, k := range deletes {
		seen[k] = true
	}
	for _, p := range puts {
		seen[p.Key] = true
		if len(p.Key) > maxKey || len(p.Value) > maxValue {
			m.t.Errorf("item with %d octets of key and %d of value", len(p.Key), len(p.Value))
		}
	}
	if n := len(puts) + len(deletes); n == 0 || n > MaxOps || len(seen) != n {
		m.t.Errorf("commit of %d puts and %d deletions with %d keys", len(puts), len(deletes), len(seen))
	}
	if m.fail != nil {
		return m.fail
	}
	m.commits++
	cut := m.cutAt > 0 && m.commits >= m.cutAt
	if !cut || m.cutLate {
		for _, k := range deletes {
			delete(m.items, k)
		}
		for _, p := range puts {
			m.items[p.Key] = slices.Clone(p.Value)
		}
	}
	if cut {
		m.fail = errCut
	}
	return m.fail
}

func (m *memory) setFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// reopened is what the next process finds.
func (m *memory) reopened() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{t: m.t, items: maps.Clone(m.items)}
}

func (m *memory) count(prefix string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.items {
		if len(k) >= len(prefix) && k[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

// recorder is a Sink that keeps what it has acknowledged.
type recorder struct {
	answer func(ctx context.Context, r Record) error // nil: acknowledge

	mu  sync.Mutex
	got []Record
}

func (s *recorder) Account(ctx context.Context, r Record) error {
	if s.answer != nil {
		if err := s.answer(ctx, r); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r)
	return nil
}

func (s *recorder) records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// tells is the records in short: "START s1".
func tells(records []Record) (out []string) {
	for _, r := range records {
		s := r.Status.String()
		if r.Session != nil {
			s += " " + r.Session.SessionID
		}
		out = append(out, s)
	}
	return out
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func config(m Storage, s Sink) Config {
	return Config{Storage: m, Sink: func(string) (Sink, bool) { return s, true }, Log: quiet()}
}

func mustOpen(t *testing.T, cfg Config) *Ledger {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run runs l until the returned function is called, which returns when all has ended.
func run(l *Ledger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var begin = time.Date(2026, 11, 27, 2, 0, 0, 0, time.UTC)

// sessionOf is a session with everything set.
func sessionOf(tenantID, id string) Session {
	return Session{
		Caller: authz.Caller{
			Tenant: tenantID, SessionID: id, Protocol: tenant.ProtocolL2TPIPsec,
			ClientAddress: netip.MustParseAddr("192.0.2.7"), ListenerAddress: netip.MustParseAddr("2001:db8::1"), NASPort: 17,
			TunnelClient: "laptop\xff", TunnelID: "4711", ClientName: "MSRAS-0-LAPTOP", ClientVersion: "MSRASV5.20",
		},
		User: "al<i>ce\x00\xfe", Domain: "ACME", Method: tenant.AuthMSCHAPv2, Local: true, Server: "tenants/acme/radiusServers/r1",
		Address: netip.MustParseAddr("10.0.0.9"), Routes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Class: [][]byte{{0, 0xff, '"'}, {}, []byte("second")}, Started: begin, InterimInterval: 5 * time.Minute,
	}
}

func counters(n uint64) Counters {
	return Counters{InBytes: n, OutBytes: n << 33, InPackets: n + 1, OutPackets: n + 2}
}
