package server

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// listingOf checks a request for a list of users.
func listingOf(r *concentratorv1.ListUsersRequest) (*listing, error) {
	return newListing(r, (*concentratorv1.User)(nil).ProtoReflect().Descriptor())
}

func TestPage(t *testing.T) {
	for _, c := range []struct {
		size int32
		want int
	}{{0, 100}, {1, 1}, {1000, 1000}, {1001, 1000}, {1 << 30, 1000}} {
		if l, err := listingOf(&concentratorv1.ListUsersRequest{PageSize: c.size}); err != nil || l.limit != c.want {
			t.Errorf("size %d: %v, %v; want %d", c.size, l, err, c.want)
		}
	}
	of := func(r *concentratorv1.ListUsersRequest) string {
		t.Helper()
		l, err := listingOf(r)
		if err != nil {
			t.Fatal(err)
		}
		return l.token("tenants/acme/users/bob")
	}
	acme := &concentratorv1.ListUsersRequest{Parent: "tenants/acme"}
	pool, err := newListing(&concentratorv1.ListPoolsRequest{Parent: "tenants/acme"}, (*concentratorv1.Pool)(nil).ProtoReflect().Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	own := &concentratorv1.ListUsersRequest{Parent: "tenants/acme", PageSize: 7, PageToken: of(acme)} // another size is fine
	if l, err := listingOf(own); err != nil || l.after != "tenants/acme/users/bob" {
		t.Errorf("own token: %v, %v", l, err)
	}
	for name, c := range map[string]struct {
		r     *concentratorv1.ListUsersRequest
		field string
	}{
		"negative size":          {&concentratorv1.ListUsersRequest{PageSize: -1}, "pageSize"},
		"not base64":             {&concentratorv1.ListUsersRequest{PageToken: "%%%"}, "pageToken"},
		"too short":              {&concentratorv1.ListUsersRequest{PageToken: "Ag"}, "pageToken"},
		"another list's token":   {&concentratorv1.ListUsersRequest{PageToken: of(acme), Parent: "tenants/beta"}, "pageToken"},
		"another filter's token": {&concentratorv1.ListUsersRequest{PageToken: of(acme), Parent: "tenants/acme", Filter: "disabled = true"}, "pageToken"},
		"another order's token":  {&concentratorv1.ListUsersRequest{PageToken: of(acme), Parent: "tenants/acme", OrderBy: "name"}, "pageToken"},
		"another kind's token":   {&concentratorv1.ListUsersRequest{PageToken: pool.token("x"), Parent: "tenants/acme"}, "pageToken"},
		"token without a place":  {&concentratorv1.ListUsersRequest{PageToken: pool.token("")}, "pageToken"},
		"filter":                 {&concentratorv1.ListUsersRequest{Filter: "x"}, "filter"},
		"order":                  {&concentratorv1.ListUsersRequest{OrderBy: "x"}, "orderBy"},
	} {
		_, err := listingOf(c.r)
		if got, want := failureOf(err), (failure{codes.InvalidArgument, "INVALID_FIELD", []string{c.field}}); !got.equal(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A page ends early when its resources are large, and the next one goes on behind it.
func TestPageStopsAtOctets(t *testing.T) {
	all := func(size int, names ...string) resources[*concentratorv1.Tenant] {
		return sorted(names, func(s string) string { return s }, func(s string) *concentratorv1.Tenant {
			return &concentratorv1.Tenant{Name: s, DisplayName: strings.Repeat("x", size)}
		})
	}
	l, err := listingOf(&concentratorv1.ListUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	list, next, err := pageOf(t.Context(), l, all(maxPageBytes/2, "a", "b", "c"), (*concentratorv1.Tenant).GetName)
	if len(list) != 2 || err != nil {
		t.Fatalf("%d resources, %v, want 2", len(list), err)
	}
	if l, err = listingOf(&concentratorv1.ListUsersRequest{PageToken: next}); err != nil || l.after != "b" {
		t.Fatalf("next page: %v, %v", l, err)
	}
	if list, next, err := pageOf(t.Context(), l, all(2*maxPageBytes, "a", "b", "c"), (*concentratorv1.Tenant).GetName); len(list) != 1 || next != "" || err != nil {
		t.Errorf("last page: %d resources, next %q, %v", len(list), next, err)
	}
}

// Walking the pages sees everything that was there all the time once, whatever comes and goes meanwhile.
func TestPagesUnderChange(t *testing.T) {
	f := start(t)
	f.seed(t)
	users := concentratorv1.NewUserServiceClient(f.conn)
	create := func(id string) {
		must(t)(users.CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
			Parent: "tenants/acme", UserId: id, User: &concentratorv1.User{Password: new("x")},
		}))
	}
	for i := range 10 {
		create(fmt.Sprintf("u%d", i))
	}
	var seen []string
	token := ""
	for {
		r, err := users.ListUsers(t.Context(), &concentratorv1.ListUsersRequest{Parent: "tenants/acme", PageSize: 3, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range r.GetUsers() {
			seen = append(seen, strings.TrimPrefix(u.GetName(), "tenants/acme/users/"))
		}
		if len(seen) == 6 { // up to u4, which goes: its place must not be lost with it
			must(t)(users.DeleteUser(t.Context(), &concentratorv1.DeleteUserRequest{Name: "tenants/acme/users/u4"}))
			create("aaa")
		}
		if token = r.GetNextPageToken(); token == "" {
			break
		}
	}
	if got, want := strings.Join(seen, " "), "alice u0 u1 u2 u3 u4 u5 u6 u7 u8 u9"; got != want {
		t.Errorf("saw %s\nwant %s", got, want)
	}
}

// Walking the pages of an order sees everything that was there all the time once, whatever comes, goes and changes otherwise.
func TestOrderedPagesUnderChange(t *testing.T) {
	f := start(t)
	f.seed(t)
	users := concentratorv1.NewUserServiceClient(f.conn)
	create := func(id string, sessions int32) {
		t.Helper()
		must(t)(users.CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
			Parent: "tenants/acme", UserId: id, User: &concentratorv1.User{Password: new("x"), MaxSessions: sessions},
		}))
	}
	for i := range 12 {
		create(fmt.Sprintf("u%02d", i), int32(i%4))
	}
	for i := range 3 {
		create(fmt.Sprintf("v%d", i), 9)
	}
	seen := map[string]int{}
	var order []string
	last := int32(99)
	for token, n := "", 0; ; n++ {
		r, err := users.ListUsers(t.Context(), &concentratorv1.ListUsersRequest{
			Parent: "tenants/acme", PageSize: 2, PageToken: token, OrderBy: "maxSessions desc", Filter: `name = "*/users/u*"`,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range r.GetUsers() {
			id := strings.TrimPrefix(u.GetName(), "tenants/acme/users/")
			seen[id]++
			order = append(order, id)
			if u.GetMaxSessions() > last {
				t.Errorf("%s with %d after %d", id, u.GetMaxSessions(), last)
			}
			last = u.GetMaxSessions()
		}
		// Between the pages: one before and one behind comes, the last one seen goes, another one changes where it does not matter.
		create(fmt.Sprintf("u9%d", n), int32(n%5))
		if n == 1 {
			must(t)(users.DeleteUser(t.Context(), &concentratorv1.DeleteUserRequest{Name: "tenants/acme/users/" + order[len(order)-1]}))
		}
		must(t)(users.UpdateUser(t.Context(), &concentratorv1.UpdateUserRequest{User: &concentratorv1.User{
			Name: "tenants/acme/users/u00", StaticAddress: fmt.Sprintf("10.64.0.%d", 100+n),
		}}))
		if token = r.GetNextPageToken(); token == "" {
			break
		}
	}
	for i := range 12 {
		if id := fmt.Sprintf("u%02d", i); seen[id] != 1 {
			t.Errorf("%s came %d times in %v", id, seen[id], order)
		}
	}
	for id, n := range seen {
		if n != 1 || id[0] != 'u' {
			t.Errorf("%s came %d times", id, n)
		}
	}
}
