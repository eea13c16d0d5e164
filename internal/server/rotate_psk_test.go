package server

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// pskIDs lists the IDs of a tenant's keys.
func pskIDs(m *concentratorv1.Tenant) (ids []string) {
	for _, k := range m.GetIpsec().GetPsks() {
		ids = append(ids, k.GetId())
	}
	return ids
}

func TestRotatePsk(t *testing.T) {
	f := start(t)
	f.seed(t)
	client := concentratorv1.NewTenantServiceClient(f.conn)
	rotate := func(r *concentratorv1.RotatePskRequest) (*concentratorv1.RotatePskResponse, error) {
		r.Name = "tenants/acme"
		return client.RotatePsk(t.Context(), r)
	}
	first, err := rotate(&concentratorv1.RotatePskRequest{})
	must(t)(nil, err)
	date := time.Now().UTC().Format(time.DateOnly)
	if first.GetPskId() != date || !regexp.MustCompile(`^[A-Z2-7]{26}$`).MatchString(first.GetKey()) ||
		!slices.Equal(pskIDs(first.GetTenant()), []string{"main", date}) {
		t.Errorf("got %v", first)
	}
	second, err := rotate(&concentratorv1.RotatePskRequest{Etag: first.GetTenant().GetEtag()})
	must(t)(nil, err)
	third, err := rotate(&concentratorv1.RotatePskRequest{PskId: "third"})
	must(t)(nil, err)
	if want := []string{"main", date, date + "-2", "third"}; second.GetPskId() != date+"-2" || !slices.Equal(pskIDs(third.GetTenant()), want) {
		t.Errorf("the keys are %q, want %q", pskIDs(third.GetTenant()), want)
	}
	stored, err := store.Get[store.Tenant](f.store, "tenants/acme")
	must(t)(nil, err)
	for i, want := range []string{"hush-psk-1", first.GetKey(), second.GetKey(), third.GetKey()} {
		if got := string(stored.IPsec.PSKs[i].Secret); got != want {
			t.Errorf("key %d is %q, want %q", i, got, want)
		}
	}
	// Shown once: neither by a get nor in the log.
	_, body := f.rest(t, "GET", "/v1/tenants/acme", "")
	for _, hidden := range []string{first.GetKey(), third.GetKey()} {
		if strings.Contains(body, hidden) || strings.Contains(f.log.String(), hidden) {
			t.Error("a key is shown again")
		}
	}

	// The change-over ends with an update that leaves the old ones out, and gives no secret.
	m, err := client.UpdateTenant(t.Context(), &concentratorv1.UpdateTenantRequest{
		Tenant: &concentratorv1.Tenant{Name: "tenants/acme", Ipsec: &concentratorv1.Tenant_Ipsec{
			Psks: []*concentratorv1.Tenant_Ipsec_Psk{{Id: "third", UseCount: 99}},
		}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"ipsec.psks"}},
	})
	must(t)(nil, err)
	stored, err = store.Get[store.Tenant](f.store, "tenants/acme")
	must(t)(nil, err)
	if k := stored.IPsec.PSKs; len(k) != 1 || string(k[0].Secret) != third.GetKey() || m.GetIpsec().GetPsks()[0].GetUseCount() != 0 {
		t.Errorf("left over: %v, %v", k, m.GetIpsec())
	}

	for _, tt := range []struct {
		name string
		r    *concentratorv1.RotatePskRequest
		want failure
	}{
		{"an id that is taken", &concentratorv1.RotatePskRequest{PskId: "third"}, failure{codes.InvalidArgument, reasonInvalid, []string{"pskId"}}},
		{"no id", &concentratorv1.RotatePskRequest{PskId: "Third!"}, failure{codes.InvalidArgument, reasonInvalid, []string{"pskId"}}},
		{"an old etag", &concentratorv1.RotatePskRequest{Etag: first.GetTenant().GetEtag()}, failure{codes.Aborted, reasonConflict, nil}},
	} {
		_, err := rotate(tt.r)
		if got := failureOf(err); got.code != tt.want.code || got.reason != tt.want.reason || !slices.Equal(got.fields, tt.want.fields) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	for i := range maxPSKs - 1 {
		_, err := rotate(&concentratorv1.RotatePskRequest{PskId: fmt.Sprint("n", i)})
		must(t)(nil, err)
	}
	_, err = rotate(&concentratorv1.RotatePskRequest{})
	if got := failureOf(err); got.code != codes.FailedPrecondition || got.reason != reasonUnmet {
		t.Errorf("one key too many: %+v", got)
	}
	if code, _ := f.rest(t, "POST", "/v1/tenants/none:rotatePsk", "{}"); code != 404 {
		t.Errorf("of no tenant: %d", code)
	}
}

// Whoever may not choose a key, because a listener leads to other tenants too, may have one made: for its own tenant, and
// as its administrator.
func TestRotatePskOnASharedListener(t *testing.T) {
	f := start(t)
	f.seed(t)
	f.tenant(t, "beta", "beta", "10.64.0.0/24")
	must(t)(concentratorv1.NewListenerServiceClient(f.conn).CreateListener(t.Context(), &concentratorv1.CreateListenerRequest{
		ListenerId: "shared", Listener: &concentratorv1.Listener{
			Address: "192.0.2.1", Protocols: []concentratorv1.Listener_Protocol{concentratorv1.Listener_L2TP_IPSEC},
			Tenants: []string{"tenants/acme", "tenants/beta"},
		},
	}))
	admin := f.newToken(t, "tenants/acme", "admin", tenant.RoleAdmin)
	operator := f.newToken(t, "tenants/acme", "operator", tenant.RoleOperator)
	for _, tt := range []struct {
		token, method, path, body string
		want                      int
	}{
		{admin, "PATCH", "/v1/tenants/acme", `{"ipsec":{"psks":[{"id":"main"},{"id":"two","secret":"a guess"}]}}`, 403},
		{operator, "POST", "/v1/tenants/acme:rotatePsk", `{}`, 403},
		{admin, "POST", "/v1/tenants/beta:rotatePsk", `{}`, 404},
		{admin, "POST", "/v1/tenants/none:rotatePsk", `{}`, 404},
		{admin, "POST", "/v1/tenants/acme:rotatePsk", `{"pskId":"two"}`, 200},
		{admin, "PATCH", "/v1/tenants/acme", `{"ipsec":{"psks":[{"id":"two"}]}}`, 200}, // and so the change-over ends
		{admin, "POST", "/v1/instances/-:reencrypt", `{}`, 403},
	} {
		if code, body := f.rest(t, tt.method, tt.path, tt.body, "Authorization", "Bearer "+tt.token); code != tt.want ||
			code >= 400 && strings.Contains(body, "listeners/") {
			t.Errorf("%s %s %s: %d, want %d: %s", tt.method, tt.path, tt.body, code, tt.want, body)
		}
	}
	for name, want := range map[string]int{"tenants/acme": 1, "tenants/beta": 0} {
		if r, err := store.Get[store.Tenant](f.store, name); err != nil || len(r.IPsec.PSKs) != want {
			t.Errorf("%s has %d keys, want %d (%v)", name, len(r.IPsec.PSKs), want, err)
		}
	}
}

// Each key shows its own use.
func TestPSKUse(t *testing.T) {
	f := start(t)
	f.seed(t)
	last := time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)
	f.live.pskUses = map[string]session.PSKUse{"tenants/acme new": {Count: 7, Last: last}, "tenants/beta main": {Count: 9, Last: last}}
	if code, body := f.rest(t, "POST", "/v1/tenants/acme:rotatePsk", `{"pskId":"new"}`); code != 200 {
		t.Fatal(code, body)
	}
	_, body := f.rest(t, "GET", "/v1/tenants/acme", "")
	keys := decodeJSON(t, body)["ipsec"].(map[string]any)["psks"].([]any)
	old, next := keys[0].(map[string]any), keys[1].(map[string]any)
	if old["useCount"] != "0" && old["useCount"] != nil || old["lastUseTime"] != nil {
		t.Errorf("the old key: %v", old)
	}
	if next["useCount"] != "7" || next["lastUseTime"] != "2026-11-27T03:00:00Z" {
		t.Errorf("the new key: %v", next)
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
