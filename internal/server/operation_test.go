package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// testKind stands for all kinds in these tests, which lead its job.
const testKind = concentratorv1.Operation_BACKUP

// withJob replaces the job of testKind.
func (f *fixture) withJob(run func(ctx context.Context, op *running) error, change ...func(*job)) {
	j := job{kind: testKind, unit: "octets", run: run}
	for _, c := range change {
		c(&j)
	}
	f.ops.jobs[testKind.String()] = j
}

func (f *fixture) begin(t *testing.T, w work) *concentratorv1.Operation {
	t.Helper()
	w.kind = testKind
	if w.target == "" {
		w.target = "instances/vpn-1"
	}
	m, err := f.ops.begin(f.system(t), w)
	must(t)(m, err)
	return m
}

// system is the context of a caller that may do everything.
func (f *fixture) system(t *testing.T) context.Context {
	return context.WithValue(t.Context(), callerKey{}, almighty("ops@example", ""))
}

func (f *fixture) operations() concentratorv1.OperationServiceClient {
	return concentratorv1.NewOperationServiceClient(f.conn)
}

// ended waits for the end of an operation.
func (f *fixture) ended(t *testing.T, name string) *concentratorv1.Operation {
	t.Helper()
	for {
		m, err := f.operations().WaitOperation(t.Context(), &concentratorv1.WaitOperationRequest{Name: name})
		must(t)(m, err)
		if m.GetState() != concentratorv1.Operation_RUNNING {
			return m
		}
	}
}

// problemsOf spells the problems of an operation.
func problemsOf(m *concentratorv1.Operation) string {
	var all []string
	for _, p := range m.GetProblems() {
		all = append(all, p.GetSubject()+" "+p.GetReason()+" "+p.GetDetail())
	}
	return strings.Join(all, "\n")
}

// How a job returns is how its operation ends.
func TestOperationEnds(t *testing.T) {
	f := start(t)
	for _, tt := range []struct {
		name     string
		run      func(ctx context.Context, op *running) error
		state    concentratorv1.Operation_State
		problems string
		count    int64
	}{
		{"well", func(context.Context, *running) error { return nil }, concentratorv1.Operation_SUCCEEDED, "", 0},
		{"an error with a rule", func(context.Context, *running) error {
			return &resourceError{"users/x", fmt.Errorf("x: %w", store.ErrNotFound)}
		}, concentratorv1.Operation_FAILED, "instances/vpn-1 RESOURCE_NOT_FOUND x: not found", 1},
		{
			"an error of ours", func(context.Context, *running) error { return errors.New("hush") },
			concentratorv1.Operation_FAILED, "instances/vpn-1 INTERNAL internal error, logged as request", 1,
		},
		{
			"a panic", func(context.Context, *running) error { panic("hush") },
			concentratorv1.Operation_FAILED, "instances/vpn-1 INTERNAL internal error, logged as request", 1,
		},
		{"problems only", func(_ context.Context, op *running) error {
			op.problem("line 7", "INVALID_FIELD", "is wrong")
			return nil
		}, concentratorv1.Operation_FAILED, "line 7 INVALID_FIELD is wrong", 1},
		{"problems and no more", func(_ context.Context, op *running) error {
			op.problem("line 7", "INVALID_FIELD", "is wrong")
			return errSeeProblems
		}, concentratorv1.Operation_FAILED, "line 7 INVALID_FIELD is wrong", 1},
		{"a flood of problems", func(_ context.Context, op *running) error {
			for range 5000 {
				op.problem(strings.Repeat("ü", 1000), strings.Repeat("r", 1000), strings.Repeat("d", 1000))
			}
			return nil
		}, concentratorv1.Operation_FAILED, strings.Repeat("ü", maxProblemText/2) + "…", 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.withJob(tt.run)
			m := f.ended(t, f.begin(t, work{total: 9}).GetName())
			if m.GetState() != tt.state || m.GetProblemCount() != tt.count || len(m.GetProblems()) > maxProblems {
				t.Errorf("%s with %d problems, %d named", m.GetState(), m.GetProblemCount(), len(m.GetProblems()))
			}
			if got := problemsOf(m); !strings.HasPrefix(got, tt.problems) || strings.Contains(got, "hush") {
				t.Errorf("problems %q, want %q", got, tt.problems)
			}
			if m.GetKind() != testKind || m.GetCaller() != "ops@example" || m.GetUnit() != "octets" || m.GetTarget() != "instances/vpn-1" ||
				m.GetTotal() != 9 || m.GetEndTime() == nil || m.GetCreateTime() == nil || m.GetEtag() == "" {
				t.Errorf("it looks like %v", m)
			}
		})
	}
}

// Progress is written at most once a second, whatever the job does, and the last of it at the end.
func TestOperationProgress(t *testing.T) {
	f := start(t)
	gate, began := make(chan struct{}), make(chan struct{})
	f.withJob(func(_ context.Context, op *running) error {
		close(began)
		for i := range 100_000 {
			op.progress(int64(i), 100_000)
		}
		<-gate
		op.progress(100_000, 100_000)
		op.say("all %d", 100_000)
		return nil
	})
	before, err := f.store.Revision()
	must(t)(nil, err)
	name := f.begin(t, work{}).GetName()
	<-began
	time.Sleep(progressEvery + progressEvery/2)
	m, err := f.operations().GetOperation(t.Context(), &concentratorv1.GetOperationRequest{Name: name})
	must(t)(m, err)
	if m.GetDone() != 99_999 || m.GetTotal() != 100_000 || m.GetState() != concentratorv1.Operation_RUNNING {
		t.Errorf("on its way it is %v", m)
	}
	if rev, err := f.store.Revision(); err != nil || rev-before > 3 {
		t.Errorf("%d writes in a second and a half (%v)", rev-before, err)
	}
	close(gate)
	if m := f.ended(t, name); m.GetDone() != 100_000 || m.GetDetail() != "all 100000" {
		t.Errorf("at its end it is %v", m)
	}
}

func TestWaitOperation(t *testing.T) {
	f := start(t)
	gate := make(chan struct{})
	f.withJob(func(ctx context.Context, _ *running) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	name := f.begin(t, work{}).GetName()
	wait := func(d time.Duration) (*concentratorv1.Operation, time.Duration) {
		t.Helper()
		begin := time.Now()
		m, err := f.operations().WaitOperation(t.Context(), &concentratorv1.WaitOperationRequest{Name: name, Timeout: durationpb.New(d)})
		must(t)(m, err)
		return m, time.Since(begin)
	}
	if m, took := wait(100 * time.Millisecond); m.GetState() != concentratorv1.Operation_RUNNING || took < 100*time.Millisecond {
		t.Errorf("%s after %s", m.GetState(), took)
	}
	if m, took := wait(0); m.GetState() != concentratorv1.Operation_RUNNING || took > 5*time.Second {
		t.Errorf("no time: %s after %s", m.GetState(), took)
	}
	time.AfterFunc(100*time.Millisecond, func() { close(gate) })
	if m, took := wait(maxWait); m.GetState() != concentratorv1.Operation_SUCCEEDED || took > maxWait/2 {
		t.Errorf("%s after %s", m.GetState(), took)
	}
	if m, _ := wait(maxWait); m.GetState() != concentratorv1.Operation_SUCCEEDED {
		t.Errorf("of one that ended: %s", m.GetState())
	}
	for _, d := range []time.Duration{-time.Second, maxWait + time.Second} {
		_, err := f.operations().WaitOperation(t.Context(), &concentratorv1.WaitOperationRequest{Name: name, Timeout: durationpb.New(d)})
		if got := failureOf(err); got.code != codes.InvalidArgument || !slices.Equal(got.fields, []string{"timeout"}) {
			t.Errorf("timeout %s: %v", d, err)
		}
	}
	if code, body := f.rest(t, "POST", "/v1/"+name+":wait", `{"timeout":"0.1s"}`); code != 200 || !strings.Contains(body, `"SUCCEEDED"`) {
		t.Errorf("over REST: %d %s", code, body)
	}
}

func TestCancelAndDeleteOperation(t *testing.T) {
	f := start(t)
	f.withJob(func(ctx context.Context, op *running) error {
		op.progress(3, 10)
		<-ctx.Done()
		return ctx.Err()
	})
	name := f.begin(t, work{}).GetName()
	_, err := f.operations().DeleteOperation(t.Context(), &concentratorv1.DeleteOperationRequest{Name: name})
	if got := failureOf(err); got.code != codes.FailedPrecondition || got.reason != reasonRunning {
		t.Errorf("delete while it runs: %v", err)
	}
	_, err = f.ops.begin(f.system(t), work{kind: testKind, target: "instances/vpn-1"})
	if got := failureOf(err); got.code != codes.FailedPrecondition || got.reason != reasonRunning || !strings.Contains(err.Error(), name) {
		t.Errorf("a second one: %v", err)
	}
	for range 2 { // of one that ended it changes nothing
		m, err := f.operations().CancelOperation(t.Context(), &concentratorv1.CancelOperationRequest{Name: name})
		must(t)(m, err)
		if m.GetState() != concentratorv1.Operation_CANCELLED || m.GetDone() != 3 || m.GetProblemCount() != 0 {
			t.Errorf("it is %v", m)
		}
	}
	_, err = f.operations().DeleteOperation(t.Context(), &concentratorv1.DeleteOperationRequest{Name: name, Etag: "another"})
	if got := failureOf(err); got.code != codes.Aborted || got.reason != reasonConflict {
		t.Errorf("delete with another etag: %v", err)
	}
	must(t)(f.operations().DeleteOperation(t.Context(), &concentratorv1.DeleteOperationRequest{Name: name, ValidateOnly: true}))
	must(t)(f.operations().DeleteOperation(t.Context(), &concentratorv1.DeleteOperationRequest{Name: name}))
	if _, err := f.operations().GetOperation(t.Context(), &concentratorv1.GetOperationRequest{Name: name}); failureOf(err).code != codes.NotFound {
		t.Errorf("after its deletion: %v", err)
	}
}

// One that has done its work before the cancellation reaches it has succeeded.
// As soon as one is seen to have ended the next one may begin.
func TestOneOperationAfterAnother(t *testing.T) {
	f := start(t)
	f.withJob(func(context.Context, *running) error { return nil })
	for range 100 {
		name := f.begin(t, work{}).GetName()
		for {
			m, err := f.operations().GetOperation(t.Context(), &concentratorv1.GetOperationRequest{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			if m.GetState() != concentratorv1.Operation_RUNNING {
				break
			}
		}
	}
}

func TestCancelTooLate(t *testing.T) {
	f := start(t)
	f.withJob(func(ctx context.Context, _ *running) error {
		<-ctx.Done()
		return nil
	})
	name := f.begin(t, work{}).GetName()
	m, err := f.operations().CancelOperation(t.Context(), &concentratorv1.CancelOperationRequest{Name: name})
	must(t)(m, err)
	if m.GetState() != concentratorv1.Operation_SUCCEEDED {
		t.Errorf("it is %s", m.GetState())
	}
}

func TestOperationsAtATime(t *testing.T) {
	f := start(t)
	f.tenant(t, "acme", "", "10.1.0.0/24")
	f.tenant(t, "beta", "", "10.2.0.0/24")
	hold := func(ctx context.Context, _ *running) error {
		<-ctx.Done()
		return ctx.Err()
	}
	f.withJob(hold, func(j *job) { j.most = 2 })
	acme := work{kind: testKind, parent: "tenants/acme", target: "tenants/acme"}
	f.begin(t, acme)
	f.begin(t, acme)
	if _, err := f.ops.begin(f.system(t), acme); failureOf(err).reason != reasonRunning {
		t.Errorf("a third one of a tenant: %v", err)
	}
	f.begin(t, work{parent: "tenants/beta", target: "tenants/beta"}) // another tenant's is no hindrance
	f.withJob(hold, func(j *job) { j.takesOver = true })
	third := f.begin(t, acme)
	var names []string
	for _, r := range f.ops.find(func(r *running) bool { return r.tenant() == "tenants/acme" }) {
		names = append(names, r.name())
	}
	if !slices.Equal(names, []string{third.GetName()}) {
		t.Errorf("after one took over there run %s", names)
	}
}

// What a job works on is kept sealed, and goes when the operation ends.
func TestOperationInput(t *testing.T) {
	f := start(t)
	f.tenant(t, "acme", "", "10.1.0.0/24")
	input := strings.Repeat("hush-", 150_000)
	gate := make(chan struct{})
	var got atomic.Value
	f.withJob(func(_ context.Context, op *running) error {
		<-gate
		b, err := op.input()
		got.Store(string(b))
		var settings struct{ N int }
		if err := op.settings(&settings); err != nil || settings.N != 7 {
			op.problem("settings", "", fmt.Sprint(settings, err))
		}
		return err
	})
	m := f.begin(t, work{parent: "tenants/acme", target: "tenants/acme", settings: struct{ N int }{7}, input: []byte(input)})
	pieces := func() int {
		list, _, err := store.List[store.OperationInput](f.store, "tenants/acme", "", 0)
		must(t)(list, err)
		return len(list)
	}
	if n := pieces(); n != (len(input)+store.MaxInput-1)/store.MaxInput {
		t.Errorf("it is kept in %d pieces", n)
	}
	close(gate)
	if m := f.ended(t, m.GetName()); m.GetState() != concentratorv1.Operation_SUCCEEDED {
		t.Error(m)
	}
	if got.Load() != input {
		t.Error("the job got another input")
	}
	f.settled(t)
	if n := pieces(); n != 0 {
		t.Errorf("%d pieces are left", n)
	}
}

// settled waits until no operation has anything more to do.
func (f *fixture) settled(t *testing.T) {
	t.Helper()
	for until := time.Now().Add(5 * time.Second); len(f.ops.find(func(*running) bool { return true })) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("operations go on")
		}
	}
}

func TestDownloadOperation(t *testing.T) {
	f := start(t)
	content := strings.Repeat("0123456789abcdef", 20_000) // several pieces
	gate := make(chan struct{})
	f.withJob(func(_ context.Context, op *running) error {
		<-gate
		if err := os.WriteFile(op.file(), []byte(content), 0o600); err != nil {
			return err
		}
		op.fileReady(int64(len(content)))
		return nil
	})
	name := f.begin(t, work{}).GetName()
	read := func(offset int64) (string, error) {
		s, err := f.operations().DownloadOperation(t.Context(), &concentratorv1.DownloadOperationRequest{Name: name, Offset: offset})
		must(t)(s, err)
		var b strings.Builder
		for {
			m, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return b.String(), nil
			}
			if err != nil {
				return "", err
			}
			b.Write(m.GetData())
		}
	}
	if _, err := read(0); failureOf(err).reason != reasonNoFile {
		t.Errorf("while it runs: %v", err)
	}
	close(gate)
	if m := f.ended(t, name); m.GetFileSize() != int64(len(content)) {
		t.Errorf("it has %d octets", m.GetFileSize())
	}
	for _, offset := range []int64{0, 1, downloadPiece, int64(len(content)) - 1, int64(len(content))} {
		if got, err := read(offset); err != nil || got != content[offset:] {
			t.Errorf("from %d: %d octets, %v", offset, len(got), err)
		}
	}
	for _, offset := range []int64{-1, int64(len(content)) + 1} {
		if _, err := read(offset); failureOf(err).code != codes.InvalidArgument {
			t.Errorf("from %d: %v", offset, err)
		}
	}
	code, body := f.rest(t, http.MethodGet, "/v1/"+name+":download?offset=3", "")
	if code != 200 || body != content[3:] {
		t.Errorf("over REST: %d, %d octets, want %d", code, len(body), len(content)-3)
	}
	file := f.ops.file(name)
	must(t)(nil, os.Truncate(file, 5))
	if _, err := read(0); failureOf(err).code != codes.Internal {
		t.Errorf("a file cut short: %v", err)
	}
	must(t)(f.operations().DeleteOperation(t.Context(), &concentratorv1.DeleteOperationRequest{Name: name}))
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// again serves the same state another time, as after a restart.
func (f *fixture) again(t *testing.T, jobs func(*fixture)) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t)(nil, f.Shutdown(ctx))
	next := &fixture{live: f.live, log: f.log, dir: f.dir, token: f.token, store: f.store}
	s, err := New(Config{Store: f.store, Live: f.live, StateDir: f.dir, Log: testLog(f.log), GRPC: "127.0.0.1:0", REST: "127.0.0.1:0"})
	must(t)(s, err)
	next.Server = s
	if jobs != nil {
		jobs(next)
	}
	next.serve(t)
	next.conn, err = s.Dial()
	must(t)(next.conn, err)
	t.Cleanup(func() { _ = next.conn.Close() })
	next.http = f.http
	return next
}

// After a restart an operation goes on; what was cancelled ends, and what is left over goes.
func TestOperationSurvivesRestart(t *testing.T) {
	f := start(t)
	f.tenant(t, "acme", "", "10.1.0.0/24")
	reached := make(chan struct{})
	f.withJob(func(ctx context.Context, op *running) error {
		op.progress(4, 10)
		op.problem("line 2", "X", "y")
		close(reached)
		<-ctx.Done()
		return ctx.Err()
	}, func(j *job) { j.most = 2 })
	m := f.begin(t, work{parent: "tenants/acme", target: "tenants/acme", input: []byte("hush"), settings: 1})
	<-reached
	old := filepath.Join(f.dir, "operations", "orphan")
	must(t)(nil, os.WriteFile(old, []byte("x"), 0o600))
	stray := &store.OperationInput{Data: tenant.Secret("hush")}
	stray.Name = "tenants/acme/operationInputs/gone-00"
	must(t)(nil, store.Create(f.store, stray))
	unknown := &store.Operation{Job: "FROM_THE_FUTURE", State: store.OperationRunning, Target: "instances/vpn-1"}
	unknown.Name = "operations/unknown"
	must(t)(nil, store.Create(f.store, unknown))
	cancelled := &store.Operation{Job: testKind.String(), State: store.OperationRunning, Cancelled: true}
	cancelled.Name = "operations/cancelled"
	must(t)(nil, store.Create(f.store, cancelled))

	seen := make(chan string, 2)
	f = f.again(t, func(f *fixture) {
		f.withJob(func(_ context.Context, op *running) error {
			b, err := op.input()
			seen <- fmt.Sprintln(op.name(), op.resumed(), op.done(), op.total(), string(b), err)
			op.progress(10, 10)
			return nil
		})
	})
	if got, want := <-seen, m.GetName()+" true 4 10 hush <nil>\n"; got != want {
		t.Errorf("the job found %q, want %q", got, want)
	}
	if m := f.ended(t, m.GetName()); m.GetState() != concentratorv1.Operation_FAILED || m.GetDone() != 10 || problemsOf(m) != "line 2 X y" ||
		m.GetCaller() != "ops@example" {
		t.Errorf("it ended as %v", m)
	}
	if m := f.ended(t, cancelled.Name); m.GetState() != concentratorv1.Operation_CANCELLED {
		t.Errorf("the cancelled one: %v", m)
	}
	if m := f.ended(t, unknown.Name); m.GetState() != concentratorv1.Operation_FAILED {
		t.Errorf("the unknown one: %v", m)
	}
	f.settled(t)
	if list, _, err := store.List[store.OperationInput](f.store, "tenants/acme", "", 0); err != nil || len(list) != 0 {
		t.Errorf("%d inputs are left (%v)", len(list), err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stray file: %v", err)
	}
	select {
	case got := <-seen:
		t.Errorf("the job also ran for %q", got)
	default:
	}
}

// The latest are kept, and those that run.
func TestOperationRetention(t *testing.T) {
	f := start(t)
	f.tenant(t, "acme", "", "10.1.0.0/24")
	now := time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)
	keep := func(name string, ended time.Duration, state store.OperationState) {
		t.Helper()
		r := &store.Operation{State: state, EndTime: now.Add(-ended)}
		r.Name = name
		must(t)(nil, store.Create(f.store, r))
	}
	for i := range maxOperationsATenant + 5 {
		keep(fmt.Sprintf("tenants/acme/operations/o%03d", i), time.Duration(i+1)*time.Minute, store.OperationSucceeded)
	}
	keep("operations/young", keepOperations-time.Hour, store.OperationFailed)
	keep("operations/old", keepOperations+time.Hour, store.OperationFailed)
	keep("operations/endless", keepOperations+time.Hour, store.OperationRunning)
	must(t)(nil, f.ops.tidy(now))
	list := func(parent string) (names []string) {
		all, _, err := store.List[store.Operation](f.store, parent, "", 0)
		must(t)(all, err)
		for _, r := range all {
			names = append(names, r.Name)
		}
		return names
	}
	if got := list("tenants/acme"); len(got) != maxOperationsATenant || got[len(got)-1] != fmt.Sprintf("tenants/acme/operations/o%03d", maxOperationsATenant-1) {
		t.Errorf("of the tenant %d are left, to %s", len(got), got[len(got)-1])
	}
	if got := list(""); !slices.Equal(got, []string{"operations/endless", "operations/young"}) {
		t.Errorf("of none: %s", got)
	}
}

// A tenant's operations keep it from being deleted while they run, and go with it when they have ended.
func TestOperationAndItsTenant(t *testing.T) {
	f := start(t)
	must(t)(concentratorv1.NewTenantServiceClient(f.conn).CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{TenantId: "acme"}))
	f.withJob(func(ctx context.Context, _ *running) error {
		<-ctx.Done()
		return ctx.Err()
	})
	name := f.begin(t, work{parent: "tenants/acme", target: "tenants/acme", input: []byte("x")}).GetName()
	remove := func() error {
		_, err := concentratorv1.NewTenantServiceClient(f.conn).DeleteTenant(t.Context(), &concentratorv1.DeleteTenantRequest{Name: "tenants/acme"})
		return err
	}
	if err := remove(); failureOf(err).reason != reasonReferenced || !strings.Contains(err.Error(), name) {
		t.Errorf("while it runs: %v", err)
	}
	must(t)(f.operations().CancelOperation(t.Context(), &concentratorv1.CancelOperationRequest{Name: name}))
	must(t)(nil, remove())
	if list, _, err := store.List[store.Operation](f.store, anyTenant, "", 0); err != nil || len(list) != 0 {
		t.Errorf("left: %v (%v)", list, err)
	}
}

// IDs sort by time, also within a millisecond and when the clock is set back.
func TestOperationIDs(t *testing.T) {
	var ids operationIDs
	now := time.Date(2026, 11, 27, 5, 30, 12, 345e6, time.FixedZone("", 3600))
	var list []string
	for i := range 1000 {
		list = append(list, ids.next(now.Add(-time.Duration(i)*time.Second)))
	}
	if !slices.IsSorted(list) || !strings.HasPrefix(list[0], "20261127-043012345-") {
		t.Errorf("they are %s …", list[:3])
	}
	for _, id := range list {
		if err := store.CheckName(store.KindOperation, operationName("tenants/acme", id)); err != nil {
			t.Fatal(err)
		}
		if inputOf(inputName(operationName("", id), 3)) != operationName("", id) {
			t.Fatalf("the input of %s is another's", id)
		}
	}
}

// A reader that takes nothing is cut off, and its file closed.
func TestDownloadStalled(t *testing.T) {
	old := downloadPatience
	downloadPatience = 200 * time.Millisecond
	t.Cleanup(func() { downloadPatience = old })
	f := start(t)
	const size = 64 << 20 // far more than fits on the way
	f.withJob(func(_ context.Context, op *running) error {
		if err := os.WriteFile(op.file(), nil, 0o600); err != nil {
			return err
		}
		op.fileReady(size)
		return os.Truncate(op.file(), size)
	})
	name := f.begin(t, work{}).GetName()
	f.ended(t, name)
	s, err := f.operations().DownloadOperation(t.Context(), &concentratorv1.DownloadOperationRequest{Name: name})
	must(t)(s, err)
	must(t)(s.Recv())
	time.Sleep(5 * downloadPatience)
	n := 0
	for err = nil; err == nil; n++ {
		_, err = s.Recv()
	}
	if got := failureOf(err); got.code != codes.Aborted || n >= size/downloadPiece {
		t.Errorf("after %d pieces: %v", n, err)
	}
}
