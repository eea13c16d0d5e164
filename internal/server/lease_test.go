package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/ippool"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

// The leases of a fakeLive are those of real pools, if a test has any.

func (f *fakeLive) view(pool string, l ippool.Lease) session.Lease {
	v := session.Lease{Lease: l, Pool: pool, State: session.LeaseReleased}
	if l.Owner != "" {
		v.State, v.Session = session.LeaseLeased, store.TenantOf(pool)+"/sessions/"+l.Owner
	} else if !l.Until.IsZero() {
		v.State = session.LeaseQuarantined
	}
	return v
}

func (f *fakeLive) views(pool string, list []ippool.Lease) []session.Lease {
	var out []session.Lease
	for _, l := range list {
		out = append(out, f.view(pool, l))
	}
	return out
}

func (f *fakeLive) PoolQuarantined(pool string) int {
	if f.pools == nil {
		return 0
	}
	return f.pools.Usage(pool).Quarantined
}

func (f *fakeLive) Leases(pool string, after netip.Addr, limit int) ([]session.Lease, bool) {
	if f.pools == nil {
		return nil, false
	}
	list, more := f.pools.Leases(pool, after, min(limit, 3)) // a page may be short
	return f.views(pool, list), more
}

func (f *fakeLive) Lease(pool string, addr netip.Addr) (session.Lease, bool) {
	if f.pools == nil {
		return session.Lease{}, false
	}
	l, err := f.pools.LeaseOf(pool, addr)
	return f.view(pool, l), err == nil
}

func (f *fakeLive) LeasesOutside(pool string, next *ippool.Parsed) []session.Lease {
	if f.pools == nil {
		return nil
	}
	return f.views(pool, f.pools.Outside(pool, next))
}

func (f *fakeLive) ReleaseLease(pool string, addr netip.Addr) error {
	if f.pools == nil {
		return session.ErrNotFound
	}
	owner, err := f.pools.Forget(pool, addr)
	if errors.Is(err, ippool.ErrNoLease) {
		return session.ErrNotFound
	}
	f.taken = append(f.taken, owner)
	return err
}

// seedLeases makes pools with leases: four of acme's first (one of them static, one released, one in quarantine), one of
// its second, and one of another tenant.
func (f *fixture) seedLeases(t *testing.T) {
	t.Helper()
	f.seed(t)
	f.tenant(t, "beta", "beta", "10.64.0.0/24")
	f.pool(t, "acme", "spare", "10.65.0.0/24")
	f.live.pools = ippool.New()
	configure := func(name string, spec ippool.Spec) {
		if err := f.live.pools.Configure(name, spec); err != nil {
			t.Fatal(err)
		}
	}
	lease := func(name, user, owner string) netip.Addr {
		a, err := f.live.pools.Lease(name, user, owner)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	main := ippool.Spec{Ranges: []string{"10.64.0.0/24"}}
	configure("tenants/acme/pools/main", main)
	configure("tenants/acme/pools/spare", ippool.Spec{Ranges: []string{"10.65.0.0/24"}, Quarantine: ippool.MaxQuarantine})
	configure("tenants/beta/pools/main", main)
	lease("tenants/acme/pools/main", "alice", "s1")
	lease("tenants/acme/pools/main", "bob\xff", "s2")
	f.live.pools.Release("tenants/acme/pools/main", lease("tenants/acme/pools/main", "carol", "s3"), "s3")
	if err := f.live.pools.LeaseStatic("tenants/acme", netip.MustParseAddr("10.64.0.200"), "dave", "s4"); err != nil {
		t.Fatal(err)
	}
	f.live.pools.Release("tenants/acme/pools/spare", lease("tenants/acme/pools/spare", "erin", "s5"), "s5")
	lease("tenants/beta/pools/main", "alice", "s6")
}

// pool makes a pool.
func (f *fixture) pool(t *testing.T, tenantID, id, ranges string) {
	t.Helper()
	must(t)(concentratorv1.NewPoolServiceClient(f.conn).CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
		Parent: "tenants/" + tenantID, PoolId: id, Pool: &concentratorv1.Pool{Ranges: []string{ranges}},
	}))
}

func TestListLeases(t *testing.T) {
	f := start(t)
	f.seedLeases(t)
	client := concentratorv1.NewLeaseServiceClient(f.conn)
	const (
		alice = "tenants/acme/pools/main/leases/10.64.0.2 alice tenants/acme/sessions/s1 LEASED"
		bob   = "tenants/acme/pools/main/leases/10.64.0.3 bob\uFFFD tenants/acme/sessions/s2 LEASED"
		carol = "tenants/acme/pools/main/leases/10.64.0.4 carol  RELEASED"
		dave  = "tenants/acme/pools/main/leases/10.64.0.200 dave tenants/acme/sessions/s4 LEASED static"
		erin  = "tenants/acme/pools/spare/leases/10.65.0.2 erin  QUARANTINED"
		other = "tenants/beta/pools/main/leases/10.64.0.2 alice tenants/beta/sessions/s6 LEASED"
	)
	for _, c := range []struct {
		parent, user string
		state        concentratorv1.Lease_State
		want         []string
	}{
		{"tenants/acme/pools/main", "", 0, []string{alice, bob, carol, dave}}, // by number, not by text
		{"tenants/acme/pools/-", "", 0, []string{alice, bob, carol, dave, erin}},
		{"tenants/-/pools/-", "", 0, []string{alice, bob, carol, dave, erin, other}},
		{"tenants/-/pools/-", "alice", 0, []string{alice, other}},
		{"tenants/-/pools/-", "", concentratorv1.Lease_LEASED, []string{alice, bob, dave, other}},
		{"tenants/-/pools/-", "", concentratorv1.Lease_QUARANTINED, []string{erin}},
		{"tenants/acme/pools/-", "carol", concentratorv1.Lease_LEASED, nil},
	} {
		for _, size := range []int32{0, 1, 2} {
			var got []string
			r := &concentratorv1.ListLeasesRequest{Parent: c.parent, User: c.user, State: c.state, PageSize: size}
			for {
				page, err := client.ListLeases(t.Context(), r)
				if err != nil {
					t.Fatalf("%s: %v", c.parent, err)
				}
				if size > 0 && len(page.GetLeases()) > int(size) {
					t.Errorf("%s: %d in a page of %d", c.parent, len(page.GetLeases()), size)
				}
				for _, l := range page.GetLeases() {
					line := fmt.Sprintf("%s %s %s %s", l.GetName(), l.GetUser(), l.GetSession(), l.GetState())
					if l.GetStatic() {
						line += " static"
					}
					got = append(got, line)
					held := l.GetState() == concentratorv1.Lease_LEASED
					if held != (l.GetLeaseTime() != nil) || held != (l.GetReleaseTime() == nil) {
						t.Errorf("%s: times %v and %v", line, l.GetLeaseTime(), l.GetReleaseTime())
					}
					if (l.GetState() == concentratorv1.Lease_QUARANTINED) != (l.GetExpireTime() != nil) {
						t.Errorf("%s: expires %v", line, l.GetExpireTime())
					}
				}
				if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
					break
				}
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("%s by %d: got\n%s\nwant\n%s", c.parent, size, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		}
	}
	for parent, want := range map[string]codes.Code{
		"tenants/acme/pools/none": codes.NotFound, "tenants/none/pools/-": codes.NotFound, "tenants/acme": codes.InvalidArgument,
		"tenants/-/pools/main": codes.InvalidArgument, "": codes.InvalidArgument, "/pools/-": codes.InvalidArgument,
		"tenants/acme/pools/main/leases/-": codes.InvalidArgument,
	} {
		if _, err := client.ListLeases(t.Context(), &concentratorv1.ListLeasesRequest{Parent: parent}); status.Code(err) != want {
			t.Errorf("%q: %v, want %s", parent, err, want)
		}
	}
}

func TestGetAndReleaseLease(t *testing.T) {
	f := start(t)
	f.seedLeases(t)
	client := concentratorv1.NewLeaseServiceClient(f.conn)
	const name = "tenants/acme/pools/main/leases/10.64.0.2"
	l, err := client.GetLease(t.Context(), &concentratorv1.GetLeaseRequest{Name: name})
	must(t)(l, err)
	if l.GetName() != name || l.GetUser() != "alice" || l.GetSession() != "tenants/acme/sessions/s1" {
		t.Errorf("got %v", l)
	}
	must(t)(client.ReleaseLease(t.Context(), &concentratorv1.ReleaseLeaseRequest{Name: name}))
	must(t)(client.ReleaseLease(t.Context(), &concentratorv1.ReleaseLeaseRequest{Name: "tenants/acme/pools/main/leases/10.64.0.4"}))
	if got := fmt.Sprintf("%q", f.live.taken); got != `["s1" ""]` {
		t.Errorf("released %s", got)
	}
	for name, want := range map[string]codes.Code{
		"tenants/acme/pools/main/leases/10.64.0.4":  codes.NotFound, // is forgotten now
		"tenants/acme/pools/main/leases/10.64.0.99": codes.NotFound,
		"tenants/acme/pools/none/leases/10.64.0.2":  codes.NotFound,
		"tenants/none/pools/main/leases/10.64.0.2":  codes.NotFound,
		"tenants/acme/pools/main/leases/x":          codes.InvalidArgument,
		"tenants/acme/pools/main/leases/::1":        codes.InvalidArgument,
		"tenants/acme/pools/main":                   codes.InvalidArgument,
		"":                                          codes.InvalidArgument,
	} {
		if _, err := client.GetLease(t.Context(), &concentratorv1.GetLeaseRequest{Name: name}); status.Code(err) != want {
			t.Errorf("get %q: %v, want %s", name, err, want)
		}
		if _, err := client.ReleaseLease(t.Context(), &concentratorv1.ReleaseLeaseRequest{Name: name}); status.Code(err) != want {
			t.Errorf("release %q: %v, want %s", name, err, want)
		}
	}
}

// No change of a pool takes an address from a session: it is refused, with the leases that stand against it.
func TestPoolInUse(t *testing.T) {
	f := start(t)
	f.seedLeases(t)
	client := concentratorv1.NewPoolServiceClient(f.conn)
	const name = "tenants/acme/pools/main"
	update := func(p *concentratorv1.Pool, validateOnly bool) error {
		p.Name = name
		_, err := client.UpdatePool(t.Context(), &concentratorv1.UpdatePoolRequest{Pool: p, ValidateOnly: validateOnly})
		return err
	}
	for _, c := range []struct {
		what string
		to   *concentratorv1.Pool
		want string // subjects
	}{
		{"grown", &concentratorv1.Pool{Ranges: []string{"10.64.0.0/23"}}, ""},
		{"shrunk to what is leased", &concentratorv1.Pool{Ranges: []string{"10.64.0.0/29"}}, ""}, // dave's is his own
		{"shrunk below", &concentratorv1.Pool{Ranges: []string{"10.64.0.0/31", "10.64.0.2"}}, "10.64.0.3"},
		{"moved", &concentratorv1.Pool{Ranges: []string{"10.66.0.0/24"}}, "10.64.0.2 10.64.0.3"},
		{"excluded", &concentratorv1.Pool{Exclude: []string{"10.64.0.3-10.64.0.9"}}, "10.64.0.3"},
		{"excluded what is free", &concentratorv1.Pool{Exclude: []string{"10.64.0.4"}}, ""},
		{"a client's address as gateway", &concentratorv1.Pool{Gateway: "10.64.0.200"}, "10.64.0.200"},
	} {
		for _, dry := range []bool{true, false} {
			err := update(c.to, dry)
			if c.want == "" {
				if err != nil {
					t.Errorf("%s: %v", c.what, err)
				}
				continue
			}
			var got []string
			for _, d := range status.Convert(err).Details() {
				if pre, ok := d.(*errdetails.PreconditionFailure); ok {
					for _, v := range pre.GetViolations() {
						got = append(got, strings.TrimPrefix(v.GetSubject(), name+"/leases/"))
					}
				}
			}
			if status.Code(err) != codes.FailedPrecondition || strings.Join(got, " ") != c.want {
				t.Errorf("%s: %v with %q, want %s", c.what, err, got, c.want)
			}
			for _, a := range strings.Fields(c.want) {
				if !strings.Contains(err.Error(), a+" (") || !strings.Contains(err.Error(), "tenants/acme/sessions/s") {
					t.Errorf("%s: %v does not name %s and its session", c.what, err, a)
				}
			}
		}
		if err := update(&concentratorv1.Pool{Ranges: []string{"10.64.0.0/24"}}, false); err != nil {
			t.Fatal(err)
		}
		if _, err := client.UpdatePool(t.Context(), &concentratorv1.UpdatePoolRequest{
			Pool: &concentratorv1.Pool{Name: name, Ranges: []string{"10.64.0.0/24"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"*"}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	// A pool that no profile names goes when no session has an address of it.
	f.pool(t, "acme", "third", "10.67.0.0/24")
	const third = "tenants/acme/pools/third"
	if err := f.live.pools.Configure(third, ippool.Spec{Ranges: []string{"10.67.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
	a, err := f.live.pools.Lease(third, "alice", "s9")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.DeletePool(t.Context(), &concentratorv1.DeletePoolRequest{Name: third})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "tenants/acme/sessions/s9") {
		t.Errorf("delete: %v", err)
	}
	f.live.pools.Release(third, a, "s9")
	must(t)(client.DeletePool(t.Context(), &concentratorv1.DeletePoolRequest{Name: third}))
}

// The list that an error carries is bounded.
func TestPoolInUseByMany(t *testing.T) {
	f := start(t)
	f.seedLeases(t)
	for i := range 150 {
		if _, err := f.live.pools.Lease("tenants/acme/pools/main", fmt.Sprint("u", i), fmt.Sprint("m", i)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := concentratorv1.NewPoolServiceClient(f.conn).UpdatePool(t.Context(), &concentratorv1.UpdatePoolRequest{
		Pool: &concentratorv1.Pool{Name: "tenants/acme/pools/main", Ranges: []string{"10.99.0.0/24"}},
	})
	if !strings.Contains(err.Error(), "and 142 more") {
		t.Errorf("says %v", err)
	}
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.PreconditionFailure:
			if len(d.GetViolations()) != maxListed {
				t.Errorf("%d listed", len(d.GetViolations()))
			}
		case *errdetails.ErrorInfo:
			if d.GetReason() != reasonLeased || d.GetMetadata()["leases"] != "152" {
				t.Errorf("%v", d)
			}
		}
	}
}

func TestPoolQuarantine(t *testing.T) {
	f := start(t)
	f.seedLeases(t)
	client := concentratorv1.NewPoolServiceClient(f.conn)
	p, err := client.GetPool(t.Context(), &concentratorv1.GetPoolRequest{Name: "tenants/acme/pools/spare"})
	must(t)(p, err)
	if p.GetQuarantine().AsDuration() != 0 || p.GetUsage().GetQuarantined() != 1 {
		t.Errorf("got %v", p)
	}
	for d, want := range map[time.Duration]codes.Code{
		90 * time.Second: codes.OK, 0: codes.OK, ippool.MaxQuarantine: codes.OK,
		time.Second / 2: codes.InvalidArgument, -time.Second: codes.InvalidArgument, ippool.MaxQuarantine + 1: codes.InvalidArgument,
	} {
		_, err := client.UpdatePool(t.Context(), &concentratorv1.UpdatePoolRequest{
			Pool: &concentratorv1.Pool{Name: p.GetName(), Quarantine: durationpb.New(d)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"quarantine"}},
		})
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %s", d, err, want)
		}
		if want != codes.OK {
			continue
		}
		stored, err := store.Get[store.Pool](f.store, p.GetName())
		if err != nil || stored.Quarantine != d {
			t.Errorf("%s: stored %v, %v", d, stored, err)
		}
	}
}

func TestLeasesByREST(t *testing.T) {
	f := start(t)
	f.seedLeases(t)
	for _, c := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"GET", "/v1/tenants/acme/pools/main/leases?state=RELEASED", 200, `"name":"tenants/acme/pools/main/leases/10.64.0.4"`},
		{"GET", "/v1/tenants/-/pools/-/leases?user=erin", 200, `"state":"QUARANTINED"`},
		{"GET", "/v1/tenants/acme/pools/main/leases/10.64.0.2", 200, `"session":"tenants/acme/sessions/s1"`},
		{"POST", "/v1/tenants/acme/pools/main/leases/10.64.0.2:release", 200, "{}"},
		{"POST", "/v1/tenants/acme/pools/main/leases/10.64.0.99:release", 404, "10.64.0.99"},
	} {
		code, body := f.rest(t, c.method, c.path, "")
		if code != c.code || !strings.Contains(strings.ReplaceAll(body, " ", ""), c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, body)
		}
	}
	if got := fmt.Sprintf("%q", f.live.taken); got != `["s1"]` {
		t.Errorf("released %s", got)
	}
}
