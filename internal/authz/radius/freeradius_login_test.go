package radius

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
)

// untraced is v without its trace, which tells times.
func untraced(v authz.Verdict) authz.Verdict {
	v.Trace = authz.Trace{}
	return v
}

func TestFreeRADIUSLogins(t *testing.T) {
	fr := startFreeRADIUS(t)
	at := func(port int, mode string) *Client { return startAll(t, fr.server(port, mode)) }
	base := func(user string, method tenant.AuthMethod) authz.Request {
		r := papRequest()
		r.User, r.PeerName, r.Method, r.Password = user, user, method, nil
		return r
	}
	pap := func(user, password string) authz.Request {
		r := base(user, tenant.AuthPAP)
		r.Password = tenant.Secret(password)
		return r
	}
	md5 := func(user, password string) authz.Request {
		r := base(user, tenant.AuthCHAP)
		r.ID, r.Challenge = 42, []byte("0123456789abcdefghij")
		sum := chap.MD5Response(r.ID, []byte(password), r.Challenge)
		r.Response = sum[:]
		return r
	}
	challenge, peer := [16]byte{0x5b, 0x5d, 1}, [16]byte{0x21, 0x40, 2}
	v2 := func(user, password string) authz.Request {
		r := base(user, tenant.AuthMSCHAPv2)
		r.ID, r.Challenge, r.MPPEWanted = 43, challenge[:], true
		r.Response, _ = mschap.ClientResponse(challenge, peer, user, password).AppendBinary(nil)
		return r
	}
	signed := at(fr.signed, transport.ModeRequire)

	alice := authz.Verdict{
		Message: "Welcome", Address: netip.MustParseAddr("10.9.0.7"),
		Routes: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, Class: [][]byte{[]byte("tnt:ac"), {2}},
		SessionTimeout: time.Hour, IdleTimeout: 10 * time.Minute, DNS: addrs("10.0.0.53"),
	}
	for _, r := range []authz.Request{pap("alice", "wonder-1"), md5("alice", "wonder-1")} {
		t.Run(string(r.Method), func(t *testing.T) {
			if got := untraced(mustAllow(t, signed, r)); !reflect.DeepEqual(got, alice) {
				t.Errorf("got  %+v\nwant %+v", got, alice)
			}
		})
	}
	for _, name := range []string{"alice", `ACME\alice`} {
		t.Run("MSCHAPV2 "+name, func(t *testing.T) {
			r := v2(name, "wonder-1")
			r.User = "alice"
			got := untraced(mustAllow(t, signed, r))
			response, err := mschap.ParseResponse(r.Response)
			if err != nil {
				t.Fatal(err)
			}
			if !mschap.CheckAuthenticatorResponse(got.Success, response, challenge, name, "wonder-1") {
				t.Errorf("the peer would not believe %q", got.Success)
			}
			hashHash := mschap.HashNTPasswordHash(mschap.NTPasswordHash("wonder-1"))
			send, recv := mschap.StartKeys(hashHash, response.NTResponse)
			if !bytes.Equal(got.Keys.Send, send[:]) || !bytes.Equal(got.Keys.Recv, recv[:]) {
				t.Errorf("keys send %x recv %x, want the peer's %x and %x", []byte(got.Keys.Send), []byte(got.Keys.Recv), send, recv)
			}
			if got.MPPEPolicy != tenant.MPPEOptional || len(got.MPPEKeyBits) == 0 {
				t.Errorf("MPPE policy %q, key lengths %v", got.MPPEPolicy, got.MPPEKeyBits)
			}
			got.Success, got.Keys, got.MPPEPolicy, got.MPPEKeyBits = "", tenant.KeyPair{}, "", nil
			if !reflect.DeepEqual(got, alice) {
				t.Errorf("got  %+v\nwant %+v", got, alice)
			}
		})
	}
	t.Run("address of the pool", func(t *testing.T) {
		if got := untraced(mustAllow(t, signed, pap("pool", "wonder-1"))); !reflect.DeepEqual(got, authz.Verdict{}) {
			t.Errorf("got %+v, want nothing but an accept", got)
		}
	})
	for _, vendor := range []string{"mikrotik", "ascend", "wispr"} {
		t.Run("rate limit of "+vendor, func(t *testing.T) {
			want := authz.Verdict{UpBps: new(uint64(512_000)), DownBps: new(uint64(10_000_000))}
			if got := untraced(mustAllow(t, signed, pap(vendor, "wonder-1"))); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	for _, tt := range []struct {
		name    string
		r       authz.Request
		message string
		retry   bool
	}{
		{"PAP, wrong", pap("alice", "wonder-2"), "", false},
		{"CHAP, wrong", md5("alice", "wonder-2"), "", false},
		{"MSCHAPV2, wrong", v2("alice", "wonder-2"), "", true},
		{"unknown", pap("bob", "wonder-1"), "", false},
		{"rejected with a message", pap("banned", "x"), "account disabled", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ask(t, signed, tt.r)
			if err != nil || got.Deny != tenant.ReasonRadiusReject || got.Retry != tt.retry ||
				!strings.Contains(got.Message, tt.message) || !strings.Contains(got.Detail, "freeradius rejected") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	if s, _ := access(signed); s.Retransmits != 0 || s.Drops != [packet.NumDrops]uint64{} {
		t.Errorf("counters %+v", s)
	}

	t.Run("no Message-Authenticator", func(t *testing.T) {
		sc := fr.server(fr.unsigned, "")
		sc.Timeout, sc.Tries = 300*time.Millisecond, 2
		c := startAll(t, sc)
		v, err := ask(t, c, pap("alice", "wonder-1"))
		refusedFor(t, v, err, tenant.ReasonRadiusNoMessageAuthenticator, "freeradius (127.0.0.1:", "messageAuthenticator")
		mustAllow(t, at(fr.unsigned, transport.ModeAuto), pap("alice", "wonder-1"))
	})
	t.Run("wrong secret", func(t *testing.T) {
		// The server drops what is signed with another secret, without a word.
		sc := fr.server(fr.signed, "")
		sc.Timeout, sc.Tries, sc.Secrets = 300*time.Millisecond, 2, []tenant.Secret{tenant.Secret("testing124")}
		c := startAll(t, sc)
		v, err := ask(t, c, pap("alice", "wonder-1"))
		refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "2 requests", "another secret")
	})
}
