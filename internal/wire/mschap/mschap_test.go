package mschap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vectors are RFC 2759 section 9.2 and two logins from the field.
var vectors = []struct {
	name, user, password string
	auth, peer           string
	challengeHash        string // empty: not published
	ntResponse, success  string
}{
	{
		"RFC 2759 section 9.2", "User", "clientPass",
		"5B5D7C7D7B3F2F3E3C2C602132262628", "21402324255E262A28295F2B3A337C7E",
		"D02E4386BCE91226", "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF",
		"S=407A5589115FD0D6209F510FE9C04566932CDA56",
	},
	{
		"with a domain", `DOM\User`, "clientPass",
		"5B5D7C7D7B3F2F3E3C2C602132262628", "21402324255E262A28295F2B3A337C7E",
		"D02E4386BCE91226", "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF",
		"S=407A5589115FD0D6209F510FE9C04566932CDA56",
	},
	{
		"field 1", "scott", "turquoise",
		"e3a5d0775370bda51e16219a06b0278f", "84c4b33e00d9231645598acf91c38480",
		"", "565fe2492fd5fb88edaec934c00d282c046227406c31609b",
		"S=CEE89947F2DCA18C95F551C2E9E676504112C722",
	},
	{
		"field 2", "moxie", "bPCFyF2uL1p5Lg5yrKmqmY",
		"258d4fc024f111512d0b61f9c375aee1", "abfe01e6c759850155b4d8d6258cdb67",
		"", "1c93abce815400686baeca315f348469256420598a73ad49", "",
	},
}

func TestRFC2759Section9_2(t *testing.T) {
	for _, c := range vectors {
		auth, peer := [16]byte(unhex(t, c.auth)), [16]byte(unhex(t, c.peer))
		hash := ChallengeHash(peer, auth, c.user)
		if c.challengeHash != "" && !strings.EqualFold(hex.EncodeToString(hash[:]), c.challengeHash) {
			t.Errorf("%s: challenge hash %x, want %s", c.name, hash, c.challengeHash)
		}
		r := ClientResponse(auth, peer, c.user, c.password)
		if !strings.EqualFold(hex.EncodeToString(r.NTResponse[:]), c.ntResponse) || r.PeerChallenge != peer {
			t.Errorf("%s: response %x, want %s", c.name, r.NTResponse, c.ntResponse)
		}
		got := AuthenticatorResponse(HashNTPasswordHash(NTPasswordHash(c.password)), r.NTResponse, peer, auth, c.user)
		if c.success != "" && got != c.success {
			t.Errorf("%s: success %s, want %s", c.name, got, c.success)
		}
		for text, want := range map[string]bool{
			got:                            true,
			got + " M=welcome":             true,
			strings.ToLower(got):           true,
			got[:41]:                       false,
			"":                             false,
			"S=" + strings.Repeat("0", 40): false,
			got[:41] + string(got[41]^1):   false,
		} {
			if CheckAuthenticatorResponse(text, r, auth, c.user, c.password) != want {
				t.Errorf("%s: %q accepted: %v", c.name, text, !want)
			}
		}
		if CheckAuthenticatorResponse(got, r, auth, c.user, c.password+"x") {
			t.Errorf("%s: a server with another password is accepted", c.name)
		}
	}
}

func TestPasswordHashes(t *testing.T) {
	hash := NTPasswordHash("clientPass")
	if got := hex.EncodeToString(hash[:]); got != "44ebba8d5312b8d611474411f56989ae" {
		t.Errorf("hash %s", got)
	}
	hashHash := HashNTPasswordHash(hash)
	if got := hex.EncodeToString(hashHash[:]); got != "41c00c584bd2d91c4017a2a12fa59f3f" {
		t.Errorf("hash of the hash %s", got)
	}
	// MD4 of nothing (RFC 1320 section A.5), and a password outside the first Unicode plane: two units each.
	empty := NTPasswordHash("")
	if got := hex.EncodeToString(empty[:]); got != "31d6cfe0d16ae931b73c59d7e0c089c0" {
		t.Errorf("empty %s", got)
	}
	if NTPasswordHash("\U0001F511") == NTPasswordHash("\uFFFD") {
		t.Error("a character outside the first plane is lost")
	}
}

func TestStripDomain(t *testing.T) {
	for in, want := range map[string]string{
		"alice": "alice", `ACME\alice`: "alice", `\alice`: "alice", "alice@acme": "alice@acme",
		`ACME\alice@acme`: "alice@acme", `ACME\`: "", "": "",
	} {
		if got := StripDomain(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestRFC3079Section3_5_3(t *testing.T) {
	hashHash := HashNTPasswordHash(NTPasswordHash("clientPass"))
	nt := [24]byte(unhex(t, "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"))
	master := MasterKey(hashHash, nt)
	send, recv := StartKeys(hashHash, nt)
	for _, c := range []struct {
		name string
		got  [16]byte
		want string
	}{
		{"master key", master, "fdece3717a8c838cb388e527ae3cdd31"},
		{"server send key", send, "8b7cdc149b993a1ba118cb153f56dccb"},
		{"server receive key", recv, "d5f0e9521e3ea9589645e86051c82226"},
	} {
		if got := hex.EncodeToString(c.got[:]); got != c.want {
			t.Errorf("%s %s, want %s", c.name, got, c.want)
		}
	}
}

func TestResponse(t *testing.T) {
	b := make([]byte, ResponseLen)
	for i := range b {
		b[i] = byte(i)
	}
	r, err := ParseResponse(b)
	if err != nil || r.PeerChallenge[0] != 0 || r.PeerChallenge[15] != 15 || r.NTResponse[0] != 24 || r.NTResponse[23] != 47 || r.Flags != 48 {
		t.Errorf("%+v %v", r, err)
	}
	clear(b[16:24]) // reserved, written as zero
	if got, err := r.AppendBinary(nil); err != nil || !bytes.Equal(got, b) {
		t.Errorf("became %x %v", got, err)
	}
	for _, n := range []int{0, 48, 50} {
		if _, err := ParseResponse(make([]byte, n)); !errors.Is(err, ErrResponseLen) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

func TestFailureMessage(t *testing.T) {
	challenge := [16]byte{0: 0xab, 15: 0xcd}
	got := FailureMessage(ErrorAuthentication, true, challenge, "try again")
	if want := "E=691 R=1 C=AB0000000000000000000000000000CD V=3 M=try again"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	f, err := ParseFailure(got)
	if err != nil || f != (Failure{Code: 691, Retry: true, Challenge: challenge, Text: "try again"}) {
		t.Errorf("%+v %v", f, err)
	}
	if got := FailureMessage(ErrorAccountDisabled, false, challenge, ""); !strings.HasPrefix(got, "E=647 R=0 C=") {
		t.Errorf("got %s", got)
	}
}

var failures = []struct {
	text string
	want Failure
	ok   bool
}{
	{"E=691 R=0", Failure{Code: 691}, true},
	{"E=648 R=0 V=3", Failure{Code: 648}, true},
	{"E=691 R=1 C=000102030405060708090a0b0c0d0e0f V=3 M=E=1 R=0", Failure{
		Code: 691, Retry: true, Challenge: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, Text: "E=1 R=0",
	}, true},
	{"", Failure{}, false},
	{"R=1 E=691", Failure{}, false},
	{"E=x", Failure{}, false},
	{"E=691 C=00", Failure{}, false},
	{"E=691 C=000102030405060708090a0b0c0d0eXX", Failure{}, false},
	{"E=691 nonsense", Failure{}, false},
	{"E=-1", Failure{}, false},
}

func TestParseFailure(t *testing.T) {
	for _, c := range failures {
		f, err := ParseFailure(c.text)
		if (err == nil) != c.ok || c.ok && f != c.want {
			t.Errorf("%q: %+v %v", c.text, f, err)
		}
	}
}

func FuzzParseResponse(f *testing.F) {
	corpus.Add(f)
	f.Add(make([]byte, ResponseLen))
	f.Add(make([]byte, ResponseLen-1))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResponse(b)
		if err != nil {
			return
		}
		b = bytes.Clone(b)
		clear(b[16:24])
		if got, err := r.AppendBinary(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x became %x %v", b, got, err)
		}
	})
}

func FuzzParseFailure(f *testing.F) {
	corpus.Add(f)
	for _, c := range failures {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseFailure(text)
		if err != nil {
			return
		}
		if b, err := ParseFailure(FailureMessage(a.Code, a.Retry, a.Challenge, a.Text)); err != nil || a != b {
			t.Fatalf("%q: %+v became %+v %v", text, a, b, err)
		}
	})
}
