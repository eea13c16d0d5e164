package server

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/tenant"
)

// seedLive makes two tenants' sessions and logins.
func (f *fixture) seedLive(t *testing.T) {
	t.Helper()
	f.seed(t)
	f.tenant(t, "beta", "beta", "10.64.0.0/24")
	f.live.sessions = []session.Info{
		info("tenants/acme/sessions/s1"), info("tenants/acme/sessions/s2"), info("tenants/beta/sessions/s3"),
	}
	login := func(name, tenantName, user string, outcome session.Outcome, reason tenant.Reason, from string) session.LoginAttempt {
		return session.LoginAttempt{
			Name: name, Tenant: tenantName, Time: time.Unix(1700000000, 0), Protocol: tenant.ProtocolPPTP, User: user,
			ClientAddress: netip.MustParseAddrPort(from), Stage: tenant.StageAuthentication, Outcome: outcome, Reason: reason, Detail: "why",
		}
	}
	f.live.logins = []session.LoginAttempt{ // the newest first
		login("tenants/acme/logins/5", "tenants/acme", "alice", session.OutcomeAccepted, "", "192.0.2.7:1042"),
		login("tenants/beta/logins/4", "tenants/beta", "alice", session.OutcomeRefused, tenant.ReasonUserDisabled, "192.0.2.8:1"),
		login("logins/3", "", "", session.OutcomeRefused, tenant.ReasonPeerTimeout, "192.0.2.9:1"),
		login("tenants/acme/logins/2", "tenants/acme", "bob", session.OutcomeRefused, tenant.ReasonWrongCredentials, "192.0.2.7:9"),
		login("tenants/acme/logins/1", "tenants/acme", "alice", session.OutcomeRefused, tenant.ReasonWrongCredentials, "192.0.2.7:1041"),
	}
}

// Each row is one question asked both ways. The answers must be the same message.
func TestRESTEqualsGRPC(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	f.acl(t)
	f.seedRadius()
	ctx := t.Context()
	for _, c := range []struct {
		path string
		into proto.Message
		grpc func() (proto.Message, error)
	}{
		{"/v1/tenants", &concentratorv1.ListTenantsResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewTenantServiceClient(f.conn).ListTenants(ctx, &concentratorv1.ListTenantsRequest{})
		}},
		{"/v1/tenants/acme", &concentratorv1.Tenant{}, func() (proto.Message, error) {
			return concentratorv1.NewTenantServiceClient(f.conn).GetTenant(ctx, &concentratorv1.GetTenantRequest{Name: "tenants/acme"})
		}},
		{"/v1/tenants/acme/profiles/staff", &concentratorv1.Profile{}, func() (proto.Message, error) {
			return concentratorv1.NewProfileServiceClient(f.conn).GetProfile(ctx, &concentratorv1.GetProfileRequest{Name: "tenants/acme/profiles/staff"})
		}},
		{"/v1/tenants/-/users?pageSize=1", &concentratorv1.ListUsersResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewUserServiceClient(f.conn).ListUsers(ctx, &concentratorv1.ListUsersRequest{Parent: "tenants/-", PageSize: 1})
		}},
		{"/v1/tenants/acme/pools", &concentratorv1.ListPoolsResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewPoolServiceClient(f.conn).ListPools(ctx, &concentratorv1.ListPoolsRequest{Parent: "tenants/acme"})
		}},
		{"/v1/tenants/acme/acls", &concentratorv1.ListAclsResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewAclServiceClient(f.conn).ListAcls(ctx, &concentratorv1.ListAclsRequest{Parent: "tenants/acme"})
		}},
		{"/v1/tenants/acme/acls/web", &concentratorv1.Acl{}, func() (proto.Message, error) {
			return concentratorv1.NewAclServiceClient(f.conn).GetAcl(ctx, &concentratorv1.GetAclRequest{Name: "tenants/acme/acls/web"})
		}},
		{"/v1/tenants/acme/accountingQueue", &concentratorv1.AccountingQueue{}, func() (proto.Message, error) {
			return concentratorv1.NewAccountingQueueServiceClient(f.conn).GetAccountingQueue(ctx,
				&concentratorv1.GetAccountingQueueRequest{Name: "tenants/acme/accountingQueue"})
		}},
		{"/v1/tenants/-/accountingQueues?pageSize=1", &concentratorv1.ListAccountingQueuesResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewAccountingQueueServiceClient(f.conn).ListAccountingQueues(ctx,
				&concentratorv1.ListAccountingQueuesRequest{Parent: "tenants/-", PageSize: 1})
		}},
		{"/v1/tenants/acme/accountingQueue/records", &concentratorv1.ListAccountingRecordsResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewAccountingQueueServiceClient(f.conn).ListAccountingRecords(ctx,
				&concentratorv1.ListAccountingRecordsRequest{Parent: "tenants/acme/accountingQueue"})
		}},
		{"/v1/tenants/acme/logins?view=FULL", &concentratorv1.ListLoginAttemptsResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewLoginAttemptServiceClient(f.conn).ListLoginAttempts(ctx, &concentratorv1.ListLoginAttemptsRequest{
				Parent: "tenants/acme", View: concentratorv1.LoginAttempt_FULL,
			})
		}},
		{"/v1/tenants/acme/radiusServers", &concentratorv1.ListRadiusServersResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewRadiusServerServiceClient(f.conn).ListRadiusServers(ctx, &concentratorv1.ListRadiusServersRequest{Parent: "tenants/acme"})
		}},
		{"/v1/listeners", &concentratorv1.ListListenersResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewListenerServiceClient(f.conn).ListListeners(ctx, &concentratorv1.ListListenersRequest{})
		}},
		{"/v1/tenants/-/sessions?pageSize=2", &concentratorv1.ListSessionsResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewSessionServiceClient(f.conn).ListSessions(ctx, &concentratorv1.ListSessionsRequest{Parent: "tenants/-", PageSize: 2})
		}},
		{"/v1/tenants/acme/sessions/s1", &concentratorv1.Session{}, func() (proto.Message, error) {
			return concentratorv1.NewSessionServiceClient(f.conn).GetSession(ctx, &concentratorv1.GetSessionRequest{Name: "tenants/acme/sessions/s1"})
		}},
		{"/v1/logins?outcome=REFUSED&peer=192.0.2.7", &concentratorv1.ListLoginAttemptsResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewLoginAttemptServiceClient(f.conn).ListLoginAttempts(ctx, &concentratorv1.ListLoginAttemptsRequest{
				Outcome: concentratorv1.LoginAttempt_REFUSED, Peer: "192.0.2.7",
			})
		}},
		{"/v1/logins/3", &concentratorv1.LoginAttempt{}, func() (proto.Message, error) {
			return concentratorv1.NewLoginAttemptServiceClient(f.conn).GetLoginAttempt(ctx, &concentratorv1.GetLoginAttemptRequest{Name: "logins/3"})
		}},
		{"/v1/instances/-", &concentratorv1.Instance{}, func() (proto.Message, error) {
			return concentratorv1.NewInstanceServiceClient(f.conn).GetInstance(ctx, &concentratorv1.GetInstanceRequest{Name: "instances/-"})
		}},
		{"/v1/instances", &concentratorv1.ListInstancesResponse{}, func() (proto.Message, error) {
			return concentratorv1.NewInstanceServiceClient(f.conn).ListInstances(ctx, &concentratorv1.ListInstancesRequest{})
		}},
	} {
		want, err := c.grpc()
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		code, body := f.rest(t, "GET", c.path, "")
		if err := restJSON.Unmarshal([]byte(body), c.into); code != 200 || err != nil {
			t.Errorf("%s: %d %s: %v", c.path, code, body, err)
			continue
		}
		if !proto.Equal(c.into, want) || proto.Size(want) == 0 {
			t.Errorf("%s:\nREST %v\ngRPC %v", c.path, c.into, want)
		}
	}

	// Errors too: the same code, message and details.
	_, err := concentratorv1.NewTenantServiceClient(f.conn).GetTenant(ctx, &concentratorv1.GetTenantRequest{Name: "tenants/none"})
	code, body := f.rest(t, "GET", "/v1/tenants/none", "")
	want, _ := restJSON.Marshal(status.Convert(err).Proto())
	if code != 404 || strings.ReplaceAll(body, " ", "") != strings.ReplaceAll(string(want), " ", "") {
		t.Errorf("REST %d %s\ngRPC %s", code, body, want)
	}
}

func TestSessionJSON(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	_, body := f.rest(t, "GET", "/v1/tenants/acme/sessions/s1", "")
	got := decodeJSON(t, body)
	for k, want := range map[string]any{
		"name": "tenants/acme/sessions/s1", "user": "alice", "protocol": "PPTP", "state": "OPEN", "listener": "listeners/main",
		"clientAddress": "192.0.2.7:1042", "natDetected": false, "address": "10.64.0.9", "profile": "tenants/acme/profiles/staff",
		"authMethod": "MSCHAPV2", "cipher": "MPPE-128", "mtu": 1400.0, "shard": 1.0, "startTime": "2023-11-14T22:13:20Z",
		"idleTime": "1.500s", "inBytes": "1099511627776", "outBytes": "2", "inPackets": "3", "outPackets": "4",
		"acl": "tenants/acme/acls/web",
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}
	if drops, _ := got["drops"].(map[string]any); drops["spoofed_source"] != "5" {
		t.Errorf("drops are %v", got["drops"])
	}
	if limit, _ := got["rateLimit"].(map[string]any); limit["upBps"] != "1000000" || limit["downBps"] != "100000000000" {
		t.Errorf("the rate limit is %v", got["rateLimit"])
	}
}

func TestSessions(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	f.live.sessions = append([]session.Info{{User: "nobody yet"}}, f.live.sessions...) // has no name, so nobody can ask for it
	names := func(path string) string {
		_, body := f.rest(t, "GET", path, "")
		var all []string
		list, _ := decodeJSON(t, body)["sessions"].([]any)
		for _, s := range list {
			all = append(all, s.(map[string]any)["name"].(string))
		}
		next, _ := decodeJSON(t, body)["nextPageToken"].(string)
		if next != "" {
			all = append(all, next)
		}
		return strings.Join(all, " ")
	}
	if got, want := names("/v1/tenants/-/sessions"), "tenants/acme/sessions/s1 tenants/acme/sessions/s2 tenants/beta/sessions/s3"; got != want {
		t.Errorf("all: %s", got)
	}
	if got, want := names("/v1/tenants/beta/sessions"), "tenants/beta/sessions/s3"; got != want {
		t.Errorf("beta's: %s", got)
	}
	first := strings.Fields(names("/v1/tenants/-/sessions?pageSize=2"))
	if len(first) != 3 {
		t.Fatalf("first page: %s", first)
	}
	if got, want := names("/v1/tenants/-/sessions?pageSize=2&pageToken="+first[2]), "tenants/beta/sessions/s3"; got != want {
		t.Errorf("second page: %s", got)
	}
	if code, _ := f.rest(t, "GET", "/v1/tenants/none/sessions", ""); code != 404 {
		t.Errorf("no tenant: %d", code)
	}
	f.live.sessions = nil
	if _, body := f.rest(t, "GET", "/v1/tenants/-/sessions", ""); !strings.Contains(body, `"sessions":[]`) {
		t.Errorf("an empty list is %s", body)
	}
}

func TestDisconnect(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	if code, body := f.rest(t, "POST", "/v1/tenants/acme/sessions/s2:disconnect", "{}"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, body := f.rest(t, "POST", "/v1/tenants/acme/sessions/s9:disconnect", ""); code != 404 {
		t.Errorf("no session: %d %s", code, body)
	}
	if got := strings.Join(f.live.disconnected, ","); got != "tenants/acme/sessions/s2 ADMIN_DISCONNECT" {
		t.Errorf("disconnected %s", got)
	}
	for _, name := range []string{"", "s2", "tenants/acme/users/alice", "tenants//sessions/s2", "tenants/acme/sessions/"} {
		_, err := concentratorv1.NewSessionServiceClient(f.conn).DisconnectSession(t.Context(), &concentratorv1.DisconnectSessionRequest{Name: name})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestLogins(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	list := func(r *concentratorv1.ListLoginAttemptsRequest) (string, string) {
		t.Helper()
		resp, err := concentratorv1.NewLoginAttemptServiceClient(f.conn).ListLoginAttempts(t.Context(), r)
		must(t)(resp, err)
		var all []string
		for _, a := range resp.GetLogins() {
			all = append(all, a.GetName()[strings.LastIndex(a.GetName(), "/")+1:])
		}
		return strings.Join(all, " "), resp.GetNextPageToken()
	}
	for _, c := range []struct {
		r    *concentratorv1.ListLoginAttemptsRequest
		want string
	}{
		{&concentratorv1.ListLoginAttemptsRequest{}, "5 4 3 2 1"},
		{&concentratorv1.ListLoginAttemptsRequest{Parent: "tenants/-"}, "5 4 2 1"},
		{&concentratorv1.ListLoginAttemptsRequest{Parent: "tenants/acme"}, "5 2 1"},
		{&concentratorv1.ListLoginAttemptsRequest{Parent: "tenants/acme", User: "alice"}, "5 1"},
		{&concentratorv1.ListLoginAttemptsRequest{Outcome: concentratorv1.LoginAttempt_ACCEPTED}, "5"},
		{&concentratorv1.ListLoginAttemptsRequest{Peer: "192.0.2.9"}, "3"},
	} {
		if got, _ := list(c.r); got != c.want {
			t.Errorf("%v: got %s, want %s", c.r, got, c.want)
		}
	}

	// New attempts come in front: they move nothing behind the page.
	first, token := list(&concentratorv1.ListLoginAttemptsRequest{PageSize: 2})
	f.live.logins = append([]session.LoginAttempt{{Name: "logins/6"}}, f.live.logins...)
	second, token2 := list(&concentratorv1.ListLoginAttemptsRequest{PageSize: 2, PageToken: token})
	if first != "5 4" || second != "3 2" || token2 == "" {
		t.Errorf("pages %q and %q", first, second)
	}
	f.live.logins = f.live.logins[:1] // all seen ones have gone from the end of the ring, and so has what came after
	if got, next := list(&concentratorv1.ListLoginAttemptsRequest{PageSize: 2, PageToken: token2}); got != "" || next != "" {
		t.Errorf("after the end: %q", got)
	}

	code, body := f.rest(t, "GET", "/v1/logins?peer=nowhere", "")
	if code != 400 || !strings.Contains(body, `"peer"`) {
		t.Errorf("bad peer: %d %s", code, body)
	}
	if code, body := f.rest(t, "GET", "/v1/tenants/acme/logins/77", ""); code != 404 {
		t.Errorf("no such attempt: %d %s", code, body)
	}
	for _, name := range []string{"", "logins/", "logins/a/b", "x/logins/3", "tenants/-/logins/3"} {
		_, err := concentratorv1.NewLoginAttemptServiceClient(f.conn).GetLoginAttempt(t.Context(), &concentratorv1.GetLoginAttemptRequest{Name: name})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestInstance(t *testing.T) {
	f := start(t)
	_, body := f.rest(t, "GET", "/v1/instances/vpn-1", "")
	got := decodeJSON(t, body)
	if got["name"] != "instances/vpn-1" || got["version"] != "1.2.3" || got["maxSessions"] != 1000.0 || got["sessions"] != 2.0 || len(got["shards"].([]any)) != 1 {
		t.Errorf("got %s", body)
	}
	if code, _ := f.rest(t, "GET", "/v1/instances/other", ""); code != 404 {
		t.Errorf("another instance: %d", code)
	}
	if _, err := concentratorv1.NewInstanceServiceClient(f.conn).GetInstance(t.Context(), &concentratorv1.GetInstanceRequest{Name: "vpn-1"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a bare name: %v", err)
	}
}

// slowly is what startSlowly gives a caller to send a request.
const slowly = 250 * time.Millisecond

// startSlowly serves an API that gives callers little time, so that a test can outlast it.
func startSlowly(t *testing.T) *fixture {
	t.Helper()
	before := [...]time.Duration{headerTimeout, bodyTimeout}
	headerTimeout, bodyTimeout = slowly, slowly
	t.Cleanup(func() { headerTimeout, bodyTimeout = before[0], before[1] })
	return start(t)
}
