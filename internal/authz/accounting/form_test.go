package accounting

import (
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

func TestRecordForm(t *testing.T) {
	s := sessionOf("acme", "s/1 \xff%")
	empty := Session{Caller: s.Caller}
	for name, r := range map[string]Record{
		"on":    {ID: 1, Status: On, Tenant: "acme", Time: begin},
		"start": {ID: 1<<64 - 1, Status: Start, Tenant: "acme", Time: begin, Session: &s},
		"stop": {
			ID: 77, Status: Stop, Tenant: "acme", Time: begin.Add(time.Hour), Session: &s, Counters: counters(1<<63 + 5),
			Duration: time.Hour + time.Nanosecond, Cause: tenant.ReasonIdleTimeout, Detail: "b\xfcrk", Crash: true,
		},
		"empty": {ID: 2, Status: Interim, Tenant: "acme", Session: &empty},
	} {
		t.Run(name, func(t *testing.T) {
			item, err := encodeRecord(&r)
			if err != nil {
				t.Fatal(err)
			}
			key, err := parseRecordKey(item.Key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeRecord(key, item.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, r) {
				t.Errorf("got  %+v %+v\nwant %+v %+v", got, got.Session, r, r.Session)
			}
		})
	}
}

// Every field of Session and Record is in the forms: one that somebody adds and forgets there fails here.
func TestFormsAreComplete(t *testing.T) {
	var s Session
	fill(reflect.ValueOf(&s).Elem())
	f := formOf(&s)
	if got := f.session(); !reflect.DeepEqual(*got, s) {
		t.Errorf("got  %+v\nwant %+v", *got, s)
	}
	var r Record
	fill(reflect.ValueOf(&r).Elem())
	r.Status, r.Session, r.Attempts = Stop, &s, 0 // the last is not stored
	r.Tenant = s.Tenant                           // which is the same in every record
	item, err := encodeRecord(&r)
	if err != nil {
		t.Fatal(err)
	}
	key, err := parseRecordKey(item.Key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeRecord(key, item.Value); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, r)
	}
}

// fill sets every field that is not set by a value of its own.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[time.Time]():
			f.Set(reflect.ValueOf(begin))
		case f.Type().PkgPath() == "net/netip":
			f.Set(reflect.ValueOf(sessionOf("a", "b").Address))
		case f.Kind() == reflect.Struct:
			fill(f)
		case f.Kind() == reflect.String:
			f.SetString("x")
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.CanInt():
			f.SetInt(3)
		case f.CanUint():
			f.SetUint(3)
		case f.Kind() == reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			if f.Type().Elem().Kind() == reflect.Slice {
				f.Index(0).SetBytes([]byte("y"))
			} else {
				f.Index(0).Set(reflect.ValueOf(sessionOf("a", "b").Routes[0]))
			}
		}
	}
}

func TestCheck(t *testing.T) {
	good, err := seal(metaForm{NextID: 5})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, value string
		want        error
	}{
		{"good", string(good), nil},
		{"empty", "", ErrCorrupt},
		{"no version", "x" + string(good[1:]), ErrCorrupt},
		{"version 0", "0" + string(good[1:]), ErrCorrupt},
		{"version only", "1", ErrCorrupt},
		{"newer", "2 whatever that one writes", ErrTooNew},
		{"cut off", string(good[:len(good)-1]), ErrCorrupt},
		{"one bit", strings.Replace(string(good), "5", "4", 1), ErrCorrupt},
		{"longer", string(good) + " ", ErrCorrupt},
	} {
		if _, err := check([]byte(c.value)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzParseRecordKey(f *testing.F) {
	corpus.Add(f)
	f.Add(recordKey{id: 1, status: Start, tenant: "acme", session: "s/1"}.String())
	f.Add(recordKey{id: 1, status: On, tenant: "acme"}.String())
	f.Add("record/1/START/a/b")
	f.Add("record/")
	f.Fuzz(func(t *testing.T, key string) {
		if k, err := parseRecordKey(key); err == nil && k.String() != key {
			t.Errorf("%q is read as %+v, which is %q", key, k, k)
		}
	})
}

// FuzzOpenItem: whatever stands in the storage, Open says so and does not panic.
func FuzzOpenItem(f *testing.F) {
	corpus.Add(f)
	s := sessionOf("acme", "s1")
	item, err := encodeRecord(&Record{ID: 1, Status: Stop, Tenant: "acme", Session: &s, Time: begin})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(item.Key, string(item.Value[11:]))
	f.Add(liveKey("s1"), `{"session":{"id":"s1","tenant":"acme","class":["AA=="]}}`)
	f.Add(checkpointKey(3), `{"sessions":[{"id":["/w=="]}]}`)
	f.Add(metaKey, `{"nextID":7}`)
	f.Fuzz(func(t *testing.T, key, body string) {
		m := newMemory(t)
		m.items[key] = fmt.Appendf(nil, "1 %08x %s", crc32.Checksum([]byte(body), castagnoli), body)
		l, err := Open(config(m, &recorder{}))
		if err != nil {
			return
		}
		unsent, more := l.Unsent("acme", 0, 0)
		for i, r := range unsent {
			if r.Tenant != "acme" || r.ID == 0 || i > 0 && r.ID <= unsent[i-1].ID {
				t.Errorf("record %d: %+v", i, r)
			}
		}
		for _, st := range l.Status("") {
			if st.Unsent < 0 || st.UnsentBytes < 0 || st.Live < 0 || st.Tenant == "acme" && (st.Unsent < len(unsent) || more && len(unsent) == 0) {
				t.Errorf("%+v with %d unsent", st, len(unsent))
			}
		}
	})
}
