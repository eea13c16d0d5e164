package server

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
)

// Lockouts implements Live.
func (f *fakeLive) Lockouts(tenantName string) []session.Lockout {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.lockouts), func(l session.Lockout) bool {
		return tenantName != "" && !strings.HasPrefix(l.Name, tenantName+"/")
	})
}

// Lift implements Live.
func (f *fakeLive) Lift(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.lockouts)
	f.lockouts = slices.DeleteFunc(f.lockouts, func(l session.Lockout) bool { return l.Name == name })
	if len(f.lockouts) == n {
		return session.ErrNoLockout
	}
	return nil
}

func lockouts() []session.Lockout {
	return []session.Lockout{
		{
			Name: "tenants/acme/lockouts/source-1", Kind: "SOURCE", Subject: "192.0.2.66", Failures: 12,
			Until: time.Unix(1700000000, 0),
		},
		{
			Name: "tenants/acme/lockouts/user-2", Kind: "USER", Subject: "al\xffice", Failures: 5,
			ClientAddress: netip.MustParseAddr("192.0.2.7"),
		},
		{Name: "tenants/beta/lockouts/tenant", Kind: "TENANT", Subject: "beta", Failures: 100},
	}
}

func TestLockouts(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	f.live.lockouts = lockouts()
	client, ctx := concentratorv1.NewLockoutServiceClient(f.conn), t.Context()
	list := func(parent, token string, size int32) (names string, next string) {
		t.Helper()
		page, err := client.ListLockouts(ctx, &concentratorv1.ListLockoutsRequest{Parent: parent, PageToken: token, PageSize: size})
		must(t)(page, err)
		var all []string
		for _, l := range page.GetLockouts() {
			all = append(all, strings.TrimPrefix(l.GetName(), "tenants/"))
		}
		return strings.Join(all, " "), page.GetNextPageToken()
	}
	if got, _ := list("tenants/-", "", 0); got != "acme/lockouts/source-1 acme/lockouts/user-2 beta/lockouts/tenant" {
		t.Errorf("all: %s", got)
	}
	if got, _ := list("tenants/beta", "", 0); got != "beta/lockouts/tenant" {
		t.Errorf("beta's: %s", got)
	}
	first, token := list("tenants/-", "", 2)
	second, end := list("tenants/-", token, 2)
	if first != "acme/lockouts/source-1 acme/lockouts/user-2" || second != "beta/lockouts/tenant" || end != "" {
		t.Errorf("pages %q and %q", first, second)
	}

	_, body := f.rest(t, "GET", "/v1/tenants/acme/lockouts/source-1", "")
	got := decodeJSON(t, body)
	for k, want := range map[string]any{
		"name": "tenants/acme/lockouts/source-1", "kind": "SOURCE", "subject": "192.0.2.66", "failures": 12.0,
		"until": "2023-11-14T22:13:20Z", "clientAddress": "",
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}
	l, err := client.GetLockout(ctx, &concentratorv1.GetLockoutRequest{Name: "tenants/acme/lockouts/user-2"})
	must(t)(l, err)
	if l.GetSubject() != "al\uFFFDice" || l.GetClientAddress() != "192.0.2.7" || l.GetUntil() != nil {
		t.Errorf("got %v", l)
	}

	_, err = client.DeleteLockout(ctx, &concentratorv1.DeleteLockoutRequest{Name: l.GetName(), Etag: "x"})
	if !failureOf(err).equal(failure{code: codes.Aborted, reason: "ETAG_MISMATCH"}) {
		t.Errorf("lift with another etag: %v", err)
	}
	if _, err := client.DeleteLockout(ctx, &concentratorv1.DeleteLockoutRequest{
		Name: l.GetName(), Etag: l.GetEtag(), ValidateOnly: true,
	}); err != nil || len(f.live.Lockouts("tenants/acme")) != 2 {
		t.Errorf("validate_only: %v", err)
	}
	if code, body := f.rest(t, "DELETE", "/v1/tenants/acme/lockouts/user-2", ""); code != 200 {
		t.Errorf("lift: %d %s", code, body)
	}
	if left, _ := list("tenants/acme", "", 0); left != "acme/lockouts/source-1" {
		t.Errorf("left: %s", left)
	}
	for _, c := range []struct {
		name string
		want failure
	}{
		{"tenants/acme/lockouts/user-2", failure{code: codes.NotFound, reason: "RESOURCE_NOT_FOUND"}},
		{"tenants/none/lockouts/tenant", failure{code: codes.NotFound, reason: "RESOURCE_NOT_FOUND"}},
		{"tenants/acme/lockouts/", failure{codes.InvalidArgument, "INVALID_FIELD", []string{"name"}}},
		{"tenants/-/lockouts/tenant", failure{codes.InvalidArgument, "INVALID_FIELD", []string{"name"}}},
		{"tenants/acme/users/alice", failure{codes.InvalidArgument, "INVALID_FIELD", []string{"name"}}},
		{"", failure{codes.InvalidArgument, "INVALID_FIELD", []string{"name"}}},
	} {
		if _, err := client.GetLockout(ctx, &concentratorv1.GetLockoutRequest{Name: c.name}); !failureOf(err).equal(c.want) {
			t.Errorf("get %q: %v", c.name, err)
		}
		if _, err := client.DeleteLockout(ctx, &concentratorv1.DeleteLockoutRequest{Name: c.name}); !failureOf(err).equal(c.want) {
			t.Errorf("lift %q: %v", c.name, err)
		}
	}
	if _, err := client.ListLockouts(ctx, &concentratorv1.ListLockoutsRequest{Parent: "tenants/none"}); !failureOf(err).equal(
		failure{code: codes.NotFound, reason: "RESOURCE_NOT_FOUND"}) {
		t.Errorf("no tenant: %v", err)
	}
}
