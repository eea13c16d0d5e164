package server

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/telemetry"
)

// bulky is a session whose messages fill the buffers on the way to a reader soon.
func bulky(name string, n int) session.Info {
	i := info(name)
	i.User, i.MTU = strings.Repeat("u", 2000), n
	return i
}

// A reader that does not read is cut off, whatever it is connected by, and then finds all that it has missed.
func TestStalledReaderIsCut(t *testing.T) {
	f, open := metered(t, 500*time.Millisecond)
	f.seedBoth(t, false)
	const name, changes = "tenants/acme/sessions/s1", 2000
	w := f.watch(withToken(t.Context(), f.token), t, f.dialTLS(t), "SessionService/WatchSessions", "tenants/acme", "")
	w.see("+"+name, "done")
	for i := range changes {
		f.live.SessionFeed().Put(name, bulky(name, i))
	}
	until(t, open, 0)
	seen := 0
	for {
		m, err := w.next()
		if err != nil {
			if want := (failure{code: codes.Aborted, reason: "WATCH_TOO_SLOW"}); !failureOf(err).equal(want) {
				t.Errorf("the watch ended with %v", err)
			}
			break
		}
		if got := int(m.(*concentratorv1.WatchSessionsResponse).GetUpsert().GetMtu()); got != seen {
			t.Fatalf("change %d came after %d", got, seen-1)
		}
		seen++
		_, w.last = tell(m)
	}
	if seen == 0 || seen == changes {
		t.Fatalf("%d of %d changes came before the cut", seen, changes)
	}
	again := f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", w.last)
	for ; seen < changes; seen++ {
		m, err := again.next()
		must(t)(nil, err)
		if got := int(m.(*concentratorv1.WatchSessionsResponse).GetUpsert().GetMtu()); got != seen {
			t.Fatalf("resumed: change %d came, want %d", got, seen)
		}
	}
}

// metered serves an API whose streams can be counted, and which is not as patient with their readers.
func metered(t *testing.T, patience time.Duration) (f *fixture, open func() int) {
	t.Helper()
	m := telemetry.NewMetrics()
	return start(t, func(c *Config) { c.Metrics, c.WatchPatience = m, patience }), func() int {
		all, err := m.Gatherer().Gather()
		must(t)(all, err)
		n := 0
		for _, family := range all {
			if family.GetName() != "concentrator_api_streams" {
				continue
			}
			for _, stream := range family.GetMetric() {
				n += int(stream.GetGauge().GetValue())
			}
		}
		return n
	}
}

// until waits until no more than so many streams are open.
func until(t *testing.T, open func() int, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); open() > n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d streams are open, want %d: who stalls is not cut off", open(), n)
		}
	}
}

// A reader of REST that does not read is cut off too.
func TestStalledReaderOfREST(t *testing.T) {
	f, open := metered(t, 500*time.Millisecond)
	f.seedBoth(t, false)
	const name = "tenants/acme/sessions/s1"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.RESTAddr().String()+"/v1/tenants/acme/sessions:watch", nil)
	must(t)(req, err)
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := f.http.Do(req)
	must(t)(resp, err)
	defer resp.Body.Close()
	lines := bufio.NewReaderSize(resp.Body, 16<<10)
	for range 2 {
		_, err := lines.ReadString('\n')
		must(t)(nil, err)
	}
	for i := range 15000 {
		f.live.SessionFeed().Put(name, bulky(name, i))
	}
	until(t, open, 0)
	last := ""
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			last = line
		}
		if err != nil {
			break
		}
	}
	if !strings.Contains(last, `"error"`) || !strings.Contains(last, "WATCH_TOO_SLOW") {
		t.Errorf("the last line is %.200s", last)
	}
}

// One that reads, but too slowly for what happens, is told that it has missed something.
func TestReaderThatFallsBehind(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	const name = "tenants/acme/sessions/s1"
	w := f.watch(withToken(t.Context(), f.token), t, f.dialTLS(t), "SessionService/WatchSessions", "tenants/acme", "")
	w.see("+"+name, "done")
	for i := range 20000 {
		f.live.SessionFeed().Put(name, bulky(name, i))
	}
	time.Sleep(100 * time.Millisecond) // it has read a batch of these, and can send no more
	for i := range 20000 {
		f.live.SessionFeed().Put(name, bulky(name, i))
	}
	for {
		if _, err := w.next(); err != nil {
			if want := (failure{code: codes.OutOfRange, reason: "RESOURCE_EXPIRED"}); !failureOf(err).equal(want) {
				t.Errorf("the watch ended with %v", err)
			}
			return
		}
	}
}
