package server

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/ippool"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// method is one method that is served.
type method struct {
	full string // "/concentrator.v1.UserService/GetUser"
	desc protoreflect.MethodDescriptor
}

// methods lists every method of every service that the server has, by what the server itself says.
func (f *fixture) methods(t testing.TB) []method {
	t.Helper()
	var all []method
	for service, info := range f.grpc.GetServiceInfo() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		must(t)(d, err)
		for _, m := range info.Methods {
			desc := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(m.Name))
			if desc == nil {
				t.Fatalf("%s.%s has no descriptor", service, m.Name)
			}
			all = append(all, method{"/" + service + "/" + m.Name, desc})
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d methods: the test does not see them", len(all))
	}
	return all
}

// message makes an empty message of a descriptor.
func messageOf(t testing.TB, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	must(t)(mt, err)
	return mt.New().Interface()
}

// Every method has a row, every row a method, and what the row says of the request is true.
func TestEveryMethodHasARow(t *testing.T) {
	f := start(t)
	served := map[string]bool{}
	for _, m := range f.methods(t) {
		served[m.full] = true
		p, ok := permissions[m.full]
		if !ok {
			t.Errorf("%s has no row in permissions: nobody may call it", m.full)
			continue
		}
		if !tenant.RoleAdmin.Allows(p.role) || p.of == 0 {
			t.Errorf("%s: role %q, owner %d", m.full, p.role, p.of)
		}
		if read := !isWrite(m.full); read != (p.role == tenant.RoleViewer) {
			t.Errorf("%s needs the role %s", m.full, p.role)
		}
		if (p.of == ofTenant) != (p.field != "") {
			t.Errorf("%s: a field belongs to what is a tenant's", m.full)
		}
		if p.of != ofTenant {
			continue
		}
		if _, fd := findField(messageOf(t, m.desc.Input()).ProtoReflect(), p.field); fd == nil {
			t.Errorf("%s has no field %s", m.desc.Input().FullName(), p.field)
		}
		// What a tenant's resource is called begins with tenants/*, so the HTTP rule says which field it is.
		http := proto.GetExtension(m.desc.Options(), annotations.E_Http).(*annotations.HttpRule)
		path := http.GetGet() + http.GetPost() + http.GetPatch() + http.GetDelete()
		if !strings.HasPrefix(path, "/v1/{"+p.field+"=tenants/*") {
			t.Errorf("%s: the field is %s, but its path is %s", m.full, p.field, path)
		}
	}
	for name := range permissions {
		if !served[name] {
			t.Errorf("%s has a row and is not served", name)
		}
	}
}

func TestMethodWithoutARow(t *testing.T) {
	_, err := mayCall(almighty(callerRoot, ""), "/concentrator.v1.UserService/FormatDisk")
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("root may call what has no row: %v", err)
	}
	if _, err := mayCall(caller{}, "/grpc.health.v1.Health/Check"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("nobody may call something: %v", err)
	}
}

// samples are the last parts of names that seedBoth makes in both tenants, by collection.
var samples = map[string]string{
	"users": "alice", "profiles": "staff", "pools": "main", "acls": "web", "radiusServers": "one",
	"leases": "10.64.0.9", "lockouts": "l1", "sessions": "s1", "logins": "5", "apiTokens": "sample", "listeners": "main", "instances": "vpn-1",
	"operations":  "one",
	"auditEvents": "none", // each event is one tenant's
}

// seedBoth makes tenant acme and, unless alone, a tenant beta with resources of the same names.
func (f *fixture) seedBoth(t testing.TB, alone bool) {
	t.Helper()
	f.seed(t)
	f.acl(t)
	tenants := []string{"tenants/acme"}
	if !alone {
		tenants = append(tenants, "tenants/beta")
		for _, call := range []func() (any, error){
			func() (any, error) {
				return concentratorv1.NewTenantServiceClient(f.conn).CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{
					TenantId: "beta", Tenant: &concentratorv1.Tenant{Network: &concentratorv1.Tenant_Network{Namespace: "beta"}},
				})
			},
			func() (any, error) {
				return concentratorv1.NewPoolServiceClient(f.conn).CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
					Parent: "tenants/beta", PoolId: "main", Pool: &concentratorv1.Pool{Ranges: []string{"10.64.0.0/24"}},
				})
			},
			func() (any, error) {
				return concentratorv1.NewProfileServiceClient(f.conn).CreateProfile(t.Context(), &concentratorv1.CreateProfileRequest{
					Parent: "tenants/beta", ProfileId: "staff", Profile: &concentratorv1.Profile{},
				})
			},
			func() (any, error) {
				return concentratorv1.NewUserServiceClient(f.conn).CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
					Parent: "tenants/beta", UserId: "alice", User: &concentratorv1.User{Password: new("x")},
				})
			},
			func() (any, error) {
				return concentratorv1.NewAclServiceClient(f.conn).CreateAcl(t.Context(), &concentratorv1.CreateAclRequest{
					Parent: "tenants/beta", AclId: "web", Acl: &concentratorv1.Acl{},
				})
			},
			func() (any, error) {
				return concentratorv1.NewRadiusServerServiceClient(f.conn).CreateRadiusServer(t.Context(), &concentratorv1.CreateRadiusServerRequest{
					Parent: "tenants/beta", RadiusServerId: "one", RadiusServer: &concentratorv1.RadiusServer{
						Address: "192.0.2.6", Secrets: []string{"x"},
					},
				})
			},
		} {
			must(t)(call())
		}
	}
	f.live.pools = ippool.New()
	for _, name := range tenants {
		must(t)(nil, f.live.pools.Configure(name+"/pools/main", ippool.Spec{Ranges: []string{"10.64.0.0/24"}}))
		f.live.lockouts = append(f.live.lockouts, session.Lockout{Name: name + "/lockouts/l1"})
		f.newToken(t, name, "sample", tenant.RoleViewer)
		f.operation(t, name+"/operations/one")
		f.live.sessions = append(f.live.sessions, info(name+"/sessions/s1"))
		f.live.logins = append(f.live.logins, session.LoginAttempt{Name: name + "/logins/5", Tenant: name})
		f.live.queues = append(f.live.queues, session.AccountingStatus{Tenant: name, Unsent: 1})
		f.live.records = append(f.live.records, session.AccountingRecord{Tenant: name, ID: 1})
	}
	f.live.logins = append(f.live.logins, session.LoginAttempt{Name: "logins/3"})
	f.operation(t, "operations/one")
	f.lease(t, tenants...)
	f.live.publish(tenants...)
}

// lease takes the sample of a lease in each tenant, unless it is taken.
func (f *fixture) lease(t testing.TB, tenants ...string) {
	t.Helper()
	a := netip.MustParseAddr(samples["leases"])
	for _, name := range tenants {
		if l, ok := f.live.Lease(name+"/pools/main", a); !ok || l.Owner == "" {
			must(t)(nil, f.live.pools.LeaseStatic(name, a, "alice", "s1"))
		}
	}
}

// operation makes an operation that has ended.
func (f *fixture) operation(t testing.TB, name string) {
	t.Helper()
	must(t)(nil, store.Create(f.store, &store.Operation{
		Meta: store.Meta{Name: name}, Job: concentratorv1.Operation_DRAIN.String(), State: store.OperationSucceeded, EndTime: time.Now(),
	}))
}

// idle waits until no operation runs: what callers who may have begun must not look like the work of those who may not.
func (f *fixture) idle(t testing.TB) {
	t.Helper()
	for len(f.ops.find(func(*running) bool { return true })) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// done counts what callers had the fake do.
func (f *fakeLive) done() int {
	return len(f.disconnected) + len(f.tests) + len(f.taken) - len(f.lockouts)
}

// newToken makes an API token and returns what its holder sends.
func (f *fixture) newToken(t testing.TB, parent, id string, role tenant.Role) string {
	t.Helper()
	m, err := concentratorv1.NewApiTokenServiceClient(f.conn).CreateApiToken(t.Context(), &concentratorv1.CreateApiTokenRequest{
		Parent: parent, ApiTokenId: id, ApiToken: &concentratorv1.ApiToken{Role: toEnum[concentratorv1.ApiToken_Role](role)},
	})
	must(t)(m, err)
	if !strings.HasPrefix(m.GetToken(), "conc_") || len(m.GetToken()) < 40 {
		t.Fatalf("the token is %q", m.GetToken())
	}
	return m.GetToken()
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// call makes one call of any method.
func (m method) call(ctx context.Context, t *testing.T, conn *grpc.ClientConn, req proto.Message) (proto.Message, error) {
	t.Helper()
	resp := messageOf(t, m.desc.Output())
	if !m.desc.IsStreamingServer() {
		return resp, conn.Invoke(ctx, m.full, req, resp)
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, m.full)
	must(t)(s, err)
	must(t)(nil, s.SendMsg(req))
	must(t)(nil, s.CloseSend())
	if err := s.RecvMsg(resp); err != nil && err.Error() != "EOF" {
		return resp, err
	}
	return resp, nil
}

// request makes a request of a method about what tenantName has, or about the instance's. It changes nothing where that can
// be asked for.
func (m method) request(t testing.TB, tenantName string) proto.Message {
	t.Helper()
	req := messageOf(t, m.desc.Input())
	r := req.ProtoReflect()
	if fd := r.Descriptor().Fields().ByName("validate_only"); fd != nil {
		r.Set(fd, protoreflect.ValueOfBool(true))
	}
	http := proto.GetExtension(m.desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	path := http.GetGet() + http.GetPost() + http.GetPatch() + http.GetDelete()
	_, rest, ok := strings.Cut(path, "{")
	variable, _, _ := strings.Cut(rest, "}")
	field, pattern, _ := strings.Cut(variable, "=")
	if !ok {
		return req
	}
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		switch {
		case p == "*" && parts[i-1] == "tenants":
			parts[i] = strings.TrimPrefix(tenantName, "tenants/")
		case p == "*" && samples[parts[i-1]] != "":
			parts[i] = samples[parts[i-1]]
		case p == "*":
			t.Fatalf("samples has nothing for %s", parts[i-1])
		}
	}
	holder, fd := findField(r, field)
	if fd == nil {
		t.Fatalf("%s has no field %s", m.full, field)
	}
	holder.Set(fd, protoreflect.ValueOfString(strings.Join(parts, "/")))
	return req
}

// Every method, called by every role, bound to a tenant and not, about what is its own, another's and the instance's. Each
// call that is refused is in the audit trail.
func TestEveryMethodByEveryCaller(t *testing.T) {
	both, alone := start(t), start(t)
	both.audit.known = rate.NewLimiter(rate.Inf, 1)
	both.seedBoth(t, false)
	alone.seedBoth(t, true)
	bothConn, aloneConn := both.dialTLS(t), alone.dialTLS(t)
	for _, role := range tenant.Roles {
		id := strings.ToLower(string(role))
		bound, free := both.newToken(t, "tenants/acme", id, role), both.newToken(t, "", id, role)
		boundAlone := alone.newToken(t, "tenants/acme", id, role)
		for _, m := range both.methods(t) {
			p := permissions[m.full]
			if p.of == ofNobody {
				continue
			}
			t.Run(string(role)+m.full, func(t *testing.T) {
				may := role.Allows(p.role)
				ask := func(conn *grpc.ClientConn, token, tenantName string) error {
					_, err := m.call(withToken(t.Context(), token), t, conn, m.request(t, tenantName))
					return err
				}
				both.idle(t)
				before, err := both.store.Revision()
				must(t)(before, err)
				done, known := both.live.done(), both.lastEvent(t)

				refused := []error{ask(bothConn, bound, "tenants/beta"), ask(aloneConn, boundAlone, "tenants/beta")}
				events := both.refusedSince(t, known, m, refused[0], "tenants/acme/apiTokens/"+id)
				if p.of != ofCaller {
					want := codes.NotFound
					if !may || p.of == ofInstance {
						want = codes.PermissionDenied
					}
					for _, err := range refused {
						if status.Code(err) != want {
							t.Errorf("bound, of another: %v, want %v", err, want)
						}
					}
				}
				if a, b := status.Convert(refused[0]).Proto(), status.Convert(refused[1]).Proto(); !proto.Equal(a, b) {
					t.Errorf("what exists elsewhere is answered by %v, what does not by %v", a, b)
				}
				if after, err := both.store.Revision(); after != before+events || err != nil {
					t.Errorf("it was refused and yet something was stored: %v", err)
				}
				if both.live.done() != done {
					t.Error("it was refused and yet something was done")
				}

				known = both.lastEvent(t)
				err = ask(bothConn, bound, "tenants/acme")
				if allowed := may && p.of != ofInstance; allowed != fine(status.Code(err)) {
					t.Errorf("bound, its own: %v", err)
				} else if !allowed {
					both.refusedSince(t, known, m, err, "tenants/acme/apiTokens/"+id)
				}
				for _, name := range []string{"tenants/acme", "tenants/beta"} {
					both.lease(t, "tenants/acme", "tenants/beta")
					known = both.lastEvent(t)
					err := ask(bothConn, free, name)
					if may != fine(status.Code(err)) {
						t.Errorf("unbound, of %s: %v", name, err)
					} else if !may {
						both.refusedSince(t, known, m, err, "apiTokens/"+id)
					}
				}
			})
		}
	}
}

// lastEvent is the sequence of the last event of the audit trail.
func (f *fixture) lastEvent(t *testing.T) int64 {
	t.Helper()
	_, last, err := f.store.AuditBounds(t.Context())
	must(t)(last, err)
	return last
}

// refusedSince wants a call that ended with err to be the one event since another, if it was refused. It returns how many events
// there are.
func (f *fixture) refusedSince(t *testing.T, since int64, m method, err error, caller string) int64 {
	t.Helper()
	events, readErr := f.store.AuditEvents(t.Context(), since+1, f.lastEvent(t), "")
	must(t)(events, readErr)
	if fine(status.Code(err)) {
		return int64(len(events))
	}
	if len(events) != 1 {
		t.Fatalf("%d events of a call that was refused: %v", len(events), err)
	}
	e, st := events[0], status.Convert(err)
	owner := cmp.Or(store.TenantOf(caller), tenantIn(e.Resource))
	if e.Caller != caller || e.Tenant != owner || e.Method != string(m.desc.Name()) || e.Code != codeName(st.Code()) ||
		e.Reason != reasonOf(st) || e.Count != 1 || !strings.HasPrefix(e.Address, "127.0.0.1:") || e.Before != nil || e.After != nil {
		t.Errorf("the event of %v is of %s %s %s of %s %s %s %d", err, e.Caller, e.Method, e.Resource, e.Tenant, e.Code, e.Reason, e.Count)
	}
	// A stream is refused to a role before its request is read.
	if p := permissions[m.full]; p.of == ofTenant && e.Resource == "" && !m.desc.IsStreamingServer() {
		t.Errorf("the event of %v names no resource", err)
	}
	return 1
}

// fine says whether a call was let in: what is wrong then is at most what the empty request asks.
func fine(c codes.Code) bool {
	switch c {
	case codes.OK, codes.InvalidArgument, codes.FailedPrecondition:
		return true
	}
	return false
}

// A bound caller that asks for all gets its own, in every list and watch, and no word of another tenant.
func TestAllOfABoundCallerIsItsOwn(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	conn := f.dialTLS(t)
	token := f.newToken(t, "tenants/acme", "viewer", tenant.RoleViewer)
	n := 0
	for _, m := range f.methods(t) {
		name := string(m.desc.Name())
		p := permissions[m.full]
		if !strings.HasPrefix(name, "List") && !strings.HasPrefix(name, "Watch") || p.of != ofTenant && p.of != ofCaller {
			continue
		}
		n++
		asks := []proto.Message{m.request(t, "tenants/-")}
		if p.empty == emptyAll {
			asks = append(asks, messageOf(t, m.desc.Input()))
		}
		for _, req := range asks {
			resp, err := m.call(withToken(t.Context(), token), t, conn, req)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			text, err := protojson.Marshal(resp)
			must(t)(text, err)
			if strings.Contains(string(text), "beta") || strings.Contains(string(text), `"logins/3"`) {
				t.Errorf("%s shows what is not its own: %s", name, text)
			}
			if !strings.Contains(string(text), "tenants/acme") {
				t.Errorf("%s does not show its own: %s", name, text)
			}
		}
	}
	if n < 11 {
		t.Errorf("only %d lists", n)
	}
	_, err := concentratorv1.NewApiTokenServiceClient(conn).ListApiTokens(withToken(t.Context(), token), &concentratorv1.ListApiTokensRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("the instance's tokens: %v", err)
	}
}

// A page token that another caller got, or that was made up, opens nothing.
func TestPageTokensOpenNothing(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	conn := f.dialTLS(t)
	ctx := withToken(t.Context(), f.newToken(t, "tenants/acme", "viewer", tenant.RoleViewer))
	users := concentratorv1.NewUserServiceClient(conn)
	token := func(parent, place string) string {
		return (&listing{hash: queryHash(&concentratorv1.ListUsersRequest{Parent: parent})}).token(place)
	}
	forged := token("tenants/acme", "tenants/acm")
	page, err := users.ListUsers(ctx, &concentratorv1.ListUsersRequest{Parent: "tenants/-", PageToken: forged})
	if err != nil || len(page.GetUsers()) != 1 || page.GetUsers()[0].GetName() != "tenants/acme/users/alice" {
		t.Errorf("%v, %v", page, err)
	}
	forged = token("tenants/-", "tenants/acme/users/zoe")
	if _, err := users.ListUsers(ctx, &concentratorv1.ListUsersRequest{Parent: "tenants/-", PageToken: forged}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("another's page token: %v", err)
	}
}

// Names that look like the own tenant's are not.
func TestNarrow(t *testing.T) {
	who := caller{tenant: "tenants/acme"}
	for _, c := range []struct{ field, value, want string }{
		{"name", "tenants/acme", "tenants/acme"},
		{"name", "tenants/acme/users/a", "tenants/acme/users/a"},
		{"name", "tenants/acme2/users/a", ""},
		{"name", "tenants/acm", ""},
		{"name", "TENANTS/acme", ""},
		{"name", "/tenants/acme", ""},
		{"name", "users/tenants/acme/x", ""},
		{"name", "tenants/-/users/a", ""},
		{"name", "apiTokens/a", ""},
		{"name", "logins/3", ""},
		{"parent", "tenants/-", "tenants/acme"},
		{"parent", "tenants/-/accountingQueue", "tenants/acme/accountingQueue"},
		{"parent", "tenants/-x", ""},
		{"parent", "tenants/beta", ""},
		{"parent", "", ""},
	} {
		var req proto.Message = &concentratorv1.GetUserRequest{Name: c.value}
		if c.field == "parent" {
			req = &concentratorv1.ListUsersRequest{Parent: c.value}
		}
		err := look(c.field).narrow(who, req)
		_, fd := findField(req.ProtoReflect(), c.field)
		if got := req.ProtoReflect().Get(fd).String(); c.want != "" && (err != nil || got != c.want) {
			t.Errorf("%s %q became %q, %v, want %q", c.field, c.value, got, err, c.want)
		}
		if c.want == "" && err == nil {
			t.Errorf("%s %q was let through", c.field, c.value)
		}
	}
}
