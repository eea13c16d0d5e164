package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/store/storetest"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// trailOf reads all events that there are, the oldest first.
func (f *fixture) trailOf(t *testing.T) []store.AuditEvent {
	t.Helper()
	first, last, err := f.store.AuditBounds(t.Context())
	must(t)(last, err)
	all, err := f.store.AuditEvents(t.Context(), first, last, "")
	must(t)(all, err)
	return all
}

// since returns the events behind those that were there before.
func (f *fixture) since(t *testing.T, before int) []store.AuditEvent {
	t.Helper()
	return f.trailOf(t)[before:]
}

// Each write of a resource leaves one event: who, what, before and after, without the secrets.
func TestWritesAreAudited(t *testing.T) {
	f := start(t)
	conn := f.dialTLS(t)
	operator := f.newToken(t, "", "ops", tenant.RoleAdmin)
	ctx := withToken(t.Context(), operator)
	tenants, users := concentratorv1.NewTenantServiceClient(conn), concentratorv1.NewUserServiceClient(conn)
	profiles := concentratorv1.NewProfileServiceClient(conn)
	type want struct {
		method, resource string
		changed          string
		before, after    string
	}
	for _, tt := range []struct {
		name string
		call func() (any, error)
		want want
	}{
		{"create a tenant", func() (any, error) {
			return tenants.CreateTenant(ctx, &concentratorv1.CreateTenantRequest{TenantId: "acme", Tenant: &concentratorv1.Tenant{
				DisplayName: "Acme", Ipsec: &concentratorv1.Tenant_Ipsec{Psks: []*concentratorv1.Tenant_Ipsec_Psk{{Id: "main", Secret: new("hush-psk-1")}}},
			}})
		}, want{"CreateTenant", "tenants/acme", "[displayName ipsec.psks]", "", `{"displayName":"Acme","ipsec":{"psks":[{"id":"main","secret":"***"}]}}`}},
		{"a secret alone", func() (any, error) {
			return tenants.UpdateTenant(ctx, &concentratorv1.UpdateTenantRequest{Tenant: &concentratorv1.Tenant{
				Name: "tenants/acme", L2Tp: &concentratorv1.Tenant_L2Tp{TunnelSecret: new("hush-tunnel")},
			}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"l2tp"}}})
		}, want{
			"UpdateTenant", "tenants/acme", "[l2tp.tunnelSecret]",
			`{"displayName":"Acme","ipsec":{"psks":[{"id":"main","secret":"***"}]}}`,
			`{"displayName":"Acme","ipsec":{"psks":[{"id":"main","secret":"***"}]},"l2tp":{"tunnelSecret":"***"}}`,
		}},
		{"a key beside the others", func() (any, error) {
			return tenants.RotatePsk(ctx, &concentratorv1.RotatePskRequest{Name: "tenants/acme", PskId: "next"})
		}, want{
			"RotatePsk", "tenants/acme", "[ipsec.psks]",
			`{"displayName":"Acme","ipsec":{"psks":[{"id":"main","secret":"***"}]},"l2tp":{"tunnelSecret":"***"}}`,
			`{"displayName":"Acme","ipsec":{"psks":[{"id":"main","secret":"***"},{"id":"next","secret":"***"}]},"l2tp":{"tunnelSecret":"***"}}`,
		}},
		{"a profile", func() (any, error) {
			return profiles.CreateProfile(ctx, &concentratorv1.CreateProfileRequest{
				Parent: "tenants/acme", ProfileId: "staff", Profile: &concentratorv1.Profile{DnsServers: []string{"10.0.0.53"}},
			})
		}, want{"CreateProfile", "tenants/acme/profiles/staff", "[dnsServers]", "", `{"dnsServers":["10.0.0.53"]}`}},
		{"a user", func() (any, error) {
			return users.CreateUser(ctx, &concentratorv1.CreateUserRequest{
				Parent: "tenants/acme", UserId: "alice", User: &concentratorv1.User{Password: new("hush-password")},
			})
		}, want{"CreateUser", "tenants/acme/users/alice", "[password]", "", `{"password":"***"}`}},
		{"another password", func() (any, error) {
			return users.UpdateUser(ctx, &concentratorv1.UpdateUserRequest{
				User: &concentratorv1.User{Name: "tenants/acme/users/alice", Password: new("hush-password-2"), Disabled: true},
			})
		}, want{"UpdateUser", "tenants/acme/users/alice", "[disabled password]", `{"password":"***"}`, `{"disabled":true,"password":"***"}`}},
		{"a token", func() (any, error) {
			return concentratorv1.NewApiTokenServiceClient(conn).CreateApiToken(ctx, &concentratorv1.CreateApiTokenRequest{
				Parent: "tenants/acme", ApiTokenId: "portal", ApiToken: &concentratorv1.ApiToken{Role: concentratorv1.ApiToken_VIEWER},
			})
		}, want{"CreateApiToken", "tenants/acme/apiTokens/portal", "[role token]", "", `{"role":"VIEWER","token":"***"}`}},
		{"another token", func() (any, error) {
			return concentratorv1.NewApiTokenServiceClient(conn).RotateApiToken(ctx, &concentratorv1.RotateApiTokenRequest{Name: "tenants/acme/apiTokens/portal"})
		}, want{"RotateApiToken", "tenants/acme/apiTokens/portal", "[token]", `{"role":"VIEWER","token":"***"}`, `{"role":"VIEWER","token":"***"}`}},
		{"a RADIUS server", func() (any, error) {
			return concentratorv1.NewRadiusServerServiceClient(conn).CreateRadiusServer(ctx, &concentratorv1.CreateRadiusServerRequest{
				Parent: "tenants/acme", RadiusServerId: "one", RadiusServer: &concentratorv1.RadiusServer{
					Address: "192.0.2.5", Secrets: []string{"hush-1", "hush-2"},
				},
			})
		}, want{"CreateRadiusServer", "tenants/acme/radiusServers/one", "[address secrets]", "", `{"address":"192.0.2.5","secrets":["***","***"]}`}},
		{"a deletion", func() (any, error) {
			return users.DeleteUser(ctx, &concentratorv1.DeleteUserRequest{Name: "tenants/acme/users/alice"})
		}, want{"DeleteUser", "tenants/acme/users/alice", "[disabled password]", `{"disabled":true,"password":"***"}`, ""}},
	} {
		before := len(f.trailOf(t))
		revision, err := f.store.Revision()
		must(t)(revision, err)
		must(t)(tt.call())
		events := f.since(t, before)
		if after, err := f.store.Revision(); after != revision+1 || err != nil {
			t.Errorf("%s: %d commits, %v; the write and its event are one", tt.name, after-revision, err)
		}
		if len(events) != 1 {
			t.Fatalf("%s: %d events", tt.name, len(events))
		}
		e := events[0]
		got := want{e.Method, e.Resource, fmt.Sprint(e.ChangedFields), string(e.Before), string(e.After)}
		if got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
		if e.Caller != "apiTokens/ops" || e.Role != "ADMIN" || !strings.HasPrefix(e.Address, "127.0.0.1:") || e.Code != "OK" ||
			e.Tenant != "tenants/acme" || len(e.RequestID) != 16 || e.Count != 1 || e.Reason != "" || e.Detail != "" {
			t.Errorf("%s: %+v", tt.name, e)
		}
	}
	text, err := json.Marshal(f.trailOf(t))
	must(t)(text, err)
	if strings.Contains(string(text), "hush") || strings.Contains(string(text), operator) {
		t.Errorf("a secret is in the trail: %s", text)
	}
}

// What asks only, what changes nothing and what only reads leaves no event; what failed or is no resource's write does.
func TestWhatIsAudited(t *testing.T) {
	f := start(t)
	f.seed(t)
	f.live.sessions = append(f.live.sessions, info("tenants/acme/sessions/s1"))
	f.live.tests = nil
	users, sessions := concentratorv1.NewUserServiceClient(f.conn), concentratorv1.NewSessionServiceClient(f.conn)
	alice := "tenants/acme/users/alice"
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		call func() (any, error)
		want string // caller, method, resource, code, reason of each event
	}{
		{"read", func() (any, error) { return users.GetUser(ctx, &concentratorv1.GetUserRequest{Name: alice}) }, ""},
		{"read of nothing", func() (any, error) {
			return users.GetUser(ctx, &concentratorv1.GetUserRequest{Name: "tenants/acme/users/no"})
		}, ""},
		{"list", func() (any, error) {
			return users.ListUsers(ctx, &concentratorv1.ListUsersRequest{Parent: "tenants/acme"})
		}, ""},
		{"validate only", func() (any, error) {
			return users.DeleteUser(ctx, &concentratorv1.DeleteUserRequest{Name: alice, ValidateOnly: true})
		}, ""},
		{"no change", func() (any, error) {
			return users.UpdateUser(ctx, &concentratorv1.UpdateUserRequest{User: &concentratorv1.User{Name: alice, StaticAddress: "10.64.0.9"}})
		}, ""},
		{"wrong", func() (any, error) {
			return users.UpdateUser(ctx, &concentratorv1.UpdateUserRequest{User: &concentratorv1.User{Name: alice, StaticAddress: "x"}})
		}, "system UpdateUser tenants/acme/users/alice INVALID_ARGUMENT INVALID_FIELD\n"},
		{"there already", func() (any, error) {
			return users.CreateUser(ctx, &concentratorv1.CreateUserRequest{
				Parent: "tenants/acme", UserId: "alice", User: &concentratorv1.User{Password: new("hush-hush")},
			})
		}, "system CreateUser tenants/acme/users/alice ALREADY_EXISTS RESOURCE_EXISTS\n"},
		{"a listener without anything", func() (any, error) {
			return concentratorv1.NewListenerServiceClient(f.conn).CreateListener(ctx, &concentratorv1.CreateListenerRequest{
				ListenerId: "other", Listener: &concentratorv1.Listener{},
			})
		}, "system CreateListener listeners/other INVALID_ARGUMENT INVALID_FIELD\n"},
		{"sent again", func() (any, error) {
			bob := &concentratorv1.CreateUserRequest{
				Parent: "tenants/acme", UserId: "bob", User: &concentratorv1.User{Password: new("x")}, RequestId: "6f1c9c1e-0000-4000-8000-000000000001",
			}
			must(t)(users.CreateUser(ctx, bob))
			return users.CreateUser(ctx, bob)
		}, "system CreateUser tenants/acme/users/bob OK \n"},
		{"old etag", func() (any, error) {
			return users.DeleteUser(ctx, &concentratorv1.DeleteUserRequest{Name: alice, Etag: "x"})
		}, "system DeleteUser tenants/acme/users/alice ABORTED ETAG_MISMATCH\n"},
		{"disconnect", func() (any, error) {
			return sessions.DisconnectSession(ctx, &concentratorv1.DisconnectSessionRequest{Name: "tenants/acme/sessions/s1"})
		}, "system DisconnectSession tenants/acme/sessions/s1 OK \n"},
		{"test with a password", func() (any, error) {
			return concentratorv1.NewRadiusServerServiceClient(f.conn).TestRadiusServer(ctx, &concentratorv1.TestRadiusServerRequest{
				Name: "tenants/acme/radiusServers/one", User: "alice", Password: new("hush-hush"),
			})
		}, "system TestRadiusServer tenants/acme/radiusServers/one OK \n"},
	} {
		before := len(f.trailOf(t))
		_, _ = tt.call()
		var got strings.Builder
		for _, e := range f.since(t, before) {
			fmt.Fprintln(&got, e.Caller, e.Method, e.Resource, e.Code, e.Reason)
		}
		if got.String() != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got.String(), tt.want)
		}
	}
	last := f.trailOf(t)[len(f.trailOf(t))-1]
	if last.Detail != `{"user":"alice","password":"***"}` && last.Detail != `{"password":"***","user":"alice"}` {
		t.Errorf("what was asked for: %s", last.Detail)
	}
}

// A write whose event can't be written is not done.
func TestNoWriteWithoutItsEvent(t *testing.T) {
	dir := t.TempDir()
	kv, err := bolt.Open(filepath.Join(dir, "state.db"))
	must(t)(kv, err)
	t.Cleanup(func() { _ = kv.Close() })
	s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
	must(t)(s, err)
	_, _, err = kv.Commit(t.Context(), nil, []store.Op{{Key: "a/head", Value: []byte("junk")}})
	must(t)(nil, err)
	f := start(t, func(c *Config) { c.Store = s })
	_, err = concentratorv1.NewTenantServiceClient(f.conn).CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{TenantId: "acme"})
	if status.Code(err) != codes.Internal {
		t.Errorf("created: %v", err)
	}
	if _, err := store.Get[store.Tenant](s, "tenants/acme"); !isNotFound(err) {
		t.Errorf("it is there: %v", err)
	}
	if !strings.Contains(f.log.String(), "audit event is lost") {
		t.Error("the log says nothing")
	}
	found, err := concentratorv1.NewAuditEventServiceClient(f.conn).VerifyAuditEvents(t.Context(), &concentratorv1.VerifyAuditEventsRequest{})
	if err != nil || found.GetValid() || !strings.Contains(found.GetDetail(), "head") {
		t.Errorf("%v, %v", found, err)
	}
}

// Callers who are nobody are recorded, by gRPC and by REST, and never with what they have sent as a token.
func TestStrangersAreAudited(t *testing.T) {
	f := start(t)
	before := len(f.trailOf(t))
	conn := f.dialTLS(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer conc_wrong-token")
	_, err := concentratorv1.NewTenantServiceClient(conn).GetTenant(ctx, &concentratorv1.GetTenantRequest{Name: "tenants/acme"})
	if status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
	if code, _ := f.rest(t, http.MethodDelete, "/v1/tenants/acme?x=conc_wrong-token", "", "Authorization", "Bearer conc_wrong-token"); code != http.StatusUnauthorized {
		t.Fatal(code)
	}
	events := f.since(t, before)
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	for i, want := range []struct{ method, resource string }{{"GetTenant", ""}, {"DELETE", "/v1/tenants/acme"}} {
		e := events[i]
		if e.Caller != "" || e.Role != "" || e.Method != want.method || e.Resource != want.resource || e.Tenant != "" ||
			!strings.HasPrefix(e.Address, "127.0.0.1:") || e.Code != "UNAUTHENTICATED" || e.Reason != reasonUnauthenticated {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
	if text, _ := json.Marshal(events); strings.Contains(string(text), "wrong-token") {
		t.Errorf("the token is in the trail: %s", text)
	}
}

// However many calls are refused, they become few events, and each call is counted in one of them.
func TestFloodOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		trail := newAuditTrail(s, telemetry.NewMetrics(), testLog(&logBuffer{}))
		const calls = 20_000
		st := status.Convert(errUnauthenticated)
		for i := range calls {
			// From ever other places, and now and then somebody who is known.
			who := caller{address: fmt.Sprintf("192.0.%d.%d:%d", i%1000/250, i%250, i%60000)}
			if i%100 == 0 {
				who.name, who.role = "apiTokens/x", tenant.RoleViewer
			}
			trail.refused(trail.of(who, "/x/GetUser", "").failed("tenants/acme/users/"+fmt.Sprint(i), st))
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
			trail.mu.Lock()
			if n := len(trail.counted); n > maxRefusals+maxKnownRefusals {
				t.Errorf("%d kinds are told apart", n)
			}
			trail.mu.Unlock()
		}
		_, last, err := s.AuditBounds(context.Background())
		must(t)(last, err)
		if last < 50 || last > 400 {
			t.Errorf("%d events in 200 s", last)
		}
		trail.close()
		all, err := s.AuditEvents(context.Background(), 1, 1<<40, "")
		must(t)(all, err)
		counts := 0
		for _, e := range all {
			counts += e.Count
			if e.Code != "UNAUTHENTICATED" {
				t.Errorf("%+v", e)
			}
		}
		if counts != calls || len(all) > 600 {
			t.Errorf("%d events stand for %d calls, want %d", len(all), counts, calls)
		}
		if n := len(trail.counted); n != 0 || trail.timer != nil {
			t.Errorf("%d are left over", n)
		}
	})
}

// Counted calls come into the trail by themselves, and the event says what they had in common.
func TestRefusalsAreWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		trail := newAuditTrail(s, telemetry.NewMetrics(), testLog(&logBuffer{}))
		trail.known = rate.NewLimiter(rate.Every(5*time.Second), 1)
		who := caller{name: "tenants/acme/apiTokens/x", tenant: "tenants/acme", address: "192.0.2.1:5", role: tenant.RoleViewer}
		for i := range 4 {
			resource := fmt.Sprint("tenants/acme/users/u", i/3)
			trail.refused(trail.of(who, "/x/DeleteUser", "id").failed(resource, status.New(codes.PermissionDenied, "no")))
		}
		time.Sleep(refusalFlush + time.Second)
		synctest.Wait()
		all, err := s.AuditEvents(context.Background(), 1, 100, "")
		if err != nil || len(all) != 2 || all[0].Count != 1 || all[0].Resource != "tenants/acme/users/u0" || all[0].RequestID != "id" {
			t.Fatalf("%+v, %v", all, err)
		}
		if e := all[1]; e.Count != 3 || e.Resource != "" || e.Detail != "no" || e.Address != "192.0.2.1" || e.RequestID != "" ||
			e.Caller != who.name || e.Tenant != who.tenant || e.Method != "DeleteUser" {
			t.Errorf("%+v", e)
		}
		trail.close()
	})
}

// Lists go backwards or forwards, page by page, filtered, below a tenant or all.
func TestListAuditEvents(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	for i := range 300 {
		must(t)(nil, f.store.Audit(t.Context(), &store.AuditEvent{
			Tenant: []string{"tenants/acme", "tenants/beta", ""}[i%3], Method: fmt.Sprint("M", i), Code: "OK", Caller: "root", Count: 1,
		}))
	}
	all := f.trailOf(t)
	client := concentratorv1.NewAuditEventServiceClient(f.conn)
	list := func(r *concentratorv1.ListAuditEventsRequest) (got []*concentratorv1.AuditEvent) {
		t.Helper()
		for {
			page, err := client.ListAuditEvents(t.Context(), r)
			must(t)(page, err)
			if r.PageSize > 0 && len(page.GetAuditEvents()) > int(r.GetPageSize()) {
				t.Fatalf("a page of %d", len(page.GetAuditEvents()))
			}
			got = append(got, page.GetAuditEvents()...)
			if r.PageToken = page.GetNextPageToken(); r.GetPageToken() == "" {
				return got
			}
			r.PageSize = 7 // another size is no other list
		}
	}
	of := func(keep func(e *store.AuditEvent) bool) (names []string) {
		for i := range all {
			if keep(&all[i]) {
				names = append(names, auditName(all[i].Tenant, all[i].Sequence))
			}
		}
		return names
	}
	for _, tt := range []struct {
		name string
		ask  *concentratorv1.ListAuditEventsRequest
		keep func(e *store.AuditEvent) bool
		old  bool
	}{
		{"all", &concentratorv1.ListAuditEventsRequest{}, func(*store.AuditEvent) bool { return true }, false},
		{"all, the oldest first", &concentratorv1.ListAuditEventsRequest{OrderBy: "time"}, func(*store.AuditEvent) bool { return true }, true},
		{"by sequence", &concentratorv1.ListAuditEventsRequest{OrderBy: "sequence desc", PageSize: 64}, func(*store.AuditEvent) bool { return true }, false},
		{"any tenant's", &concentratorv1.ListAuditEventsRequest{Parent: "tenants/-"}, func(e *store.AuditEvent) bool { return e.Tenant != "" }, false},
		{"a tenant's", &concentratorv1.ListAuditEventsRequest{Parent: "tenants/beta", PageSize: 3}, func(e *store.AuditEvent) bool { return e.Tenant == "tenants/beta" }, false},
		{"filtered", &concentratorv1.ListAuditEventsRequest{Filter: `method = "M1*" AND sequence > 40`, PageSize: 5}, func(e *store.AuditEvent) bool {
			return strings.HasPrefix(e.Method, "M1") && e.Sequence > 40
		}, false},
		{"filtered to nothing", &concentratorv1.ListAuditEventsRequest{Filter: `code = "NO"`}, func(*store.AuditEvent) bool { return false }, false},
	} {
		want := of(tt.keep)
		if !tt.old {
			slices.Reverse(want)
		}
		var got []string
		for _, m := range list(tt.ask) {
			got = append(got, m.GetName())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %d, want %d\n%q\n%q", tt.name, len(got), len(want), got, want)
		}
	}
	for _, r := range []*concentratorv1.ListAuditEventsRequest{{OrderBy: "caller"}, {Filter: "x = 1"}, {Parent: "tenants/"}, {PageToken: "x"}} {
		if _, err := client.ListAuditEvents(t.Context(), r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", r, err)
		}
	}
	if _, err := client.ListAuditEvents(t.Context(), &concentratorv1.ListAuditEventsRequest{Parent: "tenants/no"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	for name, want := range map[string]codes.Code{
		auditName("tenants/acme", all[1].Sequence): codes.OK, auditName("", all[1].Sequence): codes.NotFound, "auditEvents/1": codes.InvalidArgument,
		auditName("tenants/beta", all[1].Sequence): codes.NotFound, auditName("", 9999): codes.NotFound, "tenants/acme": codes.InvalidArgument,
	} {
		if m, err := client.GetAuditEvent(t.Context(), &concentratorv1.GetAuditEventRequest{Name: name}); status.Code(err) != want || err == nil && m.GetName() != name {
			t.Errorf("%s: %v, %v, want %v", name, m, err, want)
		}
	}
	if code, body := f.rest(t, http.MethodGet, "/v1/tenants/acme/auditEvents?pageSize=1&orderBy=time", ""); code != http.StatusOK ||
		!strings.Contains(body, `"method":"CreateTenant"`) || !strings.Contains(body, `"before":null`) && strings.Contains(body, `"before"`) {
		t.Errorf("%d %s", code, body)
	}
}

// A tenant-bound caller sees its own tenant's events, no word of others, and nothing of an older tenant of the same name.
func TestAuditOfABoundCaller(t *testing.T) {
	f := start(t)
	tenants := concentratorv1.NewTenantServiceClient(f.conn)
	must(t)(tenants.CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{TenantId: "acme", Tenant: &concentratorv1.Tenant{DisplayName: "An older one"}}))
	must(t)(tenants.DeleteTenant(t.Context(), &concentratorv1.DeleteTenantRequest{Name: "tenants/acme"}))
	old := len(f.trailOf(t))
	f.seedBoth(t, false)
	conn := f.dialTLS(t)
	acme := withToken(t.Context(), f.newToken(t, "tenants/acme", "viewer", tenant.RoleViewer))
	users := concentratorv1.NewUserServiceClient(conn)
	// One tries what is beta's, one what it may not; and one who sees all fails at acme because of beta.
	_, err := users.GetUser(acme, &concentratorv1.GetUserRequest{Name: "tenants/beta/users/alice"})
	if status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	if _, err = users.DeleteUser(acme, &concentratorv1.DeleteUserRequest{Name: "tenants/acme/users/alice"}); status.Code(err) != codes.PermissionDenied {
		t.Fatal(err)
	}
	_, err = concentratorv1.NewUserServiceClient(f.conn).UpdateUser(t.Context(), &concentratorv1.UpdateUserRequest{
		User: &concentratorv1.User{Name: "tenants/acme/users/alice", Profile: "tenants/beta/profiles/staff"},
	})
	if err == nil || !strings.Contains(err.Error(), "beta") {
		t.Fatal(err)
	}
	client := concentratorv1.NewAuditEventServiceClient(conn)
	var all []*concentratorv1.AuditEvent
	for _, parent := range []string{"", "tenants/-", "tenants/acme"} {
		page, err := client.ListAuditEvents(acme, &concentratorv1.ListAuditEventsRequest{Parent: parent})
		must(t)(page, err)
		if all = page.GetAuditEvents(); len(all) < 5 {
			t.Fatalf("%q: %d events", parent, len(all))
		}
		for _, e := range all {
			text, err := protojson.Marshal(e)
			must(t)(text, err)
			if !strings.HasPrefix(e.GetName(), "tenants/acme/auditEvents/") || int(e.GetSequence()) <= old {
				t.Errorf("not its own: %s", text)
			}
			if strings.Contains(string(text), "beta") && e.GetCaller() != "tenants/acme/apiTokens/viewer" {
				t.Errorf("a word of another: %s", text)
			}
		}
	}
	if all[0].GetCode() != "INVALID_ARGUMENT" && all[0].GetCode() != "FAILED_PRECONDITION" || all[0].GetDetail() != "" || all[0].GetCaller() != "system" ||
		all[1].GetCode() != "PERMISSION_DENIED" || all[1].GetDetail() == "" ||
		all[2].GetCode() != "NOT_FOUND" || all[2].GetMethod() != "GetUser" || all[2].GetResource() != "tenants/beta/users/alice" {
		t.Errorf("%v\n%v\n%v", all[0], all[1], all[2])
	}
	beta := withToken(t.Context(), f.newToken(t, "tenants/beta", "viewer", tenant.RoleViewer))
	page, err := client.ListAuditEvents(beta, &concentratorv1.ListAuditEventsRequest{})
	must(t)(page, err)
	if text := page.String(); strings.Contains(text, "acme") || !strings.Contains(text, "tenants/beta/users/alice") {
		t.Errorf("beta sees %s", text)
	}
	name := auditName("tenants/acme", 1)
	if _, err := client.GetAuditEvent(acme, &concentratorv1.GetAuditEventRequest{Name: name}); status.Code(err) != codes.NotFound {
		t.Errorf("an event of the older tenant: %v", err)
	}
	if _, err := client.VerifyAuditEvents(acme, &concentratorv1.VerifyAuditEventsRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
}

func TestVerifyAuditEvents(t *testing.T) {
	f := start(t)
	f.seed(t)
	client := concentratorv1.NewAuditEventServiceClient(f.conn)
	verify := func(known string) (*concentratorv1.VerifyAuditEventsResponse, error) {
		return client.VerifyAuditEvents(t.Context(), &concentratorv1.VerifyAuditEventsRequest{KnownHash: known})
	}
	all := f.trailOf(t)
	m, err := verify("")
	if err != nil || !m.GetValid() || m.GetChecked() != int64(len(all)) || m.GetFirstSequence() != 1 || m.GetLastSequence() != int64(len(all)) ||
		m.GetLastHash() != fmt.Sprintf("%x", all[len(all)-1].Hash) {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := verify(m.GetLastHash()); err != nil || !m.GetValid() {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := verify(strings.Repeat("ab", 32)); err != nil || m.GetValid() || m.GetDetail() == "" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := verify("abc"); !failureOf(err).equal(failure{codes.InvalidArgument, reasonInvalid, []string{"knownHash"}}) {
		t.Error(err)
	}
}

// A watch begins with the latest events and goes on with each new one; a revision resumes it, and a bound caller's shows its own.
func TestWatchAuditEvents(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	acme := withToken(t.Context(), f.newToken(t, "tenants/acme", "viewer", tenant.RoleViewer))
	ctx, cancel := context.WithCancel(acme)
	defer cancel()
	client := concentratorv1.NewAuditEventServiceClient(f.dialTLS(t))
	stream, err := client.WatchAuditEvents(ctx, &concentratorv1.WatchAuditEventsRequest{})
	must(t)(stream, err)
	var names []string
	revision := ""
	next := func() *concentratorv1.WatchAuditEventsResponse {
		t.Helper()
		for {
			m, err := stream.Recv()
			must(t)(m, err)
			if revision = m.GetRevision(); m.GetEvent() != nil {
				return m
			}
		}
	}
	for m := next(); m.GetSnapshotDone() == nil; m = next() {
		names = append(names, m.GetUpsert().GetName())
	}
	var want []string
	for _, e := range f.trailOf(t) {
		if e.Tenant == "tenants/acme" {
			want = append(want, auditName(e.Tenant, e.Sequence))
		}
	}
	if !slices.Equal(names, want) || len(want) < 5 {
		t.Errorf("the snapshot is %q, want %q", names, want)
	}
	users := concentratorv1.NewUserServiceClient(f.conn)
	write := func(id string) {
		for _, parent := range []string{"tenants/beta", "tenants/acme"} {
			must(t)(users.CreateUser(t.Context(), &concentratorv1.CreateUserRequest{Parent: parent, UserId: id, User: &concentratorv1.User{Password: new("x")}}))
		}
	}
	write("bob")
	if e := next().GetUpsert(); e.GetResource() != "tenants/acme/users/bob" || e.GetMethod() != "CreateUser" {
		t.Errorf("%v", e)
	}
	cancel()
	write("carol")
	stream, err = client.WatchAuditEvents(acme, &concentratorv1.WatchAuditEventsRequest{Revision: revision})
	must(t)(stream, err)
	write("dave")
	for _, id := range []string{"carol", "dave"} {
		if e := next().GetUpsert(); e.GetResource() != "tenants/acme/users/"+id {
			t.Errorf("%v, want %s", e, id)
		}
	}
}

// A picture of much is made smaller: long texts by their hash, large resources by what has changed.
func TestPicturesAreBounded(t *testing.T) {
	pem := strings.Repeat("A", 5000)
	v := shorten(map[string]any{"a": pem, "b": map[string]any{}, "c": []any{pem, "x"}}).(map[string]any)
	if s := v["a"].(string); len(s) > 200 || !strings.Contains(s, "5000 octets") || v["b"] != nil || v["c"].([]any)[1] != "x" || len(v["c"].([]any)[0].(string)) > 200 {
		t.Errorf("%v", v)
	}
	many := make([]any, 6000)
	for i := range many {
		many[i] = fmt.Sprint("10.0.0.", i)
	}
	b, a, changed := comparison(picture{"list": many, "x": "1"}, picture{"list": many, "x": "2"}, nil)
	if string(b) != `{"x":"1"}` || string(a) != `{"x":"2"}` || fmt.Sprint(changed) != "[x]" {
		t.Errorf("%.100s, %.100s, %v", b, a, changed)
	}
	if b, a, changed := comparison(nil, picture{"list": many}, []string{"p[0].secret"}); b != nil || a != nil || fmt.Sprint(changed) != "[list p]" {
		t.Errorf("%.100s, %.100s, %v", b, a, changed)
	}
}

// What a stream does is in the trail before it has begun to answer; one that is refused says so, and none is there twice.
func TestStreamsAreAudited(t *testing.T) {
	f := start(t)
	f.seed(t)
	f.live.errs = make(chan error, 4)
	before := len(f.trailOf(t))
	var seen []store.AuditEvent
	f.live.run = func(_ context.Context, sink func([]byte) error) (session.Captured, error) {
		if n := len(f.since(t, before)); n != 0 {
			t.Errorf("%d events before the capture has given anything", n)
		}
		err := sink([]byte("header"))
		seen = f.since(t, before)
		return session.Captured{}, err
	}
	client := concentratorv1.NewSessionServiceClient(f.conn)
	capture := func(name string) error {
		stream, err := client.CaptureSession(t.Context(), &concentratorv1.CaptureSessionRequest{Name: name, MaxPackets: 9})
		must(t)(stream, err)
		for {
			if _, err := stream.Recv(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	must(t)(nil, capture("tenants/acme/sessions/s1"))
	if len(seen) != 1 || seen[0].Method != "CaptureSession" || seen[0].Resource != "tenants/acme/sessions/s1" || seen[0].Code != "OK" ||
		seen[0].Detail != `{"maxPackets":"9"}` || seen[0].Tenant != "tenants/acme" {
		t.Errorf("%+v", seen)
	}
	if err := capture("tenants/acme/sessions/none"); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	events := f.since(t, before)
	if len(events) != 2 || events[1].Code != "NOT_FOUND" || events[1].Resource != "tenants/acme/sessions/none" {
		t.Errorf("%+v", events)
	}
}

// Whatever a request holds that is never shown is not shown in the trail either.
func TestWordingHidesSecrets(t *testing.T) {
	f := start(t)
	found := 0
	var fill func(m protoreflect.Message, depth int)
	fill = func(m protoreflect.Message, depth int) {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			secret := protoreflect.ValueOfString("hush")
			switch {
			case query.WriteOnly(fd) && fd.IsList():
				m.Mutable(fd).List().Append(secret)
				found++
			case query.WriteOnly(fd):
				m.Set(fd, secret)
				found++
			case fd.Message() == nil || fd.IsMap() || depth > 4:
			case fd.IsList():
				fill(m.Mutable(fd).List().AppendMutable().Message(), depth+1)
			default:
				fill(m.Mutable(fd).Message(), depth+1)
			}
		}
	}
	for _, m := range f.methods(t) {
		req := messageOf(t, m.desc.Input())
		fill(req.ProtoReflect(), 0)
		if text := wording(req); strings.Contains(text, "hush") {
			t.Errorf("%s: %s", m.full, text)
		}
	}
	if found < 10 {
		t.Errorf("only %d secrets in all requests: the test does not see them", found)
	}
}
