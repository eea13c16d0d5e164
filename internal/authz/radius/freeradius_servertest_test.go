package radius

import (
	"testing"
	"time"

	"concentrator/internal/tenant"
)

func TestFreeRADIUSServerTest(t *testing.T) {
	fr := startFreeRADIUS(t)
	alice := TestRequest{User: "alice", Password: tenant.Secret("wonder-1")}
	accepted := TestResult{
		Reachable: true, SecretOK: new(true), MessageAuthenticator: Signed, StatusServer: true, Accepted: new(true), Message: "Welcome",
	}
	unsigned := accepted
	unsigned.MessageAuthenticator = Unsigned
	for _, tt := range []struct {
		name   string
		port   int
		secret string
		r      TestRequest
		want   TestResult
	}{
		{"PAP", fr.signed, secret, alice, accepted},
		{"MS-CHAPv2", fr.signed, secret, TestRequest{User: alice.User, Password: alice.Password, Method: tenant.AuthMSCHAPv2}, accepted},
		{"rejected CHAP", fr.signed, secret, TestRequest{User: "banned", Password: alice.Password, Method: tenant.AuthCHAP}, TestResult{
			Reachable: true, SecretOK: new(true), MessageAuthenticator: Signed, StatusServer: true, Accepted: new(false),
			Reason: tenant.ReasonRadiusReject, Message: "account disabled",
		}},
		{"unsigned", fr.unsigned, secret, alice, unsigned},
		{"no user", fr.signed, secret, TestRequest{}, TestResult{
			Reachable: true, SecretOK: new(true), MessageAuthenticator: Signed, StatusServer: true,
		}},
		{"no user, unsigned", fr.unsigned, secret, TestRequest{}, TestResult{
			Reachable: true, SecretOK: new(true), MessageAuthenticator: Unsigned, StatusServer: true,
		}},
		{"other secret", fr.signed, "testing124", TestRequest{}, TestResult{Reason: tenant.ReasonRadiusTimeout}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := fr.server(tt.port, "")
			if tt.secret != secret { // the server keeps silent
				sc.Secrets, sc.Timeout = []tenant.Secret{tenant.Secret(tt.secret)}, 200*time.Millisecond
			}
			tt.r.Server = sc.Name
			got, err := startAll(t, sc).Test(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			sameTest(t, got, tt.want)
		})
	}
}
