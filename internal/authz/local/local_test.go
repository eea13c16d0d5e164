package local

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
)

// table is a UserSource of the tenant "acme".
type table map[string]User

func (m table) User(tenant, user string) (User, bool, error) {
	if tenant != "acme" {
		return User{}, false, nil
	}
	u, ok := m[user]
	u.Password = slices.Clone(u.Password) // the caller clears it
	return u, ok, nil
}

type broken struct{ err error }

func (b broken) User(string, string) (User, bool, error) { return User{}, false, b.err }

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func authenticator(src UserSource) *Authenticator {
	a := New(src)
	a.now = func() time.Time { return now }
	return a
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pap(user, password string) authz.Request {
	return authz.Request{Caller: authz.Caller{Tenant: "acme"}, User: user, PeerName: user, Method: tenant.AuthPAP, Password: tenant.Secret(password)}
}

func md5(user, password string) authz.Request {
	challenge := []byte("0123456789abcdef")
	sum := chap.MD5Response(7, []byte(password), challenge)
	return authz.Request{
		Caller: authz.Caller{Tenant: "acme"}, User: user, PeerName: user, Method: tenant.AuthCHAP, ID: 7, Challenge: challenge, Response: sum[:],
	}
}

func v2(user, peerName, password string) authz.Request {
	challenge, peer := [16]byte{1, 2, 3}, [16]byte{4, 5, 6}
	response, _ := mschap.ClientResponse(challenge, peer, peerName, password).AppendBinary(nil)
	return authz.Request{
		Caller: authz.Caller{Tenant: "acme"}, User: user, PeerName: peerName, Method: tenant.AuthMSCHAPv2, ID: 9,
		Challenge: challenge[:], Response: response,
	}
}

func TestAuthenticate(t *testing.T) {
	users := table{
		"alice": {
			Password: tenant.Secret("wonder-1"), Profile: "staff", Address: netip.MustParseAddr("10.9.0.7"),
			Routes: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, MaxSessions: 2, Expire: now.Add(time.Nanosecond),
		},
		"alice@acme": {Password: tenant.Secret("wonder-1")},
		"ünï":        {Password: tenant.Secret("пароль")},
		"gone":       {Password: tenant.Secret("x"), Disabled: true, Expire: now},
		"late":       {Password: tenant.Secret("x"), Expire: now},
		"empty":      {},
	}
	eap, otherTenant := pap("alice", "wonder-1"), pap("alice", "wonder-1")
	eap.Method, otherTenant.Tenant = tenant.AuthEAP, "globex"
	otherID, otherName := md5("alice", "wonder-1"), v2("alice", "alice", "wonder-1")
	otherID.ID++
	otherName.PeerName = "bob"
	shortMD5, shortV2, noChallenge := md5("alice", "wonder-1"), v2("alice", "alice", "wonder-1"), md5("alice", "wonder-1")
	shortMD5.Response = shortMD5.Response[:15]
	shortV2.Challenge = shortV2.Challenge[:15]
	noChallenge.Challenge = nil

	for _, tt := range []struct {
		name string
		r    authz.Request
		deny tenant.Reason
	}{
		{"PAP", pap("alice", "wonder-1"), ""},
		{"PAP, wrong", pap("alice", "wonder-2"), tenant.ReasonWrongCredentials},
		{"PAP, prefix of the password", pap("alice", "wonder-"), tenant.ReasonWrongCredentials},
		{"PAP, empty", pap("alice", ""), tenant.ReasonWrongCredentials},
		{"PAP, unknown", pap("bob", "wonder-1"), tenant.ReasonWrongCredentials},
		{"PAP, unknown, empty", pap("bob", ""), tenant.ReasonWrongCredentials},
		{"PAP, no password stored", pap("empty", ""), tenant.ReasonWrongCredentials},
		{"PAP, other tenant", otherTenant, tenant.ReasonWrongCredentials},
		{"PAP, name in other case", pap("Alice", "wonder-1"), tenant.ReasonWrongCredentials},
		{"PAP, octets beyond ASCII", pap("ünï", "пароль"), ""},
		{"CHAP", md5("alice", "wonder-1"), ""},
		{"CHAP, wrong", md5("alice", "wonder-2"), tenant.ReasonWrongCredentials},
		{"CHAP, other identifier", otherID, tenant.ReasonWrongCredentials},
		{"CHAP, unknown", md5("bob", ""), tenant.ReasonWrongCredentials},
		{"CHAP, no password stored", md5("empty", ""), tenant.ReasonWrongCredentials},
		{"CHAP, short response", shortMD5, tenant.ReasonProtocolError},
		{"CHAP, no challenge", noChallenge, tenant.ReasonProtocolError},
		{"MS-CHAPv2", v2("alice", "alice", "wonder-1"), ""},
		{"MS-CHAPv2, domain", v2("alice", `ACME\alice`, "wonder-1"), ""},
		{"MS-CHAPv2, realm kept", v2("alice@acme", "alice@acme", "wonder-1"), ""},
		{"MS-CHAPv2, realm stripped for the lookup", v2("alice", "alice@acme", "wonder-1"), ""},
		{"MS-CHAPv2, octets beyond ASCII", v2("ünï", "ünï", "пароль"), ""},
		{"MS-CHAPv2, wrong", v2("alice", "alice", "wonder-2"), tenant.ReasonWrongCredentials},
		{"MS-CHAPv2, hashed for another name", otherName, tenant.ReasonWrongCredentials},
		{"MS-CHAPv2, unknown", v2("bob", "bob", ""), tenant.ReasonWrongCredentials},
		{"MS-CHAPv2, no password stored", v2("empty", "empty", ""), tenant.ReasonWrongCredentials},
		{"MS-CHAPv2, short challenge", shortV2, tenant.ReasonProtocolError},
		{"disabled", pap("gone", "x"), tenant.ReasonUserDisabled},
		{"disabled, wrong password", pap("gone", "y"), tenant.ReasonWrongCredentials},
		{"expired", pap("late", "x"), tenant.ReasonUserExpired},
		{"expired, wrong password", pap("late", "y"), tenant.ReasonWrongCredentials},
		{"EAP", eap, tenant.ReasonNoCommonAuthMethod},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := authenticator(users).Authenticate(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			if v.Deny != tt.deny {
				t.Fatalf("Deny = %q (%s), want %q", v.Deny, v.Detail, tt.deny)
			}
			if v.Deny != "" {
				if v.Detail == "" {
					t.Error("a refusal without a detail for operators")
				}
				if v.Success != "" || v.Keys.Send != nil || v.Keys.Recv != nil || v.Address.IsValid() || v.Profile != "" {
					t.Errorf("a refusal gives something away: %+v", v)
				}
				if want := v.Deny == tenant.ReasonWrongCredentials && tt.r.Method == tenant.AuthMSCHAPv2; v.Retry != want {
					t.Errorf("Retry = %t, want %t", v.Retry, want)
				}
			}
			if strings.Contains(v.Message+v.Detail, "wonder") {
				t.Errorf("the password shows in %q or %q", v.Message, v.Detail)
			}
		})
	}

	v, err := authenticator(users).Authenticate(t.Context(), pap("alice", "wonder-1"))
	want := authz.Verdict{
		Profile: "staff", Address: users["alice"].Address, Routes: users["alice"].Routes, MaxSessions: 2,
	}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("verdict = %+v, %v, want %+v", v, err, want)
	}
}

// What the peer can see must not depend on whether the user exists.
func TestUnknownUserLooksLikeWrongPassword(t *testing.T) {
	a := authenticator(table{"alice": {Password: tenant.Secret("wonder-1")}})
	for _, r := range [][2]authz.Request{
		{pap("alice", "x"), pap("bob", "x")},
		{md5("alice", "x"), md5("bob", "x")},
		{v2("alice", "alice", "x"), v2("bob", "bob", "x")},
	} {
		wrong, err1 := a.Authenticate(t.Context(), r[0])
		unknown, err2 := a.Authenticate(t.Context(), r[1])
		if wrong.Detail == unknown.Detail {
			t.Errorf("%s: operators can't tell either: %q", r[0].Method, wrong.Detail)
		}
		wrong.Detail, unknown.Detail = "", ""
		if err1 != nil || err2 != nil || !reflect.DeepEqual(wrong, unknown) {
			t.Errorf("%s: wrong password %+v, unknown user %+v", r[0].Method, wrong, unknown)
		}
	}
}

func TestRFC2759Section9_2(t *testing.T) {
	a := authenticator(table{"User": {Password: tenant.Secret("clientPass")}})
	v, err := a.Authenticate(t.Context(), authz.Request{
		Caller: authz.Caller{Tenant: "acme"}, User: "User", PeerName: `BIGCO\User`, Method: tenant.AuthMSCHAPv2,
		Challenge: unhex(t, "5b5d7c7d7b3f2f3e3c2c602132262628"),
		Response: unhex(t, "21402324255e262a28295f2b3a337c7e"+"0000000000000000"+
			"82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df"+"00"),
	})
	if err != nil || v.Deny != "" {
		t.Fatalf("verdict %+v, %v", v, err)
	}
	if want := "S=407A5589115FD0D6209F510FE9C04566932CDA56"; v.Success != want {
		t.Errorf("Success = %s, want %s", v.Success, want)
	}
	// RFC 3079 section 3.5.3 has the send key; it is the one towards the client.
	if want := unhex(t, "8b7cdc149b993a1ba118cb153f56dccb"); !bytes.Equal(v.Keys.Send, want) {
		t.Errorf("send key = %x, want %x", []byte(v.Keys.Send), want)
	}
	if want := unhex(t, "d5f0e9521e3ea9589645e86051c82226"); !bytes.Equal(v.Keys.Recv, want) {
		t.Errorf("recv key = %x, want %x", []byte(v.Keys.Recv), want)
	}
}

func TestNoAnswer(t *testing.T) {
	cause := errors.New("disk on fire")
	v, err := authenticator(broken{cause}).Authenticate(t.Context(), pap("alice", "x"))
	if !errors.Is(err, authz.ErrNoAnswer) || !errors.Is(err, cause) {
		t.Errorf("error = %v, want one that wraps ErrNoAnswer and the cause", err)
	}
	var no *authz.NoAnswerError
	if !errors.As(err, &no) || no.Reason != v.Deny || no.Detail != v.Detail {
		t.Errorf("error %#v does not say what the verdict %+v says", err, v)
	}
	if v.Deny == "" {
		t.Error("a caller that forgets the error lets the peer in")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v, err = authenticator(table{"alice": {Password: tenant.Secret("x")}}).Authenticate(ctx, pap("alice", "x"))
	if !errors.Is(err, context.Canceled) || v.Deny == "" {
		t.Errorf("cancelled login: %+v, %v", v, err)
	}
}
