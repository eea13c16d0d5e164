package server

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// Tenants alpha and beta share a namespace, gamma has its own.
func TestOverlaps(t *testing.T) {
	f := start(t)
	f.tenant(t, "alpha", "", "10.1.0.0/16")
	f.tenant(t, "beta", "", "10.2.0.0/16")
	f.tenant(t, "gamma", "own", "10.1.0.0/16")
	user := func(tenant, id, static string, routes ...string) error {
		_, err := concentratorv1.NewUserServiceClient(f.conn).CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
			Parent: "tenants/" + tenant, UserId: id,
			User: &concentratorv1.User{Password: new("x"), StaticAddress: static, FramedRoutes: routes},
		})
		return err
	}
	pool := func(tenant, id, gateway string, ranges ...string) error {
		_, err := concentratorv1.NewPoolServiceClient(f.conn).CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
			Parent: "tenants/" + tenant, PoolId: id, Pool: &concentratorv1.Pool{Ranges: ranges, Gateway: gateway},
		})
		return err
	}
	if err := user("alpha", "site", "10.1.0.9", "192.168.0.0/24"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		err   error
		field string // "" = allowed
		other string
	}{
		{"own pool of another namespace's addresses", pool("gamma", "b", "", "10.2.0.0/16"), "", ""},
		{"pool over another tenant's pool", pool("beta", "b", "", "10.9.0.0/24", "10.1.255.0/24"), "ranges", "tenants/alpha/pools/main"},
		{"pool over another tenant's route", pool("beta", "b", "", "192.168.0.0-192.168.0.9"), "ranges", "tenants/alpha/users/site"},
		{"gateway in another tenant's pool", pool("beta", "b", "10.1.7.7", "10.9.0.0/24"), "gateway", "tenants/alpha/pools/main"},
		{"pool over a pool of the same tenant", pool("alpha", "b", "", "10.1.3.0/24"), "ranges", "tenants/alpha/pools/main"},
		{"gateway in a pool of the same tenant", pool("alpha", "b", "10.1.3.1", "10.9.0.0/24"), "ranges", "tenants/alpha/pools/main"},
		{"the gateway of another pool of the same tenant", pool("alpha", "shared", "10.1.0.1", "10.9.0.0/24"), "", ""},

		{"static address in the own pool", user("alpha", "in", "10.1.0.10"), "", ""},
		{"static address of another user", user("alpha", "same", "10.1.0.9"), "staticAddress", "tenants/alpha/users/site"},
		{"static address in another tenant's pool", user("beta", "in", "10.1.0.10"), "staticAddress", "tenants/alpha/pools/main"},
		{"static address in another tenant's route", user("beta", "in", "192.168.0.7"), "staticAddress", "tenants/alpha/users/site"},
		{"static address that is the own gateway", user("alpha", "gw", "10.1.0.1"), "staticAddress", "tenants/alpha/pools/"},
		{"route of another user", user("alpha", "same", "", "192.168.0.0/24"), "framedRoutes[0]", "tenants/alpha/users/site"},
		{"route within another user's", user("alpha", "part", "", "172.16.0.0/12", "192.168.0.128/25"), "", ""},
		{"route over another tenant's pool", user("beta", "big", "", "172.31.0.0/24", "10.0.0.0/8"), "framedRoutes[0]", "framedRoutes[1]: 10.0.0.0/8 (framedRoutes[1]) overlaps 10.1.0.0/16 (ranges) of tenants/alpha/pools/main"},
		{"the same in another namespace", user("gamma", "site", "10.1.0.9", "192.168.0.0/24"), "", ""},
	} {
		got := failureOf(c.err)
		switch {
		case c.field == "" && c.err != nil:
			t.Errorf("%s: %v", c.name, c.err)
		case c.field != "" && (got.code != codes.FailedPrecondition || got.reason != "UNMET_REFERENCE" || got.fields[0] != c.field || !strings.Contains(c.err.Error(), c.other)):
			t.Errorf("%s: got %v, want %s and %s", c.name, c.err, c.field, c.other)
		}
	}

	// A tenant can't move into a namespace where its addresses are taken, and nothing keeps them taken when they go.
	move := func(tenant, namespace string) (int, string) {
		return f.rest(t, "PATCH", "/v1/tenants/"+tenant, `{"network":{"namespace":"`+namespace+`"}}`)
	}
	if code, body := move("gamma", ""); code != 400 || !strings.Contains(body, "network.namespace") {
		t.Errorf("gamma into the namespace of alpha: %d %s", code, body)
	}
	if code, body := move("alpha", "third"); code != 200 {
		t.Errorf("alpha into its own namespace: %d %s", code, body)
	}
	if err := pool("beta", "b", "", "10.1.255.0/24"); err != nil {
		t.Errorf("alpha has left: %v", err)
	}
	if code, body := f.rest(t, "DELETE", "/v1/tenants/beta/pools/b", ""); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, body := move("alpha", ""); code != 200 {
		t.Errorf("alpha back again: %d %s", code, body)
	}
}

// What a server reads from the store at its start it holds new resources against.
func TestOverlapsAfterRestart(t *testing.T) {
	f := start(t)
	f.tenant(t, "alpha", "", "10.1.0.0/16")
	f.tenant(t, "beta", "", "10.2.0.0/16")
	again := start(t, func(c *Config) { c.Store = f.store })
	code, body := again.rest(t, "PATCH", "/v1/tenants/beta/pools/main", `{"ranges":["10.1.0.0/24"]}`)
	if code != 400 || !strings.Contains(body, "tenants/alpha/pools/main") {
		t.Errorf("%d %s", code, body)
	}
}

func TestDevicesAndRealmsAndSockets(t *testing.T) {
	f := start(t)
	f.seed(t)
	f.tenant(t, "beta", "", "10.2.0.0/16")
	for _, c := range []struct {
		method, path, body string
		want               string // "" = allowed
	}{
		{"PATCH", "/v1/tenants/acme", `{"network":{"device":"tun7"}}`, ""},
		{"PATCH", "/v1/tenants/beta", `{"network":{"device":"tun7"}}`, "network.device"},
		{"PATCH", "/v1/tenants/beta", `{"network":{"device":"tun7","namespace":"beta"}}`, ""},
		{"PATCH", "/v1/tenants/beta", `{"realms":["x","ACME.example"]}`, ""}, // no listener leads to both
		{"PATCH", "/v1/listeners/main", `{"tenants":["tenants/acme","tenants/beta"]}`, "tenants[1]"},
		{"PATCH", "/v1/tenants/beta", `{"realms":["x"]}`, ""},
		{"PATCH", "/v1/listeners/main", `{"tenants":["tenants/acme","tenants/beta"]}`, ""},
		{"PATCH", "/v1/tenants/beta", `{"realms":["x","ACME.example"]}`, "realms[1]"},
		{"POST", "/v1/listeners?listenerId=two", `{"address":"192.0.2.1","protocols":["PPTP"],"tenants":["tenants/acme"]}`, "protocols[0]"},
		{"POST", "/v1/listeners?listenerId=two", `{"address":"192.0.2.1","protocols":["PPTP"],"tenants":["tenants/acme"],"namespace":"b"}`, ""},
		{"POST", "/v1/listeners?listenerId=three", `{"address":"192.0.2.1","protocols":["L2TP"],"tenants":["tenants/acme"]}`, ""},
		{"POST", "/v1/listeners?listenerId=four", `{"address":"192.0.2.2","protocols":["L2TP"],"tenants":["tenants/acme"]}`, ""},
		{"POST", "/v1/listeners?listenerId=five", `{"address":"192.0.2.2","protocols":["L2TP_IPSEC","L2TP"],"tenants":["tenants/acme"]}`, "protocols[1]"},
	} {
		code, body := f.rest(t, c.method, c.path, c.body)
		if c.want == "" && code != 200 || c.want != "" && (code != 400 || !strings.Contains(body, `"`+c.want+`"`)) {
			t.Errorf("%s %s %s: %d %s\nwant %q", c.method, c.path, c.body, code, body, c.want)
		}
	}
}
