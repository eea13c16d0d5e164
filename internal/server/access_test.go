package server

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/store"
	"concentrator/internal/store/storetest"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// Who has no token learns that the networks are down, and not whose they are.
func TestReadyzNamesNobody(t *testing.T) {
	f := start(t)
	f.SetReady(true)
	f.live.mu.Lock()
	f.live.standing.Networks, f.live.standing.NetworksDown = 1, []string{"tenants/acme"}
	f.live.standing.Listeners, f.live.standing.ListenersDown = 1, []string{"listeners/main"}
	f.live.mu.Unlock()
	code, body := f.rest(t, http.MethodGet, "/readyz", "", "Authorization", "")
	if code != 503 || strings.Contains(body, "acme") || strings.Contains(body, "listeners/main") {
		t.Errorf("%d %s", code, body)
	}
	m, err := f.instances().GetInstance(t.Context(), &concentratorv1.GetInstanceRequest{Name: "instances/vpn-1"})
	must(t)(m, err)
	if text := m.String(); !strings.Contains(text, "tenants/acme") || !strings.Contains(text, "listeners/main") {
		t.Errorf("the instance does not name them: %s", text)
	}
}

// A table whose first line was forgotten begins with a user and a password: they are not repeated, nor recorded.
func TestImportWithoutColumnsTellsNoPassword(t *testing.T) {
	f := start(t)
	f.seed(t)
	for _, csv := range []string{
		"alice,hush-cell-1\nbob,hush-cell-2\n",
		"user,hush-cell-1\nbob,hush-cell-2\n",
		"user,password,staticAddress\nbob,10.64.0.7,hush-cell-2\n",
		"user,password,maxSessions\nbob,3,hush-cell-2\n",
		"user,password,profile\nbob,3,hush-cell-2\n",
		"user,password,disabled,expireTime\nbob,3,hush-cell-1,hush-cell-2\n",
		"user,password,framedRoutes\nbob,3,hush-cell-1 hush-cell-2\n",
	} {
		_, err := f.importUsers(t, csv, 0, false)
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", csv, err)
		}
	}
	for _, e := range f.trailOf(t) {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, "hush-cell") {
			t.Errorf("in the trail: %s", text)
		}
	}
	if strings.Contains(f.log.String(), "hush-cell") {
		t.Error("in the log")
	}
}

// A call of REST whose body is still coming when its token is rotated is not let in by the new token.
func TestRotatedWhileTheBodyComes(t *testing.T) {
	f := start(t)
	f.seed(t)
	token := f.newToken(t, "tenants/acme", "op", tenant.RoleAdmin)
	c, err := tls.Dial("tcp", f.RESTAddr().String(), &tls.Config{InsecureSkipVerify: true})
	must(t)(c, err)
	defer c.Close()
	body := `{"password":"x"}`
	_, err = fmt.Fprintf(c, "POST /v1/tenants/acme/users?userId=late HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		token, len(body), body[:5])
	must(t)(nil, err)
	time.Sleep(300 * time.Millisecond)
	must(t)(concentratorv1.NewApiTokenServiceClient(f.conn).RotateApiToken(t.Context(), &concentratorv1.RotateApiTokenRequest{Name: "tenants/acme/apiTokens/op"}))
	_, err = io.WriteString(c, body[5:])
	must(t)(nil, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t)(resp, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s", resp.Status)
	}
	if _, err := store.Get[store.User](f.store, "tenants/acme/users/late"); err == nil {
		t.Error("the user was made")
	}
}

// A wait ends with the token, as a watch does.
func TestWaitEndsWithTheToken(t *testing.T) {
	f := start(t)
	f.withJob(func(ctx context.Context, _ *running) error { <-ctx.Done(); return ctx.Err() })
	f.seed(t)
	op := f.begin(t, work{kind: concentratorv1.Operation_DRAIN, parent: "tenants/acme"})
	token := f.newToken(t, "tenants/acme", "waiter", tenant.RoleViewer)
	conn := f.dialTLS(t)
	done := make(chan error, 1)
	go func() {
		_, err := concentratorv1.NewOperationServiceClient(conn).WaitOperation(withToken(t.Context(), token),
			&concentratorv1.WaitOperationRequest{Name: op.GetName(), Timeout: durationpb.New(15 * time.Second)})
		done <- err
	}()
	time.Sleep(300 * time.Millisecond)
	must(t)(concentratorv1.NewApiTokenServiceClient(f.conn).DeleteApiToken(t.Context(), &concentratorv1.DeleteApiTokenRequest{Name: "tenants/acme/apiTokens/waiter"}))
	select {
	case err := <-done:
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits on")
	}
}

// What a tenant of the same name had before it was deleted is not the new one's to see, whatever revision is asked for.
func TestWatchShowsNoEarlierTenant(t *testing.T) {
	f := start(t)
	tenants := concentratorv1.NewTenantServiceClient(f.conn)
	make1 := func() {
		must(t)(tenants.CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{TenantId: "acme", Tenant: &concentratorv1.Tenant{}}))
	}
	make1()
	conn := f.dialTLS(t)
	w := f.watch(t.Context(), t, f.conn, "UserService/WatchUsers", "tenants/acme", "")
	w.see("done")
	old := f.user(t, "tenants/acme", "oldcustomer")
	f.deleteUser(t, old.GetName())
	must(t)(tenants.DeleteTenant(t.Context(), &concentratorv1.DeleteTenantRequest{Name: "tenants/acme"}))
	make1()
	ctx := withToken(t.Context(), f.newToken(t, "tenants/acme", "new", tenant.RoleViewer))
	f.watch(ctx, t, conn, "UserService/WatchUsers", "tenants/acme", w.last).ends(failure{code: codes.OutOfRange, reason: "RESOURCE_EXPIRED"})
	// Its own history is.
	w = f.watch(ctx, t, conn, "UserService/WatchUsers", "tenants/acme", "")
	w.see("done")
	f.user(t, "tenants/acme", "mine")
	f.watch(ctx, t, conn, "UserService/WatchUsers", "tenants/acme", w.last).see("+tenants/acme/users/mine")
}

// A stranger of gRPC is refused before a body is read: 256 of a megabyte could come over each connection.
func TestStrangersSendNoBody(t *testing.T) {
	f := start(t)
	conn := f.dialTLS(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, method := range []string{
		concentratorv1.UserService_CreateUser_FullMethodName, concentratorv1.UserService_WatchUsers_FullMethodName, "/no.Such/Method",
	} {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
		must(t)(s, err)
		err = s.RecvMsg(&concentratorv1.User{}) // nothing was sent
		if got := failureOf(err); !got.equal(failure{code: codes.Unauthenticated, reason: reasonUnauthenticated}) {
			t.Errorf("%s: %v", method, err)
		}
	}
	for _, e := range f.trailOf(t) {
		if e.Code != "UNAUTHENTICATED" || !strings.HasPrefix(e.Address, "127.0.0.1:") || strings.Contains(e.Method, "Such") {
			t.Errorf("%+v", e)
		}
	}
	if n := len(f.trailOf(t)); n != 3 {
		t.Errorf("%d events", n)
	}
}

// Who is refused over and over fills neither the trail nor the log.
func TestFloodLeavesFewLines(t *testing.T) {
	f := start(t)
	conn := f.dialTLS(t)
	const calls = 500
	for range calls {
		_, err := concentratorv1.NewTenantServiceClient(conn).GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/acme"})
		if status.Code(err) != codes.Unauthenticated {
			t.Fatal(err)
		}
	}
	lines := 0
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, "api call") && strings.Contains(line, "level=INFO") {
			lines++
		}
	}
	if lines < 10 || lines > 100 {
		t.Errorf("%d lines for %d calls", lines, calls)
	}
}

// Neither strangers nor one tenant's callers can have it forgotten who else was refused.
func TestFloodHidesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		trail := newAuditTrail(s, telemetry.NewMetrics(), testLog(&logBuffer{}))
		trail.known, trail.refusals.stranger = rate.NewLimiter(rate.Every(time.Hour), 1), rate.NewLimiter(rate.Every(time.Hour), 1)
		refuse := func(name, address, method string) {
			who := caller{name: name, tenant: store.TenantOf(name), address: address}
			trail.refused(trail.of(who, "/x/"+method, "").failed("", status.New(codes.PermissionDenied, "no")))
		}
		for i := range 2000 {
			refuse("", fmt.Sprintf("192.0.%d.%d:1", i/250, i%250), "GetUser")
			refuse(fmt.Sprint("tenants/evil/apiTokens/t", i%100), "192.0.2.1:1", fmt.Sprint("Method", i))
			refuse("apiTokens/loud", "192.0.2.1:1", fmt.Sprint("Method", i))
		}
		refuse("tenants/acme/apiTokens/a", "192.0.2.9:1", "BackupInstance")
		refuse("apiTokens/quiet", "192.0.2.9:1", "BackupInstance")
		if n := len(trail.counted); n > 4*maxRefusals {
			t.Errorf("%d kinds are told apart", n)
		}
		trail.close()
		all, err := s.AuditEvents(context.Background(), 1, 1<<40, "")
		must(t)(all, err)
		calls, found := map[string]int{}, 0
		for _, e := range all {
			who := e.Caller
			if strings.HasPrefix(who, "tenants/evil") {
				who = "tenants/evil"
				if e.Tenant != "tenants/evil" {
					t.Errorf("%+v", e)
				}
			}
			calls[who] += e.Count
			if e.Method == "BackupInstance" && e.Address == "192.0.2.9" && e.Count == 1 {
				found++
			}
		}
		if found != 2 || calls[""] != 2000 || calls["tenants/evil"] != 2000 || calls["apiTokens/loud"] != 2000 {
			t.Errorf("%d of the two, %v", found, calls)
		}
	})
}

// One tenant's callers together can't take all the watches or captures there may be.
func TestOneTenantTakesNotAll(t *testing.T) {
	w := newWatches(0)
	enter := func(name string) error {
		who := caller{name: name, tenant: store.TenantOf(name), grant: &grant{}}
		_, err := w.enter(who)
		return err
	}
	for i := range maxWatchesOf {
		must(t)(nil, enter(fmt.Sprint("tenants/evil/apiTokens/t", i%10)))
	}
	if err := enter("tenants/evil/apiTokens/more"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	for i := range 3 * maxWatchesOf {
		_ = enter(fmt.Sprint("tenants/t", i%7, "/apiTokens/t"))
	}
	if err := enter("tenants/other/apiTokens/t"); status.Code(err) != codes.ResourceExhausted || strings.Contains(err.Error(), "evil") {
		t.Errorf("of tenants: %v", err)
	}
	must(t)(nil, enter("apiTokens/operator"))

	var c captures
	for range maxCapturesOf {
		must(t)(c.enter("tenants/evil"))
	}
	if _, err := c.enter("tenants/evil"); failureOf(err).reason != reasonTooManyCaptures {
		t.Errorf("one capture more: %v", err)
	}
	leave, err := c.enter("tenants/acme")
	must(t)(leave, err)
	leave()
	if len(c.by) != 1 {
		t.Errorf("%v", c.by)
	}
	must(t)(c.enter(""))
}

// What is no etag comes to the caller as that, not as a fault of ours.
func TestIfMatchOfOddOctets(t *testing.T) {
	f := start(t)
	f.seed(t)
	for _, etag := range []string{"\"\u00e9\"", "\"a\tb\"", "\"a b\"", "\"a\xff\""} {
		if code, body := f.rest(t, http.MethodPatch, "/v1/tenants/acme", `{"displayName":"x"}`, "If-Match", etag); code != 400 || !strings.Contains(body, "If-Match") {
			t.Errorf("%q: %d %s", etag, code, body)
		}
	}
}

// A connection outlives the certificate that it was begun with; the calls over it do not.
func TestCertificateExpiresOnTheWay(t *testing.T) {
	leaf := &x509.Certificate{Raw: []byte("leaf"), NotAfter: time.Now().Add(time.Hour)}
	keys := &keyring{byName: map[string]*grant{}, byHash: map[store.Fingerprint]*grant{}, byCertificate: map[store.Fingerprint]*grant{}}
	keys.set("apiTokens/a", &store.APIToken{Role: tenant.RoleViewer, Certificates: []store.Fingerprint{sha256.Sum256(leaf.Raw)}})
	g := newGate("x", keys)
	state := tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	if _, ok := g.certificate(state, ""); !ok {
		t.Error("a valid one is refused")
	}
	leaf.NotAfter = time.Now().Add(-time.Second)
	if _, ok := g.certificate(state, ""); ok {
		t.Error("an expired one is let in")
	}
}

// Whatever is wrong with a secret, no error, event or line of the log repeats it.
func TestRefusedSecretsAreNotRepeated(t *testing.T) {
	f := start(t)
	f.seedBoth(t, true)
	const hush = "hush-sweep"
	tried := 0
	for _, m := range f.methods(t) {
		if !isWrite(m.full) || m.desc.IsStreamingServer() {
			continue
		}
		for _, value := range []string{
			hush, " " + hush, hush + "\x00", hush + "\n", hush + "\u00e9", strings.Repeat(hush, 500), hush + "/../x", "-----BEGIN X-----\n" + hush,
			hush + ",\"" + hush + "\n" + hush,
		} {
			req := m.request(t, "tenants/acme")
			if !setSecrets(req.ProtoReflect(), value, 0) {
				break
			}
			if fd := req.ProtoReflect().Descriptor().Fields().ByName("validate_only"); fd != nil {
				req.ProtoReflect().Clear(fd)
			}
			tried++
			if _, err := m.call(t.Context(), t, f.conn, req); err != nil && strings.Contains(fmt.Sprint(status.Convert(err).Proto()), hush) {
				t.Errorf("%s: %.300v", m.full, err)
			}
			f.idle(t)
		}
	}
	events := f.trailOf(t)
	if tried < 40 || len(events) < tried {
		t.Errorf("only %d calls, %d events", tried, len(events))
	}
	for _, e := range events {
		if text := fmt.Sprintf("%+v %s %s", e, e.Before, e.After); strings.Contains(text, hush) {
			t.Errorf("in the trail: %.500s", text)
		}
	}
	if i := strings.Index(f.log.String(), hush); i >= 0 {
		t.Errorf("in the log: %.300s", f.log.String()[max(0, i-200):])
	}
}

// setSecrets sets every secret that a request may hold, and says whether there is one.
func setSecrets(m protoreflect.Message, value string, depth int) (any bool) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case query.WriteOnly(fd) && fd.Kind() == protoreflect.StringKind && fd.IsList():
			m.Mutable(fd).List().Append(protoreflect.ValueOfString(value))
			any = true
		case query.WriteOnly(fd) && fd.Kind() == protoreflect.StringKind:
			m.Set(fd, protoreflect.ValueOfString(value))
			any = true
		case fd.Message() == nil || fd.IsMap() || depth > 3 || fd.Message().FullName().Parent() == "google.protobuf":
		case fd.IsList():
			e := m.Mutable(fd).List().AppendMutable().Message()
			if !setSecrets(e, value, depth+1) {
				m.Clear(fd)
				continue
			}
			any = true
		case setSecrets(m.Mutable(fd).Message(), value, depth+1):
			any = true
		}
	}
	return any
}

// Who has no token can't keep the machine busy with long paths: what a path is, is found before the token is looked at.
func TestPathsAreCheap(t *testing.T) {
	long := strings.Repeat("a", 60_000)
	for _, path := range []string{
		"/v1/tenants/" + long, "/v1/tenants/a/users/" + long, "/v1/tenants/" + long + ":watch", "/v1/" + long,
		"/v1/tenants/a/users" + strings.Repeat("/a", 30_000), strings.Repeat("/", 60_000), strings.Repeat("/v1", 20_000),
	} {
		best := time.Hour
		for range 5 {
			begin := time.Now()
			methodsOf(path)
			best = min(best, time.Since(begin))
		}
		if best > 5*time.Millisecond {
			t.Errorf("%.30s… of %d octets takes %s", path, len(path), best)
		}
	}
	for path, want := range map[string]bool{
		"/v1/tenants/a": true, "/v1/tenants/": false, "/v1/tenants": true, "/v1/tenants/a/": false, "v1/tenants/a": false,
		"/v1/tenants/a:rotatePsk": true, "/v1/tenants/:rotatePsk": true, "/v1/tenants/a/users:watch": true, "/v1/tenants/a%2Fb": true,
		"/v1//a": false, "/v1/tenants//users": false, "/v1/tenants/a/users/b/c": false, "": false,
	} {
		if got := len(methodsOf(path)) > 0; got != want {
			t.Errorf("%q: %t", path, got)
		}
	}
}
