package radius

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

// sameTest compares what does not depend on time, and demands a detail.
func sameTest(t *testing.T, got, want TestResult) {
	t.Helper()
	if (got.RTT > 0) != (want.SecretOK != nil && *want.SecretOK) {
		t.Errorf("round-trip time %s", got.RTT)
	}
	if (got.Accepted != nil) != (len(got.Received) > 0) {
		t.Errorf("attributes %v", got.Received)
	}
	if got.Detail == "" {
		t.Error("no detail")
	}
	got.RTT, got.Detail, got.Received = 0, "", nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", show(got), show(want))
	}
}

// show is r with what its pointers point to.
func show(r TestResult) string {
	word := func(b *bool) string {
		if b == nil {
			return "nil"
		}
		return strconv.FormatBool(*b)
	}
	secretOK, accepted := word(r.SecretOK), word(r.Accepted)
	r.SecretOK, r.Accepted = nil, nil
	return fmt.Sprintf("%+v, secret %s, accepted %s", r, secretOK, accepted)
}

func TestServerTest(t *testing.T) {
	user := TestRequest{Server: "one", User: "alice", Password: tenant.Secret("wonder-1")}
	only := func(code radius.Code, a answerOf) func(q query) {
		return func(q query) {
			if q.p.Code == code {
				q.send(a.to(q))
			}
		}
	}
	for _, tt := range []struct {
		name   string
		r      TestRequest
		handle func(q query)
		want   TestResult
		detail string
	}{
		{
			"no Status-Server, a user that there is not",
			TestRequest{Server: "one"},
			only(radius.CodeAccessRequest, answerOf{code: radius.CodeAccessReject}),
			TestResult{Reachable: true, SecretOK: new(true), MessageAuthenticator: Signed},
			"Access-Reject",
		},
		{
			"Status-Server alone",
			TestRequest{Server: "one"},
			only(radius.CodeStatusServer, accept),
			TestResult{Reachable: true, SecretOK: new(true), StatusServer: true},
			"nothing came back",
		},
		{
			"unsigned", user, only(radius.CodeAccessRequest, answerOf{code: radius.CodeAccessAccept, unsigned: true, attrs: words(18, "Hi")}),
			TestResult{Reachable: true, SecretOK: new(true), MessageAuthenticator: Unsigned, Accepted: new(true), Message: "Hi"},
			"",
		},
		{
			"wrongly signed", user, only(radius.CodeAccessRequest, answerOf{code: radius.CodeAccessAccept, wrongMA: true}),
			TestResult{Reachable: true, MessageAuthenticator: WronglySigned, Reason: tenant.ReasonRadiusTimeout},
			"wrong Message-Authenticator",
		},
		{
			"other secret", user, only(radius.CodeAccessRequest, answerOf{code: radius.CodeAccessAccept, secret: "testing124"}),
			TestResult{Reachable: true, SecretOK: new(false), Reason: tenant.ReasonRadiusTimeout},
			"secrets probably differ",
		},
		{"silent", user, func(query) {}, TestResult{Reason: tenant.ReasonRadiusTimeout}, "nothing came back"},
		{
			"challenged", user, only(radius.CodeAccessRequest, answerOf{code: radius.CodeAccessChallenge, attrs: words(18, "Code?")}),
			TestResult{
				Reachable: true, SecretOK: new(true), MessageAuthenticator: Signed, Accepted: new(false),
				Reason: tenant.ReasonRadiusReject, Message: "Code?",
			},
			"further step",
		},
		{
			"MS-CHAPv2 with another's proof",
			TestRequest{Server: "one", User: "a", Method: tenant.AuthMSCHAPv2},
			only(radius.CodeAccessRequest, answerOf{code: radius.CodeAccessAccept, attrs: success(1, proof)}),
			TestResult{Reachable: true, SecretOK: new(true), MessageAuthenticator: Signed, Accepted: new(true)},
			"no client would believe",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, tt.handle)
			c := start(t, f, func(sc *transport.ServerConfig) { sc.Timeout, sc.Tries = 100*time.Millisecond, 1 })
			got, err := c.Test(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("detail %q lacks %q", got.Detail, tt.detail)
			}
			sameTest(t, got, tt.want)
			if s, h := access(c); s.Requests != 0 || h.State != transport.Unknown {
				t.Errorf("the test touched the server's health: %+v", h)
			}
		})
	}
}

func TestServerTestUnreachable(t *testing.T) {
	probe, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	noError(t, probe.Close())
	c := start(t, &fake{conn: probe}, func(sc *transport.ServerConfig) { sc.Timeout, sc.Tries = 50*time.Millisecond, 1 })
	got, err := c.Test(t.Context(), TestRequest{Server: "one"})
	if err != nil || !strings.Contains(got.Detail, "unreachable") || got.Reachable {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestServerTestThatIsNotPossible(t *testing.T) {
	c := start(t, startFake(t, func(query) {}), nil)
	for _, r := range []TestRequest{
		{Server: "two"},
		{Server: "one", User: "alice", Method: tenant.AuthEAP},
		{Server: "one", User: "alice", Password: tenant.Secret(bytes.Repeat([]byte{'x'}, 129))},
	} {
		if _, err := c.Test(t.Context(), r); !errors.Is(err, ErrTest) || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
