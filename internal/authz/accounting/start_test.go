package accounting

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// synthetic is a Storage with many Interims that takes no memory for them.
type synthetic struct {
	*memory
	sessions, interims int
	value              []byte
}

func (s *synthetic) Load(fn func(string, []byte) error) error {
	for i := range s.sessions * s.interims {
		key := recordKey{id: uint64(i + 1), status: Interim, tenant: "acme", session: fmt.Sprintf("%026d", i%s.sessions)}
		if err := fn(key.String(), s.value); err != nil {
			return err
		}
	}
	return nil
}

// A start with half a million records takes seconds and little memory.
func TestStartWithManyRecords(t *testing.T) {
	session := sessionOf("acme", fmt.Sprintf("%026d", 1))
	item, err := encodeRecord(&Record{ID: 1, Status: Interim, Tenant: "acme", Session: &session, Time: begin, Counters: counters(1 << 30)})
	must(t, err)
	s := &synthetic{memory: newMemory(t), sessions: 2000, interims: 250, value: item.Value}
	cfg := config(s, &recorder{})
	cfg.MaxBytes = 1 << 30
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, begun := heap(), time.Now()
	l := mustOpen(t, cfg)
	took, after := time.Since(begun), heap()
	st := l.Status("acme")[0]
	if st.Unsent != 500_000 || st.UnsentBytes < 200<<20 {
		t.Errorf("status %+v", st)
	}
	perRecord := float64(after-before) / float64(st.Unsent)
	t.Logf("Open took %s, %.0f octets of memory a record, an item has %d", took, perRecord, st.UnsentBytes/int64(st.Unsent))
	if took > time.Minute { // 2 s, where nothing else runs
		t.Errorf("Open took %s", took)
	}
	if perRecord > 40 {
		t.Errorf("%.0f octets of memory for each record", perRecord)
	}
	begun = time.Now()
	l.mu.Lock()
	q := l.queues["acme"]
	if keys, more := q.list(400_000, 100); len(keys) != 100 || !more || keys[0].key.id != 400_001 {
		t.Errorf("a page has %d records, more %v", len(keys), more)
	}
	l.mu.Unlock()
	if d := time.Since(begun); d > time.Second {
		t.Errorf("a page took %s", d)
	}
	runtime.KeepAlive(l)
}

// BenchmarkLife is a session with one Interim, from its Start to the deletion of its last record.
func BenchmarkLife(b *testing.B) {
	m := newMemory(nil)
	l, err := Open(config(m, &recorder{}))
	if err != nil {
		b.Fatal(err)
	}
	defer run(l)()
	n := 0
	for b.Loop() {
		id := fmt.Sprintf("%026d", n)
		n++
		if l.Start(sessionOf("acme", id)) != nil || l.Interim(id, counters(1), begin) != nil || l.Stop(id, counters(2), "", "", begin) != nil {
			b.Fatal("not stored")
		}
	}
	if err := l.Drain(b.Context()); err != nil {
		b.Fatal(err)
	}
}
