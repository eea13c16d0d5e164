package radius

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

func TestFreeRADIUSOneTimePassword(t *testing.T) {
	fr := startFreeRADIUS(t)
	c := startAll(t, fr.server(fr.signed, transport.ModeRequire))
	login := func(password string) authz.Verdict {
		r := papRequest()
		r.User, r.PeerName, r.Password = "otp", "otp", tenant.Secret(password)
		v, err := ask(t, c, r)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, code := range []struct {
		text string
		good bool
	}{{"123456", true}, {"654321", false}} {
		if v := login("wonder-1"); v.Deny != tenant.ReasonRadiusReject || !v.Retry || v.Message != "Enter the code" {
			t.Fatalf("%+v", v)
		}
		if v := login(code.text); (v.Deny == "") != code.good || v.Retry {
			t.Errorf("%s: %+v", code.text, v)
		}
	}
}

func TestFreeRADIUSChangePassword(t *testing.T) {
	fr := startFreeRADIUS(t)
	c := startAll(t, fr.server(fr.signed, transport.ModeRequire))
	challenge, peer := [16]byte{0x5b, 0x5d, 1}, [16]byte{0x21, 0x40, 2}
	r := papRequest()
	r.User, r.PeerName, r.Method, r.Password = "old", "old", tenant.AuthMSCHAPv2, nil
	r.ID, r.Challenge, r.MPPEWanted = 43, challenge[:], true
	r.Response, _ = mschap.ClientResponse(challenge, peer, "old", "wonder-1").AppendBinary(nil)
	v, err := ask(t, c, r)
	if err != nil || v.Deny != tenant.ReasonUserExpired || !v.ChangePassword {
		t.Fatalf("%+v, %v, want an expired password", v, err)
	}

	challenge[0]++
	change, err := mschap.ClientChangePassword(rand.Reader, challenge, peer, "old", "wonder-1", "wonder-2")
	if err != nil {
		t.Fatal(err)
	}
	r.ID, r.Challenge = 44, challenge[:]
	r.Response, _ = change.Response().AppendBinary(nil)
	r.NewPassword = append(change.EncryptedPassword[:], change.EncryptedHash[:]...)
	v = mustAllow(t, c, r)
	response, err := mschap.ParseResponse(r.Response)
	if err != nil {
		t.Fatal(err)
	}
	if !mschap.CheckAuthenticatorResponse(v.Success, response, challenge, "old", "wonder-2") {
		t.Errorf("the peer would not believe %q", v.Success)
	}
	if v.Address != netip.MustParseAddr("10.9.0.8") || len(v.Keys.Send) != 16 {
		t.Errorf("%+v", v)
	}
	b, err := os.ReadFile(filepath.Join(fr.dir, "changed"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"username: old", "nt-domain: ACME", fmt.Sprintf("new-nt-password-blob: %x", change.EncryptedPassword),
		fmt.Sprintf("old-nt-hash-blob: %x", change.EncryptedHash),
	} {
		if !strings.Contains(strings.ToLower(string(b)), strings.ToLower(want)) {
			t.Errorf("the change lacks %s:\n%s", want, b)
		}
	}
}
