package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// seedRadius fills what the running sessions know of RADIUS and accounting.
func (f *fixture) seedRadius() {
	f.live.logins[0].Trace = session.LoginTrace{
		Server: "tenants/acme/radiusServers/one", RTT: 12 * time.Millisecond,
		Sent:     []session.Attribute{{Name: "User-Name", Value: "alice"}, {Name: "MS-CHAP2-Response", Value: "(50 octets)"}},
		Received: []session.Attribute{{Name: "Reply-Message", Value: "hi \xff"}},
	}
	f.live.health = map[string]session.RadiusHealth{"tenants/acme/radiusServers/one": {
		State: session.RadiusDead, Since: time.Unix(1700000000, 0), RTT: 3 * time.Millisecond, Outstanding: 2, LastError: "no answer",
		Requests: 9, Retries: 4, Timeouts: 1, Dropped: 5,
	}}
	f.live.queues = []session.AccountingStatus{
		{
			Tenant: "tenants/acme", Unsent: 3, UnsentBytes: 900, Oldest: time.Unix(1700000000, 0), Live: 2, Sent: 40, Dropped: 1, Failures: 7,
			LastSent: time.Unix(1700000001, 0), LastError: "no answer",
		},
		{Tenant: "tenants/beta", Unsent: 2},
	}
	for i, owner := range []string{"tenants/acme", "tenants/acme", "tenants/acme", "tenants/beta", "tenants/beta"} {
		f.live.records = append(f.live.records, session.AccountingRecord{
			ID: uint64(10*i + 10), Tenant: owner, Kind: session.AccountingStop, Time: time.Unix(1700000000, 0), Session: owner + "/sessions/s1",
			User: "alice", Address: netip.MustParseAddr("10.64.0.9"), Duration: time.Minute, InBytes: 1, OutBytes: 2, InPackets: 3, OutPackets: 4,
			Reason: tenant.ReasonIdleTimeout, Attempts: 6,
		})
	}
}

func TestRadiusHealth(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	if _, body := f.rest(t, "GET", "/v1/tenants/acme/radiusServers/one", ""); decodeJSON(t, body)["health"] != nil {
		t.Errorf("the health of a server that nothing uses: %s", body)
	}
	f.seedRadius()
	_, body := f.rest(t, "GET", "/v1/tenants/acme/radiusServers/one", "")
	health, _ := decodeJSON(t, body)["health"].(map[string]any)
	for k, want := range map[string]any{
		"state": "DEAD", "since": "2023-11-14T22:13:20Z", "roundTripTime": "0.003s", "outstanding": 2.0, "lastError": "no answer",
		"requests": "9", "retries": "4", "timeouts": "1", "dropped": "5",
	} {
		if health[k] != want {
			t.Errorf("%s is %v, want %v", k, health[k], want)
		}
	}
	// Sent back as it was read, output changes nothing and is no error.
	code, body := f.rest(t, "PATCH", "/v1/tenants/acme/radiusServers/one?updateMask=*", body)
	if code != 200 {
		t.Errorf("what was read, written: %d %s", code, body)
	}
	if r, err := store.Get[store.RadiusServer](f.store, "tenants/acme/radiusServers/one"); err != nil || string(r.Secrets[0]) != "hush-radius-1" {
		t.Errorf("stored %+v, %v", r, err)
	}
}

func TestRadiusServerByTLS(t *testing.T) {
	f := start(t)
	f.seed(t)
	root := newAuthority(t, "root")
	own, other := root.issue(t, "vpn.example", nil), root.issue(t, "other.example", nil)
	servers := concentratorv1.NewRadiusServerServiceClient(f.conn)
	tls := &concentratorv1.RadiusServer_Tls{
		CaCertificates: []string{root.certificate}, CertificateChain: own.certificate, PrivateKey: new(own.privateKey), ServerName: "radius.example",
	}
	r, err := servers.CreateRadiusServer(t.Context(), &concentratorv1.CreateRadiusServerRequest{
		Parent: "tenants/acme", RadiusServerId: "two", RadiusServer: &concentratorv1.RadiusServer{
			Address: "2001:db8::5", Transport: concentratorv1.RadiusServer_TLS, Tls: tls,
		},
	})
	must(t)(r, err)
	same(t, r, `{"name":"tenants/acme/radiusServers/two","address":"2001:db8::5","authPort":2083,"acctPort":0,"transport":"TLS","timeout":"3s",
		"tries":3,"priority":0,"weight":1,"messageAuthenticator":"AUTO","sourceAddress":"","namespace":"","secrets":[],
		"purposes":["AUTHENTICATION","ACCOUNTING"],"maxOutstanding":256,"deadTime":"30s","sourceInterface":"","disableCoa":false,"coaSources":[],
		"tls":{"caCertificates":`+jsonOf(t, root.certificate)+`,"certificateChain":`+strings.Trim(jsonOf(t, own.certificate), "[]")+`,"serverName":"radius.example"}}`)
	stored := func() *store.RadiusServer {
		t.Helper()
		rec, err := store.Get[store.RadiusServer](f.store, "tenants/acme/radiusServers/two")
		must(t)(rec, err)
		return rec
	}
	if string(stored().TLS.CertificateKey) != own.privateKey || len(stored().Secrets) != 0 {
		t.Error("the private key is not stored, or a secret is")
	}

	// A key that is left out stays; one that is not the certificate's is refused, and so is one that is no key any more.
	const path = "/v1/tenants/acme/radiusServers/two"
	if code, body := f.rest(t, "PATCH", path, `{"tls":{"serverName":"192.0.2.5"}}`); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if string(stored().TLS.CertificateKey) != own.privateKey || stored().TLS.ServerName != "192.0.2.5" {
		t.Error("the private key did not stay")
	}
	for body, fields := range map[string]string{
		`{"tls":{"certificateChain":` + strings.Trim(jsonOf(t, other.certificate), "[]") + `}}`: "tls.privateKey",
		`{"tls":{"privateKey":` + strings.Trim(jsonOf(t, other.privateKey), "[]") + `}}`:        "tls.privateKey",
		`{"tls":{"privateKey":""}}`: "tls.privateKey",
		`{"tls":{"caCertificates":[` + strings.Trim(jsonOf(t, own.certificate), "[]") + `]}}`: "tls.caCertificates[0]",
		`{"transport":"UDP"}`: "tls secrets",
	} {
		code, answer := f.rest(t, "PATCH", path, body)
		if got := strings.Join(fieldsOfJSON(t, answer), " "); code != 400 || got != fields {
			t.Errorf("%.60s…: %d %s, want %s", body, code, got, fields)
		}
		if strings.Contains(answer, strings.Split(other.privateKey, "\n")[1]) {
			t.Errorf("a key came back: %s", answer)
		}
	}
	// Back to UDP nothing of TLS stays.
	if code, body := f.rest(t, "PATCH", path+"?updateMask=transport,tls,secrets", `{"transport":"UDP","secrets":["hush-radius-2"]}`); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if r := stored(); r.TLS.CertificateChain != "" || len(r.TLS.CertificateKey) != 0 || len(r.Secrets) != 1 {
		t.Errorf("stored %+v", r.TLS)
	}
	// By TLS again, the secret of UDP is not taken along: the default there is another.
	if code, body := f.rest(t, "PATCH", path, `{"transport":"TLS"}`); code != 200 || len(stored().Secrets) != 0 {
		t.Errorf("back to TLS: %d %s", code, body)
	}
	if code, body := f.rest(t, "PATCH", path, `{"secrets":["hush-radius-3"]}`); code != 200 || len(stored().Secrets) != 1 {
		t.Errorf("a secret by TLS: %d %s", code, body)
	}
	if code, body := f.rest(t, "PATCH", path, `{"weight":2}`); code != 200 || len(stored().Secrets) != 1 {
		t.Errorf("the secret must stay: %d %s", code, body)
	}
}

func TestTestRadiusServer(t *testing.T) {
	f := start(t)
	f.seed(t)
	f.live.result = session.RadiusTestResult{
		Reachable: true, Secret: session.SecretRight, MessageAuthenticator: session.SignatureMissing, RTT: 5 * time.Millisecond, StatusServer: true,
		Accepted: new(false), Reason: tenant.ReasonWrongCredentials, Detail: "Access-Reject", Message: "no \xff",
		Attributes: []session.Attribute{{Name: "Reply-Message", Value: "no"}},
	}
	const path = "/v1/tenants/acme/radiusServers/one:test"
	code, body := f.rest(t, "POST", path, `{"user":"alice","password":"hush-password-9"}`)
	got := decodeJSON(t, body)
	for k, want := range map[string]any{
		"reachable": true, "secretCheck": "RIGHT", "messageAuthenticator": "UNSIGNED", "roundTripTime": "0.005s", "statusServer": true,
		"verdict": "REFUSED", "reason": "WRONG_CREDENTIALS", "detail": "Access-Reject", "replyMessage": "no \uFFFD",
	} {
		if code != 200 || got[k] != want {
			t.Errorf("%d: %s is %v, want %v", code, k, got[k], want)
		}
	}
	f.live.result.Accepted = new(true)
	if _, body := f.rest(t, "POST", path, `{"user":"alice","password":"x","method":"MSCHAPV2"}`); decodeJSON(t, body)["verdict"] != "ACCEPTED" {
		t.Errorf("accepted: %s", body)
	}
	f.live.result = session.RadiusTestResult{Secret: session.SecretUnknown, MessageAuthenticator: session.SignatureUnknown}
	if _, body := f.rest(t, "POST", path, `{}`); decodeJSON(t, body)["verdict"] != "VERDICT_UNSPECIFIED" || decodeJSON(t, body)["secretCheck"] != "UNKNOWN" {
		t.Errorf("no answer: %s", body)
	}
	want := []session.RadiusTest{
		{User: "alice", Password: tenant.Secret("hush-password-9"), Method: tenant.AuthPAP},
		{User: "alice", Password: tenant.Secret("x"), Method: tenant.AuthMSCHAPv2},
		{},
	}
	for i, w := range want {
		if g := f.live.tests[i]; g.User != w.User || string(g.Password) != string(w.Password) || g.Method != w.Method {
			t.Errorf("question %d: %+v", i, g)
		}
	}
	if strings.Contains(f.log.String(), "hush") {
		t.Error("the password is in the log")
	}

	for body, fields := range map[string]string{
		`{"user":"alice"}`: "password",
		`{"password":"x"}`: "user",
		`{"method":"PAP"}`: "user",
		`{"user":"alice","password":"x","method":"EAP"}`:             "method",
		`{"user":"` + strings.Repeat("a", 254) + `","password":"x"}`: "user",
	} {
		code, answer := f.rest(t, "POST", path, body)
		if got := strings.Join(fieldsOfJSON(t, answer), " "); code != 400 || got != fields {
			t.Errorf("%.60s: %d %s, want %s", body, code, got, fields)
		}
	}
	if code, _ := f.rest(t, "POST", "/v1/tenants/acme/radiusServers/none:test", "{}"); code != 404 {
		t.Errorf("no such server: %d", code)
	}
	for _, c := range []struct {
		err          error
		code         int
		reason, text string
	}{
		{errors.New("one can't be used: no such namespace"), 400, "TEST_IMPOSSIBLE", "no such namespace"},
		{fmt.Errorf("one: %w", store.ErrNotFound), 404, "RESOURCE_NOT_FOUND", "one"},
	} {
		f.live.testErr = c.err
		if code, body := f.rest(t, "POST", path, "{}"); code != c.code || !strings.Contains(body, c.reason) || !strings.Contains(body, c.text) {
			t.Errorf("%v: %d %s", c.err, code, body)
		}
	}
	if code, body := f.rest(t, "PATCH", "/v1/tenants/acme/radiusServers/one", `{"purposes":["ACCOUNTING"]}`); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := f.rest(t, "POST", path, `{"user":"alice","password":"x"}`); code != 400 || strings.Join(fieldsOfJSON(t, body), " ") != "user" {
		t.Errorf("a user for a server that decides none: %d %s", code, body)
	}
}

// Lists leave the attributes out unless they are asked for; Get always shows them.
func TestLoginViews(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	f.seedRadius()
	first := func(path string) map[string]any {
		_, body := f.rest(t, "GET", path, "")
		m := decodeJSON(t, body)
		if list, ok := m["logins"].([]any); ok {
			m = list[0].(map[string]any)
		}
		if m["server"] != "tenants/acme/radiusServers/one" || m["roundTripTime"] != "0.012s" {
			t.Errorf("%s: %s", path, body)
		}
		return m
	}
	for path, want := range map[string]int{
		"/v1/logins": 0, "/v1/logins?view=BASIC": 0, "/v1/logins?view=FULL": 2, "/v1/tenants/acme/logins/5": 2,
	} {
		if sent, _ := first(path)["sent"].([]any); len(sent) != want {
			t.Errorf("%s: %v, want %d attributes", path, sent, want)
		}
	}
	received, _ := first("/v1/tenants/acme/logins/5")["received"].([]any)
	if len(received) != 1 || received[0].(map[string]any)["value"] != "hi \uFFFD" {
		t.Errorf("received %v", received)
	}
	if code, body := f.rest(t, "GET", "/v1/logins?view=7", ""); code != 400 || !strings.Contains(body, "view") {
		t.Errorf("no such view: %d %s", code, body)
	}
}

func TestAccountingQueue(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	f.tenant(t, "quiet", "quiet", "10.64.0.0/24")
	f.seedRadius()
	_, body := f.rest(t, "GET", "/v1/tenants/acme/accountingQueue", "")
	got := decodeJSON(t, body)
	for k, want := range map[string]any{
		"name": "tenants/acme/accountingQueue", "unsent": "3", "unsentBytes": "900", "oldestTime": "2023-11-14T22:13:20Z", "liveSessions": "2",
		"sent": "40", "dropped": "1", "failures": "7", "lastSentTime": "2023-11-14T22:13:21Z", "lastError": "no answer",
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}
	// Every tenant has one, even if nothing happened yet.
	if code, body := f.rest(t, "GET", "/v1/tenants/quiet/accountingQueue", ""); code != 200 || decodeJSON(t, body)["unsent"] != "0" {
		t.Errorf("%d %s", code, body)
	}
	for path, want := range map[string]int{
		"/v1/tenants/none/accountingQueue": 404, "/v1/tenants/-/accountingQueue": 400, "/v1/tenants/none/accountingQueues": 404,
		"/v1/tenants/none/accountingQueue/records": 404,
	} {
		if code, body := f.rest(t, "GET", path, ""); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	names := func(path, list string) (string, string) {
		_, body := f.rest(t, "GET", path, "")
		var all []string
		items, _ := decodeJSON(t, body)[list].([]any)
		for _, i := range items {
			all = append(all, strings.TrimPrefix(i.(map[string]any)["name"].(string), "tenants/"))
		}
		next, _ := decodeJSON(t, body)["nextPageToken"].(string)
		return strings.Join(all, " "), next
	}
	if got, next := names("/v1/tenants/-/accountingQueues?pageSize=1", "accountingQueues"); got != "acme/accountingQueue" || next == "" {
		t.Errorf("queues: %s", got)
	} else if got, next = names("/v1/tenants/-/accountingQueues?pageSize=1&pageToken="+next, "accountingQueues"); got != "beta/accountingQueue" || next != "" {
		t.Errorf("second page of queues: %s", got)
	}
}

// Pages of any size, of one tenant and of all, hold every record once and in order.
func TestAccountingRecords(t *testing.T) {
	f := start(t)
	f.seedLive(t)
	f.seedRadius()
	for _, c := range []struct{ parent, want string }{
		{"tenants/acme", "acme/10 acme/20 acme/30"},
		{"tenants/beta", "beta/40 beta/50"},
		{"tenants/-", "acme/10 acme/20 acme/30 beta/40 beta/50"},
	} {
		for size := 1; size <= 6; size++ {
			var all []string
			pages := 0
			for token := ""; ; {
				_, body := f.rest(t, "GET", "/v1/"+c.parent+"/accountingQueue/records?pageSize="+strconv.Itoa(size)+"&pageToken="+token, "")
				m := decodeJSON(t, body)
				list, _ := m["records"].([]any)
				for _, r := range list {
					name := strings.Split(r.(map[string]any)["name"].(string), "/")
					all = append(all, name[1]+"/"+name[len(name)-1])
				}
				pages++
				if token, _ = m["nextPageToken"].(string); token == "" {
					break
				}
			}
			records := len(strings.Fields(c.want))
			if got := strings.Join(all, " "); got != c.want || pages != (records+size-1)/size {
				t.Errorf("%s by %d: %s in %d pages, want %s", c.parent, size, got, pages, c.want)
			}
		}
	}
	_, body := f.rest(t, "GET", "/v1/tenants/acme/accountingQueue/records?pageSize=1", "")
	got := decodeJSON(t, body)["records"].([]any)[0].(map[string]any)
	for k, want := range map[string]any{
		"name": "tenants/acme/accountingQueue/records/10", "kind": "STOP", "time": "2023-11-14T22:13:20Z", "session": "tenants/acme/sessions/s1",
		"user": "alice", "address": "10.64.0.9", "sessionTime": "60s", "inBytes": "1", "outBytes": "2", "inPackets": "3", "outPackets": "4",
		"reason": "IDLE_TIMEOUT", "crashed": false, "attempts": 6.0,
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}
	if _, err := concentratorv1.NewAccountingQueueServiceClient(f.conn).ListAccountingRecords(t.Context(),
		&concentratorv1.ListAccountingRecordsRequest{Parent: "tenants/acme"}); failureOf(err).reason != "INVALID_FIELD" {
		t.Errorf("a tenant as the parent: %v", err)
	}
}
