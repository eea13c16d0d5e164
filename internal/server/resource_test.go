package server

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// What is stored is what the rest of the program reads.
func TestRecords(t *testing.T) {
	f := start(t)
	st := f.store
	f.seed(t)

	tn, err := store.Get[store.Tenant](st, "tenants/acme")
	if err != nil {
		t.Fatal(err)
	}
	if tn.DisplayName != "Acme" || !slices.Equal(tn.Realms, []string{"acme.example"}) || string(tn.L2TPTunnelSecret) != "hush-tunnel-1" ||
		len(tn.IPsec.PSKs) != 1 || tn.IPsec.PSKs[0].ID != "main" || string(tn.IPsec.PSKs[0].Secret) != "hush-psk-1" {
		t.Errorf("tenant is stored as %+v", tn)
	}
	if tn.Backend != "" || tn.Limits != (tenant.Limits{}) || tn.Network != (store.Network{}) {
		t.Errorf("defaults were stored: %+v", tn)
	}
	p, err := store.Get[store.Profile](st, "tenants/acme/profiles/staff")
	if err != nil || p.Pool != "tenants/acme/pools/main" || len(p.DNSServers) != 1 || p.DNSServers[0].String() != "10.99.0.53" || p.MTU != 0 {
		t.Errorf("profile is stored as %+v, %v", p, err)
	}
	u, err := store.Get[store.User](st, "tenants/acme/users/alice")
	if err != nil || string(u.Password) != "hush-password-1" || u.StaticAddress.String() != "10.64.0.9" || u.Profile != "tenants/acme/profiles/staff" {
		t.Errorf("user is stored as %+v, %v", u, err)
	}
	r, err := store.Get[store.RadiusServer](st, "tenants/acme/radiusServers/one")
	if err != nil || len(r.Secrets) != 1 || string(r.Secrets[0]) != "hush-radius-1" || r.Address != "192.0.2.5" {
		t.Errorf("RADIUS server is stored as %+v, %v", r, err)
	}
	l, err := store.Get[store.Listener](st, "listeners/main")
	if err != nil || l.MaxPPTPSessions != nil || !slices.Equal(l.Protocols, []tenant.Protocol{tenant.ProtocolPPTP}) {
		t.Errorf("listener is stored as %+v, %v", l, err)
	}
}

// Every field of every kind survives the way into the store and out again.
func TestRoundTrip(t *testing.T) {
	f := start(t)
	f.seed(t)
	root, other := newAuthority(t, "root"), newAuthority(t, "other")
	own, crl := root.issue(t, "vpn.example", nil), root.crl(t)
	tenants := concentratorv1.NewTenantServiceClient(f.conn)
	tn, err := tenants.UpdateTenant(t.Context(), &concentratorv1.UpdateTenantRequest{
		Tenant: &concentratorv1.Tenant{
			Name: "tenants/acme", DisplayName: "Acme & Söhne", Realms: []string{"a", "b.example"}, RealmStripping: true, Suspended: true,
			Limits: &concentratorv1.Tenant_Limits{
				MaxSessions: 10, MaxSessionsPerUser: 2, DuplicatePolicy: concentratorv1.Tenant_Limits_DENY,
				HalfOpenPerSource: new(int32(0)), LoginsPerSecond: 50,
			},
			Network: &concentratorv1.Tenant_Network{
				Namespace: "acme", Device: "tun-acme", Mtu: 1450, Masquerade: true, ProxyArp: true, ClientToClient: true,
				Uplink: &concentratorv1.Tenant_Network_Uplink{Address: "10.255.0.2/30", Gateway: "10.255.0.1"},
			},
			Ipsec: &concentratorv1.Tenant_Ipsec{
				Psks:          []*concentratorv1.Tenant_Ipsec_Psk{{Id: "other", Secret: new("hush-psk-2")}, {Id: "main"}},
				LegacyClients: true, AggressiveMode: true, GroupName: "acme",
				CaCertificates: []string{root.certificate, other.certificate}, Crls: []string{crl},
				IkeLifetime: durationpb.New(24 * time.Hour), EspLifetime: durationpb.New(time.Minute),
			},
			Authentication: &concentratorv1.Tenant_Authentication{Backend: concentratorv1.Tenant_Authentication_RADIUS},
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"*"}},
	})
	must(t)(tn, err)
	same(t, tn, `{"name":"tenants/acme","displayName":"Acme & Söhne","realms":["a","b.example"],"realmStripping":true,"suspended":true,
		"limits":{"maxSessions":10,"maxSessionsPerUser":2,"duplicatePolicy":"DENY","halfOpenPerSource":0,"loginsPerSecond":50},
		"network":{"namespace":"acme","device":"tun-acme","mtu":1450,"masquerade":true,"proxyArp":true,"clientToClient":true,
			"uplink":{"address":"10.255.0.2/30","gateway":"10.255.0.1"}},
		"ipsec":{"psks":[{"id":"other","useCount":"0"},{"id":"main","useCount":"0"}],"legacyClients":true,"aggressiveMode":true,"groupName":"acme",
			"caCertificates":`+jsonOf(t, root.certificate, other.certificate)+`,"crls":`+jsonOf(t, crl)+`,
			"ikeLifetime":"86400s","espLifetime":"60s"},
		"authentication":{"backend":"RADIUS"}}`)
	rec, err := store.Get[store.Tenant](f.store, "tenants/acme")
	must(t)(rec, err)
	if len(rec.IPsec.PSKs) != 2 || string(rec.IPsec.PSKs[1].Secret) != "hush-psk-1" || string(rec.L2TPTunnelSecret) != "hush-tunnel-1" {
		t.Errorf("secrets that were left out did not stay: %q", []string{string(rec.IPsec.PSKs[1].Secret), string(rec.L2TPTunnelSecret)})
	}

	acl, err := concentratorv1.NewAclServiceClient(f.conn).CreateAcl(t.Context(), &concentratorv1.CreateAclRequest{
		Parent: "tenants/acme", AclId: "web", Acl: &concentratorv1.Acl{DisplayName: "Web only", Rules: []*concentratorv1.Acl_Rule{
			{
				Action: concentratorv1.Acl_Rule_PERMIT, Direction: concentratorv1.Acl_Rule_UP, Protocol: "tcp",
				Sources: []string{"10.64.0.0/24", "10.65.0.1/32"}, Destinations: []string{"192.0.2.0/24"},
				SourcePorts: []string{"1024-65535"}, DestinationPorts: []string{"80", "443"},
			},
			{Action: concentratorv1.Acl_Rule_DENY, Direction: concentratorv1.Acl_Rule_DOWN, Protocol: "50"},
			{Action: concentratorv1.Acl_Rule_PERMIT},
		}},
	})
	must(t)(acl, err)
	same(t, acl, `{"name":"tenants/acme/acls/web","displayName":"Web only","rules":[
		{"action":"PERMIT","direction":"UP","protocol":"tcp","sources":["10.64.0.0/24","10.65.0.1/32"],"destinations":["192.0.2.0/24"],
			"sourcePorts":["1024-65535"],"destinationPorts":["80","443"]},
		{"action":"DENY","direction":"DOWN","protocol":"50","sources":[],"destinations":[],"sourcePorts":[],"destinationPorts":[]},
		{"action":"PERMIT","direction":"BOTH","protocol":"any","sources":[],"destinations":[],"sourcePorts":[],"destinationPorts":[]}]}`)
	if rec, err := store.Get[store.ACL](f.store, "tenants/acme/acls/web"); err != nil || tenant.CheckACL(rec.Rules) != nil || len(rec.Rules) != 3 ||
		rec.Rules[0].DestinationPorts[1] != (tenant.PortRange{First: 443, Last: 443}) {
		t.Errorf("the ACL is stored as %+v, %v", rec, err)
	}

	p, err := concentratorv1.NewProfileServiceClient(f.conn).CreateProfile(t.Context(), &concentratorv1.CreateProfileRequest{
		Parent: "tenants/acme", ProfileId: "full", Profile: &concentratorv1.Profile{
			AuthMethods: []concentratorv1.Profile_AuthMethod{
				concentratorv1.Profile_EAP, concentratorv1.Profile_MSCHAPV2, concentratorv1.Profile_CHAP, concentratorv1.Profile_PAP,
			},
			AllowPlaintext: true,
			Mppe:           &concentratorv1.Profile_Mppe{Policy: concentratorv1.Profile_Mppe_DISABLED, KeyBits: []int32{40, 56, 128}, AllowStateful: true},
			Pool:           "tenants/acme/pools/main", DnsServers: []string{"10.0.0.1", "10.0.0.2"}, WinsServers: []string{"10.0.0.3"},
			ClientRoutes: []string{"10.0.0.0/8", "192.0.2.1/32"}, Mtu: 1300,
			Echo:        &concentratorv1.Profile_Echo{Interval: durationpb.New(2 * time.Second), Failures: 2},
			IdleTimeout: durationpb.New(time.Minute), SessionTimeout: durationpb.New(time.Hour), AcctInterimInterval: durationpb.New(5 * time.Minute),
			RateLimit: &concentratorv1.Profile_RateLimit{UpBps: 8_000, DownBps: 100_000_000_000}, Dscp: concentratorv1.Profile_UNIFORM,
			Acl: "tenants/acme/acls/web", DnsSuffix: "corp.example",
			AllowedHours: []string{"Mon-Fri 08:00-18:00", "Mon-Sun 22:00-06:00"}, TimeZone: "Europe/Berlin",
		},
	})
	must(t)(p, err)
	same(t, p, `{"name":"tenants/acme/profiles/full","authMethods":["EAP","MSCHAPV2","CHAP","PAP"],"allowPlaintext":true,
		"mppe":{"policy":"DISABLED","keyBits":[40,56,128],"allowStateful":true},"pool":"tenants/acme/pools/main",
		"dnsServers":["10.0.0.1","10.0.0.2"],"winsServers":["10.0.0.3"],"clientRoutes":["10.0.0.0/8","192.0.2.1/32"],"mtu":1300,
		"echo":{"interval":"2s","failures":2},"idleTimeout":"60s","sessionTimeout":"3600s","acctInterimInterval":"300s",
		"rateLimit":{"upBps":"8000","downBps":"100000000000"},"dscp":"UNIFORM","acl":"tenants/acme/acls/web","dnsSuffix":"corp.example",
		"allowedHours":["Mon-Fri 08:00-18:00","22:00-06:00"],"timeZone":"Europe/Berlin"}`)
	if rec, err := store.Get[store.Profile](f.store, "tenants/acme/profiles/full"); err != nil ||
		rec.RateLimit != (tenant.RateLimit{UpBps: 8_000, DownBps: 100_000_000_000}) || rec.DSCP != tenant.DSCPUniform {
		t.Errorf("rate limit and DSCP are stored as %+v, %v", rec, err)
	}

	u, err := concentratorv1.NewUserServiceClient(f.conn).CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
		Parent: "tenants/acme", UserId: `ACME%5Cb%C3%B6b@example`, User: &concentratorv1.User{
			Password: new("hush"), StaticAddress: "10.7.0.1", FramedRoutes: []string{"10.8.0.0/16"}, Disabled: true, MaxSessions: 3,
			ExpireTime: timestamppb.New(time.Unix(1900000000, 0)),
		},
	})
	must(t)(u, err)
	same(t, u, `{"name":"tenants/acme/users/ACME%5Cb%C3%B6b@example","profile":"","staticAddress":"10.7.0.1","framedRoutes":["10.8.0.0/16"],
		"disabled":true,"maxSessions":3,"expireTime":"2030-03-17T17:46:40Z"}`)

	pool, err := concentratorv1.NewPoolServiceClient(f.conn).CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
		Parent: "tenants/acme", PoolId: "two", Pool: &concentratorv1.Pool{
			Ranges: []string{"10.65.0.0/24", "10.66.0.1-10.66.0.9"}, Gateway: "10.65.0.254", Exclude: []string{"10.65.0.7"},
			Quarantine: durationpb.New(time.Minute),
		},
	})
	must(t)(pool, err)
	same(t, pool, `{"name":"tenants/acme/pools/two","ranges":["10.65.0.0/24","10.66.0.1-10.66.0.9"],"gateway":"10.65.0.254","exclude":["10.65.0.7"],
		"quarantine":"60s","usage":{"size":"0","leased":"0","quarantined":"0"}}`)

	r, err := concentratorv1.NewRadiusServerServiceClient(f.conn).CreateRadiusServer(t.Context(), &concentratorv1.CreateRadiusServerRequest{
		Parent: "tenants/acme", RadiusServerId: "two", RadiusServer: &concentratorv1.RadiusServer{
			Address: "radius.example.com", AuthPort: 11812, AcctPort: 11813, Secrets: []string{"a", "b"}, Transport: concentratorv1.RadiusServer_UDP,
			Timeout: durationpb.New(500 * time.Millisecond), Tries: 5, Priority: 2, Weight: 7,
			MessageAuthenticator: concentratorv1.RadiusServer_AUTO, SourceAddress: "192.0.2.1", Namespace: "mgmt",
			Purposes:       []concentratorv1.RadiusServer_Purpose{concentratorv1.RadiusServer_ACCOUNTING},
			MaxOutstanding: 2048, DeadTime: durationpb.New(time.Hour), SourceInterface: "mgmt0", DisableCoa: true,
			CoaSources: []string{"192.0.2.5", "192.0.2.64/26", "2001:db8::5", "2001:db8:1::/48"},
		},
	})
	must(t)(r, err)
	same(t, r, `{"name":"tenants/acme/radiusServers/two","address":"radius.example.com","authPort":11812,"acctPort":11813,"transport":"UDP",
		"timeout":"0.500s","tries":5,"priority":2,"weight":7,"messageAuthenticator":"AUTO","sourceAddress":"192.0.2.1","namespace":"mgmt","secrets":[],
		"purposes":["ACCOUNTING"],"maxOutstanding":2048,"deadTime":"3600s","sourceInterface":"mgmt0","disableCoa":true,
		"coaSources":["192.0.2.5","192.0.2.64/26","2001:db8::5","2001:db8:1::/48"]}`)

	l, err := concentratorv1.NewListenerServiceClient(f.conn).CreateListener(t.Context(), &concentratorv1.CreateListenerRequest{
		ListenerId: "two", Listener: &concentratorv1.Listener{
			Address: "192.0.2.1", Namespace: "outside", Tenants: []string{"tenants/acme"},
			Protocols:       []concentratorv1.Listener_Protocol{concentratorv1.Listener_L2TP_IPSEC, concentratorv1.Listener_L2TP, concentratorv1.Listener_PPTP},
			MaxPptpSessions: new(int32(0)), MaxL2TpSessions: new(int32(9)),
			Certificate: &concentratorv1.Listener_Certificate{ChainPem: own.certificate, PrivateKeyPem: new(own.privateKey)},
		},
	})
	must(t)(l, err)
	same(t, l, `{"name":"listeners/two","address":"192.0.2.1","namespace":"outside","tenants":["tenants/acme"],"defaultTenant":"",
		"protocols":["L2TP_IPSEC","L2TP","PPTP"],"maxPptpSessions":0,"maxL2tpSessions":9,
		"certificate":{"chainPem":`+strings.Trim(jsonOf(t, own.certificate), "[]")+`}}`)
	if rec, err := store.Get[store.Listener](f.store, "listeners/two"); err != nil || string(rec.CertificateKey) != own.privateKey {
		t.Errorf("the private key is not stored: %v", err)
	}
}

// Where nothing is said, the answer shows what holds.
func TestDefaultsAreShown(t *testing.T) {
	f := start(t)
	f.seed(t)
	tn, err := concentratorv1.NewTenantServiceClient(f.conn).GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/acme"})
	must(t)(tn, err)
	same(t, tn, `{"name":"tenants/acme","displayName":"Acme","realms":["acme.example"],"realmStripping":false,"suspended":false,
		"limits":{"maxSessions":0,"maxSessionsPerUser":0,"duplicatePolicy":"REPLACE","halfOpenPerSource":8,"loginsPerSecond":0},
		"network":{"namespace":"","device":"","mtu":1500,"masquerade":false,"proxyArp":false,"clientToClient":false},
		"ipsec":{"psks":[{"id":"main","useCount":"0"}],"legacyClients":false,"aggressiveMode":false,"groupName":"",
			"caCertificates":[],"crls":[],"ikeLifetime":"28800s","espLifetime":"3600s"},"authentication":{"backend":"LOCAL"}}`)
	p, err := concentratorv1.NewProfileServiceClient(f.conn).GetProfile(t.Context(), &concentratorv1.GetProfileRequest{Name: "tenants/acme/profiles/staff"})
	must(t)(p, err)
	same(t, p, `{"name":"tenants/acme/profiles/staff","authMethods":["MSCHAPV2"],"allowPlaintext":false,
		"mppe":{"policy":"REQUIRED","keyBits":[128],"allowStateful":false},"pool":"tenants/acme/pools/main","dnsServers":["10.99.0.53"],
		"winsServers":[],"clientRoutes":[],"mtu":1400,"echo":{"interval":"20s","failures":3},
		"idleTimeout":"0s","sessionTimeout":"0s","acctInterimInterval":"0s",
		"rateLimit":{"upBps":"0","downBps":"0"},"dscp":"PIPE","acl":"","dnsSuffix":"","allowedHours":[],"timeZone":""}`)
	r, err := concentratorv1.NewRadiusServerServiceClient(f.conn).GetRadiusServer(t.Context(), &concentratorv1.GetRadiusServerRequest{Name: "tenants/acme/radiusServers/one"})
	must(t)(r, err)
	same(t, r, `{"name":"tenants/acme/radiusServers/one","address":"192.0.2.5","authPort":1812,"acctPort":1813,"transport":"UDP","timeout":"3s",
		"tries":3,"priority":0,"weight":1,"messageAuthenticator":"REQUIRE","sourceAddress":"","namespace":"","secrets":[],
		"purposes":["AUTHENTICATION","ACCOUNTING"],"maxOutstanding":256,"deadTime":"30s","sourceInterface":"","disableCoa":false,"coaSources":[]}`)
	pool, err := concentratorv1.NewPoolServiceClient(f.conn).GetPool(t.Context(), &concentratorv1.GetPoolRequest{Name: "tenants/acme/pools/main"})
	must(t)(pool, err)
	same(t, pool, `{"name":"tenants/acme/pools/main","ranges":["10.64.0.0/24"],"gateway":"10.64.0.1","exclude":[],"quarantine":"0s","usage":{"size":"253","leased":"7","quarantined":"0"}}`)
}

// same compares a resource, as REST shows it, with JSON that leaves out times and etag.
func same(t *testing.T, m proto.Message, want string) {
	t.Helper()
	b, err := restJSON.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got := decodeJSON(t, string(b))
	for _, k := range []string{"createTime", "updateTime", "etag"} {
		if s, _ := got[k].(string); s == "" {
			t.Errorf("%v has no %s", got["name"], k)
		}
		delete(got, k)
	}
	g, _ := json.MarshalIndent(got, "", " ")
	w, _ := json.MarshalIndent(decodeJSON(t, want), "", " ")
	if string(g) != string(w) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// Each row is a change of one good resource, as a REST caller writes it, and the fields that the answer must name.
func TestBadFields(t *testing.T) {
	f := start(t)
	f.seed(t)
	f.acl(t)
	f.tenant(t, "beta", "beta", "10.64.0.0/24")
	const (
		tn = "/v1/tenants/acme"
		pr = "/v1/tenants/acme/profiles/staff"
		us = "/v1/tenants/acme/users/alice"
		po = "/v1/tenants/acme/pools/main"
		ac = "/v1/tenants/acme/acls/web"
		ra = "/v1/tenants/acme/radiusServers/one"
		li = "/v1/listeners/main"
	)
	for _, c := range []struct{ path, body, fields string }{
		{tn, `{"displayName":"` + strings.Repeat("x", 201) + `"}`, "displayName"},
		{tn, `{"displayName":"a\u0007"}`, "displayName"},
		{tn, `{"realms":["ok","not@ok","OK",""]}`, "realms[1] realms[2] realms[3]"},
		{
			tn, `{"limits":{"maxSessions":-1,"maxSessionsPerUser":-1,"halfOpenPerSource":-1,"loginsPerSecond":-1}}`,
			"limits.maxSessions limits.maxSessionsPerUser limits.halfOpenPerSource limits.loginsPerSecond",
		},
		{tn, `{"limits":{"duplicatePolicy":7}}`, "limits.duplicatePolicy"},
		{tn, `{"network":{"namespace":"../x"}}`, "network.namespace"},
		{tn, `{"network":{"namespace":".."}}`, "network.namespace"},
		{tn, `{"network":{"device":"a-name-too-long-"}}`, "network.device"},
		{tn, `{"network":{"device":"lo"}}`, "network.device"},
		{tn, `{"network":{"mtu":575}}`, "network.mtu"},
		{tn, `{"network":{"mtu":9001}}`, "network.mtu"},
		{tn, `{"network":{"uplink":{"address":"10.0.0.2/30","gateway":"10.0.0.1"}}}`, "network.uplink"},
		{tn, `{"network":{"namespace":"n","uplink":{"address":"10.0.0.2","gateway":"10.0.0.1"}}}`, "network.uplink.address"},
		{tn, `{"network":{"namespace":"n","uplink":{"address":"10.0.0.2/30","gateway":"10.0.0.9"}}}`, "network.uplink.gateway"},
		{tn, `{"network":{"namespace":"n","uplink":{"address":"10.0.0.2/30","gateway":""}}}`, "network.uplink.gateway"},
		{
			tn, `{"ipsec":{"psks":[{"id":"Main","secret":"x"},{"id":"new"},{"id":"main"},{"id":"main"}]}}`,
			"ipsec.psks[0].id ipsec.psks[1].secret ipsec.psks[3].id",
		},
		{tn, `{"ipsec":{"aggressiveMode":true}}`, "ipsec.groupName"},
		{tn, `{"ipsec":{"ikeLifetime":"59s","espLifetime":"86401s"}}`, "ipsec.ikeLifetime ipsec.espLifetime"},
		{tn, `{"l2tp":{"tunnelSecret":"` + strings.Repeat("x", 257) + `"}}`, "l2tp.tunnelSecret"},
		{tn, `{"authentication":{"backend":9}}`, "authentication.backend"},

		{pr, `{"authMethods":["PAP","PAP",0]}`, "authMethods[1] authMethods[2]"},
		{pr, `{"authMethods":["PAP","PAP","PAP","PAP","PAP"]}`, "authMethods"},
		{pr, `{"mppe":{"keyBits":[128,64]}}`, "mppe.keyBits[1]"},
		{pr, `{"mppe":{"keyBits":[128,128]}}`, "mppe.keyBits[1]"},
		{pr, `{"mppe":{"policy":4}}`, "mppe.policy"},
		{pr, `{"rateLimit":{"upBps":7999,"downBps":"100000000001"}}`, "rateLimit.upBps rateLimit.downBps"},
		{pr, `{"rateLimit":{"upBps":-1,"downBps":"-9223372036854775808"}}`, "rateLimit.upBps rateLimit.downBps"},
		{pr, `{"dscp":3}`, "dscp"},
		{pr, `{"pool":"main"}`, "pool"},
		{pr, `{"pool":"tenants/acme/pools/other"}`, "pool"},
		{pr, `{"pool":"tenants/beta/pools/main"}`, "pool"},
		{pr, `{"dnsServers":["10.0.0.1","10.0.0.2","10.0.0.3"]}`, "dnsServers"},
		{pr, `{"dnsServers":["10.0.0"]}`, "dnsServers[0]"},
		{pr, `{"dnsServers":["",  "2001:db8::1"]}`, "dnsServers[0] dnsServers[1]"},
		{pr, `{"winsServers":["224.0.0.1"]}`, "winsServers[0]"},
		{pr, `{"clientRoutes":["10.0.0.0","10.0.0.1/24","10.0.0.0/24","10.0.0.0/24"]}`, "clientRoutes[0] clientRoutes[1] clientRoutes[3]"},
		{pr, `{"clientRoutes":` + routes(31) + `}`, "clientRoutes"},
		{pr, `{"clientRoutes":` + routes(30) + `,"dnsSuffix":"a"}`, "clientRoutes"},
		{pr, `{"dnsSuffix":"` + strings.Repeat("a.", 120) + `a"}`, "clientRoutes"},
		{pr, `{"allowedHours":["Mon-Fri 8-18","08:00-18:00","Mon 08:00-08:00"],"timeZone":"Berlin"}`, "allowedHours[0] allowedHours[2] timeZone"},
		{pr, `{"allowedHours":[` + strings.Repeat(`"08:00-18:00",`, 32) + `"08:00-18:00"]}`, "allowedHours"},
		{pr, `{"timeZone":"Local"}`, "timeZone"},
		{pr, `{"timeZone":"../UTC"}`, "timeZone"},
		{pr, `{"dnsSuffix":"corp.example."}`, "dnsSuffix"},
		{pr, `{"dnsSuffix":".corp"}`, "dnsSuffix"},
		{pr, `{"dnsSuffix":"corp example"}`, "dnsSuffix"},
		{pr, `{"dnsSuffix":"10.0.0.1"}`, "dnsSuffix"},
		{pr, `{"mtu":575}`, "mtu"},
		{pr, `{"mtu":1501}`, "mtu"},
		{pr, `{"echo":{"interval":"0.5s","failures":101}}`, "echo.interval echo.failures"},
		{pr, `{"idleTimeout":"-1s","sessionTimeout":"315360000s","acctInterimInterval":"59s"}`, "idleTimeout sessionTimeout acctInterimInterval"},

		{us, `{"password":""}`, "password"},
		{us, `{"password":"` + strings.Repeat("x", 257) + `"}`, "password"},
		{us, `{"profile":"staff"}`, "profile"},
		{us, `{"profile":"tenants/acme/profiles/none"}`, "profile"},
		{us, `{"staticAddress":"10.64.0"}`, "staticAddress"},
		{us, `{"staticAddress":"127.0.0.1"}`, "staticAddress"},
		{us, `{"staticAddress":"10.64.0.1"}`, "staticAddress"}, // the pool's gateway
		{us, `{"framedRoutes":["10.0.0.1/8"]}`, "framedRoutes[0]"},
		{us, `{"maxSessions":-1}`, "maxSessions"},

		{po, `{"ranges":[]}`, "ranges"},
		{po, `{"ranges":["10.64.0.0/24","10.64.0.9"]}`, "ranges[1]"},
		{po, `{"ranges":["10.64.0.1/24"]}`, "ranges[0]"},
		{po, `{"gateway":"gateway"}`, "gateway"},
		{po, `{"gateway":"10.64.0.255"}`, "gateway"},
		{po, `{"exclude":["x"]}`, "exclude[0]"},

		{ac, `{"displayName":"a\u0007"}`, "displayName"},
		{ac, `{"rules":[{"action":"PERMIT"},{}]}`, "rules[1].action"},
		{ac, `{"rules":[{"action":9,"direction":9}]}`, "rules[0].action rules[0].direction"},
		{ac, `{"rules":[{"action":"DENY","protocol":"sctp"}]}`, "rules[0].protocol"},
		{ac, `{"rules":[{"action":"DENY","protocol":"tcp","destinationPorts":["80","x","9-1","65536"]}]}`, "rules[0].destinationPorts[1] rules[0].destinationPorts[2] rules[0].destinationPorts[3]"},
		{ac, `{"rules":[{"action":"DENY","protocol":"icmp","sourcePorts":["80"]}]}`, "rules[0].protocol"},
		{ac, `{"rules":[{"action":"DENY","sources":["10.0.0.0/8","10.0.0.1"]}]}`, "rules[0].sources[1]"},
		{ac, `{"rules":[{"action":"DENY","destinations":["10.0.0.1/8"]}]}`, "rules[0].destinations[0]"},
		{ac, `{"rules":[{"action":"DENY","destinations":["2001:db8::/32"]}]}`, "rules[0].destinations[0]"},
		{ac, `{"rules":[` + strings.Repeat(`{"action":"DENY"},`, 1000) + `{"action":"DENY"}]}`, "rules"},
		{pr, `{"acl":"web"}`, "acl"},
		{pr, `{"acl":"tenants/acme/acls/none"}`, "acl"},
		{pr, `{"acl":"tenants/beta/acls/web"}`, "acl"},

		{ra, `{"address":"not a host"}`, "address"},
		{ra, `{"address":"192.0.2.300"}`, "address"},
		{ra, `{"authPort":65536,"acctPort":-1}`, "authPort acctPort"},
		{ra, `{"secrets":["",  "ok"]}`, "secrets[0]"},
		{ra, `{"timeout":"61s","tries":11}`, "timeout tries"},
		{ra, `{"priority":-1,"weight":1001}`, "priority weight"},
		{ra, `{"messageAuthenticator":4,"transport":3}`, "transport messageAuthenticator"},
		{ra, `{"purposes":["ACCOUNTING",0,"ACCOUNTING"]}`, "purposes[1] purposes[2]"},
		{ra, `{"maxOutstanding":2049,"deadTime":"0.5s"}`, "maxOutstanding deadTime"},
		{ra, `{"maxOutstanding":-1,"deadTime":"3601s"}`, "maxOutstanding deadTime"},
		{ra, `{"sourceInterface":"eth0/1"}`, "sourceInterface"},
		{ra, `{"coaSources":["192.0.2.5","host.example","192.0.2.1/24","192.0.2.5/32","fe80::1%eth0",""]}`, "coaSources[1] coaSources[2] coaSources[3] coaSources[4] coaSources[5]"},
		{ra, `{"tls":{"serverName":"radius.example"}}`, "tls"},
		{ra, `{"transport":"TLS","tls":{"serverName":"-x","caCertificates":["PEM"],"certificateChain":"PEM"}}`, "tls.caCertificates[0] tls.certificateChain tls.serverName"},
		{ra, `{"transport":"TLS","tls":{"privateKey":"xxxxxxxx"}}`, "tls.certificateChain"},
		{ra, `{"transport":"TLS","coaSources":["192.0.2.5"]}`, "coaSources"},
		{ra, `{"sourceAddress":"2001:db8::1"}`, "sourceAddress"},
		{ra, `{"namespace":"a/b"}`, "namespace"},

		{li, `{"address":""}`, "address"},
		{li, `{"address":"localhost"}`, "address"},
		{li, `{"address":"2001:db8::1"}`, "address"},
		{li, `{"protocols":[]}`, "protocols"},
		{li, `{"protocols":["PPTP","PPTP",0]}`, "protocols[1] protocols[2]"},
		{li, `{"tenants":[],"defaultTenant":""}`, "tenants"},
		{li, `{"tenants":["acme","tenants/acme","tenants/acme",""]}`, "tenants[0] tenants[2] tenants[3]"},
		{li, `{"tenants":["tenants/acme","tenants/none"]}`, "tenants[1]"},
		{li, `{"defaultTenant":"tenants/beta"}`, "defaultTenant"},
		{li, `{"maxPptpSessions":-1,"maxL2tpSessions":-1}`, "maxPptpSessions maxL2tpSessions"},
		{li, `{"namespace":"."}`, "namespace"},
	} {
		code, body := f.rest(t, "PATCH", c.path, c.body)
		if code != 400 {
			t.Errorf("%s %s: %d %s", c.path, c.body, code, body)
			continue
		}
		if got := strings.Join(fieldsOfJSON(t, body), " "); got != c.fields {
			t.Errorf("%s %s: got %s\nwant %s: %s", c.path, c.body, got, c.fields, body)
		}
		if strings.Contains(body, "xxxxx") {
			t.Errorf("%s: a secret came back: %s", c.path, body)
		}
	}
}

// fieldsOfJSON lists the fields that an error in JSON names.
func fieldsOfJSON(t *testing.T, body string) []string {
	t.Helper()
	var e struct {
		Details []struct {
			FieldViolations []struct{ Field, Description string }
		}
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, d := range e.Details {
		for _, v := range d.FieldViolations {
			fields = append(fields, v.Field)
			if v.Description == "" {
				t.Errorf("%s: nothing is said about %s", body, v.Field)
			}
		}
	}
	return fields
}

func TestCreateNames(t *testing.T) {
	f := start(t)
	f.seed(t)
	pool := `{"ranges":["10.1.0.0/24"]}`
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{"/v1/tenants?tenantId=acme", `{}`, 409, "RESOURCE_EXISTS"},
		{"/v1/tenants?tenantId=acme&validateOnly=true", `{}`, 409, "RESOURCE_EXISTS"},
		{"/v1/tenants?tenantId=Acme", `{}`, 400, "tenantId"},
		{"/v1/tenants?tenantId=-", `{}`, 400, "tenantId"},
		{"/v1/tenants", `{}`, 400, "tenantId"},
		{"/v1/tenants", `{"name":"tenants/beta"}`, 400, "tenantId"},
		{"/v1/tenants?tenantId=beta", `{"name":"tenants/gamma"}`, 400, `"name"`},
		{"/v1/tenants?tenantId=beta", `{"name":"tenants/beta"}`, 200, "tenants/beta"},
		{"/v1/tenants/none/pools?poolId=p", pool, 404, "tenants/none"},
		{"/v1/tenants/-/pools?poolId=p", pool, 400, "parent"},
		{"/v1/tenants/acme/pools?poolId=p", pool, 200, "tenants/acme/pools/p"},
		{"/v1/tenants/acme/users?userId=a/b", `{"password":"x"}`, 400, "userId"},
		{"/v1/tenants/acme/users?userId=" + strings.Repeat("a", 254), `{"password":"x"}`, 400, "userId"},
		{"/v1/tenants/acme/users?userId=bob", `{}`, 400, "password"},
		{"/v1/tenants/acme/users?userId=bob", `{"password":"x","colour":"red"}`, 400, "no such field"},
		{"/v1/tenants/acme/users?userId=bob", `{"password":`, 400, "INVALID_REQUEST"},
		{"/v1/listeners?listenerId=two", `{"address":"0.0.0.0","protocols":["TELNET"],"tenants":["tenants/acme"]}`, 400, "is not one of PPTP, L2TP_IPSEC, L2TP"},
	} {
		if code, body := f.rest(t, "POST", c.path, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("POST %s %s: %d %s\nwant %d with %s", c.path, c.body, code, body, c.code, c.want)
		}
	}
}

// A login name has one resource, however its name is written, and every octet of it comes through REST.
func TestUserNames(t *testing.T) {
	f := start(t)
	f.seed(t)
	users := concentratorv1.NewUserServiceClient(f.conn)
	for _, login := range []string{"a@b", `DOM\u`, "a/b", "100%", "a%2Fb", "ü", "a b", "a:b", "?", "users", "a+b", ".."} {
		id := tenant.EncodeUser(login)
		made, err := users.CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
			Parent: "tenants/acme", UserId: id, User: &concentratorv1.User{Password: new("x")},
		})
		if err != nil {
			t.Errorf("%q: %v", login, err)
			continue
		}
		if code, body := f.rest(t, "GET", "/v1/"+made.GetName(), ""); code != 200 || decodeJSON(t, body)["name"] != made.GetName() {
			t.Errorf("%q: GET /v1/%s: %d %s", login, made.GetName(), code, body)
		}
		if code, body := f.rest(t, "PATCH", "/v1/"+made.GetName(), `{"disabled":true}`); code != 200 || decodeJSON(t, body)["disabled"] != true {
			t.Errorf("%q: PATCH /v1/%s: %d %s", login, made.GetName(), code, body)
		}
	}
	got, err := users.GetUser(t.Context(), &concentratorv1.GetUserRequest{Name: "tenants/acme/users/a%40b"})
	if err != nil || got.GetName() != "tenants/acme/users/a@b" {
		t.Errorf("another spelling: %v, %v", got.GetName(), err)
	}
	_, err = users.CreateUser(t.Context(), &concentratorv1.CreateUserRequest{
		Parent: "tenants/acme", UserId: "a%40b", User: &concentratorv1.User{Password: new("x")},
	})
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("the same user under another spelling: %v", err)
	}
}

func TestEtagAndValidateOnly(t *testing.T) {
	f := start(t)
	f.seed(t)
	c := concentratorv1.NewTenantServiceClient(f.conn)
	old, err := c.GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/acme"})
	must(t)(old, err)
	update := func(etag string, dry bool) (*concentratorv1.Tenant, error) {
		return c.UpdateTenant(t.Context(), &concentratorv1.UpdateTenantRequest{
			Tenant:       &concentratorv1.Tenant{Name: "tenants/acme", DisplayName: "new", Etag: etag},
			ValidateOnly: dry,
		})
	}
	dry, err := update(old.GetEtag(), true)
	if err != nil || dry.GetDisplayName() != "new" || dry.GetEtag() != "" {
		t.Errorf("validate_only: %v, %v", dry, err)
	}
	if now, _ := c.GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/acme"}); now.GetDisplayName() != "Acme" {
		t.Error("validate_only changed the tenant")
	}
	done, err := update(old.GetEtag(), false)
	if err != nil || done.GetEtag() == old.GetEtag() || !done.GetUpdateTime().AsTime().After(old.GetUpdateTime().AsTime()) {
		t.Errorf("update: %v, %v", done, err)
	}
	conflict := failure{code: codes.Aborted, reason: "ETAG_MISMATCH"}
	if _, err := update(old.GetEtag(), false); !failureOf(err).equal(conflict) {
		t.Errorf("stale update: %v", err)
	}
	pools := concentratorv1.NewPoolServiceClient(f.conn)
	made, err := pools.CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
		Parent: "tenants/acme", PoolId: "dry", Pool: &concentratorv1.Pool{Ranges: []string{"10.9.0.0/24"}}, ValidateOnly: true,
	})
	if err != nil || made.GetName() != "tenants/acme/pools/dry" || made.GetEtag() != "" {
		t.Errorf("validate_only create: %v, %v", made, err)
	}
	get := func() error {
		_, err := pools.GetPool(t.Context(), &concentratorv1.GetPoolRequest{Name: "tenants/acme/pools/dry"})
		return err
	}
	if status.Code(get()) != codes.NotFound {
		t.Error("validate_only made the pool")
	}
	must(t)(pools.CreatePool(t.Context(), &concentratorv1.CreatePoolRequest{
		Parent: "tenants/acme", PoolId: "dry", Pool: &concentratorv1.Pool{Ranges: []string{"10.9.0.0/24"}},
	}))
	if _, err := pools.DeletePool(t.Context(), &concentratorv1.DeletePoolRequest{Name: "tenants/acme/pools/dry", Etag: "old"}); !failureOf(err).equal(conflict) {
		t.Errorf("stale delete: %v", err)
	}
	must(t)(pools.DeletePool(t.Context(), &concentratorv1.DeletePoolRequest{Name: "tenants/acme/pools/dry", ValidateOnly: true}))
	if err := get(); err != nil {
		t.Errorf("validate_only deleted the pool: %v", err)
	}
	must(t)(pools.DeletePool(t.Context(), &concentratorv1.DeletePoolRequest{Name: "tenants/acme/pools/dry"}))
	if status.Code(get()) != codes.NotFound {
		t.Error("the pool is still there")
	}
}

// What something refers to can't be deleted, and the answer says by what.
func TestReferrers(t *testing.T) {
	f := start(t)
	f.seed(t)
	f.acl(t)
	must(t)(concentratorv1.NewProfileServiceClient(f.conn).CreateProfile(t.Context(), &concentratorv1.CreateProfileRequest{
		Parent: "tenants/acme", ProfileId: "web", Profile: &concentratorv1.Profile{Acl: "tenants/acme/acls/web"},
	}))
	for _, c := range []struct{ path, by string }{
		{"/v1/tenants/acme/pools/main", "tenants/acme/profiles/staff"},
		{"/v1/tenants/acme/profiles/staff", "tenants/acme/users/alice"},
		{"/v1/tenants/acme/acls/web", "tenants/acme/profiles/web"},
		{"/v1/tenants/acme", "listeners/main"},
	} {
		code, body := f.rest(t, "DELETE", c.path, "")
		if code != 400 || !strings.Contains(body, "RESOURCE_REFERENCED") || !strings.Contains(body, c.by) {
			t.Errorf("DELETE %s: %d %s", c.path, code, body)
		}
	}
	for i, path := range []string{
		"/v1/listeners/main", "/v1/tenants/acme/users/alice", "/v1/tenants/acme/profiles/staff", "/v1/tenants/acme/profiles/web",
		"/v1/tenants/acme/acls/web", "/v1/tenants/acme/pools/main",
	} {
		if code, body := f.rest(t, "DELETE", path, ""); code != 200 {
			t.Errorf("DELETE %s: %d %s", path, code, body)
		}
		code, body := f.rest(t, "DELETE", "/v1/tenants/acme", "")
		if code != 400 || strings.Contains(body, `"`+strings.TrimPrefix(path, "/v1/")+`"`) {
			t.Errorf("step %d: DELETE tenant: %d %s", i, code, body)
		}
	}
	if code, body := f.rest(t, "DELETE", "/v1/tenants/acme/radiusServers/one", ""); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if code, body := f.rest(t, "DELETE", "/v1/tenants/acme", ""); code != 200 || decodeJSON(t, body) == nil {
		t.Errorf("DELETE tenant: %d %s", code, body)
	}
	if code, _ := f.rest(t, "GET", "/v1/tenants/acme", ""); code != 404 {
		t.Errorf("GET tenant: %d", code)
	}
	if code, _ := f.rest(t, "GET", "/v1/tenants/acme/users", ""); code != 404 {
		t.Errorf("list under no tenant: %d", code)
	}
}

func TestReferencedNamesAFew(t *testing.T) {
	var by []string
	for i := range 25 {
		by = append(by, string(rune('a'+i)))
	}
	st := status.Convert(referenced("x", by))
	if !strings.HasSuffix(st.Message(), "i, j and 15 more") {
		t.Errorf("message %q", st.Message())
	}
	for _, d := range st.Details() {
		if p, ok := d.(*errdetails.PreconditionFailure); ok && len(p.GetViolations()) != maxNamed {
			t.Errorf("%d violations", len(p.GetViolations()))
		}
	}
}

func TestListAcrossTenants(t *testing.T) {
	f := start(t)
	f.tenant(t, "acme", "", "10.1.0.0/24")
	f.tenant(t, "beta", "", "10.2.0.0/24")
	_, body := f.rest(t, "GET", "/v1/tenants/-/pools?pageSize=1", "")
	first := decodeJSON(t, body)
	token, _ := first["nextPageToken"].(string)
	_, body = f.rest(t, "GET", "/v1/tenants/-/pools?pageSize=1&pageToken="+token, "")
	second := decodeJSON(t, body)
	if token == "" || second["nextPageToken"] != "" {
		t.Errorf("tokens %q and %v", token, second["nextPageToken"])
	}
	for i, page := range []map[string]any{first, second} {
		pools := page["pools"].([]any)
		if want := []string{"tenants/acme/pools/main", "tenants/beta/pools/main"}[i]; len(pools) != 1 || pools[0].(map[string]any)["name"] != want {
			t.Errorf("page %d: %v, want %s", i, pools, want)
		}
	}
	if code, body := f.rest(t, "GET", "/v1/tenants/beta/pools?pageToken="+token, ""); code != 400 || !strings.Contains(body, "pageToken") {
		t.Errorf("another list's token: %d %s", code, body)
	}
}

// No secret that goes in comes out: not by REST, not in the log, not in the store's file names.
func TestSecretsStayInside(t *testing.T) {
	f := start(t)
	f.seed(t)
	var out strings.Builder
	for _, path := range []string{
		"/v1/tenants", "/v1/tenants/acme", "/v1/tenants/-/users", "/v1/tenants/acme/users/alice", "/v1/tenants/-/profiles",
		"/v1/tenants/-/pools", "/v1/tenants/-/radiusServers", "/v1/tenants/acme/radiusServers/one", "/v1/listeners",
	} {
		code, body := f.rest(t, "GET", path, "")
		if code != 200 {
			t.Errorf("GET %s: %d %s", path, code, body)
		}
		out.WriteString(body)
	}
	_, body := f.rest(t, "PATCH", "/v1/tenants/acme/users/alice", `{"password":"hush-password-2"}`)
	out.WriteString(body)
	out.WriteString(f.log.String())
	if strings.Contains(out.String(), "hush") {
		t.Errorf("a secret came out: %s", out.String())
	}
	if strings.Contains(out.String(), `"password"`) || strings.Contains(out.String(), `"tunnelSecret"`) || strings.Contains(out.String(), `"secret"`) {
		t.Errorf("a secret field came out: %s", out.String())
	}
	if u, err := store.Get[store.User](f.store, "tenants/acme/users/alice"); err != nil || string(u.Password) != "hush-password-2" {
		t.Errorf("the password was not changed: %v", err)
	}
}

func TestTunnelSecretCanGo(t *testing.T) {
	f := start(t)
	f.seed(t)
	if code, body := f.rest(t, "PATCH", "/v1/tenants/acme", `{"l2tp":{"tunnelSecret":""}}`); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if tn, err := store.Get[store.Tenant](f.store, "tenants/acme"); err != nil || len(tn.L2TPTunnelSecret) != 0 {
		t.Errorf("the tunnel secret is still there: %v", err)
	}
}

// routes is a JSON list of n networks, each of which takes eight octets in DHCP.
func routes(n int) string {
	var list []string
	for i := range n {
		list = append(list, `"10.1.`+strconv.Itoa(i)+`.0/24"`)
	}
	return "[" + strings.Join(list, ",") + "]"
}
