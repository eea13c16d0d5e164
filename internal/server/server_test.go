package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/ippool"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/tenant"
)

// fakeLive is a Live whose sessions the test sets.
type fakeLive struct {
	fakeDrain
	fakeCapture
	fakeWatch

	mu           sync.Mutex
	sessions     []session.Info
	logins       []session.LoginAttempt
	disconnected []string
	panics       bool
	health       map[string]session.RadiusHealth
	tests        []session.RadiusTest // those asked for
	result       session.RadiusTestResult
	testErr      error
	queues       []session.AccountingStatus // sorted by tenant
	records      []session.AccountingRecord // sorted by tenant and ID
	lockouts     []session.Lockout          // sorted by name
	pools        *ippool.Pools              // nil: no lease is known
	taken        []string                   // the owners whose leases were released
	pskUses      map[string]session.PSKUse  // by tenant and ID
}

func (f *fakeLive) Sessions(tenantName string) []session.Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("secret state of the program")
	}
	return slices.DeleteFunc(slices.Clone(f.sessions), func(i session.Info) bool {
		return tenantName != "" && i.Tenant != tenantName
	})
}

func (f *fakeLive) Session(name string) (session.Info, bool) {
	for _, i := range f.Sessions("") {
		if i.Name == name {
			return i, true
		}
	}
	return session.Info{}, false
}

func (f *fakeLive) Disconnect(name string, reason tenant.Reason) error {
	if _, ok := f.Session(name); !ok {
		return session.ErrNotFound
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disconnected = append(f.disconnected, name+" "+string(reason))
	if f.ends {
		f.sessions = slices.DeleteFunc(f.sessions, func(i session.Info) bool { return i.Name == name })
	}
	return nil
}

func (f *fakeLive) Logins(filter session.LoginFilter) []session.LoginAttempt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.logins), func(a session.LoginAttempt) bool {
		return filter.Tenant != "" && a.Tenant != filter.Tenant || filter.User != "" && a.User != filter.User ||
			filter.Peer.IsValid() && a.ClientAddress.Addr() != filter.Peer || filter.Outcome != "" && a.Outcome != filter.Outcome
	})
}

func (f *fakeLive) PoolUsage(pool string) (size, leased int) {
	if pool == "tenants/acme/pools/main" {
		return 253, 7
	}
	return 0, 0
}

func (f *fakeLive) RadiusHealth(name string) (session.RadiusHealth, bool) {
	h, ok := f.health[name]
	return h, ok
}

func (f *fakeLive) TestRadiusServer(ctx context.Context, _ string, t session.RadiusTest) (session.RadiusTestResult, error) {
	if _, ok := ctx.Deadline(); !ok {
		return session.RadiusTestResult{}, errors.New("the test may last for ever")
	}
	f.tests = append(f.tests, t)
	return f.result, f.testErr
}

func (f *fakeLive) AccountingStatus(tenantName string) []session.AccountingStatus {
	return slices.DeleteFunc(slices.Clone(f.queues), func(a session.AccountingStatus) bool {
		return tenantName != "" && a.Tenant != tenantName
	})
}

func (f *fakeLive) AccountingUnsent(tenantName string, after uint64, limit int) ([]session.AccountingRecord, bool) {
	all := slices.DeleteFunc(slices.Clone(f.records), func(r session.AccountingRecord) bool {
		return r.Tenant != tenantName || r.ID <= after
	})
	return all[:min(limit, len(all))], len(all) > limit
}

func (f *fakeLive) PSKUse(tenantName, id string) session.PSKUse { return f.pskUses[tenantName+" "+id] }

func (f *fakeLive) Instance() session.InstanceInfo {
	return session.InstanceInfo{
		Name: "vpn-1", Version: "1.2.3", StartTime: time.Unix(1700000000, 0), Shards: 1, MaxSessions: 1000, Sessions: 2,
		Draining: f.draining(), Accepted: 7, Refused: 3,
		ShardStats: []session.ShardInfo{{Shard: 0, Sessions: 2, InPackets: 5, CPUTime: time.Second, Drops: map[string]uint64{"spoofed_source": 3}}},
	}
}

// logBuffer is a log that tests can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testLog(b *logBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// fixture is a served API and its in-process connection.
type fixture struct {
	*Server
	live  *fakeLive
	log   *logBuffer
	conn  *grpc.ClientConn
	dir   string
	token string
	http  *http.Client
	store *store.Store
}

// start serves an API over a store in a temporary directory; change may alter what New gets.
func start(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{live: &fakeLive{}, log: &logBuffer{}, dir: t.TempDir()}
	c := Config{
		Store: storetest.Open(t), Live: f.live, StateDir: f.dir,
		Log:  testLog(f.log),
		GRPC: "127.0.0.1:0", REST: "127.0.0.1:0",
		RequestsPerSecond: 1_000_000,
	}
	for _, f := range change {
		f(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f.Server, f.store = s, c.Store
	f.serve(t)
	if f.conn, err = s.Dial(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.conn.Close() })
	b, err := os.ReadFile(filepath.Join(f.dir, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	f.token = strings.TrimSpace(string(b))
	f.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	t.Cleanup(f.http.CloseIdleConnections)
	return f
}

// serve returns when calls are answered: from then on the operations of an earlier run are taken up, and their files swept.
func (f *fixture) serve(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	conn, err := f.Dial()
	must(t)(conn, err)
	defer conn.Close()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	must(t)(nil, err)
}

// seed makes tenant acme with pool main, profile staff and user alice.
func (f *fixture) seed(t testing.TB) {
	t.Helper()
	must(t)(concentratorv1.NewTenantServiceClient(f.conn).CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{
		TenantId: "acme", Tenant: &concentratorv1.Tenant{
			DisplayName: "Acme", Realms: []string{"acme.example"},
			Ipsec: &concentratorv1.Tenant_Ipsec{Psks: []*concentratorv1.Tenant_Ipsec_Psk{{Id: "main", Secret: new("hush-psk-1")}}},
			L2Tp:  &concentratorv1.Tenant_L2Tp{TunnelSecret: new("hush-tunnel-1")},
		},
	}))
	must(t)(concentratorv1.NewPoolServiceClient(f.conn).CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
		Parent: "tenants/acme", PoolId: "main", Pool: &concentratorv1.Pool{Ranges: []string{"10.64.0.0/24"}},
	}))
	must(t)(concentratorv1.NewProfileServiceClient(f.conn).CreateProfile(t.Context(), &concentratorv1.CreateProfileRequest{
		Parent: "tenants/acme", ProfileId: "staff", Profile: &concentratorv1.Profile{
			Pool: "tenants/acme/pools/main", DnsServers: []string{"10.99.0.53"},
		},
	}))
	must(t)(concentratorv1.NewUserServiceClient(f.conn).CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
		Parent: "tenants/acme", UserId: "alice", User: &concentratorv1.User{
			Password: new("hush-password-1"), Profile: "tenants/acme/profiles/staff", StaticAddress: "10.64.0.9",
		},
	}))
	must(t)(concentratorv1.NewRadiusServerServiceClient(f.conn).CreateRadiusServer(t.Context(), &concentratorv1.CreateRadiusServerRequest{
		Parent: "tenants/acme", RadiusServerId: "one", RadiusServer: &concentratorv1.RadiusServer{
			Address: "192.0.2.5", Secrets: []string{"hush-radius-1"},
		},
	}))
	must(t)(concentratorv1.NewListenerServiceClient(f.conn).CreateListener(t.Context(), &concentratorv1.CreateListenerRequest{
		ListenerId: "main", Listener: &concentratorv1.Listener{
			Address: "0.0.0.0", Protocols: []concentratorv1.Listener_Protocol{concentratorv1.Listener_PPTP},
			Tenants: []string{"tenants/acme"}, DefaultTenant: "tenants/acme",
		},
	}))
}

// acl makes the ACL web of tenant acme.
func (f *fixture) acl(t testing.TB) {
	t.Helper()
	must(t)(concentratorv1.NewAclServiceClient(f.conn).CreateAcl(t.Context(), &concentratorv1.CreateAclRequest{
		Parent: "tenants/acme", AclId: "web", Acl: &concentratorv1.Acl{Rules: []*concentratorv1.Acl_Rule{
			{Action: concentratorv1.Acl_Rule_PERMIT, Direction: concentratorv1.Acl_Rule_UP, Protocol: "tcp", DestinationPorts: []string{"80", "8000-8099"}},
			{Action: concentratorv1.Acl_Rule_DENY, Sources: []string{"10.64.0.0/24"}, Destinations: []string{"192.0.2.0/24", "198.51.100.7/32"}},
		}},
	}))
}

// tenant makes a tenant with one pool.
func (f *fixture) tenant(t *testing.T, id, namespace, ranges string) {
	t.Helper()
	must(t)(concentratorv1.NewTenantServiceClient(f.conn).CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{
		TenantId: id, Tenant: &concentratorv1.Tenant{Network: &concentratorv1.Tenant_Network{Namespace: namespace}},
	}))
	must(t)(concentratorv1.NewPoolServiceClient(f.conn).CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
		Parent: "tenants/" + id, PoolId: "main", Pool: &concentratorv1.Pool{Ranges: []string{ranges}},
	}))
}

// must ends the test if a call failed; it wants any message and an error.
func must(t testing.TB) func(any, error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rest makes a REST call and returns the status code and the body.
func (f *fixture) rest(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+f.RESTAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := f.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// failure is the part of an error that tests look at.
type failure struct {
	code   codes.Code
	reason string
	fields []string
}

func failureOf(err error) failure {
	st := status.Convert(err)
	f := failure{code: st.Code()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == domain {
				f.reason = d.GetReason()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				f.fields = append(f.fields, v.GetField())
			}
		}
	}
	return f
}

func (f failure) equal(o failure) bool {
	return f.code == o.code && f.reason == o.reason && slices.Equal(f.fields, o.fields)
}

func info(name string) session.Info {
	return session.Info{
		Name: name, Tenant: name[:strings.Index(name, "/sessions/")], User: "alice", Protocol: tenant.ProtocolPPTP,
		State: session.StateOpen, Listener: "listeners/main", ClientAddress: netip.MustParseAddrPort("192.0.2.7:1042"),
		Address: netip.MustParseAddr("10.64.0.9"), Profile: "tenants/acme/profiles/staff", AuthMethod: tenant.AuthMSCHAPv2,
		Cipher: "MPPE-128", MTU: 1400, Shard: 1, StartTime: time.Unix(1700000000, 0), IdleTime: 1500 * time.Millisecond,
		InBytes: 1 << 40, OutBytes: 2, InPackets: 3, OutPackets: 4, Drops: map[string]uint64{"spoofed_source": 5},
		RateLimit: tenant.RateLimit{UpBps: 1_000_000, DownBps: 100_000_000_000}, ACL: "tenants/acme/acls/web",
	}
}

func decodeJSON(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}
