package server

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
)

func (f *fixture) instances() concentratorv1.InstanceServiceClient {
	return concentratorv1.NewInstanceServiceClient(f.conn)
}

// drainTo sends away so many sessions, one for each token.
func (f *fixture) drainTo(sessions int, step <-chan struct{}, ends chan<- time.Time) {
	f.live.drain = func(ctx context.Context, end time.Time, note func(left int)) error {
		ends <- end
		for left := sessions; ; left-- {
			note(left)
			if left == 0 {
				return nil
			}
			select {
			case <-step:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// healthNow is what the health service says.
func (f *fixture) healthNow(t *testing.T) grpc_health_v1.HealthCheckResponse_ServingStatus {
	t.Helper()
	m, err := grpc_health_v1.NewHealthClient(f.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	must(t)(m, err)
	return m.GetStatus()
}

// While the instance drains, and until it is undrained, all say so: it, /readyz and the health service.
func TestDrain(t *testing.T) {
	f := start(t)
	f.SetReady(true)
	wantReady := func(f *fixture, ready bool) {
		t.Helper()
		code, body := f.rest(t, http.MethodGet, "/readyz", "")
		if want := map[bool]int{true: 200, false: 503}[ready]; code != want {
			t.Errorf("/readyz: %d %s", code, body)
		}
		if !ready && !strings.Contains(body, "SERVING: the instance is drained") {
			t.Errorf("/readyz does not say why: %s", body)
		}
		want := map[bool]grpc_health_v1.HealthCheckResponse_ServingStatus{
			true: grpc_health_v1.HealthCheckResponse_SERVING, false: grpc_health_v1.HealthCheckResponse_NOT_SERVING,
		}[ready]
		if got := f.healthNow(t); got != want {
			t.Errorf("the health service says %s, want %s", got, want)
		}
		m, err := f.instances().GetInstance(t.Context(), &concentratorv1.GetInstanceRequest{Name: "instances/-"})
		must(t)(m, err)
		if m.GetDraining() == ready {
			t.Errorf("the instance says draining: %t", m.GetDraining())
		}
		for _, c := range m.GetConditions() {
			if c.GetOk() != (ready || c.GetType() != "SERVING") || c.GetOk() != (c.GetDetail() == "") {
				t.Errorf("condition %v", c)
			}
		}
	}
	wantReady(f, true)
	step, ends := make(chan struct{}), make(chan time.Time, 1)
	f.drainTo(3, step, ends)
	m, err := f.instances().DrainInstance(t.Context(), &concentratorv1.DrainInstanceRequest{
		Name: "instances/-", Deadline: durationpb.New(time.Minute),
	})
	must(t)(m, err)
	if m.GetKind() != concentratorv1.Operation_DRAIN || m.GetTarget() != "instances/vpn-1" || m.GetUnit() != "sessions" || m.GetTotal() != 2 {
		t.Errorf("the operation is %v", m)
	}
	if end := <-ends; end.Sub(m.GetCreateTime().AsTime()) != time.Minute {
		t.Errorf("it is to end at %s", end)
	}
	wantReady(f, false)
	for range 3 {
		step <- struct{}{}
	}
	if m := f.ended(t, m.GetName()); m.GetState() != concentratorv1.Operation_SUCCEEDED || m.GetDone() != 3 || m.GetTotal() != 3 {
		t.Errorf("it ended as %v", m)
	}
	wantReady(f, false) // it holds
	must(t)(f.operations().DeleteOperation(t.Context(), &concentratorv1.DeleteOperationRequest{Name: m.GetName()}))

	f.live.SetDraining(false) // a new process
	f.live.drain = nil
	f = f.again(t, nil)
	f.SetReady(true)
	wantReady(f, false) // also over a restart, and without the operation
	i, err := f.instances().UndrainInstance(t.Context(), &concentratorv1.UndrainInstanceRequest{Name: "instances/vpn-1"})
	must(t)(i, err)
	if i.GetDraining() {
		t.Error("undrained, it drains")
	}
	wantReady(f, true)
	f = f.again(t, nil)
	f.SetReady(true)
	wantReady(f, true)
}

// A drain that a restart cut off goes on, with its end where it was; a second one takes over; undrain cancels it.
func TestDrainTwice(t *testing.T) {
	f := start(t)
	step, ends := make(chan struct{}), make(chan time.Time, 1)
	f.drainTo(5, step, ends)
	drain := func(r *concentratorv1.DrainInstanceRequest) *concentratorv1.Operation {
		t.Helper()
		r.Name = "instances/-"
		m, err := f.instances().DrainInstance(t.Context(), r)
		must(t)(m, err)
		return m
	}
	state := func(m *concentratorv1.Operation) string {
		t.Helper()
		m, err := f.operations().GetOperation(t.Context(), &concentratorv1.GetOperationRequest{Name: m.GetName()})
		must(t)(m, err)
		return m.GetState().String() + " " + m.GetDetail()
	}
	first := drain(&concentratorv1.DrainInstanceRequest{Deadline: durationpb.New(time.Hour)})
	end := <-ends
	f = f.again(t, nil)
	if got := <-ends; !got.Equal(end) {
		t.Errorf("after a restart it ends at %s, before at %s", got, end)
	}
	second := drain(&concentratorv1.DrainInstanceRequest{})
	if got := <-ends; !got.IsZero() {
		t.Errorf("with no deadline it ends at %s", got)
	}
	if got := state(first); got != "CANCELLED another one took over" {
		t.Errorf("the first one: %s", got)
	}
	third := drain(&concentratorv1.DrainInstanceRequest{Deadline: durationpb.New(0)})
	if got := <-ends; got.IsZero() || time.Until(got) > 0 {
		t.Errorf("at once is %s", got)
	}
	if got := state(second); got != "CANCELLED another one took over" {
		t.Errorf("the second one: %s", got)
	}
	must(t)(f.operations().CancelOperation(t.Context(), &concentratorv1.CancelOperationRequest{Name: third.GetName()}))
	if !f.live.draining() {
		t.Error("the cancellation of a drain takes calls again; only undrain does")
	}
	fourth := drain(&concentratorv1.DrainInstanceRequest{})
	<-ends
	must(t)(f.instances().UndrainInstance(t.Context(), &concentratorv1.UndrainInstanceRequest{Name: "instances/-"}))
	if got := state(fourth); got != "CANCELLED the instance was put back into service" {
		t.Errorf("the fourth one: %s", got)
	}
	if f.live.draining() {
		t.Error("undrained, it drains")
	}
}

func TestDrainRefused(t *testing.T) {
	f := start(t)
	for _, r := range []*concentratorv1.DrainInstanceRequest{
		{Name: "instances/-", Deadline: durationpb.New(-time.Second)},
		{Name: "instances/-", Deadline: durationpb.New(24*time.Hour + time.Second)},
		{Name: "vpn-1"},
	} {
		if _, err := f.instances().DrainInstance(t.Context(), r); failureOf(err).code != codes.InvalidArgument {
			t.Errorf("%v: %v", r, err)
		}
	}
	_, err := f.instances().DrainInstance(t.Context(), &concentratorv1.DrainInstanceRequest{Name: "instances/other"})
	if failureOf(err).code != codes.NotFound || f.live.draining() {
		t.Errorf("another instance: %v", err)
	}
}

// Each condition keeps the instance from being ready, with its reason.
func TestReadiness(t *testing.T) {
	f := start(t)
	standing := func(s session.Standing) {
		f.live.mu.Lock()
		defer f.live.mu.Unlock()
		f.live.standing = s
	}
	for _, tt := range []struct {
		name     string
		started  bool
		standing session.Standing
		draining bool
		want     string
	}{
		{"a start", false, session.Standing{}, false, "not ready\nSTARTED: the instance starts, or stops\n"},
		{"nothing to do", true, session.Standing{}, false, "ready\n"},
		{"all is up", true, session.Standing{Networks: 2, Listeners: 1}, false, "ready\n"},
		{"one tenant's network is down", true, session.Standing{Networks: 2, NetworksDown: []string{"tenants/a"}}, false, "ready\n"},
		{
			"all are", true,
			session.Standing{Networks: 2, NetworksDown: []string{"tenants/a", "tenants/b"}},
			false,
			"not ready\nNETWORKS: no network is up\n",
		},
		{
			"the only listener is", true,
			session.Standing{Listeners: 1, ListenersDown: []string{"listeners/main"}},
			true,
			"not ready\nLISTENERS: no listener is up\nSERVING: the instance is drained: it takes no calls until it is undrained\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			standing(tt.standing)
			f.live.SetDraining(tt.draining)
			f.SetReady(tt.started)
			code, body := f.rest(t, http.MethodGet, "/readyz", "")
			if body != tt.want || (code == 200) != (tt.want == "ready\n") {
				t.Errorf("%d %q, want %q", code, body, tt.want)
			}
		})
	}
	f.live.SetDraining(false)
	f.SetReady(true)
	standing(session.Standing{Networks: 1, NetworksDown: []string{"tenants/a"}})
	for until := time.Now().Add(10 * time.Second); f.healthNow(t) == grpc_health_v1.HealthCheckResponse_SERVING; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the health service does not see what has changed by itself")
		}
	}
}

func TestDisconnectSessions(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	sessions := concentratorv1.NewSessionServiceClient(f.conn)
	ask := func(r *concentratorv1.DisconnectSessionsRequest) (*concentratorv1.Operation, error) {
		return sessions.DisconnectSessions(t.Context(), r)
	}
	for _, tt := range []struct {
		parent, filter string
		want           int64
	}{
		{anyTenant, "*", 3}, {"tenants/acme", "*", 2}, {"tenants/acme", `name = "*/s1"`, 1}, {"tenants/acme", "user = nobody", 0},
	} {
		m, err := ask(&concentratorv1.DisconnectSessionsRequest{Parent: tt.parent, Filter: tt.filter, ValidateOnly: true})
		must(t)(m, err)
		if m.GetTotal() != tt.want || m.GetState() != concentratorv1.Operation_SUCCEEDED {
			t.Errorf("%s %s: %v", tt.parent, tt.filter, m)
		}
	}
	for _, r := range []*concentratorv1.DisconnectSessionsRequest{
		{Parent: "tenants/acme"}, {Parent: "tenants/acme", Filter: "colour = red"}, {Parent: "tenants/acme", Filter: "user ="}, {Filter: "*"},
	} {
		if _, err := ask(r); failureOf(err).code != codes.InvalidArgument {
			t.Errorf("%v: %v", r, err)
		}
	}
	if len(f.live.disconnected) != 0 {
		t.Fatalf("disconnected %s", f.live.disconnected)
	}
	f.live.ends = true
	m, err := ask(&concentratorv1.DisconnectSessionsRequest{Parent: "tenants/acme", Filter: `state = OPEN AND user = "ali*"`})
	must(t)(m, err)
	if !strings.HasPrefix(m.GetName(), "tenants/acme/operations/") || m.GetTotal() != 2 {
		t.Errorf("the operation is %v", m)
	}
	if m := f.ended(t, m.GetName()); m.GetState() != concentratorv1.Operation_SUCCEEDED || m.GetDone() != 2 {
		t.Errorf("it ended as %v", m)
	}
	if got := strings.Join(f.live.disconnected, ","); got != "tenants/acme/sessions/s1 ADMIN_DISCONNECT,tenants/acme/sessions/s2 ADMIN_DISCONNECT" {
		t.Errorf("disconnected %s", got)
	}
	m, err = ask(&concentratorv1.DisconnectSessionsRequest{Parent: anyTenant, Filter: "*"})
	must(t)(m, err)
	if m := f.ended(t, m.GetName()); !strings.HasPrefix(m.GetName(), "operations/") || m.GetTarget() != "instances/vpn-1" || m.GetDone() != 1 {
		t.Errorf("of all tenants: %v", m)
	}
}

// After a restart nobody is sent away: the sessions that were meant ended with the daemon.
func TestDisconnectSessionsAfterRestart(t *testing.T) {
	f := start(t)
	f.seedLive(t) // none of them ends
	m, err := concentratorv1.NewSessionServiceClient(f.conn).DisconnectSessions(t.Context(),
		&concentratorv1.DisconnectSessionsRequest{Parent: "tenants/acme", Filter: "*"})
	must(t)(m, err)
	for until := time.Now().Add(5 * time.Second); len(f.live.ordered()) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nobody is sent away")
		}
	}
	f = f.again(t, nil)
	m = f.ended(t, m.GetName())
	if m.GetState() != concentratorv1.Operation_SUCCEEDED || m.GetDone() != 2 || len(f.live.ordered()) != 2 {
		t.Errorf("it ended as %v, and sent away %s", m, f.live.ordered())
	}
}

// A store that can't be used keeps the instance from being ready.
func TestReadinessOfStore(t *testing.T) {
	dir := t.TempDir()
	kv, err := bolt.Open(filepath.Join(dir, "state.db"))
	must(t)(kv, err)
	s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
	must(t)(s, err)
	f := start(t, func(c *Config) { c.Store = s })
	f.SetReady(true)
	must(t)(nil, kv.Close())
	if code, body := f.rest(t, http.MethodGet, "/readyz", ""); code != 503 || !strings.HasPrefix(body, "not ready\nSTORE: ") {
		t.Errorf("%d %q", code, body)
	}
}
