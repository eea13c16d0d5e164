package server

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

func TestPage(t *testing.T) {
	q := query{"User", "tenants/acme"}
	for _, c := range []struct {
		size int32
		want int
	}{{0, 100}, {1, 1}, {1000, 1000}, {1001, 1000}, {1 << 30, 1000}} {
		if limit, _, err := q.page(c.size, ""); limit != c.want || err != nil {
			t.Errorf("size %d: %d, %v; want %d", c.size, limit, err, c.want)
		}
	}
	if _, after, err := q.page(7, q.token("tenants/acme/users/bob")); after != "tenants/acme/users/bob" || err != nil {
		t.Errorf("own token: after %q, %v", after, err)
	}
	for name, c := range map[string]struct {
		size  int32
		token string
		field string
	}{
		"negative size":         {-1, "", "pageSize"},
		"not base64":            {0, "%%%", "pageToken"},
		"too short":             {0, "AQ", "pageToken"},
		"another list's token":  {0, query{"User", "tenants/beta"}.token("x"), "pageToken"},
		"another kind's token":  {0, query{"Pool", "tenants/acme"}.token("x"), "pageToken"},
		"token without a place": {0, q.token(""), "pageToken"},
	} {
		_, _, err := q.page(c.size, c.token)
		if got, want := failureOf(err), (failure{codes.InvalidArgument, "INVALID_FIELD", []string{c.field}}); !got.equal(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A page ends early when its resources are large, and the next one goes on behind it.
func TestFillStopsAtOctets(t *testing.T) {
	big := strings.Repeat("x", maxPageBytes/2)
	all := []string{"a", "b", "c"}
	page, next := fill(query{"T"}, all, false, func(s string) string { return s },
		func(s string) *concentratorv1.Tenant { return &concentratorv1.Tenant{Name: s, DisplayName: big} })
	if len(page) != 2 {
		t.Fatalf("%d resources, want 2", len(page))
	}
	if _, after, err := (query{"T"}).page(0, next); after != "b" || err != nil {
		t.Errorf("next page begins after %q, %v", after, err)
	}
	if page, next := fill(query{"T"}, all[2:], false, func(s string) string { return s },
		func(s string) *concentratorv1.Tenant { return &concentratorv1.Tenant{Name: s, DisplayName: big + big} }); len(page) != 1 || next != "" {
		t.Errorf("last page: %d resources, next %q", len(page), next)
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
