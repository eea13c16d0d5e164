package guess

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/corpus"
)

// TestRestart: nothing is forgotten with the process: hold-ups, levels and known sources.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.mustTry(at("acme", "alice", home), true)
	for range 3 {
		w.mustTry(at("acme", "alice", home), false)
	}
	for range 5 {
		w.mustTry(at("acme", "bob%/\xff", enemy), false)
	}
	before := w.List("")
	w.Flush()
	w.restart()
	if after := w.List(""); len(after) != 1 || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a restart %v, before it %v", after, before)
	}
	if w.try(at("acme", "bob%/\xff", enemy), true) {
		t.Error("the hold-up is forgotten")
	}
	for range 2 {
		w.mustTry(at("acme", "alice", home), false)
	}
	if _, h := w.Allow(at("acme", "alice", home)); h == nil || !h.Known || h.Failures != 5 {
		t.Errorf("the known source or its failures are forgotten: %+v", h)
	}
	// The clock was set back a year: nobody is held up for a year.
	w.Flush()
	w.pass(-365 * 24 * time.Hour)
	w.restart()
	w.pass(20 * time.Minute)
	w.mustTry(at("acme", "bob%/\xff", enemy), true)
	// What time has forgiven goes from the storage, and known sources that are out of use.
	w.pass(365*24*time.Hour + 91*24*time.Hour)
	w.tidy()
	w.restart()
	w.Flush()
	if k := w.disk.keys(); len(k) != 0 && !slices.Equal(k, []string{"acme/t/"}) {
		t.Errorf("left: %q", k)
	}
}

// TestRun: changes are written in batches, about a second later and at the end, and again after an error.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		done, over := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			w.Run(done)
		}()
		for i := range 50 {
			w.mustTry(at("acme", fmt.Sprint("u", i), fmt.Sprintf("10.0.0.%d", i)), false)
		}
		time.Sleep(gather + time.Millisecond)
		synctest.Wait()
		if n := len(w.disk.keys()); n != 101 || w.disk.commits != 2 {
			t.Errorf("%d items in %d commits", n, w.disk.commits)
		}
		w.disk.breaks(true)
		w.mustTry(at("acme", "late", "10.0.1.1"), false)
		time.Sleep(2 * gather)
		synctest.Wait()
		w.disk.breaks(false)
		time.Sleep(sweep)
		synctest.Wait()
		if !slices.Contains(w.disk.keys(), "acme/u/late") {
			t.Error("what could not be written once is lost")
		}
		w.mustTry(at("acme", "last", "10.0.1.2"), true)
		close(done)
		<-over
		if !slices.Contains(w.disk.keys(), "acme/k/last") {
			t.Error("what was left at the end is lost")
		}
		commits := w.disk.commits
		w.mustTry(at("acme", "last", "10.0.1.2"), true)
		if w.Flush(); w.disk.commits != commits {
			t.Error("a log-in that is no news was written")
		}
	})
}

// TestRetain: a tenant that is deleted leaves nothing.
func TestRetain(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"acme", "beta"} {
		w.mustTry(at(id, "alice", home), true)
		for range 5 {
			w.mustTry(at(id, "bob", enemy), false)
		}
	}
	w.Flush()
	w.Retain(func(id string) bool { return id == "beta" })
	w.Flush()
	if l := w.List(""); len(l) != 1 || l[0].Tenant != "beta" {
		t.Errorf("%+v", l)
	}
	if slices.ContainsFunc(w.disk.keys(), func(k string) bool { return strings.HasPrefix(k, "acme/") }) {
		t.Errorf("left: %q", w.disk.keys())
	}
}

// TestBadStorage: what can't be read costs what it held and goes; that the storage can't be read is an error.
func TestBadStorage(t *testing.T) {
	w := newWorld(t)
	w.mustTry(at("acme", "alice", home), true)
	w.Flush()
	good := w.disk.keys()
	for _, k := range []string{"", "x", "acme/u", "acme/q/bob", "ACME/u/bob", "acme/u/%zz", "acme/u/%62ob", "acme/s/", "acme/t/x"} {
		w.disk.items[k] = []byte(`{"n":3}`)
	}
	w.disk.items["acme/u/bob"] = []byte(`{"n":`)
	w.disk.items["acme/k/bob"] = []byte(`{"sources":[]}`)
	w.disk.items["acme/k/carol"] = []byte(`{"sources":[{"source":""}]}`)
	w.restart()
	if got := w.disk.keys(); !slices.Equal(got, good) {
		t.Errorf("left: %q, want %q", got, good)
	}
	w.disk.breaks(true)
	if _, err := Open(Config{Storage: w.disk}); err == nil {
		t.Error("a broken storage is no error")
	}
}

// FuzzDecode: whatever an item holds, what is made of it is bounded and can be stored again under the same key.
func FuzzDecode(f *testing.F) {
	corpus.Add(f)
	f.Add("acme/u/bob", []byte(`{"n":3,"at":1900000000000,"until":1900000001000}`))
	f.Add("acme/t/", []byte(`{"n":1e308,"at":-5,"until":9223372036854775807}`))
	f.Add("acme/k/al%2Fice", []byte(`{"sources":[{"source":"192.0.2.1","last":1900000000000,"n":2}]}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		w := newWorld(t)
		w.disk.items[key] = value
		w.restart()
		for _, l := range w.List("") {
			if l.Failures < 0 || l.Failures > 200 || l.Until.Sub(w.clock.Now()) > 15*time.Minute {
				t.Errorf("%+v", l)
			}
		}
		for r := range w.dirty {
			if r.String() != key {
				t.Errorf("touched %q", r)
			}
		}
		if l, err := decode(key, value); err == nil {
			w.touch(l.ref)
			w.Flush()
			for _, k := range w.disk.keys() {
				if k != key {
					t.Errorf("%q is stored as %q", key, k)
				}
			}
		}
	})
}
