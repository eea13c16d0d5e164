package tenant

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestCheckID(t *testing.T) {
	for id, ok := range map[string]bool{
		"acme": true, "a": true, "a-1": true, "0": true, strings.Repeat("a", MaxID): true,
		"": false, "Acme": false, "-a": false, "a-": false, "a_b": false, "a/b": false, "ä": false,
		strings.Repeat("a", MaxID+1): false,
	} {
		if err := CheckID(id); (err == nil) != ok {
			t.Errorf("CheckID(%q) = %v, want ok %v", id, err, ok)
		}
	}
}

func TestUserNames(t *testing.T) {
	for _, login := range []string{"alice", "alice@acme.example", `ACME\alice`, "a/b", "100%", "ünï", "a\x00\xff"} {
		id := EncodeUser(login)
		if strings.Contains(id, "/") {
			t.Errorf("EncodeUser(%q) = %q holds a slash", login, id)
		}
		got, err := DecodeUser(id)
		if err != nil || got != login {
			t.Errorf("DecodeUser(%q) = %q, %v; want %q", id, got, err, login)
		}
	}
	for _, id := range []string{"", "%", "%4", "%61lice", strings.Repeat("a", MaxUser+1)} {
		if got, err := DecodeUser(id); err == nil {
			t.Errorf("DecodeUser(%q) = %q, want an error", id, got)
		}
	}
}

func TestSplitRealm(t *testing.T) {
	for name, want := range map[string][2]string{
		"alice":           {"alice", ""},
		"alice@acme":      {"alice", "acme"},
		"a@b@acme":        {"a@b", "acme"},
		`ACME\alice`:      {"alice", "ACME"},
		`ACME\alice@home`: {"alice@home", "ACME"},
		"alice@":          {"alice", ""},
		`\alice`:          {"alice", ""},
	} {
		if user, realm := SplitRealm(name); user != want[0] || realm != want[1] {
			t.Errorf("SplitRealm(%q) = %q, %q; want %q", name, user, realm, want)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	const secret = "wonder-1"
	s := struct{ Password Secret }{Secret(secret)}
	j, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "password", s.Password)
	for _, shown := range []string{
		fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), s.Password.String(), fmt.Sprintf("%q", s.Password),
		fmt.Sprintf("%x", s.Password), string(j), log.String(),
	} {
		if strings.Contains(shown, secret) || strings.Contains(shown, fmt.Sprintf("%x", secret)) {
			t.Errorf("shows the secret: %s", shown)
		}
	}
}
