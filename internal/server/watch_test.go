package server

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/corpus"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// tell is one message of any watch: "+name", "-name", "done" or "bookmark".
func tell(m proto.Message) (event, revision string) {
	r := m.ProtoReflect()
	fields := r.Descriptor().Fields()
	revision = r.Get(fields.ByName("revision")).String()
	switch fd := r.WhichOneof(r.Descriptor().Oneofs().ByName("event")); {
	case fd == nil:
		return "bookmark", revision
	case fd.Name() == "upsert":
		res := r.Get(fd).Message()
		return "+" + res.Get(res.Descriptor().Fields().ByName("name")).String(), revision
	case fd.Name() == "removed":
		return "-" + r.Get(fd).String(), revision
	}
	return "done", revision
}

// watching is one watch of any kind.
type watching struct {
	t      *testing.T
	stream grpc.ClientStream
	output protoreflect.MessageDescriptor
	last   string // the last revision
}

// watch begins a watch: method is "TenantService/WatchTenants".
func (f *fixture) watch(ctx context.Context, t *testing.T, conn *grpc.ClientConn, method, parent, revision string) *watching {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	t.Cleanup(cancel)
	for _, m := range f.methods(t) {
		if !strings.HasSuffix(m.full, "."+method) {
			continue
		}
		req := messageOf(t, m.desc.Input())
		for name, value := range map[protoreflect.Name]string{"parent": parent, "revision": revision} {
			if fd := req.ProtoReflect().Descriptor().Fields().ByName(name); fd != nil {
				req.ProtoReflect().Set(fd, protoreflect.ValueOfString(value))
			}
		}
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, m.full)
		must(t)(s, err)
		must(t)(nil, s.SendMsg(req))
		must(t)(nil, s.CloseSend())
		return &watching{t: t, stream: s, output: m.desc.Output()}
	}
	t.Fatalf("no method %s", method)
	return nil
}

func (w *watching) next() (proto.Message, error) {
	m := messageOf(w.t, w.output)
	err := w.stream.RecvMsg(m)
	return m, err
}

// see reads as many messages and wants them to be these. It returns the last.
func (w *watching) see(want ...string) (m proto.Message) {
	w.t.Helper()
	for i, line := range want {
		var err error
		if m, err = w.next(); err != nil {
			w.t.Fatalf("message %d: %v, want %s", i, err, line)
		}
		var got string
		if got, w.last = tell(m); got != line || w.last == "" {
			w.t.Errorf("message %d is %s, want %s", i, got, line)
		}
	}
	return m
}

// ends wants the watch to end so.
func (w *watching) ends(want failure) {
	w.t.Helper()
	if m, err := w.next(); !failureOf(err).equal(want) {
		w.t.Errorf("%v, %v, want %v", m, err, want)
	}
}

// user makes a user.
func (f *fixture) user(t *testing.T, parent, id string) *concentratorv1.User {
	t.Helper()
	u, err := concentratorv1.NewUserServiceClient(f.conn).CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
		Parent: parent, UserId: id, User: &concentratorv1.User{Password: new("hush-1")},
	})
	must(t)(u, err)
	return u
}

// disable changes a user.
func (f *fixture) disable(t *testing.T, name string, yes bool) {
	t.Helper()
	must(t)(concentratorv1.NewUserServiceClient(f.conn).UpdateUser(t.Context(), &concentratorv1.UpdateUserRequest{
		User: &concentratorv1.User{Name: name, Disabled: yes}, UpdateMask: maskOf("disabled"),
	}))
}

func (f *fixture) deleteUser(t *testing.T, name string) {
	t.Helper()
	must(t)(concentratorv1.NewUserServiceClient(f.conn).DeleteUser(t.Context(), &concentratorv1.DeleteUserRequest{Name: name}))
}

// A snapshot, then each write once and as it was made, nothing of what concerns others, and after a break what came since.
func TestWatchStored(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	const users = "UserService/WatchUsers"
	w := f.watch(t.Context(), t, f.conn, users, "tenants/acme", "")
	w.see("+tenants/acme/users/alice", "done")
	resume := w.last
	f.user(t, "tenants/beta", "zoe")
	f.user(t, "tenants/acme", "bob")
	f.disable(t, "tenants/acme/users/bob", true)
	f.disable(t, "tenants/acme/users/bob", false)
	f.deleteUser(t, "tenants/acme/users/bob")
	f.disable(t, "tenants/acme/users/alice", true)
	changes := []string{
		"+tenants/acme/users/bob", "+tenants/acme/users/bob", "+tenants/acme/users/bob", "-tenants/acme/users/bob",
		"+tenants/acme/users/alice",
	}
	w.see(changes...)
	at := []string{resume}
	again := f.watch(t.Context(), t, f.conn, users, "tenants/acme", resume)
	for i, c := range changes {
		m := again.see(c).(*concentratorv1.WatchUsersResponse)
		at = append(at, again.last)
		if got, want := m.GetUpsert().GetDisabled(), i == 1 || i == 4; got != want {
			t.Errorf("change %d shows disabled %v: it is not as the write left it", i, got)
		}
		if m.GetUpsert().GetEtag() == "" && m.GetUpsert() != nil || m.GetUpsert().GetPassword() != "" {
			t.Errorf("change %d is %v", i, m)
		}
	}
	for i, revision := range at {
		f.watch(t.Context(), t, f.conn, users, "tenants/acme", revision).see(changes[i:]...)
	}
	f.watch(t.Context(), t, f.conn, users, "tenants/-", "").see(
		"+tenants/acme/users/alice", "+tenants/beta/users/alice", "+tenants/beta/users/zoe", "done")
	f.watch(t.Context(), t, f.conn, users, "tenants/beta", resume).ends(
		failure{codes.InvalidArgument, "INVALID_FIELD", []string{"revision"}})
}

// Each watch shows what there is and what a bound caller may see of it.
func TestWatchOfEachKind(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	bound := withToken(t.Context(), f.newToken(t, "tenants/acme", "viewer", tenant.RoleViewer))
	conn := f.dialTLS(t)
	for _, c := range []struct {
		method, parent string
		all, own       []string
	}{
		{"TenantService/WatchTenants", "", []string{"+tenants/acme", "+tenants/beta"}, []string{"+tenants/acme"}},
		{"ListenerService/WatchListeners", "", []string{"+listeners/main"}, nil},
		{"ProfileService/WatchProfiles", "tenants/-", []string{"+tenants/acme/profiles/staff", "+tenants/beta/profiles/staff"}, []string{"+tenants/acme/profiles/staff"}},
		{"PoolService/WatchPools", "tenants/-", []string{"+tenants/acme/pools/main", "+tenants/beta/pools/main"}, []string{"+tenants/acme/pools/main"}},
		{"AclService/WatchAcls", "tenants/-", []string{"+tenants/acme/acls/web", "+tenants/beta/acls/web"}, []string{"+tenants/acme/acls/web"}},
		{"RadiusServerService/WatchRadiusServers", "tenants/-", []string{"+tenants/acme/radiusServers/one", "+tenants/beta/radiusServers/one"}, []string{"+tenants/acme/radiusServers/one"}},
		{"ApiTokenService/WatchApiTokens", "tenants/-", []string{"+tenants/acme/apiTokens/sample", "+tenants/acme/apiTokens/viewer", "+tenants/beta/apiTokens/sample"}, []string{"+tenants/acme/apiTokens/sample", "+tenants/acme/apiTokens/viewer"}},
		{"ApiTokenService/WatchApiTokens", "", []string{}, nil},
		{"SessionService/WatchSessions", "tenants/-", []string{"+tenants/acme/sessions/s1", "+tenants/beta/sessions/s1"}, []string{"+tenants/acme/sessions/s1"}},
		{"LoginAttemptService/WatchLoginAttempts", "", []string{"+logins/3", "+tenants/beta/logins/5", "+tenants/acme/logins/5"}, []string{"+tenants/acme/logins/5"}},
		{"LoginAttemptService/WatchLoginAttempts", "tenants/-", []string{"+tenants/beta/logins/5", "+tenants/acme/logins/5"}, []string{"+tenants/acme/logins/5"}},
		{"LockoutService/WatchLockouts", "tenants/-", []string{"+tenants/acme/lockouts/l1", "+tenants/beta/lockouts/l1"}, []string{"+tenants/acme/lockouts/l1"}},
		{"LeaseService/WatchLeases", "tenants/-/pools/-", []string{"+tenants/acme/pools/main/leases/10.64.0.9", "+tenants/beta/pools/main/leases/10.64.0.9"}, []string{"+tenants/acme/pools/main/leases/10.64.0.9"}},
		{"LeaseService/WatchLeases", "tenants/acme/pools/main", []string{"+tenants/acme/pools/main/leases/10.64.0.9"}, []string{"+tenants/acme/pools/main/leases/10.64.0.9"}},
	} {
		t.Run(c.method+" of "+c.parent, func(t *testing.T) {
			f.watch(t.Context(), t, f.conn, c.method, c.parent, "").see(append(c.all, "done")...)
			w := f.watch(bound, t, conn, c.method, c.parent, "")
			if c.own == nil {
				w.ends(failure{code: codes.PermissionDenied, reason: "PERMISSION_DENIED"})
				return
			}
			w.see(append(c.own, "done")...)
		})
	}
}

// A deletion of many in one commit is told one by one, and resumed in the middle of it.
func TestWatchResumesInACommit(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	want := []string{}
	for _, id := range []string{"bob", "carol", "dave"} {
		f.user(t, "tenants/acme", id)
	}
	for _, id := range []string{"alice", "bob", "carol", "dave"} {
		want = append(want, "-tenants/acme/users/"+id)
	}
	w := f.watch(t.Context(), t, f.conn, "UserService/WatchUsers", "tenants/acme", "")
	w.see("+tenants/acme/users/alice", "+tenants/acme/users/bob", "+tenants/acme/users/carol", "+tenants/acme/users/dave", "done")
	must(t)(nil, f.store.DeleteChildren("tenants/acme"))
	for i := range want {
		w.see(want[i])
		f.watch(t.Context(), t, f.conn, "UserService/WatchUsers", "tenants/acme", w.last).see(want[i+1:]...)
	}
}

// A bound caller's tenant is all that it sees, also when others change.
func TestWatchTenantsOfABoundCaller(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	w := f.watch(withToken(t.Context(), f.newToken(t, "tenants/acme", "viewer", tenant.RoleViewer)), t, f.dialTLS(t),
		"TenantService/WatchTenants", "", "")
	w.see("+tenants/acme", "done")
	for _, name := range []string{"tenants/beta", "tenants/acme"} {
		must(t)(concentratorv1.NewTenantServiceClient(f.conn).UpdateTenant(t.Context(), &concentratorv1.UpdateTenantRequest{
			Tenant: &concentratorv1.Tenant{Name: name, DisplayName: "new"}, UpdateMask: maskOf("display_name"),
		}))
	}
	w.see("+tenants/acme")
}

// A revision outlives the daemon where the store does; that of a live kind does not.
func TestWatchOverARestart(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	users := f.watch(t.Context(), t, f.conn, "UserService/WatchUsers", "tenants/acme", "")
	users.see("+tenants/acme/users/alice", "done")
	pools := f.watch(t.Context(), t, f.conn, "PoolService/WatchPools", "tenants/acme", "")
	pools.see("+tenants/acme/pools/main", "done")
	sessions := f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", "")
	sessions.see("+tenants/acme/sessions/s1", "done")
	f.user(t, "tenants/acme", "bob")
	must(t)(nil, f.Shutdown(t.Context()))

	g := start(t, func(c *Config) { c.Store = f.store })
	g.live.PoolFeed().Put("tenants/acme/pools/main", usageOf(3))
	g.live.PoolFeed().Put("tenants/beta/pools/main", usageOf(3))
	g.watch(t.Context(), t, g.conn, "UserService/WatchUsers", "tenants/acme", users.last).see("+tenants/acme/users/bob")
	// How full the pools are now is not known to who comes back, so that is told of all.
	g.watch(t.Context(), t, g.conn, "PoolService/WatchPools", "tenants/acme", pools.last).see("+tenants/acme/pools/main")
	g.watch(t.Context(), t, g.conn, "SessionService/WatchSessions", "tenants/acme", sessions.last).ends(
		failure{code: codes.OutOfRange, reason: "RESOURCE_EXPIRED"})
}

// A pool's watch tells of its record and of how full it is, each once.
func TestWatchPoolUsage(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	const name = "tenants/acme/pools/main"
	use := func(n int) { f.live.PoolFeed().Put(name, usageOf(n)) }
	use(1)
	w := f.watch(t.Context(), t, f.conn, "PoolService/WatchPools", "tenants/acme", "")
	w.see("+"+name, "done")
	resume := w.last
	use(2)
	if m := w.see("+" + name).(*concentratorv1.WatchPoolsResponse); m.GetUpsert().GetUsage().GetSize() != 253 {
		t.Errorf("the usage is %v", m.GetUpsert().GetUsage())
	}
	f.live.PoolFeed().Put("tenants/beta/pools/main", usageOf(1))
	f.live.PoolFeed().Put("tenants/acme/pools/unknown", usageOf(1))
	must(t)(concentratorv1.NewPoolServiceClient(f.conn).UpdatePool(t.Context(), &concentratorv1.UpdatePoolRequest{
		Pool: &concentratorv1.Pool{Name: name, Exclude: []string{"10.64.0.5"}}, UpdateMask: maskOf("exclude"),
	}))
	if m := w.see("+" + name).(*concentratorv1.WatchPoolsResponse); len(m.GetUpsert().GetExclude()) != 1 {
		t.Errorf("the record is %v", m.GetUpsert())
	}
	middle := w.last
	f.watch(t.Context(), t, f.conn, "PoolService/WatchPools", "tenants/acme", resume).see("+"+name, "+"+name)
	use(3)
	w.see("+" + name)
	f.watch(t.Context(), t, f.conn, "PoolService/WatchPools", "tenants/acme", middle).see("+" + name)
	quiet := f.watch(t.Context(), t, f.conn, "PoolService/WatchPools", "tenants/acme", w.last)
	use(4)
	quiet.see("+" + name)
}

func TestWatchLive(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	w := f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", "")
	m := w.see("+tenants/acme/sessions/s1").(*concentratorv1.WatchSessionsResponse)
	if m.GetUpsert().GetInBytes() != 1<<40 {
		t.Errorf("the snapshot does not count: %v", m.GetUpsert())
	}
	inside := w.last
	w.see("done")
	resume := w.last
	for _, name := range []string{"tenants/beta/sessions/s9", "tenants/acme2/sessions/s9", "tenants/acme/sessions/s2"} {
		f.live.SessionFeed().Put(name, info(name))
	}
	f.live.SessionFeed().Remove("tenants/acme/sessions/s1")
	w.see("+tenants/acme/sessions/s2", "-tenants/acme/sessions/s1")
	f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", resume).see(
		"+tenants/acme/sessions/s2", "-tenants/acme/sessions/s1")
	f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", inside).see("+tenants/acme/sessions/s2", "done")
}

func TestWatchErrors(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	field := func(name string) failure { return failure{codes.InvalidArgument, "INVALID_FIELD", []string{name}} }
	missing := failure{code: codes.NotFound, reason: "RESOURCE_NOT_FOUND"}
	expired := failure{code: codes.OutOfRange, reason: "RESOURCE_EXPIRED"}
	const users = "UserService/WatchUsers"
	epoch := (&storedSource[store.User, *concentratorv1.User]{b: &backend{store: f.store}}).epoch()
	forged := func(epoch uint64, at ...int64) string {
		return tokensOf("WatchUsersResponse", "tenants/acme", epoch).token(at)
	}
	for _, c := range []struct {
		method, parent, revision string
		want                     failure
	}{
		{"SessionService/WatchSessions", "tenants/none", "", missing},
		{"SessionService/WatchSessions", "acme", "", field("parent")},
		{users, "tenants/none", "", missing},
		{users, "acme", "", field("parent")},
		{users, "tenants/acme", "!", field("revision")},
		{users, "tenants/acme", "AQAA", field("revision")},
		{users, "tenants/acme", "CQAA", expired}, // of another version of the program
		{users, "tenants/acme", forged(epoch+1, 5, 0), expired},
		{users, "tenants/acme", forged(epoch, 0, 0), expired},
		{users, "tenants/acme", forged(epoch, 1<<40, 0), expired},
		{users, "tenants/acme", forged(epoch, -5, 0), expired},
		{users, "tenants/acme", forged(epoch, 5, -1), expired},
		{users, "tenants/acme", forged(epoch, 5), expired},
		{users, "tenants/acme", forged(epoch, 1, 2, 3, 4, 5), field("revision")},
		{"LeaseService/WatchLeases", "tenants/acme", "", field("parent")},
		{"LeaseService/WatchLeases", "tenants/acme/pools/none", "", missing},
		{"LoginAttemptService/WatchLoginAttempts", "x", "", field("parent")},
		{"LockoutService/WatchLockouts", "x", "", field("parent")},
	} {
		w := f.watch(t.Context(), t, f.conn, c.method, c.parent, c.revision)
		if _, err := w.next(); !failureOf(err).equal(c.want) {
			t.Errorf("%s of %q after %q: %v, want %v", c.method, c.parent, c.revision, err, c.want)
		}
	}
}

// What concerns others takes a quiet watch along, so that its revision does not grow old; and it shows that it is alive.
func TestBookmarks(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	w := f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", "")
	w.see("+tenants/acme/sessions/s1", "done")
	storm := func(n int) {
		for range n {
			f.live.SessionFeed().Put("tenants/beta/sessions/s1", session.Info{Name: "tenants/beta/sessions/s1"})
		}
	}
	storm(bookmarkGap + 300)
	w.see("bookmark")
	storm(20000 - bookmarkGap) // the revision of the snapshot is gone, that of the bookmark is not
	f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", w.last).see("bookmark")
}

func TestBookmarkOfSilence(t *testing.T) {
	silence(t, 50*time.Millisecond)
	f := start(t)
	f.seedBoth(t, false)
	for _, method := range []string{"SessionService/WatchSessions", "UserService/WatchUsers"} {
		w := f.watch(t.Context(), t, f.conn, method, "tenants/beta", "")
		_, err := w.next()
		must(t)(nil, err)
		w.see("done", "bookmark", "bookmark")
		f.watch(t.Context(), t, f.conn, method, "tenants/beta", w.last).see("bookmark")
	}
}

// The snapshot and the changes behind it fit together while others write.
func TestWatchSnapshotUnderWrites(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	for i := range 2 * snapshotPage {
		f.user(t, "tenants/acme", "u"+strings.Repeat("i", i/26)+string(rune('a'+i%26)))
	}
	stop := make(chan struct{})
	wrote := make(chan int)
	go func() {
		n := 0
		defer func() { wrote <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
				f.disable(t, "tenants/acme/users/alice", n%2 == 0)
				f.disable(t, "tenants/acme/users/uz", n%2 == 0)
			}
		}
	}()
	for range 5 {
		w := f.watch(t.Context(), t, f.conn, "UserService/WatchUsers", "tenants/acme", "")
		last := map[string]int64{}
		for range 2*snapshotPage + 200 {
			m, err := w.next()
			must(t)(nil, err)
			u := m.(*concentratorv1.WatchUsersResponse).GetUpsert()
			if u == nil {
				continue
			}
			rev := f.store.ChangedAt(u.GetEtag())
			if rev <= last[u.GetName()] {
				t.Fatalf("%s as of revision %d came after %d", u.GetName(), rev, last[u.GetName()])
			}
			last[u.GetName()] = rev
		}
		if len(last) != 2*snapshotPage+1 {
			t.Errorf("%d users", len(last))
		}
	}
	close(stop)
	if n := <-wrote; n < 10 {
		t.Errorf("only %d writes", n)
	}
}

func TestTooManyWatches(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	free := []*watching{}
	ctx, cancel := context.WithCancel(withToken(t.Context(), f.newToken(t, "tenants/acme", "viewer", tenant.RoleViewer)))
	for range 2 {
		conn := f.dialTLS(t) // a connection has a bound of its own
		for range maxWatchesOf / 2 {
			w := f.watch(ctx, t, conn, "SessionService/WatchSessions", "tenants/acme", "")
			w.see("+tenants/acme/sessions/s1")
			free = append(free, w)
		}
	}
	conn := f.dialTLS(t)
	full := failure{code: codes.ResourceExhausted, reason: "TOO_MANY_WATCHES"}
	f.watch(ctx, t, conn, "SessionService/WatchSessions", "tenants/acme", "").ends(full)
	other := withToken(t.Context(), f.newToken(t, "tenants/beta", "viewer", tenant.RoleViewer))
	f.watch(other, t, conn, "SessionService/WatchSessions", "tenants/beta", "").see("+tenants/beta/sessions/s1", "done")
	cancel()
	for _, w := range free {
		for {
			if _, err := w.next(); err != nil {
				break
			}
		}
	}
	again := withToken(t.Context(), f.newToken(t, "tenants/acme", "again", tenant.RoleViewer))
	var err error
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(time.Millisecond) {
		// The caller knows that a watch has ended a moment before its place is free.
		if _, err = f.watch(again, t, conn, "SessionService/WatchSessions", "tenants/acme", "").next(); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("when all have ended: %v", err)
	}

	all := newWatches(0)
	leave := []func(){}
	for range maxWatches {
		l, err := all.enter(caller{name: callerRoot})
		must(t)(nil, err)
		leave = append(leave, l)
	}
	if _, err := all.enter(caller{name: callerRoot}); !failureOf(err).equal(full) {
		t.Errorf("one more than all: %v", err)
	}
	leave[0]()
	if _, err := all.enter(caller{name: callerRoot}); err != nil || all.all != maxWatches {
		t.Errorf("in a free place: %v, %d open", err, all.all)
	}
}

func TestWatchTokens(t *testing.T) {
	tokens := tokensOf("WatchUsersResponse", "tenants/acme", 1<<63)
	for _, at := range []position{{0}, {1, 2}, {1 << 62, -1 << 62, 0, 7}} {
		got, err := tokens.parse(tokens.token(at))
		if err != nil || !slices.Equal(got, at) {
			t.Errorf("%v became %v, %v", at, got, err)
		}
	}
	if got, err := tokens.parse(tokens.token(nil)); got != nil || err != nil {
		t.Errorf("of a snapshot: %v, %v", got, err)
	}
}

func FuzzWatchToken(f *testing.F) {
	corpus.Add(f)
	tokens := tokensOf("WatchUsersResponse", "tenants/acme", 7)
	f.Add(tokens.token(position{5, 0}))
	f.Add("AQAA")
	f.Fuzz(func(t *testing.T, token string) {
		if at, err := tokens.parse(token); err == nil && at != nil {
			if again, err := tokens.parse(tokens.token(at)); err != nil || !slices.Equal(again, at) {
				t.Errorf("%q is %v, then %v, %v", token, at, again, err)
			}
		}
	})
}
