package server

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// follow begins a watch over REST and returns its lines.
func (f *fixture) follow(t *testing.T, client *http.Client, path string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.RESTAddr().String()+path, nil)
	must(t)(req, err)
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := client.Do(req)
	must(t)(resp, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp, bufio.NewScanner(resp.Body)
}

// line reads one line and returns the revision in it; it wants a text in it.
func line(t *testing.T, lines *bufio.Scanner, want string) string {
	t.Helper()
	if !lines.Scan() || !strings.Contains(lines.Text(), want) {
		t.Fatalf("a line is %q, %v, want %s", lines.Text(), lines.Err(), want)
	}
	result, _ := decodeJSON(t, lines.Text())["result"].(map[string]any)
	revision, _ := result["revision"].(string)
	return revision
}

// Over REST a watch is one JSON object a line, lasts longer than a request may take to arrive, and is resumed by the same
// revisions as over gRPC.
func TestWatchREST(t *testing.T) {
	f := startSlowly(t)
	f.seedBoth(t, false)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			client := f.http
			if protocol == "HTTP/1.1" {
				client = &http.Client{Transport: &http.Transport{TLSClientConfig: f.http.Transport.(*http.Transport).TLSClientConfig.Clone()}}
				client.Transport.(*http.Transport).TLSClientConfig.NextProtos = nil
				defer client.CloseIdleConnections()
			}
			const name = "tenants/acme/sessions/s7"
			resp, lines := f.follow(t, client, "/v1/tenants/acme/sessions:watch")
			if resp.Proto != protocol || resp.Header.Get("Content-Type") != "application/x-ndjson" {
				t.Errorf("%s, content type %q", resp.Proto, resp.Header.Get("Content-Type"))
			}
			line(t, lines, `"upsert":{"name":"tenants/acme/sessions/s1"`)
			revision := line(t, lines, `"snapshotDone":{}`)
			select {
			case <-time.After(2 * slowly): // the time to send a request is over
			case <-t.Context().Done():
			}
			f.live.SessionFeed().Put(name, info(name))
			line(t, lines, `"upsert":{"name":"`+name+`"`)
			f.live.SessionFeed().Remove(name)
			line(t, lines, `"removed":"`+name+`"`)

			_, again := f.follow(t, client, "/v1/tenants/acme/sessions:watch?revision="+revision)
			revision = line(t, again, `"upsert":{"name":"`+name+`"`)
			f.watch(t.Context(), t, f.conn, "SessionService/WatchSessions", "tenants/acme", revision).see("-" + name)
		})
	}
}

// When the server stops, watches end with UNAVAILABLE, so that clients come back elsewhere.
func TestWatchEndsAtShutdown(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	var watches []*watching
	for _, method := range []string{"SessionService/WatchSessions", "UserService/WatchUsers", "PoolService/WatchPools"} {
		w := f.watch(t.Context(), t, f.conn, method, "tenants/acme", "")
		_, err := w.next()
		must(t)(nil, err)
		w.see("done")
		watches = append(watches, w)
	}
	_, lines := f.follow(t, f.http, "/v1/tenants/beta/sessions:watch")
	line(t, lines, `"upsert"`)
	line(t, lines, `"snapshotDone"`)
	if err := f.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, w := range watches {
		w.ends(failure{code: codes.Unavailable, reason: "SHUTTING_DOWN"})
	}
	line(t, lines, `"SHUTTING_DOWN"`)
}
