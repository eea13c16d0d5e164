package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/store/storetest"
	"concentrator/internal/tenant"
)

func named(name string) store.Meta { return store.Meta{Name: name} }

func create[T store.Record](t *testing.T, s *store.Store, r *T) *T {
	t.Helper()
	if err := store.Create(s, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func mustGet[T store.Record](t *testing.T, s *store.Store, name string) *T {
	t.Helper()
	r, err := store.Get[T](s, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each kind with every field set comes back as it was. A field that was added without a place in the stored form, or a
// test that forgot one, fails here.
func TestEveryFieldIsStored(t *testing.T) {
	s := storetest.Open(t)
	zero, five := 0, 5
	acme := &store.Tenant{
		Meta: named("tenants/acme"), DisplayName: "Acme", Realms: []string{"acme.example"}, RealmStripping: true, Suspended: true,
		Limits: tenant.Limits{MaxSessions: 1, MaxSessionsPerUser: 2, DuplicatePolicy: tenant.DuplicateDeny, HalfOpenPerSource: &zero, LoginsPerSecond: 3},
		Network: store.Network{
			Namespace: "acme", Device: "acme0", MTU: 1500, Masquerade: true, ProxyArp: true, ClientToClient: true,
			Uplink: store.Uplink{Address: "198.51.100.2/24", Gateway: "198.51.100.1"},
		},
		IPsec: store.IPsec{
			PSKs:          []store.PSK{{ID: "a", Secret: tenant.Secret("psk-one")}, {Secret: tenant.Secret("psk-two")}},
			LegacyClients: true, AggressiveMode: true, GroupName: "group", CACertificates: []string{"ca"}, CRLs: []string{"crl"},
			IKELifetime: time.Hour, ESPLifetime: time.Minute,
		},
		L2TPTunnelSecret: tenant.Secret("tunnel"), Backend: tenant.BackendRADIUS,
	}
	checkStored(t, s, acme)
	checkStored(t, s, &store.Profile{
		Meta: named("tenants/acme/profiles/default"), AuthMethods: []tenant.AuthMethod{tenant.AuthPAP}, AllowPlaintext: true,
		MPPE: tenant.MPPE{Policy: tenant.MPPEOptional, KeyBits: []int{56}, AllowStateful: true}, Pool: "tenants/acme/pools/p",
		DNSServers: []netip.Addr{netip.MustParseAddr("10.0.0.53")}, WINSServers: []netip.Addr{netip.MustParseAddr("10.0.0.54")},
		ClientRoutes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, MTU: 1300, Echo: tenant.Echo{Interval: time.Second, Failures: 2},
		IdleTimeout: time.Minute, SessionTimeout: time.Hour, AcctInterimInterval: 2 * time.Minute,
		RateLimit: tenant.RateLimit{UpBps: 1_000_000, DownBps: 100_000_000_000}, DSCP: tenant.DSCPUniform,
		ACL: "tenants/acme/acls/web", DNSSuffix: "corp.example",
		AllowedHours: []tenant.HourWindow{window(t, "Mon-Fri 08:00-18:00"), window(t, "22:00-06:00")}, TimeZone: "Europe/Berlin",
	})
	checkStored(t, s, &store.ACL{
		Meta: named("tenants/acme/acls/web"), DisplayName: "Web only", Rules: []tenant.ACLRule{{
			Action: tenant.ACLPermit, Direction: tenant.ACLUp, Protocol: "tcp",
			Sources: []netip.Prefix{netip.MustParsePrefix("10.8.0.0/24")}, Destinations: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			SourcePorts: []tenant.PortRange{{First: 1024, Last: 65535}}, DestinationPorts: []tenant.PortRange{{First: 80, Last: 80}},
		}},
	})
	checkStored(t, s, &store.User{
		Meta: named("tenants/acme/users/CORP%5Calice"), Password: tenant.Secret("correct horse"), Profile: "tenants/acme/profiles/default",
		StaticAddress: netip.MustParseAddr("10.8.0.9"), FramedRoutes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")},
		Disabled: true, MaxSessions: 4, ExpireTime: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
	})
	checkStored(t, s, &store.Pool{
		Meta: named("tenants/acme/pools/p"), Ranges: []string{"10.8.0.0/24"}, Gateway: netip.MustParseAddr("10.8.0.1"), Exclude: []string{"10.8.0.7"},
		Quarantine: time.Minute,
	})
	checkStored(t, s, &store.RadiusServer{
		Meta: named("tenants/acme/radiusServers/r1"), Address: "198.51.100.7", AuthPort: 1812, AcctPort: 1813,
		Secrets: []tenant.Secret{tenant.Secret("new"), tenant.Secret("old")}, Transport: "UDP", Timeout: time.Second, Tries: 3,
		Priority: 1, Weight: 2, MessageAuthenticator: "REQUIRE", SourceAddress: "198.51.100.1", Namespace: "acme",
		SourceInterface: "mgmt0", MaxOutstanding: 100, DeadTime: time.Minute, CoADisabled: true,
		Purposes:   []store.RadiusPurpose{store.RadiusAccounting},
		CoASources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28"), netip.MustParsePrefix("2001:db8::7/128")},
		TLS: store.RadiusTLS{
			CACertificates: []string{"ca"}, CertificateChain: "chain", CertificateKey: tenant.Secret("key"), ServerName: "radius.example",
		},
	})
	checkStored(t, s, &store.Listener{
		Meta: named("listeners/main"), Address: "198.51.100.1", Protocols: []tenant.Protocol{tenant.ProtocolPPTP}, Tenants: []string{"tenants/acme"},
		DefaultTenant: "tenants/acme", Namespace: "outer", MaxPPTPSessions: &five, MaxL2TPSessions: &zero,
		CertificateChain: "chain", CertificateKey: tenant.Secret("key"),
	})
	token := store.APIToken{
		DisplayName: "CI", Role: tenant.RoleOperator, ExpireTime: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Hash: store.Fingerprint{1, 2, 255}, Certificates: []store.Fingerprint{{3}, {4}},
	}
	below, alone := token, token
	below.Meta, alone.Meta = named("tenants/acme/apiTokens/ci"), named("apiTokens/ci")
	checkStored(t, s, &below)
	checkStored(t, s, &alone)
}

// A kind that may stand under a tenant or under none is listed by where it stands.
func TestListOfWhatStandsAlone(t *testing.T) {
	s := storetest.Open(t)
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	create(t, s, &store.Tenant{Meta: named("tenants/beta")})
	for _, name := range []string{
		"apiTokens/a", "apiTokens/z", "tenants/acme/apiTokens/a", "tenants/acme/apiTokens/b", "tenants/beta/apiTokens/a",
	} {
		create(t, s, &store.APIToken{Meta: named(name)})
	}
	for _, c := range []struct{ parent, after, want string }{
		{"", "", "apiTokens/a apiTokens/z"},
		{"", "apiTokens/a", "apiTokens/z"},
		{"tenants/acme", "", "tenants/acme/apiTokens/a tenants/acme/apiTokens/b"},
		{"tenants/acme", "apiTokens/z", "tenants/acme/apiTokens/a tenants/acme/apiTokens/b"},
		{"tenants/acme", "tenants/beta/apiTokens/a", ""},
		{"tenants/-", "", "tenants/acme/apiTokens/a tenants/acme/apiTokens/b tenants/beta/apiTokens/a"},
		{"tenants/-", "tenants/acme/apiTokens/a", "tenants/acme/apiTokens/b tenants/beta/apiTokens/a"},
	} {
		page, more, err := store.List[store.APIToken](s, c.parent, c.after, 0)
		if err != nil || more {
			t.Fatal(more, err)
		}
		var names []string
		for _, r := range page {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("below %q after %q: %s, want %s", c.parent, c.after, got, c.want)
		}
	}
	if err := store.Delete[store.Tenant](s, "tenants/acme", ""); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("a tenant with tokens was deleted: %v", err)
	}
	if err := s.DeleteChildren("tenants/acme"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"apiTokens/a", "tenants/beta/apiTokens/a"} {
		mustGet[store.APIToken](t, s, name)
	}
	if _, err := store.Get[store.APIToken](s, "tenants/acme/apiTokens/a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a token of the tenant is still there: %v", err)
	}
}

func checkStored[T store.Record](t *testing.T, s *store.Store, r *T) {
	t.Helper()
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s.%s is not set in this test", v.Type(), v.Type().Field(i).Name)
		}
	}
	create(t, s, r)
	name := v.FieldByName("Meta").FieldByName("Name").String()
	if got := mustGet[T](t, s, name); !reflect.DeepEqual(got, r) {
		t.Errorf("stored %#v\ngot    %#v", r, got)
	}
}

func TestCreateGetUpdateDelete(t *testing.T) {
	s := storetest.Open(t)
	if _, err := store.Get[store.Tenant](s, "tenants/acme"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of nothing: %v, want ErrNotFound", err)
	}
	r := create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	if r.Etag == "" || r.CreateTime.IsZero() || r.UpdateTime != r.CreateTime {
		t.Errorf("after Create: %+v", r.Meta)
	}
	if err := store.Create(s, &store.Tenant{Meta: named("tenants/acme")}); !errors.Is(err, store.ErrExists) {
		t.Errorf("second Create: %v, want ErrExists", err)
	}
	first := *r
	r.DisplayName = "Acme"
	if err := store.Update(s, r); err != nil {
		t.Fatal(err)
	}
	if r.Etag == first.Etag || r.CreateTime != first.CreateTime || !r.UpdateTime.After(first.UpdateTime) {
		t.Errorf("after Update: %+v, before: %+v", r.Meta, first.Meta)
	}
	if got := mustGet[store.Tenant](t, s, r.Name); !reflect.DeepEqual(got, r) {
		t.Errorf("Get = %+v, want %+v", got, r)
	}
	stale := first
	stale.DisplayName = "lost update"
	if err := store.Update(s, &stale); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Update with an old etag: %v, want ErrConflict", err)
	}
	if stale.Etag != first.Etag {
		t.Error("a refused Update changed the caller's Meta")
	}
	if err := store.Delete[store.Tenant](s, r.Name, first.Etag); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Delete with an old etag: %v, want ErrConflict", err)
	}
	blind := store.Tenant{Meta: named("tenants/acme"), DisplayName: "no etag"}
	if err := store.Update(s, &blind); err != nil || blind.CreateTime != first.CreateTime {
		t.Errorf("Update without an etag: %v, %+v", err, blind.Meta)
	}
	if err := store.Delete[store.Tenant](s, r.Name, blind.Etag); err != nil {
		t.Error(err)
	}
	if err := store.Delete[store.Tenant](s, r.Name, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("second Delete: %v, want ErrNotFound", err)
	}
	if err := store.Update(s, &blind); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Update of nothing: %v, want ErrNotFound", err)
	}
}

// Applying the same document again changes nothing and wakes nobody.
func TestUpdateWithoutChange(t *testing.T) {
	s := storetest.Open(t)
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	u := create(t, s, &store.User{Meta: named("tenants/acme/users/alice"), Password: tenant.Secret("one")})
	before, err := s.Revision()
	if err != nil {
		t.Fatal(err)
	}
	again := &store.User{Meta: named(u.Name), Password: tenant.Secret("one")}
	if err := store.Update(s, again); err != nil || !reflect.DeepEqual(again, u) {
		t.Errorf("Update with the same: %v, %+v, want %+v", err, again, u)
	}
	if rev, err := s.Revision(); rev != before || err != nil {
		t.Errorf("revision %d, %v, want %d", rev, err, before)
	}
	again.Password = tenant.Secret("two")
	if err := store.Update(s, again); err != nil || again.Etag == u.Etag {
		t.Errorf("a change of the password alone was not written (%v)", err)
	}
	if got := mustGet[store.User](t, s, u.Name); string(got.Password) != "two" {
		t.Error("the old password is still there")
	}
	again.Password = nil
	if err := store.Update(s, again); err != nil {
		t.Fatal(err)
	}
	if got := mustGet[store.User](t, s, u.Name); got.Password != nil {
		t.Error("a password that was taken away is still there")
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		kind store.Kind
		name string
		ok   bool
	}{
		{store.KindTenant, "tenants/acme", true},
		{store.KindTenant, "tenants/", false},
		{store.KindTenant, "tenants/Acme", false},
		{store.KindTenant, "tenants/acme/users/alice", false},
		{store.KindTenant, "listeners/acme", false},
		{store.KindTenant, "", false},
		{store.KindListener, "listeners/main", true},
		{store.KindListener, "tenants/acme/listeners/main", false},
		{store.KindAPIToken, "apiTokens/ci", true},
		{store.KindAPIToken, "tenants/acme/apiTokens/ci", true},
		{store.KindAPIToken, "apiTokens/tenants/acme", false},
		{store.KindAPIToken, "tenants/acme/users/ci", false},
		{store.KindAPIToken, "tenants/-/apiTokens/ci", false},
		{store.KindAPIToken, "tenants/apiTokens/ci", false},
		{store.KindAPIToken, "apiTokens/", false},
		{store.KindOperation, "operations/20261127-053012345-k3xq", true},
		{store.KindOperation, "tenants/acme/operations/20261127-053012345-k3xq", true},
		{store.KindOperation, "tenants/acme/operationInputs/o", false},
		{store.KindOperationInput, "tenants/acme/operationInputs/o-00", true},
		{store.KindOperationInput, "operationInputs/o-00", true},
		{store.KindUser, "tenants/acme/users/alice", true},
		{store.KindUser, "tenants/acme/users/a%2Fb", true},
		{store.KindUser, "tenants/acme/users/%C3%A9", true},
		{store.KindUser, "tenants/acme/users/a/b", false},
		{store.KindUser, "tenants/acme/users/%61lice", false}, // a second spelling of alice
		{store.KindUser, "tenants/acme/users/%2f", false},     // %2F
		{store.KindUser, "tenants/acme/users/%zz", false},
		{store.KindUser, "tenants/acme/users/", false},
		{store.KindUser, "tenants/acme/users/" + strings.Repeat("%00", tenant.MaxUser), true},
		{store.KindUser, "tenants/acme/users/" + strings.Repeat("a", tenant.MaxUser+1), false},
		{store.KindUser, "tenants/-/users/alice", false},
		{store.KindUser, "tenants//users/alice", false},
		{store.KindUser, "users/alice", false},
		{store.KindPool, "tenants/acme/pools/p", true},
		{store.KindPool, "tenants/acme/profiles/p", false},
		{store.KindRadiusServer, "tenants/acme/radiusServers/r-1", true},
	} {
		err := store.CheckName(tt.kind, tt.name)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, store.ErrInvalidName) {
			t.Errorf("CheckName(%s, %q) = %v, want good = %t", tt.kind, tt.name, err, tt.ok)
		}
	}
	s := storetest.Open(t)
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	create(t, s, &store.User{Meta: named("tenants/acme/users/" + strings.Repeat("%00", tenant.MaxUser))})
	if err := store.Create(s, &store.User{Meta: named("tenants/acme/users/a/b")}); !errors.Is(err, store.ErrInvalidName) {
		t.Errorf("Create: %v, want ErrInvalidName", err)
	}
	if _, err := store.Get[store.User](s, "tenants/acme"); !errors.Is(err, store.ErrInvalidName) {
		t.Errorf("Get: %v, want ErrInvalidName", err)
	}
	if err := store.Delete[store.User](s, "tenants/acme", ""); !errors.Is(err, store.ErrInvalidName) {
		t.Errorf("Delete: %v, want ErrInvalidName", err)
	}
}

func TestList(t *testing.T) {
	s := storetest.Open(t)
	for _, id := range []string{"a", "a-b", "b"} {
		create(t, s, &store.Tenant{Meta: named("tenants/" + id)})
	}
	for _, name := range []string{"tenants/a/users/x", "tenants/a/users/y", "tenants/a-b/users/z", "tenants/b/users/x"} {
		create(t, s, &store.User{Meta: named(name), Password: tenant.Secret(name)})
	}
	create(t, s, &store.Pool{Meta: named("tenants/a/pools/x")})
	create(t, s, &store.Listener{Meta: named("listeners/l")})
	for _, tt := range []struct {
		parent, after string
		limit         int
		want          string
		more          bool
	}{
		{"tenants/a", "", 0, "tenants/a/users/x tenants/a/users/y", false},
		{"tenants/a", "", 1, "tenants/a/users/x", true},
		{"tenants/a", "tenants/a/users/x", 1, "tenants/a/users/y", false},
		{"tenants/a", "tenants/a/users/xx", 5, "tenants/a/users/y", false}, // deleted meanwhile
		{"tenants/a", "tenants/a/users/y", 5, "", false},
		{"tenants/a-b", "", 0, "tenants/a-b/users/z", false},
		{"tenants/-", "", 0, "tenants/a-b/users/z tenants/a/users/x tenants/a/users/y tenants/b/users/x", false},
		{"tenants/-", "tenants/a-b/users/z", 2, "tenants/a/users/x tenants/a/users/y", true},
		{"tenants/none", "", 0, "", false},
	} {
		page, more, err := store.List[store.User](s, tt.parent, tt.after, tt.limit)
		var names []string
		for _, u := range page {
			names = append(names, u.Name)
			if string(u.Password) != u.Name || u.Etag == "" {
				t.Errorf("%s is not whole", u.Name)
			}
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want || more != tt.more {
			t.Errorf("List(%q, %q, %d) = %s, %t, %v; want %s, %t", tt.parent, tt.after, tt.limit, got, more, err, tt.want, tt.more)
		}
	}
	if page, more, err := store.List[store.Tenant](s, "", "tenants/a", 0); len(page) != 2 || more || err != nil {
		t.Errorf("tenants after a: %d, %t, %v", len(page), more, err)
	}
	if page, _, err := store.List[store.Listener](s, "", "", 0); len(page) != 1 || err != nil {
		t.Errorf("listeners: %d, %v", len(page), err)
	}
	for _, parent := range []string{"", "listeners/l", "tenants/A"} {
		if _, _, err := store.List[store.User](s, parent, "", 0); !errors.Is(err, store.ErrInvalidName) {
			t.Errorf("List of users in %q: %v, want ErrInvalidName", parent, err)
		}
	}
	if _, _, err := store.List[store.Tenant](s, "tenants/a", "", 0); !errors.Is(err, store.ErrInvalidName) {
		t.Errorf("List of tenants in a tenant: %v, want ErrInvalidName", err)
	}
}

// A List without a limit goes over as many pages of the KV as there are.
func TestListOfMany(t *testing.T) {
	s := storetest.Open(t)
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	const n = store.MaxPage + 200
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				if err := store.Create(s, &store.User{Meta: named(fmt.Sprintf("tenants/acme/users/u%05d", i))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, limit := range []int{0, n, n + 1, n - 1} {
		page, more, err := store.List[store.User](s, "tenants/acme", "", limit)
		if want := min(n, max(limit, n*(1-min(limit, 1)))); err != nil || len(page) != want || more != (want < n) {
			t.Errorf("limit %d: %d users, more = %t, %v", limit, len(page), more, err)
		}
	}
	if err := store.Delete[store.Tenant](s, "tenants/acme", ""); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("Delete of a tenant with users: %v, want ErrNotEmpty", err)
	}
	if err := s.DeleteChildren("tenants/acme"); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete[store.Tenant](s, "tenants/acme", ""); err != nil {
		t.Error(err)
	}
}

func TestParent(t *testing.T) {
	s := storetest.Open(t)
	if err := store.Create(s, &store.User{Meta: named("tenants/none/users/alice")}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Create under a tenant that is not there: %v, want ErrNotFound", err)
	}
	// The neighbour's resources are not the tenant's.
	create(t, s, &store.Tenant{Meta: named("tenants/a")})
	create(t, s, &store.Tenant{Meta: named("tenants/a-b")})
	create(t, s, &store.Pool{Meta: named("tenants/a-b/pools/p")})
	if err := store.Delete[store.Tenant](s, "tenants/a", ""); err != nil {
		t.Error(err)
	}
	for _, kind := range []func() error{
		func() error { return store.Create(s, &store.User{Meta: named("tenants/a-b/users/u")}) },
		func() error { return store.Create(s, &store.Profile{Meta: named("tenants/a-b/profiles/u")}) },
		func() error { return store.Create(s, &store.RadiusServer{Meta: named("tenants/a-b/radiusServers/u")}) },
	} {
		if err := store.Delete[store.Tenant](s, "tenants/a-b", ""); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("Delete of a tenant with resources: %v, want ErrNotEmpty", err)
		}
		if err := s.DeleteChildren("tenants/a-b"); err != nil {
			t.Fatal(err)
		}
		if err := kind(); err != nil {
			t.Fatal(err)
		}
	}
}

// between runs something else just before the next commit, when a writer has read all that it wants to know.
type between struct {
	store.KV
	once func()
}

func (b *between) Commit(ctx context.Context, guards []store.Guard, ops []store.Op) (int64, bool, error) {
	if f := b.once; f != nil {
		b.once = nil
		f()
	}
	return b.KV.Commit(ctx, guards, ops)
}

// A user made while its tenant is being deleted, and a tenant deleted while a user is being made: no user may be left
// without a tenant.
func TestNoOrphans(t *testing.T) {
	dir := t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := store.Open(t.Context(), db, filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	kv := &between{KV: db}
	s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	for _, user := range []string{"tenants/acme/users/first", "tenants/acme/users/second"} {
		kv.once = func() { create(t, other, &store.User{Meta: named(user)}) }
		if err := store.Delete[store.Tenant](s, "tenants/acme", ""); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("Delete of the tenant: %v, want ErrNotEmpty", err)
		}
		if err := store.Delete[store.User](s, user, ""); err != nil {
			t.Error(err)
		}
	}
	kv.once = func() {
		if err := store.Delete[store.Tenant](other, "tenants/acme", ""); err != nil {
			t.Error(err)
		}
	}
	if err := store.Create(s, &store.User{Meta: named("tenants/acme/users/third")}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Create of the user: %v, want ErrNotFound", err)
	}
	// A change of the tenant alone is no reason to refuse a user.
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	kv.once = func() {
		if err := store.Update(other, &store.Tenant{Meta: named("tenants/acme"), DisplayName: "x"}); err != nil {
			t.Error(err)
		}
	}
	if err := store.Create(s, &store.User{Meta: named("tenants/acme/users/fourth")}); err != nil {
		t.Error(err)
	}
}

// Updates without an etag take turns; none is lost.
func TestConcurrentUpdates(t *testing.T) {
	s := storetest.Open(t)
	create(t, s, &store.Tenant{Meta: named("tenants/acme")})
	const writers, each = 4, 20
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				for {
					r, err := store.Get[store.Tenant](s, "tenants/acme")
					if err != nil {
						t.Error(err)
						return
					}
					r.Limits.MaxSessions++
					if err = store.Update(s, r); err == nil {
						break
					}
					if !errors.Is(err, store.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if r := mustGet[store.Tenant](t, s, "tenants/acme"); r.Limits.MaxSessions != writers*each {
		t.Errorf("%d updates survived of %d", r.Limits.MaxSessions, writers*each)
	}
}

func TestTooLarge(t *testing.T) {
	s := storetest.Open(t)
	big := strings.Repeat("x", store.MaxValue)
	r := &store.Tenant{Meta: named("tenants/acme"), DisplayName: big}
	if err := store.Create(s, r); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Create: %v, want ErrTooLarge", err)
	}
	if r.Meta != named("tenants/acme") {
		t.Errorf("a refused Create changed Meta: %+v", r.Meta)
	}
	r.DisplayName = ""
	create(t, s, r)
	r.DisplayName = big
	if err := store.Update(s, r); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Update: %v, want ErrTooLarge", err)
	}
}

func TestWatch(t *testing.T) {
	s := storetest.Open(t)
	rev, err := s.Revision()
	if err != nil {
		t.Fatal(err)
	}
	create(t, s, &store.Tenant{Meta: named("tenants/a")})
	create(t, s, &store.Tenant{Meta: named("tenants/a-b")})
	create(t, s, &store.User{Meta: named("tenants/a/users/x")})
	create(t, s, &store.User{Meta: named("tenants/a-b/users/x")})
	create(t, s, &store.User{Meta: named("tenants/a/users/y")})
	if err := s.DeleteChildren("tenants/a"); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		kind    store.Kind
		name    string
		deleted bool
	}
	all := []seen{
		{store.KindTenant, "tenants/a", false},
		{store.KindTenant, "tenants/a-b", false},
		{store.KindUser, "tenants/a/users/x", false},
		{store.KindUser, "tenants/a-b/users/x", false},
		{store.KindUser, "tenants/a/users/y", false},
		{store.KindUser, "tenants/a/users/x", true},
		{store.KindUser, "tenants/a/users/y", true},
	}
	ofA := []seen{all[2], all[4], all[5], all[6]}
	watch := func(prefix string, after int64, n int) (got []seen, revs []int64) {
		for c, err := range s.Watch(t.Context(), prefix, after) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, seen{c.Kind, c.Name, c.Deleted})
			if revs = append(revs, c.Revision); len(got) == n {
				break
			}
		}
		return got, revs
	}
	got, revs := watch("", rev, len(all))
	if !reflect.DeepEqual(got, all) {
		t.Errorf("all: %v, want %v", got, all)
	}
	if got, _ := watch("tenants/a/", rev, len(ofA)); !reflect.DeepEqual(got, ofA) {
		t.Errorf("of a: %v, want %v", got, ofA)
	}
	// Whatever change a reader stopped at, it gets all later ones.
	for i := range len(all) - 1 {
		if rest, _ := watch("", revs[i], 1); rest[0] != all[i+1] && rest[0] != all[i] {
			t.Errorf("resumed after %v: got %v", all[i], rest[0])
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Watch(ctx, "", rev) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled watch: %v", err)
		}
	}
	for _, err := range s.Watch(t.Context(), "", 1<<40) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("watch from the future: %v, want ErrCompacted", err)
		}
	}
}

// Neither the file nor what stands in it in place of the secrets shows any of them; and a ciphertext that is moved to
// another record or field does not open.
func TestSecretsAreSealed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	kv, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{"p4ssw0rd-of-alice", "p4ssw0rd-of-bob", "pre-shared-one", "pre-shared-two", "tunnel-secret", "radius-new", "radius-old", "private-key", "radsec-key"}
	create(t, s, &store.Tenant{
		Meta: named("tenants/acme"), L2TPTunnelSecret: tenant.Secret(secrets[4]),
		IPsec: store.IPsec{PSKs: []store.PSK{{Secret: tenant.Secret(secrets[2])}, {ID: "x", Secret: tenant.Secret(secrets[3])}}},
	})
	create(t, s, &store.User{Meta: named("tenants/acme/users/alice"), Password: tenant.Secret(secrets[0])})
	create(t, s, &store.User{Meta: named("tenants/acme/users/bob"), Password: tenant.Secret(secrets[1])})
	create(t, s, &store.RadiusServer{
		Meta: named("tenants/acme/radiusServers/r"), Secrets: []tenant.Secret{tenant.Secret(secrets[5]), tenant.Secret(secrets[6])},
		TLS: store.RadiusTLS{CertificateChain: "chain", CertificateKey: tenant.Secret(secrets[8])},
	})
	create(t, s, &store.Listener{Meta: named("listeners/main"), CertificateChain: "chain", CertificateKey: tenant.Secret(secrets[7])})

	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte("tenants/acme/users/alice")) {
		t.Fatal("the file does not show names: this test looks for the wrong thing")
	}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			if bytes.Contains(raw, form) {
				t.Errorf("the file holds %q", form)
			}
		}
	}

	// Bob's record in alice's place, as whoever can write the file might do to log in with a password he knows.
	bob, err := kv.Get(t.Context(), "r/users/tenants/acme/users/bob")
	if err != nil {
		t.Fatal(err)
	}
	alice := store.Op{Key: "r/users/tenants/acme/users/alice", Value: bob.Value}
	if _, ok, err := kv.Commit(t.Context(), nil, []store.Op{alice}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if u, err := store.Get[store.User](s, "tenants/acme/users/alice"); err == nil {
		t.Errorf("another user's ciphertext opened as %q", string(u.Password))
	}
	// The two keys of one record exchanged.
	item, err := kv.Get(t.Context(), "r/tenants/tenants/acme")
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer(`"ipsec.psks[0].secret"`, `"ipsec.psks[1].secret"`, `"ipsec.psks[1].secret"`, `"ipsec.psks[0].secret"`).Replace(string(item.Value))
	if swapped == string(item.Value) {
		t.Fatal("nothing was swapped")
	}
	if _, ok, err := kv.Commit(t.Context(), nil, []store.Op{{Key: item.Key, Value: []byte(swapped)}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := store.Get[store.Tenant](s, "tenants/acme"); err == nil {
		t.Error("ciphertexts opened in each other's field")
	}
}

func TestRefusesRecordsOfANewerVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	kv, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	s, err := store.Open(t.Context(), kv, filepath.Join(filepath.Dir(path), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]error{
		`{"version":2,"record":{"displayName":5}}`: store.ErrSchemaTooNew,
		`{"version":1,"record":{"displayName":5}}`: store.ErrCorrupt,
		`not json`: store.ErrCorrupt,
	} {
		if _, _, err := kv.Commit(t.Context(), nil, []store.Op{{Key: "r/tenants/tenants/acme", Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Get[store.Tenant](s, "tenants/acme"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", value, err, want)
		}
	}
}

func TestProfileDefaults(t *testing.T) {
	want := store.Profile{
		AuthMethods: []tenant.AuthMethod{tenant.AuthMSCHAPv2},
		MPPE:        tenant.MPPE{Policy: tenant.MPPERequired, KeyBits: []int{128}},
		MTU:         1400,
		Echo:        tenant.Echo{Interval: 20 * time.Second, Failures: 3},
		DSCP:        tenant.DSCPPipe,
	}
	if got := (store.Profile{}).WithDefaults(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	own := store.Profile{
		AuthMethods: []tenant.AuthMethod{tenant.AuthPAP}, MTU: 1300, Echo: tenant.Echo{Interval: time.Second, Failures: 1},
		MPPE: tenant.MPPE{Policy: tenant.MPPEDisabled, KeyBits: []int{40}, AllowStateful: true}, DSCP: tenant.DSCPUniform,
	}
	if got := own.WithDefaults(); !reflect.DeepEqual(got, own) {
		t.Errorf("own values became %+v", got)
	}
}

func TestRadiusServerFor(t *testing.T) {
	only := &store.RadiusServer{Purposes: []store.RadiusPurpose{store.RadiusAccounting}}
	for _, c := range []struct {
		server  *store.RadiusServer
		purpose store.RadiusPurpose
		want    bool
	}{
		{new(store.RadiusServer), store.RadiusAuthentication, true},
		{new(store.RadiusServer), store.RadiusAccounting, true},
		{only, store.RadiusAccounting, true},
		{only, store.RadiusAuthentication, false},
	} {
		if got := c.server.For(c.purpose); got != c.want {
			t.Errorf("%v for %s: %v", c.server.Purposes, c.purpose, got)
		}
	}
}

func window(t *testing.T, text string) tenant.HourWindow {
	t.Helper()
	w, err := tenant.ParseHourWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
