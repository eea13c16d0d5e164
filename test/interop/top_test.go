//go:build interop

package interop

import (
	"strings"
	"testing"
	"time"

	"concentrator/internal/ptytest"
)

// TestTop looks at a live session in `ctl top` on a terminal: it is there, its traffic is, and it is ended from there.
func TestTop(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: "198.51.100.4", User: "rob", Password: "pooled-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	s := world.daemon.OpenSession(t, "radplain", link)
	cmd := world.daemon.ctlCommand(t.Context(), "top", "--tenant", "radplain", "--interval", "500ms")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	term, err := ptytest.Start(cmd, 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()

	// shows types keys and waits until a row of the screen has all the texts.
	shows := func(keys string, texts ...string) (row string) {
		t.Helper()
		if err := term.Type(keys); err != nil {
			t.Fatal(err)
		}
		err := term.Wait(10*time.Second, func(screen string) bool {
			for row = range strings.Lines(screen) {
				all := true
				for _, text := range texts {
					all = all && strings.Contains(row, text)
				}
				if all {
					return true
				}
			}
			return false
		})
		if err != nil {
			t.Fatalf("after %q: no row with %q: %v", keys, texts, err)
		}
		return row
	}
	address := link.Local.String()
	shows("", "rob", "radplain", "PPTP", address)
	shows("4", "TENANT", "SERVER", "STATE")
	shows("6", "rob", "ACCEPTED")
	shows("1", address)
	shows("/"+address+"\r", "/ filter: "+address)

	// Its traffic: pings go on while the rates are looked for.
	link.Route(t, innerHost)
	pinged := make(chan error, 1)
	go func() {
		_, _, err := g.Sh(t.Context(), strings.Join(pingCommand(innerHost, 60, 50*time.Millisecond), " "))
		pinged <- err
	}()
	if err := term.Wait(10*time.Second, func(screen string) bool {
		for row := range strings.Lines(screen) {
			// USER TENANT PROTOCOL ADDRESS IN OUT …
			if f := strings.Fields(row); len(f) > 5 && f[3] == address && f[4] != "0" && f[5] != "0" {
				t.Logf("top shows %s", strings.TrimSpace(row))
				return true
			}
		}
		return false
	}); err != nil {
		t.Errorf("no traffic: %v", err)
	}
	if err := <-pinged; err != nil {
		t.Error(err)
	}

	shows("d", "end the session of rob, "+s.Name+"?")
	shows("y", s.Name+" is being disconnected")
	t.Logf("the client's link was down after %v", link.Gone(t, 3*time.Second))
	world.daemon.SessionGone(t, s, 3*time.Second)
	shows("", "none that matches the filter")
	if err := term.Type("q"); err != nil {
		t.Fatal(err)
	}
	if code, err := term.End(5 * time.Second); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
}
