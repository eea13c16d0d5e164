//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"
)

// refusedCase is a client by L2TP that stays out.
type refusedCase struct {
	name          string
	dial          Dial
	status        int    // how far the client came
	client        string // what its logs must say
	stage, reason string
	tenant        string // whose login attempt it is; "" before that is known
}

// impatient makes a client that gives up soon when nobody answers.
func impatient(d Dial) Dial {
	d.L2TP.IPsec.Impatient = true
	return d
}

func wrongPassword(d Dial) Dial {
	d.Password = "not-hers"
	return d
}

// TestL2TPRefusal keeps real clients out, and checks that the client, the operator and the metrics are told why, and that
// nothing of them stays.
func TestL2TPRefusal(t *testing.T) {
	t.Parallel()
	checkL2TPRefusals(t, []refusedCase{
		{
			name: "wrong PSK", dial: impatient(overIPsec(acmeServer, "not the psk", cbcSHA1)),
			status: failedIKE, client: "failed", stage: "IKE_MAIN_MODE", reason: "PSK_MISMATCH",
		},
		{
			name: "wrong password", dial: wrongPassword(overIPsec(acmeServer, acmePSK, cbcSHA1)), tenant: "acme",
			status: failedL2TP, client: "E=691 ", stage: "AUTHENTICATION", reason: "WRONG_CREDENTIALS",
		},
	})
}

func checkL2TPRefusals(t *testing.T, cases []refusedCase) {
	g := borrow(t, 1)[0]
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			r := refused(t, g, c.dial)
			t.Logf("refused after %v", time.Since(begin))
			if r.Status != c.status || !strings.Contains(r.Log, c.client) {
				t.Errorf("the client came as far as %d and does not say %q, want %d: %v", r.Status, c.client, c.status, r)
			}
			var login Login
			eventually(t, 3*time.Second, func() string {
				// A client that never hears an answer may be given up later than it gives up itself.
				login = world.daemon.LastLogin(t, g)
				if login.Reason != c.reason {
					return "ctl login list does not show " + c.reason + ": " + login.Reason + " at " + login.Stage + " (" + login.Detail + ")"
				}
				return ""
			})
			protocol := "L2TP_IPSEC"
			if c.dial.L2TP.IPsec == nil {
				protocol = "L2TP"
			}
			if login.Outcome != "REFUSED" || login.Stage != c.stage || login.Protocol != protocol {
				t.Errorf("ctl login list shows %+v, want REFUSED at %s for %s", login, c.stage, c.reason)
			}
			if tenant := loginTenant(login); tenant != c.tenant {
				t.Errorf("the login attempt is of tenant %q, want %q: %+v", tenant, c.tenant, login)
			}
			checkReasonIsTold(t, c.reason)
			if err := g.reset(); err != nil {
				t.Fatal(err)
			}
			checkNothingLeft(t, g)
		})
	}
}

// loginTenant is the tenant in the name of a login attempt; "" for logins/{l}.
func loginTenant(l Login) string {
	if !strings.HasPrefix(l.Name, "tenants/") {
		return ""
	}
	return segment(l.Name, 1)
}
