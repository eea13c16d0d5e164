package server

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
)

func TestReencryptInstance(t *testing.T) {
	f := start(t)
	f.seed(t)
	before := must2(concentratorv1.NewTenantServiceClient(f.conn).GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/acme"}))
	for _, name := range []string{"-", "vpn-1"} {
		code, body := f.rest(t, "POST", "/v1/instances/"+name+":reencrypt", "{}")
		if code != 200 {
			t.Fatalf("%s: %d %s", name, code, body)
		}
		m := f.ended(t, decodeJSON(t, body)["name"].(string))
		if m.GetState() != concentratorv1.Operation_SUCCEEDED || m.GetDetail() != "3 of 3 records with secrets sealed anew" ||
			m.GetKind() != concentratorv1.Operation_REENCRYPT || m.GetDone() != m.GetTotal() || m.GetTotal() < 3 {
			t.Errorf("%s: %v", name, m)
		}
	}
	if code, _ := f.rest(t, "POST", "/v1/instances/other:reencrypt", "{}"); code != 404 {
		t.Errorf("another instance: %d", code)
	}
	after := must2(concentratorv1.NewTenantServiceClient(f.conn).GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/acme"}))
	if after.GetEtag() != before.GetEtag() {
		t.Errorf("the etag is %s, was %s", after.GetEtag(), before.GetEtag())
	}
	if u, err := store.Get[store.User](f.store, "tenants/acme/users/alice"); err != nil || string(u.Password) != "hush-password-1" {
		t.Errorf("the user's password: %v", err)
	}
	if _, body := f.rest(t, "GET", "/v1/instances/-", ""); decodeJSON(t, body)["reencrypting"] == true {
		t.Error("it does not end")
	}
}

// A secret that can't be read is named, and the operation fails; the next one, when it was set again, goes well.
func TestReencryptUnreadable(t *testing.T) {
	dir := t.TempDir()
	kv, err := bolt.Open(filepath.Join(dir, "state.db"))
	must(t)(kv, err)
	t.Cleanup(func() { _ = kv.Close() })
	s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
	must(t)(s, err)
	f := start(t, func(c *Config) { c.Store = s })
	f.seed(t)
	item, err := kv.Get(t.Context(), "r/users/tenants/acme/users/alice")
	must(t)(item, err)
	broken := regexp.MustCompile(`"password":"[^"]{8}`).ReplaceAll(item.Value, []byte(`"password":"AAAAAAAA`))
	_, _, err = kv.Commit(t.Context(), nil, []store.Op{{Key: item.Key, Value: broken}})
	must(t)(nil, err)

	reencrypt := func() *concentratorv1.Operation {
		t.Helper()
		m, err := f.instances().ReencryptInstance(t.Context(), &concentratorv1.ReencryptInstanceRequest{Name: "instances/-"})
		must(t)(m, err)
		return f.ended(t, m.GetName())
	}
	m := reencrypt()
	if want := "password of tenants/acme/users/alice SECRETS_UNREADABLE "; m.GetState() != concentratorv1.Operation_FAILED ||
		m.GetProblemCount() != 1 || !strings.HasPrefix(problemsOf(m), want) || m.GetDetail() != "2 of 3 records with secrets sealed anew" {
		t.Errorf("it ended as %v", m)
	}
	if !s.Reencrypting() {
		t.Error("the old key is gone")
	}
	must(t)(nil, store.Delete[store.User](s, "tenants/acme/users/alice", ""))
	if m := reencrypt(); m.GetState() != concentratorv1.Operation_SUCCEEDED || s.Reencrypting() {
		t.Errorf("then it ended as %v", m)
	}
}
