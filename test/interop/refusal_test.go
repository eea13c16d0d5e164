//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRefusal keeps real clients out, and checks that the client, the operator and the metrics are told why.
func TestRefusal(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	for _, c := range []struct {
		name          string
		dial          Dial
		client        string // what the client's log must say
		stage, reason string
		detail        string // what the login attempt must mention
	}{
		{
			name:   "wrong password",
			dial:   Dial{Server: "198.51.100.1", User: "alice", Password: "not-hers", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			client: "E=691 ", stage: "AUTHENTICATION", reason: "WRONG_CREDENTIALS",
		},
		{
			name:   "unknown user",
			dial:   Dial{Server: "198.51.100.1", User: "nobody", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			client: "E=691 ", stage: "AUTHENTICATION", reason: "WRONG_CREDENTIALS",
		},
		{
			name:   "disabled user",
			dial:   Dial{Server: "198.51.100.1", User: "carol", Password: "carol-3", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			client: "E=647 ", stage: "AUTHENTICATION", reason: "USER_DISABLED",
		},
		{
			name:   "wrong password by PAP",
			dial:   Dial{Server: "198.51.100.2", User: "alice", Password: "not-hers", Auth: AuthPAP},
			client: "PAP authentication failed", stage: "AUTHENTICATION", reason: "WRONG_CREDENTIALS",
		},
		{
			name:   "wrong password by CHAP",
			dial:   Dial{Server: "198.51.100.2", User: "alice", Password: "not-hers", Auth: AuthCHAP},
			client: "CHAP authentication failed", stage: "AUTHENTICATION", reason: "WRONG_CREDENTIALS",
		},
		{
			name:   "no MPPE where it is required",
			dial:   Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2},
			client: "rcvd [LCP TermReq", stage: "CCP", reason: "MPPE_REQUIRED",
		},
		{
			name:   "no CCP where MPPE is required",
			dial:   Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Extra: "noccp"},
			client: "rcvd [LCP TermReq", stage: "CCP", reason: "MPPE_REQUIRED",
		},
		{
			name:   "PAP where the profile has MS-CHAPv2 only",
			dial:   Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthPAP},
			client: "rcvd [LCP TermReq", stage: "LCP", reason: "NO_COMMON_AUTH_METHOD",
		},
		{
			name:   "wrong password, says RADIUS",
			dial:   Dial{Server: "198.51.100.3", User: "rita", Password: "not-hers", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			client: "E=691 ", stage: "AUTHENTICATION", reason: "RADIUS_REJECT",
		},
		{
			name:   "Reply-Message of RADIUS",
			dial:   Dial{Server: "198.51.100.4", User: "banned", Password: "banned-4", Auth: AuthPAP},
			client: "your account is closed", stage: "AUTHENTICATION", reason: "RADIUS_REJECT",
		},
		{
			name:   "RADIUS without Message-Authenticator",
			dial:   Dial{Server: "198.51.100.5", User: "rob", Password: "pooled-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			client: "authentication failed", stage: "AUTHENTICATION", reason: "RADIUS_NO_MESSAGE_AUTHENTICATOR",
			detail: "messageAuthenticator",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			r := refused(t, g, c.dial)
			t.Logf("refused after %v", time.Since(begin))
			if !strings.Contains(r.Log, c.client) {
				t.Errorf("the client's log does not say %q: %v", c.client, r)
			}
			login := world.daemon.LastLogin(t, g)
			if login.Outcome != "REFUSED" || login.Stage != c.stage || login.Reason != c.reason || login.Protocol != "PPTP" {
				t.Errorf("ctl login list shows %+v, want REFUSED at %s for %s", login, c.stage, c.reason)
			}
			if !strings.Contains(login.Detail, c.detail) {
				t.Errorf("the detail is %q, want %q in it", login.Detail, c.detail)
			}
			checkReasonIsTold(t, c.reason)
			for _, s := range world.daemon.Sessions(t, "") {
				if strings.HasPrefix(s.ClientAddress, g.Addr.String()+":") {
					t.Errorf("the refused client has a session: %+v", s)
				}
			}
		})
	}
}

// checkReasonIsTold checks that the metrics and the log use the same word for a refusal as the API.
func checkReasonIsTold(t *testing.T, reason string) {
	t.Helper()
	metrics, err := world.daemon.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(metrics, fmt.Sprintf("reason=%q", reason)) {
		t.Errorf("no metric has the label reason=%q", reason)
	}
	if !strings.Contains(world.daemon.Log(t), fmt.Sprintf(`"reason":%q`, reason)) {
		t.Errorf("no line of the daemon's log has the reason %s", reason)
	}
}

// TestSessionLimit fills a listener with room for one: the next caller hears the busy signal, and is let in when the first
// has left.
func TestSessionLimit(t *testing.T) {
	t.Parallel()
	guests := borrow(t, 2)
	first := Dial{Server: "198.51.100.6", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128}
	second := first
	second.User, second.Password = "bob", "builder-2"

	link := dial(t, guests[0], first)
	session := world.daemon.OpenSession(t, "single", link)
	r := refused(t, guests[1], second)
	if !strings.Contains(r.Log+guests[1].Syslog(t), "Busy Signal") {
		t.Errorf("the client heard no busy signal: %v", r)
	}
	if login := world.daemon.LastLogin(t, guests[1]); login.Reason != "LISTENER_LIMIT" || login.Stage != "CALL" {
		t.Errorf("ctl login list shows %+v, want LISTENER_LIMIT at CALL", login)
	}
	checkReasonIsTold(t, "LISTENER_LIMIT")
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 3, 50*time.Millisecond); p.Received < 3 {
		t.Errorf("the first client's link suffered: %+v", p)
	}

	link.HangUp(t)
	world.daemon.SessionGone(t, session, 3*time.Second)
	dial(t, guests[1], second).HangUp(t)
}
