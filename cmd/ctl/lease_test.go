package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
)

func (a *api) withLeases() *api {
	a.leases = []*pb.Lease{
		{
			Name: "tenants/acme/pools/main/leases/10.64.0.2", User: "al\x1b[2Jice", Session: "tenants/acme/sessions/s1",
			State: pb.Lease_LEASED, LeaseTime: timestamppb.New(exampleTime),
		},
		{
			Name: "tenants/acme/pools/main/leases/10.64.0.3", User: "bob", State: pb.Lease_QUARANTINED,
			ReleaseTime: timestamppb.New(exampleTime), ExpireTime: timestamppb.New(exampleTime.Add(time.Hour)),
		},
	}
	return a
}

// lease answers for the lease service, with one lease a page.
func (a *api) lease(args, reply any) error {
	switch r := args.(type) {
	case *pb.ListLeasesRequest:
		a.leasesAsked = proto.Clone(r).(*pb.ListLeasesRequest)
		from := len(r.GetPageToken())
		out := reply.(*pb.ListLeasesResponse)
		out.Leases = a.leases[from : from+1]
		if from+1 < len(a.leases) {
			out.NextPageToken = strings.Repeat("x", from+1)
		}
		return nil
	case *pb.GetLeaseRequest:
		for _, l := range a.leases {
			if l.GetName() == r.GetName() {
				proto.Merge(reply.(proto.Message), l)
				return nil
			}
		}
	case *pb.ReleaseLeaseRequest:
		for _, l := range a.leases {
			if l.GetName() == r.GetName() {
				a.released = append(a.released, l.GetName())
				return nil
			}
		}
	}
	return status.Error(codes.NotFound, "no such lease")
}

func TestLeaseList(t *testing.T) {
	for _, c := range []struct{ args, asked string }{
		{"", "tenants/-/pools/-  STATE_UNSPECIFIED"},
		{"--tenant acme", "tenants/acme/pools/-  STATE_UNSPECIFIED"},
		{"--tenant acme --pool main", "tenants/acme/pools/main  STATE_UNSPECIFIED"},
		{"--pool tenants/acme/pools/main --user bob --state quarantined", "tenants/acme/pools/main bob QUARANTINED"},
	} {
		a := newAPI().withLeases()
		code, out, errs := ctl(t, a, "", nil, strings.Fields("lease list "+c.args)...)
		if code != 0 {
			t.Errorf("%s: exit %d: %s", c.args, code, errs)
		}
		r := a.leasesAsked
		if got := fmt.Sprintf("%s %s %s", r.GetParent(), r.GetUser(), r.GetState()); got != c.asked {
			t.Errorf("%s: asked for %q, want %q", c.args, got, c.asked)
		}
		const want = "" +
			"TENANT  POOL  ADDRESS    USER       STATE        SESSION                   LEASED                RELEASED              QUARANTINE UNTIL\n" +
			"acme    main  10.64.0.2  al\uFFFD[2Jice  LEASED       tenants/acme/sessions/s1  2030-01-31T12:00:00Z  -                     -\n" +
			"acme    main  10.64.0.3  bob        QUARANTINED  -                         -                     2030-01-31T12:00:00Z  2030-01-31T13:00:00Z\n"
		if out != want {
			t.Errorf("%s: printed\n%swant\n%s", c.args, out, want)
		}
	}
	for args, want := range map[string]string{
		"lease list --pool main": "--tenant", "lease list --state gone": "QUARANTINED", "lease get 10.64.0.2": "--pool",
		"lease get 10.64.0.2 --pool main": "--tenant", "lease release --tenant acme 10.64.0.2": "--pool", "lease release": "",
	} {
		if code, _, errs := ctl(t, newAPI().withLeases(), "", nil, strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
}

func TestLeaseGetAndRelease(t *testing.T) {
	a := newAPI().withLeases()
	for _, args := range []string{
		"tenants/acme/pools/main/leases/10.64.0.3", "10.64.0.3 --tenant acme --pool main", "10.64.0.3 --pool tenants/acme/pools/main",
	} {
		code, out, errs := ctl(t, a, "", nil, strings.Fields("lease get -o name "+args)...)
		if code != 0 || out != "tenants/acme/pools/main/leases/10.64.0.3\n" {
			t.Errorf("get %s: exit %d, %q, %s", args, code, out, errs)
		}
	}
	code, out, errs := ctl(t, a, "", nil, strings.Fields("lease release --tenant acme --pool main 10.64.0.2 10.64.0.3")...)
	if want := "[tenants/acme/pools/main/leases/10.64.0.2 tenants/acme/pools/main/leases/10.64.0.3]"; fmt.Sprint(a.released) != want {
		t.Errorf("released %v", a.released)
	}
	if code != 0 || out != "" || strings.Count(errs, "is being released") != 2 {
		t.Errorf("release: exit %d, %q, %q", code, out, errs)
	}
	if code, _, errs := ctl(t, a, "", nil, "lease", "release", "tenants/acme/pools/main/leases/10.64.0.9"); code != 1 || !strings.Contains(errs, "10.64.0.9") {
		t.Errorf("one that there is not: exit %d, %s", code, errs)
	}
}
