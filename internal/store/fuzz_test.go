package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/secret"
	"concentrator/internal/tenant"
)

// epochal is a memory that has an epoch.
type epochal struct{ *memory }

// Epoch is always the same.
func (epochal) Epoch() string { return "epoch" }

// kinds makes an empty record of each kind, with a name that it could have.
var kinds = []func() (record, string){
	func() (record, string) { return &Tenant{}, "tenants/acme" },
	func() (record, string) { return &Profile{}, "tenants/acme/profiles/p" },
	func() (record, string) { return &User{}, "tenants/acme/users/alice" },
	func() (record, string) { return &Pool{}, "tenants/acme/pools/p" },
	func() (record, string) { return &ACL{}, "tenants/acme/acls/a" },
	func() (record, string) { return &RadiusServer{}, "tenants/acme/radiusServers/r" },
	func() (record, string) { return &Listener{}, "listeners/l" },
	func() (record, string) { return &APIToken{}, "apiTokens/t" },
	func() (record, string) { return &Operation{}, "operations/o" },
	func() (record, string) { return &OperationInput{}, "operationInputs/o" },
}

// FuzzDecodeRecord: of whatever lies in the state file under a record's key, the store makes a record that it stores and
// reads as the same, or an error that says whose fault it is; a secret that it did not seal there never opens.
func FuzzDecodeRecord(f *testing.F) {
	corpus.Add(f)
	s, err := Open(f.Context(), epochal{&memory{items: map[string]Item{}}}, filepath.Join(f.TempDir(), "master.key"))
	if err != nil {
		f.Fatal(err)
	}
	for i, r := range []record{
		&Tenant{Meta: Meta{Name: "tenants/acme"}, IPsec: IPsec{PSKs: []PSK{{ID: "a"}}}},
		&User{Meta: Meta{Name: "tenants/acme/users/alice"}},
		&RadiusServer{Meta: Meta{Name: "tenants/acme/radiusServers/r"}, Address: "192.0.2.1", AuthPort: 1812},
	} {
		b, _, err := s.encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte{0, 2, 5}[i], b)
	}
	f.Add(byte(0), []byte(`{"version":1,"record":{"ipsec":{"psks":[{"id":"a"}]}},"secrets":{"ipsec.psks[0].secret":"AQ=="}}`))
	f.Add(byte(5), []byte(`{"version":1,"record":{},"secrets":{"secrets[0]":"AQ==","secrets[1]":"AQ=="}}`))
	f.Add(byte(2), []byte(`{"version":2,"record":{}}`))
	f.Fuzz(func(t *testing.T, which byte, value []byte) {
		fresh := kinds[int(which)%len(kinds)]
		r, name := fresh()
		err := s.decode(name, Item{Value: value, ModRev: 7}, r)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSchemaTooNew) && !errors.Is(err, secret.ErrSealed) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, slot := range r.secretSlots(nil) {
			if len(*slot.value) > 0 {
				t.Fatalf("%s opened as %q", slot.field, []byte(*slot.value))
			}
			*slot.value = tenant.Secret("hush!")
		}
		stored, _, err := s.encode(r)
		if errors.Is(err, ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(stored, []byte("hush!")) {
			t.Error("a secret is stored in clear")
		}
		again, _ := fresh()
		if err := s.decode(name, Item{Value: stored, ModRev: 7}, again); err != nil {
			t.Fatalf("%s does not come back: %v", stored, err)
		}
		*r.meta() = *again.meta() // its etag may be of another revision
		if a, b := jsonOf(t, r), jsonOf(t, again); a != b || !reflect.DeepEqual(opened(r), opened(again)) {
			t.Errorf("%s\nbecame\n%s", a, b)
		}
	})
}

func jsonOf(t *testing.T, r record) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func opened(r record) (all []string) {
	for _, slot := range r.secretSlots(nil) {
		all = append(all, slot.field+" "+string(*slot.value))
	}
	return all
}

// FuzzOpenAudit: an event of the trail is read as it was sealed, and a key names one event or none.
func FuzzOpenAudit(f *testing.F) {
	corpus.Add(f)
	e := AuditEvent{Sequence: 3, Tenant: "tenants/acme", Before: json.RawMessage(`{"a":1}`), ChangedFields: []string{"a"}}
	b, err := e.seal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(auditKey(3), b)
	f.Add("a/e/00", []byte("x"))
	f.Add("a/e/+000000000000003", append(make([]byte, sha256.Size), `{"previousHash":"00"}`...))
	f.Add("r/users/tenants/acme/users/a", append(make([]byte, sha256.Size), `null`...))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if n, ok := auditSequence(key); ok && (n < 1 || auditKey(n) != key) {
			t.Errorf("%q is event %d", key, n)
		}
		if kind, name, ok := splitKey(key); ok && recordKey(kind, name) != key {
			t.Errorf("%q is the %s %q", key, kind, name)
		}
		e, body, err := openAudit(value)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(append(e.Hash[:], body...), value) {
			t.Errorf("%x and %s are of %x", e.Hash, body, value)
		}
		sealed, err := e.seal()
		if errors.Is(err, ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again, body, err := openAudit(sealed)
		if err != nil || again.Hash != sha256.Sum256(body) || again.Sequence != e.Sequence || again.PreviousHash != e.PreviousHash {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
