package coa

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLog: each answer has its line; drops, which everybody can cause, have one a minute for each kind; no secret is in any.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := start(t, aHost(), func(c *Config) {
			c.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
		})
		said := func(want ...string) {
			t.Helper()
			got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if strings.Contains(out.String(), secret) {
				t.Error("the log has the secret")
			}
			out.Reset()
		}
		handle(t, s, here, disconnect(text(acctSessionID, "s-1")).build())
		said(`level=INFO msg="CoA or Disconnect done" tenant=tenants/acme server=tenants/acme/radiusServers/one ` +
			`message=Disconnect-Request count=1 session=s-1`)
		handle(t, s, here, disconnect(text(userName, "alice")).build())
		said(`level=INFO msg="CoA or Disconnect done" tenant=tenants/acme server=tenants/acme/radiusServers/one ` +
			`message=Disconnect-Request count=2`)
		handle(t, s, here, change(text(acctSessionID, "s-1"), text(92, "x")).build())
		said(`level=INFO msg="CoA or Disconnect refused" tenant=tenants/acme server=tenants/acme/radiusServers/one ` +
			`message=CoA-Request count=0 code=401 detail="attribute 92: is not supported here"`)

		forged := asking{wrongRA: true}.build()
		for range 5 {
			handle(t, s, here, forged)
			handle(t, s, "192.0.2.77:1", forged)
		}
		said(`level=WARN msg="CoA or Disconnect dropped" drop=request_authenticator address=127.0.0.1:1645 count=1`,
			`level=WARN msg="CoA or Disconnect dropped" drop=source address=192.0.2.77:1 count=1`)
		time.Sleep(logEvery)
		handle(t, s, here, forged)
		said(`level=WARN msg="CoA or Disconnect dropped" drop=request_authenticator address=127.0.0.1:1645 count=5`)
	})
}
