//go:build interop

package crash

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
	"concentrator/test/reliability/lab"
)

// rest calls the API of a daemon with the administrator's token.
type rest struct {
	client http.Client
	token  string
}

// callTime is how long one call may take: the disk may be slow, and one that hangs is a fault.
const callTime = 15 * time.Second

func newREST(t testing.TB, l *lab.Lab, d *lab.Daemon) *rest {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(d.Dir, "state", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rest{token: strings.TrimSpace(string(token)), client: http.Client{Timeout: callTime, Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // it is alone in its namespace
		MaxIdleConnsPerHost: 16,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			h, err := netns.Open(l.NS("srv"))
			if err != nil {
				return nil, err
			}
			defer h.Close()
			err = h.Do(func() error {
				c, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}}}
	t.Cleanup(r.client.CloseIdleConnections)
	return r
}

// answer is one that is no success.
type answer struct {
	code int
	text string
}

func (a *answer) Error() string { return fmt.Sprintf("%d: %s", a.code, a.text) }

// call sends a request, and reads the answer into out unless that is nil. One that came too early is sent again.
func (r *rest) call(ctx context.Context, method, path string, body, out any) error {
	for {
		err := r.try(ctx, method, path, body, out)
		if a, ok := refused(err); !ok || a.code != http.StatusTooManyRequests {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (r *rest) try(ctx context.Context, method, path string, body, out any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, "https://127.0.0.1:8443/v1/"+path, in)
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+r.token)
	a, err := r.client.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	switch {
	case err != nil:
		return err
	case a.StatusCode != http.StatusOK:
		return &answer{a.StatusCode, string(text)}
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

// pages reads all pages of a list, and calls each with every one.
func (r *rest) pages(t testing.TB, path string, each func(page []byte)) {
	t.Helper()
	for token := ""; ; {
		var page json.RawMessage
		if err := r.call(t.Context(), http.MethodGet, path+"?pageSize=1000&pageToken="+token, nil, &page); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		each(page)
		var next struct{ NextPageToken string }
		if err := json.Unmarshal(page, &next); err != nil {
			t.Fatal(err)
		}
		if token = next.NextPageToken; token == "" {
			return
		}
	}
}
