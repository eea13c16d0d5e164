package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"concentrator/internal/corpus"
)

// mostREST is the longest answer that a client of the fuzz target takes: no list of so few is as long.
const mostREST = 8 << 20

// restWays are the methods of HTTP that a request may name; the rest of them is the program's own choice.
var restWays = []string{"GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "HEAD", "BREW"}

// FuzzREST sends any path, query and body by any method of HTTP, by callers of every role. Every request is answered in time
// and in bounds, by JSON where it says so, and never by an error of the server's; the rules for what is stored are
// FuzzAPICall's.
func FuzzREST(f *testing.F) {
	corpus.Add(f)
	s := newFuzzServer(f)
	// By HTTP/1.1: with HTTP/2 the library asks again and again where the server finds fault with the path itself.
	s.http = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	f.Cleanup(s.http.CloseIdleConnections)
	for i, m := range s.methods {
		rule := proto.GetExtension(m.desc.Options(), annotations.E_Http).(*annotations.HttpRule)
		for way, path := range []string{rule.GetGet(), rule.GetPost(), rule.GetPatch(), rule.GetDelete()} {
			if path == "" {
				continue
			}
			req := m.request(f, "tenants/beta")
			path = pathOf(path, req)
			fillSample(req.ProtoReflect(), 0)
			body, query := "", ""
			if rule.GetBody() == "" {
				query = "pageSize=1&filter=a"
			} else if b, err := protojson.Marshal(req); err == nil {
				body = string(b)
			}
			f.Add(byte(way), path, query, body, byte(1+i%(len(s.tokens)-1)))
		}
	}
	f.Add(byte(0), "/readyz", "", "", byte(0))
	f.Add(byte(0), "/v1/tenants/%2e%2e/../users/%00", "a=%zz&&;", "", byte(1))
	f.Add(byte(1), "/v1/tenants", "tenantId=x", `{"realms":[[[[]]]],"a":1e999}`, byte(1))
	f.Add(byte(7), "//", "", "{", byte(1))
	f.Fuzz(func(t *testing.T, way byte, path, query, body string, caller byte) {
		s.ask(t, restWays[int(way)%len(restWays)], path, query, body, int(caller)%len(s.tokens))
	})
}

// pathOf puts the name that a request has into the path of its method.
func pathOf(path string, req proto.Message) string {
	before, rest, ok := strings.Cut(path, "{")
	if !ok {
		return path
	}
	variable, after, _ := strings.Cut(rest, "}")
	field, _, _ := strings.Cut(variable, "=")
	holder, fd := findField(req.ProtoReflect(), field)
	return before + holder.Get(fd).String() + after
}

// ask makes one request, and holds the answer against the rules.
func (s *fuzzServer) ask(t testing.TB, way, path, query, body string, who int) {
	lasts := strings.Contains(path, "watch") || strings.Contains(path, "capture") || strings.Contains(path, "wait")
	patience := fuzzPatience
	if lasts {
		patience = fuzzWatch
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, way, "https://"+s.RESTAddr().String()+"/", strings.NewReader(body))
	must(t)(req, err)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if req.URL.Path, err = url.PathUnescape(path); err != nil {
		return // a client's library does not send that
	}
	req.URL.RawPath, req.URL.RawQuery = path, query
	if s.tokens[who] != "" {
		req.Header.Set("Authorization", "Bearer "+s.tokens[who])
	}
	began := time.Now()
	resp, err := s.http.Do(req)
	if err != nil {
		if ctx.Err() != nil && !lasts {
			t.Errorf("%s %q: no answer in %v", way, path, time.Since(began))
		}
		s.settle(t, way+" "+path, who)
		return
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, mostREST))
	_ = resp.Body.Close()
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch {
	case err != nil && !lasts:
		t.Errorf("%s %q: the answer breaks off: %v", way, path, err)
	case len(answer) == mostREST:
		t.Errorf("%s %q: the answer is too long", way, path)
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented && openPaths[req.URL.Path] == nil:
		t.Errorf("%s %q: %s: %s", way, path, resp.Status, answer)
	case kind == "application/json" && !lasts && way != "HEAD" && !json.Valid(answer):
		t.Errorf("%s %q: no JSON: %q", way, path, answer)
	}
	s.settle(t, way+" "+path, who)
}
