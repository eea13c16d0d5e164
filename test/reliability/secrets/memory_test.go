//go:build interop

package secrets

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"concentrator/internal/wire/mschap"
	"concentrator/test/reliability/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// What the tests look for. The values are of nobody, and nothing else has them.
const (
	password = "Zq7-marker-password"
	psk      = "Wv4-marker-psk-0123456789"
)

// documents are a tenant and its user, with secrets or, as they are applied again later, without.
func documents(secrets bool) string {
	text := `kind: Tenant
name: tenants/acme
ipsec: {legacyClients: true, psks: [{id: main SECRET}]}
---
kind: Pool
name: tenants/acme/pools/main
ranges: [10.64.0.0/24]
---
kind: Profile
name: tenants/acme/profiles/default
authMethods: [MSCHAPV2, CHAP, PAP]
allowPlaintext: true
mppe: {policy: OPTIONAL, keyBits: [128]}
pool: tenants/acme/pools/main
---
kind: User
name: tenants/acme/users/lab
PASSWORD---
kind: Listener
name: listeners/main
address: 0.0.0.0
protocols: [PPTP, L2TP_IPSEC, L2TP]
tenants: [tenants/acme]
`
	if !secrets {
		return strings.NewReplacer(" SECRET", "", "PASSWORD", "").Replace(text)
	}
	return strings.NewReplacer(" SECRET", ", secret: "+psk, "PASSWORD", "password: "+password+"\n").Replace(text)
}

// ofPassword are the forms of the password that lie in no file, in clear or as good as that.
func ofPassword() []needle {
	var wide []byte
	for _, u := range utf16.Encode([]rune(password)) {
		wide = binary.LittleEndian.AppendUint16(wide, u)
	}
	hash := mschap.NTPasswordHash(password)
	hashHash := mschap.HashNTPasswordHash(hash)
	return []needle{
		{"password", []byte(password)},
		{"password in UTF-16", wide},
		{"NT hash of the password", hash[:]},
		{"hash of the NT hash", hashHash[:]},
	}
}

// keysIn reads a key log of loadgen.
func keysIn(t *testing.T, path string) (keys []needle) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range slices.Collect(strings.Lines(strings.TrimSpace(string(text)))) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), "\t")
		key, err := hex.DecodeString(digits)
		if err != nil || len(key) < 8 {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		keys = append(keys, needle{fmt.Sprintf("%s (%d)", name, i), key})
	}
	return keys
}

// gone is how soon after its end nothing of a session may be left.
const gone = time.Second

// TestMemory logs clients in and out and looks for the keys of their sessions in the daemon's memory, and for their passwords,
// which since its start it has only in the sealed store.
func TestMemory(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, documents(true))
	d.Start(t)
	d.Stop(t)
	if err := os.WriteFile(filepath.Join(d.Dir, "apply.yaml"), []byte(documents(false)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Start(t)
	if found := scan(t, d.PID(), ofPassword()); len(found) > 0 {
		t.Fatalf("before any login there is %v", found)
	}
	for _, tt := range []struct {
		name string
		args []string
		live []string // keys that must be found while the session lives, or the test looks in the wrong place
	}{
		{"PPTP", []string{"--protocol", "PPTP"}, []string{"MPPE from the server", "MPPE to the server"}},
		{
			"L2TP_IPSEC",
			[]string{"--protocol", "L2TP_IPSEC", "--cipher", "AES-256-CBC-SHA256"},
			[]string{"SKEYID_a", "SKEYID_d", "ESP from the server", "ESP to the server"},
		},
		{
			"L2TP_IPSEC with PFS, GCM and PAP",
			[]string{"--protocol", "L2TP_IPSEC", "--cipher", "AES-256-GCM", "--group", "modp2048", "--pfs", "--auth", "PAP"},
			[]string{"SKEYID_a", "SKEYID_d"},
		},
		{"L2TP_IPSEC with 3DES", []string{"--protocol", "L2TP_IPSEC", "--cipher", "3DES-CBC-SHA1", "--auth", "CHAP"}, nil},
		{"L2TP with CHAP", []string{"--protocol", "L2TP", "--auth", "CHAP"}, nil},
		{"L2TP with PAP", []string{"--protocol", "L2TP", "--auth", "PAP"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys := filepath.Join(t.TempDir(), "keys")
			load := l.StartLoad(t, "hold", append([]string{
				"--count", "3", "--password", password, "--psk", psk, "--ping", "5", "--duration", "1m", "--key-log", keys,
			}, tt.args...)...)
			lab.Eventually(t, 10*time.Second, "three sessions", func() bool { return d.Instance(t).Sessions == 3 })
			time.Sleep(500 * time.Millisecond) // some pings
			needles := append(keysIn(t, keys), ofPassword()...)
			live := scan(t, d.PID(), needles)
			for _, want := range tt.live {
				if !slices.ContainsFunc(slices.Collect(maps.Keys(live)), func(name string) bool { return strings.HasPrefix(name, want) }) {
					t.Errorf("%s is nowhere while the sessions live: %v", want, slices.Sorted(maps.Keys(live)))
				}
			}
			load.Interrupt()
			if r := load.Wait(t); r.OK < 3 || r.Lost > 0 {
				t.Errorf("loadgen: %+v", r)
			}
			over := time.Now()
			for {
				found := scan(t, d.PID(), append(keysIn(t, keys), ofPassword()...))
				if len(found) == 0 {
					break
				}
				if time.Since(over) > gone {
					for _, name := range slices.Sorted(maps.Keys(found)) {
						t.Errorf("%s is still there: %s", name, strings.Join(found[name], "; "))
					}
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	t.Logf("the pre-shared key, which is in use, is there %d times", len(scan(t, d.PID(), []needle{{"psk", []byte(psk)}})["psk"]))
}
