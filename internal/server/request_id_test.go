package server

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/tenant"
)

const (
	requestOne = "5b5d6e1c-7a07-4b0e-9d3e-3f2a0c4c1d11"
	requestTwo = "0fb34a1e-35a6-4a2b-8a63-5f5c1c9c2e22"
)

func TestRequestIDOfACreate(t *testing.T) {
	f := start(t)
	f.seed(t)
	users := concentratorv1.NewUserServiceClient(f.conn)
	r := &concentratorv1.CreateUserRequest{
		Parent: "tenants/acme", UserId: "bob", User: &concentratorv1.User{Password: new("hush")}, RequestId: requestOne,
	}
	first, err := users.CreateUser(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	// Sent again, it is answered as before; if the resource changed since, with how it is now.
	if again, err := users.CreateUser(t.Context(), r); err != nil || !proto.Equal(first, again) {
		t.Errorf("again: %v, %v, want %v", again, err, first)
	}
	must(t)(users.UpdateUser(t.Context(), &concentratorv1.UpdateUserRequest{User: &concentratorv1.User{Name: first.GetName(), MaxSessions: 3}}))
	if again, err := users.CreateUser(t.Context(), r); err != nil || again.GetMaxSessions() != 3 {
		t.Errorf("after a change: %v, %v", again, err)
	}
	// Another request under the same ID is refused, also one that differs only in a secret.
	for name, change := range map[string]func(*concentratorv1.CreateUserRequest){
		"password": func(r *concentratorv1.CreateUserRequest) { r.User.Password = new("other") },
		"id":       func(r *concentratorv1.CreateUserRequest) { r.UserId = "carol" },
	} {
		other := proto.CloneOf(r)
		change(other)
		_, err := users.CreateUser(t.Context(), other)
		if got, want := failureOf(err), (failure{codes.InvalidArgument, "INVALID_FIELD", []string{"requestId"}}); !got.equal(want) {
			t.Errorf("another %s: got %v, want %v", name, got, want)
		}
	}
	// Of another kind, too, although it looks the same on the wire.
	_, err = concentratorv1.NewAclServiceClient(f.conn).CreateAcl(t.Context(), &concentratorv1.CreateAclRequest{
		Parent: "tenants/acme", AclId: "bob", Acl: &concentratorv1.Acl{}, RequestId: requestOne,
	})
	if got := failureOf(err); got.code != codes.InvalidArgument {
		t.Errorf("another method: %v", got)
	}
	// Without the ID, or with a new one, it is a request of its own.
	for _, id := range []string{"", requestTwo} {
		other := proto.CloneOf(r)
		other.RequestId = id
		if _, err := users.CreateUser(t.Context(), other); status.Code(err) != codes.AlreadyExists {
			t.Errorf("with ID %q: %v", id, err)
		}
	}
	must(t)(users.DeleteUser(t.Context(), &concentratorv1.DeleteUserRequest{Name: first.GetName()}))
	if _, err := users.CreateUser(t.Context(), r); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "deleted since") {
		t.Errorf("after the deletion: %v", err)
	}
}

// What changes nothing, or fails, does not use a request ID up.
func TestRequestIDOfWhatIsNotDone(t *testing.T) {
	f := start(t)
	f.seed(t)
	pools := concentratorv1.NewPoolServiceClient(f.conn)
	r := &concentratorv1.CreatePoolRequest{
		Parent: "tenants/acme", PoolId: "two", Pool: &concentratorv1.Pool{Ranges: []string{"10.64.0.0/24"}}, RequestId: requestOne,
	}
	if _, err := pools.CreatePool(t.Context(), r); err == nil {
		t.Fatal("a pool that overlaps another was made")
	}
	r.Pool.Ranges = []string{"10.65.0.0/24"}
	r.ValidateOnly = true
	must(t)(pools.CreatePool(t.Context(), r))
	r.ValidateOnly = false
	must(t)(pools.CreatePool(t.Context(), r))
	must(t)(pools.CreatePool(t.Context(), r))
}

// A request ID is its caller's, and holds over a restart of the API.
func TestRequestIDIsTheCallers(t *testing.T) {
	f := start(t)
	f.seed(t)
	conn := f.dialTLS(t)
	ctx := withToken(t.Context(), f.newToken(t, "tenants/acme", "robot", tenant.RoleAdmin))
	r := &concentratorv1.CreateUserRequest{
		Parent: "tenants/acme", UserId: "bob", User: &concentratorv1.User{Password: new("hush")}, RequestId: requestOne,
	}
	must(t)(concentratorv1.NewUserServiceClient(f.conn).CreateUser(t.Context(), r))
	if _, err := concentratorv1.NewUserServiceClient(conn).CreateUser(ctx, r); status.Code(err) != codes.AlreadyExists {
		t.Errorf("another caller: %v", err)
	}
	g := start(t, func(c *Config) { c.Store = f.store })
	must(t)(concentratorv1.NewUserServiceClient(g.conn).CreateUser(t.Context(), r))
}

// A token is shown once, also to who asks for it twice by the same request.
func TestRequestIDOfAToken(t *testing.T) {
	f := start(t)
	tokens := concentratorv1.NewApiTokenServiceClient(f.conn)
	r := &concentratorv1.CreateApiTokenRequest{
		ApiTokenId: "robot", ApiToken: &concentratorv1.ApiToken{Role: concentratorv1.ApiToken_VIEWER}, RequestId: requestOne,
	}
	first, err := tokens.CreateApiToken(t.Context(), r)
	if err != nil || first.GetToken() == "" {
		t.Fatalf("%v, %v", first, err)
	}
	again, err := tokens.CreateApiToken(t.Context(), r)
	if err != nil || again.Token != nil || again.GetEtag() != first.GetEtag() {
		t.Errorf("again: %v, %v", again, err)
	}
	ctx := withToken(t.Context(), first.GetToken())
	must(t)(concentratorv1.NewListenerServiceClient(f.dialTLS(t)).ListListeners(ctx, &concentratorv1.ListListenersRequest{}))
}
