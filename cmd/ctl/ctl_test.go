package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest/fakeapi"
)

var exampleTime = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

// api is the fake API with the live services beside it.
type api struct {
	*fakeapi.API
	sessions []*pb.Session
	events   []*pb.WatchSessionsResponse
	ended    []string
	logins   *pb.ListLoginAttemptsRequest // the last one asked for
	tested   *pb.TestRadiusServerRequest  // the last one asked for
	test     *pb.TestRadiusServerResponse
	queues   []*pb.AccountingQueue
	records  []*pb.AccountingRecord
	leases   []*pb.Lease

	leasesAsked *pb.ListLeasesRequest // the last one asked for
	released    []string
	lockouts    []*pb.Lockout
	lifted      []string

	tenant      *pb.Tenant           // nil: what was created
	rotated     *pb.RotatePskRequest // the last one asked for
	reencrypted []string
}

func (a *api) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	switch method {
	case pb.SessionService_ListSessions_FullMethodName:
		reply.(*pb.ListSessionsResponse).Sessions = a.sessions
		return nil
	case pb.SessionService_DisconnectSession_FullMethodName:
		a.ended = append(a.ended, args.(*pb.DisconnectSessionRequest).GetName())
		return nil
	case pb.LoginAttemptService_ListLoginAttempts_FullMethodName:
		a.logins = args.(*pb.ListLoginAttemptsRequest)
		if a.logins.GetUser() == "nobody" {
			return nil
		}
		reply.(*pb.ListLoginAttemptsResponse).Logins = []*pb.LoginAttempt{{
			Name: "tenants/acme/logins/1", Time: timestamppb.New(exampleTime), User: "al\x1b[2Jice",
			Outcome: pb.LoginAttempt_REFUSED, Stage: pb.LoginAttempt_AUTHENTICATION, Reason: pb.LoginAttempt_WRONG_CREDENTIALS,
			Detail: "the password is wrong", Server: "tenants/acme/radiusServers/one", RoundTripTime: durationpb.New(12 * time.Millisecond),
			Sent:     []*pb.LoginAttempt_Attribute{{Name: "User-Name", Value: "alice"}, {Name: "MS-CHAP2-Response", Value: "(50 octets)"}},
			Received: []*pb.LoginAttempt_Attribute{{Name: "Reply-Message", Value: "go\naway"}},
		}}
		return nil
	case pb.TenantService_GetTenant_FullMethodName:
		if a.tenant != nil {
			proto.Merge(reply.(proto.Message), a.tenant)
			return nil
		}
	case pb.TenantService_RotatePsk_FullMethodName:
		a.rotated = args.(*pb.RotatePskRequest)
		r := reply.(*pb.RotatePskResponse)
		r.PskId, r.Key = "2026-11-27", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		return nil
	case pb.InstanceService_ReencryptInstance_FullMethodName:
		a.reencrypted = append(a.reencrypted, args.(*pb.ReencryptInstanceRequest).GetName())
		r := reply.(*pb.Operation)
		r.Name, r.State, r.Done, r.Total = "operations/1", pb.Operation_SUCCEEDED, 5, 12
		return nil
	case pb.RadiusServerService_TestRadiusServer_FullMethodName:
		a.tested = args.(*pb.TestRadiusServerRequest)
		proto.Merge(reply.(proto.Message), a.test)
		return nil
	case pb.LeaseService_ListLeases_FullMethodName, pb.LeaseService_GetLease_FullMethodName, pb.LeaseService_ReleaseLease_FullMethodName:
		return a.lease(args, reply)
	case pb.LockoutService_ListLockouts_FullMethodName:
		reply.(*pb.ListLockoutsResponse).Lockouts = a.lockouts
		return nil
	case pb.LockoutService_DeleteLockout_FullMethodName:
		a.lifted = append(a.lifted, args.(*pb.DeleteLockoutRequest).GetName())
		return nil
	case pb.AccountingQueueService_GetAccountingQueue_FullMethodName:
		proto.Merge(reply.(proto.Message), a.queues[0])
		return nil
	case pb.AccountingQueueService_ListAccountingQueues_FullMethodName:
		reply.(*pb.ListAccountingQueuesResponse).AccountingQueues = a.queues
		return nil
	case pb.AccountingQueueService_ListAccountingRecords_FullMethodName:
		return a.page(args.(*pb.ListAccountingRecordsRequest), reply.(*pb.ListAccountingRecordsResponse))
	}
	return a.API.Invoke(ctx, method, args, reply, opts...)
}

// page answers with one record a page, however many are asked for.
func (a *api) page(r *pb.ListAccountingRecordsRequest, reply *pb.ListAccountingRecordsResponse) error {
	from := len(r.GetPageToken())
	reply.Records = a.records[from : from+1]
	if from+1 < len(a.records) {
		reply.NextPageToken = strings.Repeat("x", from+1)
	}
	return nil
}

func (a *api) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if method != pb.SessionService_WatchSessions_FullMethodName {
		return nil, errors.New("no such stream")
	}
	return &stream{ctx: ctx, events: a.events}, nil
}

type stream struct {
	grpc.ClientStream
	ctx    context.Context //nolint:containedctx // a stream's own
	events []*pb.WatchSessionsResponse
}

func (s *stream) SendMsg(any) error        { return nil }
func (s *stream) CloseSend() error         { return nil }
func (s *stream) Context() context.Context { return s.ctx }
func (s *stream) RecvMsg(m any) error {
	if len(s.events) == 0 {
		return io.EOF
	}
	e := s.events[0]
	s.events = s.events[1:]
	r := m.(*pb.WatchSessionsResponse)
	r.Event, r.Revision = e.GetEvent(), e.GetRevision()
	return nil
}

// ctl runs one command line.
func ctl(t *testing.T, a *api, stdin string, files map[string]string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	en := &env.Env{
		In: strings.NewReader(stdin), Out: &o, Err: &e, Home: "/home/op",
		Getenv: func(k string) string { return files["$"+k] },
		ReadFile: func(p string) ([]byte, error) {
			if text, ok := files[p]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		},
	}
	if a != nil {
		en.Conn = a
	}
	code = run(t.Context(), args, en)
	return code, o.String(), e.String()
}

func newAPI() *api { return &api{API: fakeapi.New()} }

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"bogus", "unknown command"},
		{"user", "user needs a verb: create, delete, describe, get, import, list, update, watch"},
		{"user fly", `no verb "fly"`},
		{"user get", "ctl user get: NAME is missing"},
		{"user get alice bob --tenant acme", `takes 1 NAME at most, and not "bob" too`},
		{"user list alice", `ctl user list takes flags only, and not "alice"`},
		{"user list --limit x", `--limit: "x" is no whole number`},
		{"instance drain --deadline 5", `--deadline: "5" is no duration such as 90s`},
		{"user create bob --tenant acme --expire-time tomorrow", `--expire-time: "tomorrow" is not a time such as 2030-01-31T12:00:00Z`},
		{"tenant update acme --ipsec.ike-lifetime 500ms", `--ipsec.ike-lifetime: "500ms" is not in seconds; write 0.5s`},
		{`tenant update acme --ipsec.psks [{"x":1}]`, "--ipsec.psks[0].x: no such field; there are id, secret"},
		{"user get alice", "or give --tenant"},
		{"user create alice --tenant acme --no-such-field x", "no-such-field"},
		{"user create alice --tenant acme --max-sessions many", `"many" is no whole number`},
		{"profile create p --tenant acme --mppe.policy ALWAYS", "REQUIRED, OPTIONAL, DISABLED"},
		{"user update alice --tenant acme", "nothing to change"},
		{"session list -o xml", `"xml" is not one of`},
		{"session get x", "give --tenant"},
		{"login list --outcome MAYBE", "ACCEPTED or REFUSED"},
		{"login explain", "ctl login explain: USER is missing"},
		{"accounting list --unsent=false", "only records that wait are kept"},
		{"accounting list --limit -1", "is negative"},
		{"radius-server test one --tenant acme --password x", "need --user"},
		{"radius-server test one --tenant acme --user u --method MSCHAP", "not PAP, CHAP or MSCHAPV2"},
		{"user test alice --tenant acme", `no verb "test"`},
		{"lockout lift", "give names, or --user or --source"},
		{"lockout lift x --tenant acme --user alice", "give names, or --user or --source"},
		{"lockout lift x", "give --tenant"},
		{"apply", "needs -f FILE"},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, out, errs := ctl(t, newAPI(), "", nil, strings.Fields(c.args)...)
			if code != 2 || out != "" || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, out %q, err %q; want 2, nothing, %q", code, out, errs, c.want)
			}
		})
	}
}

func TestNoDaemon(t *testing.T) {
	code, _, errs := ctl(t, nil, "", map[string]string{"$CONC_SOCKET": "/nowhere/api.sock"}, "session", "list")
	if code != 1 || !strings.Contains(errs, "/nowhere/api.sock") || !strings.Contains(errs, "is it running") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestCreateUpdateGetDelete(t *testing.T) {
	a := newAPI()
	must := func(stdin string, args ...string) string {
		t.Helper()
		code, out, errs := ctl(t, a, stdin, map[string]string{"$CONC_TENANT": "acme"}, args...)
		if code != 0 {
			t.Fatalf("ctl %q: exit %d, %s", args, code, errs)
		}
		return out
	}
	must("", "tenant", "create", "acme", "--limits.max-sessions", "5", "--realms", "a.example, b.example", "--ipsec.psks", `[{"id":"main","secret":"x"}]`)
	got, ok := a.Get("tenants/acme").(*pb.Tenant)
	if !ok || got.GetLimits().GetMaxSessions() != 5 || len(got.GetRealms()) != 2 || got.GetIpsec().GetPsks()[0].GetSecret() != "x" {
		t.Fatalf("made %v", got)
	}
	must("wonder-1\n", "user", "create", "a@b", "--password", "@-", "--disabled")
	u, ok := a.Get("tenants/acme/users/a@b").(*pb.User)
	if !ok || u.GetPassword() != "wonder-1" || !u.GetDisabled() {
		t.Fatalf("made %v", u)
	}
	must("", "user", "update", "a@b", "--disabled=false")
	must("", "profile", "create", "fast", "--rate-limit.up-bps", "20000000", "--rate-limit.down-bps", "100000000000", "--dscp", "UNIFORM")
	p, ok := a.Get("tenants/acme/profiles/fast").(*pb.Profile)
	if !ok || p.GetRateLimit().GetUpBps() != 20_000_000 || p.GetRateLimit().GetDownBps() != 100_000_000_000 || p.GetDscp() != pb.Profile_UNIFORM {
		t.Fatalf("made %v", p)
	}
	for _, c := range []struct{ flags, want string }{{"table", "NAME METHODS POOL DNS"}, {"wide", "UP BPS DOWN BPS DSCP"}, {"wide", "20000000 100000000000 UNIFORM"}} {
		if out := strings.Join(strings.Fields(must("", "profile", "list", "-o", c.flags)), " "); !strings.Contains(out, c.want) {
			t.Errorf("profile list -o %s: %q, want %q", c.flags, out, c.want)
		}
	}
	must("", "profile", "create", "office", "--allowed-hours", "Mon-Fri 08:00-18:00, Sat 10:00-14:00", "--time-zone", "Europe/Berlin")
	office, ok := a.Get("tenants/acme/profiles/office").(*pb.Profile)
	if !ok || !slices.Equal(office.GetAllowedHours(), []string{"Mon-Fri 08:00-18:00", "Sat 10:00-14:00"}) {
		t.Errorf("the profile is %v", office)
	}
	must("", "acl", "create", "web", "--rules", `[{"action":"PERMIT","protocol":"tcp","destinationPorts":["443"]},{"action":"DENY"}]`)
	acl, ok := a.Get("tenants/acme/acls/web").(*pb.Acl)
	if !ok || len(acl.GetRules()) != 2 || acl.GetRules()[0].GetDestinationPorts()[0] != "443" {
		t.Fatalf("made %v", acl)
	}
	if out := strings.Join(strings.Fields(must("", "acl", "list")), " "); out != "TENANT NAME DISPLAY NAME RULES acme web - 2" {
		t.Errorf("acl list: %q", out)
	}
	must("s3cret\n", "radius-server", "create", "one", "--address", "192.0.2.5", "--secrets", "@-", "--purposes", "ACCOUNTING",
		"--tls.server-name", "radius.example", "--transport", "TLS", "--dead-time", "10s", "--disable-coa")
	r, ok := a.Get("tenants/acme/radiusServers/one").(*pb.RadiusServer)
	if !ok || r.GetTls().GetServerName() != "radius.example" || r.GetDeadTime().AsDuration() != 10*time.Second || r.GetSecrets()[0] != "s3cret" ||
		r.GetPurposes()[0] != pb.RadiusServer_ACCOUNTING || !r.GetDisableCoa() {
		t.Fatalf("made %v", r)
	}
	if out := must("", "user", "get", "a@b", "-o", "name"); out != "tenants/acme/users/a@b\n" {
		t.Errorf("get -o name: %q", out)
	}
	if out := must("", "user", "list", "-o", "json"); !strings.Contains(out, `"users"`) || !strings.Contains(out, `"tenants/acme/users/a@b"`) {
		t.Errorf("list -o json: %s", out)
	}
	must("", "user", "delete", "a@b")
	if a.Get("tenants/acme/users/a@b") != nil {
		t.Error("the user is still there")
	}
	code, _, errs := ctl(t, a, "", nil, "tenant", "get", "other")
	if code != 1 || !strings.Contains(errs, "does not exist") {
		t.Errorf("get of what is not there: exit %d, %q", code, errs)
	}
}

func TestSettingsComeFromFlagThenEnvironmentThenFile(t *testing.T) {
	files := map[string]string{
		"/home/op/.config/concentrator/config.yaml": "tenant: fromfile\noutput: name\n",
		"$CONC_TENANT": "fromenv",
	}
	a := newAPI()
	for _, c := range []struct{ flag, want string }{{"", "ListUsers tenants/fromenv"}, {"fromflag", "ListUsers tenants/fromflag"}} {
		a.Calls = nil
		args := []string{"user", "list"}
		if c.flag != "" {
			args = append(args, "--tenant", c.flag)
		}
		if code, _, errs := ctl(t, a, "", files, args...); code != 0 || a.Calls[0] != c.want {
			t.Errorf("exit %d, %s, calls %q; want %q", code, errs, a.Calls, c.want)
		}
	}
	files["/home/op/.config/concentrator/config.yaml"] = "tennant: x\n"
	if code, _, errs := ctl(t, a, "", files, "user", "list"); code != 1 || !strings.Contains(errs, "tennant") || !strings.Contains(errs, "tenant, output") {
		t.Errorf("a wrong key: exit %d, %q", code, errs)
	}
}

func TestSessionList(t *testing.T) {
	a := newAPI()
	if _, out, _ := ctl(t, a, "", nil, "session", "list", "-o", "json"); !strings.Contains(out, `"sessions"`) || !strings.Contains(out, "[]") {
		t.Errorf("no sessions: %s", out)
	}
	a.sessions = []*pb.Session{{
		Name: "tenants/acme/sessions/s1", User: "alice", Protocol: pb.Listener_PPTP, State: pb.Session_OPEN, Address: "10.64.0.2",
		ClientAddress: "198.51.100.11:4711", Cipher: "MPPE-128", InBytes: 420, OutBytes: 840, StartTime: timestamppb.New(exampleTime),
	}}
	_, out, _ := ctl(t, a, "", nil, "session", "list")
	want := `TENANT  NAME  USER   PROTOCOL  STATE  CLIENT              ADDRESS    CIPHER    IN   OUT  SINCE
acme    s1    alice  PPTP      OPEN   198.51.100.11:4711  10.64.0.2  MPPE-128  420  840  2030-01-31T12:00:00Z
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	a.sessions[0].RateLimit = &pb.Profile_RateLimit{UpBps: 8000}
	if _, out, _ = ctl(t, a, "", nil, "session", "list", "-o", "wide"); !strings.Contains(out, "UP BPS  DOWN BPS") || !strings.Contains(out, "8000    0") {
		t.Errorf("-o wide: %s", out)
	}
}

func TestSessionWatchAndDisconnect(t *testing.T) {
	a := newAPI()
	s := &pb.Session{Name: "tenants/acme/sessions/s1", User: "alice", Protocol: pb.Listener_PPTP, State: pb.Session_OPEN, ClientAddress: "198.51.100.11:1"}
	a.events = []*pb.WatchSessionsResponse{
		{Event: &pb.WatchSessionsResponse_SnapshotDone{SnapshotDone: &emptypb.Empty{}}, Revision: "1"},
		{Event: &pb.WatchSessionsResponse_Upsert{Upsert: s}, Revision: "2"},
		{Event: &pb.WatchSessionsResponse_Removed{Removed: s.GetName()}, Revision: "3"},
	}
	code, out, errs := ctl(t, a, "", nil, "session", "watch")
	want := "OPEN           tenants/acme/sessions/s1  PPTP  198.51.100.11:1  user=alice\nREMOVED        tenants/acme/sessions/s1\n"
	if code != 0 || out != want {
		t.Errorf("exit %d, %s, got %q, want %q", code, errs, out, want)
	}
	if _, out, _ = ctl(t, a, "", nil, "session", "watch", "-o", "json"); strings.Count(out, "\n") != 3 || !strings.Contains(out, `"snapshotDone"`) {
		t.Errorf("-o json: %s", out)
	}
	if code, _, _ = ctl(t, a, "", nil, "session", "disconnect", "s1", "s2", "--tenant", "acme"); code != 0 ||
		strings.Join(a.ended, " ") != "tenants/acme/sessions/s1 tenants/acme/sessions/s2" {
		t.Errorf("exit %d, ended %q", code, a.ended)
	}
}

func TestLoginListIsSafeToPrint(t *testing.T) {
	a := newAPI()
	code, out, _ := ctl(t, a, "", nil, "login", "list", "--outcome", "refused", "--user", "alice", "--limit", "5")
	if code != 0 || strings.ContainsRune(out, 0x1b) || !strings.Contains(out, "WRONG_CREDENTIALS") || !strings.Contains(out, "2030-01-31T12:00:00Z") {
		t.Errorf("exit %d, %q", code, out)
	}
	if a.logins.GetOutcome() != pb.LoginAttempt_REFUSED || a.logins.GetUser() != "alice" || a.logins.GetPageSize() != 5 {
		t.Errorf("asked for %v", a.logins)
	}
}

func TestApply(t *testing.T) {
	a := newAPI()
	files := map[string]string{"acme.yaml": "kind: Tenant\nname: tenants/acme\n---\nkind: User\nname: tenants/acme/users/u\npassword: x\n"}
	_, out, _ := ctl(t, a, "", files, "apply", "-f", "acme.yaml", "--dry-run")
	if want := "tenants/acme: would create\ntenants/acme/users/u: would create\n"; out != want {
		t.Errorf("--dry-run: got %q, want %q", out, want)
	}
	_, out, _ = ctl(t, a, "", files, "apply", "-f", "acme.yaml")
	if want := "tenants/acme: created\ntenants/acme/users/u: created\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	_, out, _ = ctl(t, a, files["acme.yaml"], nil, "apply", "-f", "-")
	if want := "tenants/acme: unchanged\ntenants/acme/users/u: unchanged\n"; out != want {
		t.Errorf("again: got %q, want %q", out, want)
	}
	code, _, errs := ctl(t, a, "", map[string]string{"x.yaml": "kind: Tenant\nname: tenants/acme\nlimit: 1\n"}, "apply", "-f", "x.yaml")
	if code != 1 || !strings.Contains(errs, "x.yaml:1: Tenant tenants/acme: limit: no such field") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

// TestApplyNamesSessions: what a change ends is said before, and when it is done; of what touches none, nothing is said.
func TestApplyNamesSessions(t *testing.T) {
	a := newAPI()
	network := func(mtu string) string { return "kind: Tenant\nname: tenants/acme\nnetwork: {mtu: " + mtu + "}\n" }
	acl := func(protocol string) string {
		return "---\nkind: Acl\nname: tenants/acme/acls/web\nrules: [{action: PERMIT, protocol: " + protocol + "}]\n"
	}
	if code, _, errs := ctl(t, a, network("1400")+acl("tcp"), nil, "apply", "-f", "-"); code != 0 {
		t.Fatal(errs)
	}
	a.sessions = []*pb.Session{
		{Name: "tenants/acme/sessions/one", User: "al\x1b[2Jice", ClientAddress: "198.51.100.7:1", Acl: "tenants/acme/acls/web"},
		{Name: "tenants/acme/sessions/two", User: "bob", ClientAddress: "198.51.100.7:2"},
		{Name: "tenants/beta/sessions/three", User: "carol", ClientAddress: "198.51.100.7:3"},
	}
	const list = "    tenants/acme/sessions/one al\ufffd[2Jice 198.51.100.7:1\n    tenants/acme/sessions/two bob 198.51.100.7:2\n"
	_, out, _ := ctl(t, a, network("1300")+acl("udp"), nil, "apply", "-f", "-", "--dry-run")
	if want := "tenants/acme: would update network\n  would end 2 sessions:\n" + list +
		"tenants/acme/acls/web: would update rules\n  would change the rules of 1 session:\n" + strings.SplitAfter(list, "\n")[0]; out != want {
		t.Errorf("--dry-run: got %q, want %q", out, want)
	}
	_, out, _ = ctl(t, a, network("1300"), nil, "apply", "-f", "-")
	if want := "tenants/acme: updated network\n  ends 2 sessions:\n" + list; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	_, out, _ = ctl(t, a, network("1300")+"realms: [acme.example]\n", nil, "apply", "-f", "-", "--dry-run")
	if want := "tenants/acme: would update realms\n"; out != want {
		t.Errorf("realms: got %q, want %q", out, want)
	}
}

// TestApplyReadsAllOfItsInput: a long file must not be cut.
func TestApplyReadsAllOfItsInput(t *testing.T) {
	a := newAPI()
	long := strings.Repeat("# a comment\n", 1<<18) + "kind: Tenant\nname: tenants/last\n"
	if code, _, errs := ctl(t, a, long, nil, "apply", "-f", "-"); code != 0 || a.Get("tenants/last") == nil {
		t.Errorf("exit %d, %s: the document at the end was not applied", code, errs)
	}
}

func TestLoginExplain(t *testing.T) {
	a := newAPI()
	code, out, errs := ctl(t, a, "", nil, "login", "explain", "alice", "--peer", "198.51.100.11", "--tenant", "acme")
	want := `ATTEMPT     tenants/acme/logins/1
TIME        2030-01-31T12:00:00Z
USER        al` + "\uFFFD" + `[2Jice
PROTOCOL    -
CLIENT      -
OUTCOME     REFUSED
STAGE       AUTHENTICATION
REASON      WRONG_CREDENTIALS
DETAIL      the password is wrong
SERVER      tenants/acme/radiusServers/one
ROUND TRIP  12ms

SENT TO RADIUS
  User-Name          alice
  MS-CHAP2-Response  (50 octets)

RECEIVED
  Reply-Message  go` + "\uFFFD" + `away
`
	if code != 0 || out != want {
		t.Errorf("exit %d, %s, got\n%s\nwant\n%s", code, errs, out, want)
	}
	if a.logins.GetView() != pb.LoginAttempt_FULL || a.logins.GetUser() != "alice" || a.logins.GetPeer() != "198.51.100.11" ||
		a.logins.GetParent() != "tenants/acme" || a.logins.GetPageSize() != 1 {
		t.Errorf("asked for %v", a.logins)
	}
	if _, out, _ = ctl(t, a, "", nil, "login", "explain", "alice", "-o", "json"); !strings.Contains(out, `"received"`) {
		t.Errorf("-o json: %s", out)
	}
	if code, out, errs = ctl(t, a, "", nil, "login", "explain", "nobody", "--peer", "192.0.2.1"); code != 1 || out != "" ||
		!strings.Contains(errs, `"nobody" is known from 192.0.2.1`) {
		t.Errorf("nobody: exit %d, %q, %q", code, out, errs)
	}
}

func TestRadiusServerTest(t *testing.T) {
	a := newAPI()
	a.test = &pb.TestRadiusServerResponse{
		Reachable: true, SecretCheck: pb.TestRadiusServerResponse_RIGHT, MessageAuthenticator: pb.TestRadiusServerResponse_UNSIGNED,
		Verdict: pb.TestRadiusServerResponse_ACCEPTED, Attributes: []*pb.LoginAttempt_Attribute{{Name: "Framed-MTU", Value: "1400"}},
	}
	args := []string{"radius-server", "test", "one", "--tenant", "acme", "--user", "alice", "--password", "@-", "--method", "mschapv2"}
	code, out, errs := ctl(t, a, "wonder-1\n", nil, args...)
	want := `REACHABLE              true
SECRET                 RIGHT
MESSAGE-AUTHENTICATOR  UNSIGNED
ROUND TRIP             -
STATUS-SERVER          false
VERDICT                ACCEPTED
REASON                 -
DETAIL                 -
REPLY-MESSAGE          -

RECEIVED
  Framed-MTU  1400
`
	if code != 0 || out != want {
		t.Errorf("exit %d, %s, got\n%s\nwant\n%s", code, errs, out, want)
	}
	if r := a.tested; r.GetName() != "tenants/acme/radiusServers/one" || r.GetUser() != "alice" || r.GetPassword() != "wonder-1" ||
		r.GetMethod() != pb.Profile_MSCHAPV2 {
		t.Errorf("asked %v", r)
	}
	for _, c := range []struct {
		answer *pb.TestRadiusServerResponse
		args   []string
		errs   string
	}{
		{&pb.TestRadiusServerResponse{}, args[:5], "nothing came back"},
		{&pb.TestRadiusServerResponse{Reachable: true, SecretCheck: pb.TestRadiusServerResponse_MISMATCH}, args[:5], "the secret is wrong"},
		{&pb.TestRadiusServerResponse{Reachable: true, Verdict: pb.TestRadiusServerResponse_REFUSED}, args[:7], "alice may not enter"},
		{&pb.TestRadiusServerResponse{Reachable: true}, args[:7], "alice may not enter"},
	} {
		a.test = c.answer
		if code, out, errs := ctl(t, a, "", nil, c.args...); code != 1 || !strings.Contains(out, "REACHABLE") || !strings.Contains(errs, c.errs) {
			t.Errorf("%v: exit %d, %q, %q", c.answer, code, out, errs)
		}
	}
	a.test = &pb.TestRadiusServerResponse{Reachable: true}
	if code, out, _ := ctl(t, a, "", nil, append(args[:5:5], "-o", "json")...); code != 0 || !strings.Contains(strings.ReplaceAll(out, " ", ""), `"reachable":true`) {
		t.Errorf("-o json: exit %d, %s", code, out)
	}
}

func TestAccounting(t *testing.T) {
	a := newAPI()
	a.queues = []*pb.AccountingQueue{{
		Name: "tenants/acme/accountingQueue", Unsent: 3, UnsentBytes: 900, OldestTime: timestamppb.New(exampleTime), Sent: 40, LastError: "no answer",
	}}
	code, out, errs := ctl(t, a, "", nil, "accounting", "status")
	want := `TENANT  UNSENT  OLDEST                LIVE  SENT  DROPPED  FAILURES  LAST SENT  LAST ERROR
acme    3       2030-01-31T12:00:00Z  0     40    0        0         -          no answer
`
	if code != 0 || out != want {
		t.Errorf("exit %d, %s, got\n%s\nwant\n%s", code, errs, out, want)
	}
	if code, out, _ = ctl(t, a, "", nil, "accounting", "status", "--tenant", "acme", "-o", "json"); code != 0 ||
		!strings.Contains(out, `"accountingQueues"`) || !strings.Contains(strings.ReplaceAll(out, " ", ""), `"unsentBytes":"900"`) {
		t.Errorf("of one tenant: exit %d, %s", code, out)
	}

	for i := range 3 {
		a.records = append(a.records, &pb.AccountingRecord{
			Name: "tenants/acme/accountingQueue/records/" + strconv.Itoa(i+1), Kind: pb.AccountingRecord_STOP, Time: timestamppb.New(exampleTime),
			User: "alice", Session: "tenants/acme/sessions/s1", Address: "10.64.0.2", InBytes: 420, OutBytes: 840, Attempts: 2,
			Reason: pb.LoginAttempt_IDLE_TIMEOUT,
		})
	}
	code, out, errs = ctl(t, a, "", nil, "accounting", "list", "--unsent", "--limit", "2")
	want = `TENANT  RECORD  TIME                  KIND  USER   SESSION                   ADDRESS    IN   OUT  DURATION  REASON        ATTEMPTS
acme    1       2030-01-31T12:00:00Z  STOP  alice  tenants/acme/sessions/s1  10.64.0.2  420  840  -         IDLE_TIMEOUT  2
acme    2       2030-01-31T12:00:00Z  STOP  alice  tenants/acme/sessions/s1  10.64.0.2  420  840  -         IDLE_TIMEOUT  2
`
	if code != 0 || out != want || !strings.Contains(errs, "more than these 2") {
		t.Errorf("exit %d, %q, got\n%s\nwant\n%s", code, errs, out, want)
	}
	if code, out, errs = ctl(t, a, "", nil, "accounting", "list", "--limit", "0", "-o", "name"); code != 0 || errs != "" ||
		strings.Count(out, "\n") != 3 {
		t.Errorf("all of them: exit %d, %q, %s", code, out, errs)
	}
}

func TestLockout(t *testing.T) {
	a := newAPI()
	a.lockouts = []*pb.Lockout{
		{Name: "tenants/acme/lockouts/source-1", Kind: pb.Lockout_SOURCE, Subject: "192.0.2.66", Failures: 12, Until: timestamppb.New(exampleTime)},
		{Name: "tenants/acme/lockouts/user-2", Kind: pb.Lockout_USER, Subject: "alice", Failures: 5, ClientAddress: "192.0.2.7"},
		{Name: "tenants/acme/lockouts/user-3", Kind: pb.Lockout_USER, Subject: "alice", Failures: 7},
	}
	code, out, errs := ctl(t, a, "", nil, "lockout", "list")
	want := `TENANT  NAME      KIND    SUBJECT     CLIENT     FAILURES  UNTIL
acme    source-1  SOURCE  192.0.2.66  -          12        2030-01-31T12:00:00Z
acme    user-2    USER    alice       192.0.2.7  5         -
acme    user-3    USER    alice       -          7         -
`
	if code != 0 || out != want {
		t.Errorf("exit %d, %s, got\n%s\nwant\n%s", code, errs, out, want)
	}
	for _, c := range []struct{ args, lifted string }{
		{"tenants/acme/lockouts/user-2", "user-2"},
		{"user-3 source-1 --tenant acme", "user-3 source-1"},
		{"--user Alice", "user-2 user-3"},
		{"--source 192.0.2.66 --tenant acme", "source-1"},
	} {
		a.lifted = nil
		code, out, errs := ctl(t, a, "", nil, append([]string{"lockout", "lift"}, strings.Fields(c.args)...)...)
		got := strings.ReplaceAll(strings.Join(a.lifted, " "), "tenants/acme/lockouts/", "")
		if code != 0 || out != "" || got != c.lifted || strings.Count(errs, "is lifted") != len(a.lifted) {
			t.Errorf("lift %s: exit %d, %q, %q, lifted %s", c.args, code, out, errs, got)
		}
	}
	if code, _, errs := ctl(t, a, "", nil, "lockout", "lift", "--user", "bob"); code != 1 || !strings.Contains(errs, "no such lockout") {
		t.Errorf("nobody's: exit %d, %q", code, errs)
	}
}
