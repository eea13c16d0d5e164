package server

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

const benchUsers = 10_000

// manyUsers is a served API over a store with tenant acme and its users u00000 to u09999.
func manyUsers(b *testing.B) (*store.Store, *grpc.ClientConn) {
	b.Helper()
	st := storetest.Open(b)
	if err := store.Create(st, &store.Tenant{Meta: store.Meta{Name: "tenants/acme"}}); err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 100 {
		wg.Go(func() {
			for i := w; i < benchUsers; i += 100 {
				if err := store.Create(st, benchUser(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, err := New(Config{
		Store: st, Live: &fakeLive{}, Log: testLog(&logBuffer{}), StateDir: b.TempDir(), Metrics: telemetry.NewMetrics(),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	conn, err := s.Dial()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return st, conn
}

func benchUser(i int) *store.User {
	return &store.User{
		Meta: store.Meta{Name: fmt.Sprintf("tenants/acme/users/u%05d", i)}, Password: tenant.Secret("correct horse battery staple"),
		Profile: "tenants/acme/profiles/default", Disabled: i%100 == 0, MaxSessions: i % 7,
	}
}

// p99 reports the 99th percentile of durations, in milliseconds.
func p99(b *testing.B, name string, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name)
}

// changes changes one user after the other until the benchmark ends.
func changes(b *testing.B, st *store.Store) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			u := benchUser(i * 7919 % benchUsers)
			u.MaxSessions = i % 11
			if err := store.Update(st, u); err != nil {
				b.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	b.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// A page of a list of 10 000 users, while 200 of them a second change. The first list after a start decodes them all.
func BenchmarkListUsers(b *testing.B) {
	st, conn := manyUsers(b)
	users := concentratorv1.NewUserServiceClient(conn)
	changes(b, st)
	for _, c := range []struct{ name, filter, orderBy string }{
		{"filter", `disabled = true AND name = "*/users/u*"`, ""},
		{"nothing", `name = "*none*"`, ""},
		{"pages", "", ""},
		{"order", `disabled = true`, "maxSessions desc"},
	} {
		b.Run(fmt.Sprintf("%s/%d", c.name, benchUsers), func(b *testing.B) {
			var took []time.Duration
			token := ""
			if _, err := users.ListUsers(b.Context(), &concentratorv1.ListUsersRequest{Parent: "tenants/acme", Filter: "name = x"}); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				begin := time.Now()
				r, err := users.ListUsers(b.Context(), &concentratorv1.ListUsersRequest{
					Parent: "tenants/acme", PageSize: 50, PageToken: token, Filter: c.filter, OrderBy: c.orderBy,
				})
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
				token = r.GetNextPageToken()
			}
			p99(b, "p99-ms", took)
		})
	}
}

// What a login reads from the store, alone and beside two callers who list without a pause.
func BenchmarkLoginBesideLists(b *testing.B) {
	st, conn := manyUsers(b)
	users := concentratorv1.NewUserServiceClient(conn)
	for _, callers := range []int{0, 2} {
		b.Run(fmt.Sprintf("%dlists", callers), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for ctx.Err() == nil {
						_, _ = users.ListUsers(ctx, &concentratorv1.ListUsersRequest{Parent: "tenants/acme", Filter: "disabled = true"})
					}
				})
			}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				begin := time.Now()
				if _, err := store.Get[store.User](st, benchUser(i%benchUsers).Name); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			cancel()
			wg.Wait()
			p99(b, "p99-ms", took)
		})
	}
}
