package transport

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// held is a server that answers when told to.
type held struct {
	mu  sync.Mutex
	got []query
}

func (h *held) handle(q query) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, q)
}

func (h *held) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.got)
}

// flow answers everything that waits, signed with a secret.
func (h *held) flow(secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range h.got {
		q.send(answerOf{code: 2, secret: secret}.to(q))
	}
	h.got = nil
}

func update(t *testing.T, g *Group, servers ...ServerConfig) {
	t.Helper()
	if err := g.Update(Config{Servers: servers, Log: quiet}); err != nil {
		t.Fatal(err)
	}
}

// Secrets change while a request is under way: the answer may be signed with one of before or one of now.
func TestUpdateSecrets(t *testing.T) {
	for _, with := range []string{"before", "now"} {
		t.Run(with, func(t *testing.T) {
			var h held
			f := startFake(t, h.handle)
			sc := serverAt(f)
			sc.Secrets = []tenant.Secret{tenant.Secret("before")}
			g := startGroup(t, sc)
			done := make(chan error)
			go func() {
				r, err := g.Exchange(context.Background(), login("alice"))
				if err == nil && string(r.Secret) != with {
					t.Errorf("secret %q", []byte(r.Secret))
				}
				done <- err
			}()
			waitFor(t, "the request is there", func() bool { return h.count() == 1 })
			sc.Secrets = []tenant.Secret{tenant.Secret("now")}
			update(t, g, sc)
			h.flow(with)
			noError(t, <-done)
			if s := g.Health()[0]; s.Sockets != 1 || s.Ports[0].Stats.Requests != 1 {
				t.Errorf("the server did not keep its state: %+v", s)
			}

			go func() { _, err := g.Exchange(context.Background(), login("alice")); done <- err }()
			waitFor(t, "the next request is there", func() bool { return h.count() == 1 })
			h.flow("before") // is not valid any more
			waitFor(t, "it is dropped", func() bool { return g.Health()[0].Ports[0].Stats.Drops[packet.DropResponseAuthenticator] == 1 })
			g.Close()
			if err := <-done; err == nil {
				t.Error("the old secret is still valid")
			}
		})
	}
}

// What is under way at a server that is removed, or leads elsewhere now, is finished there.
func TestUpdateFinishesWhatIsUnderWay(t *testing.T) {
	var h held
	f := startFake(t, h.handle)
	next := startFake(t, func(q query) { q.send(good(q)) })
	g := startGroup(t, serverAt(f))
	done := make(chan error, 2)
	exchange := func() { _, err := g.Exchange(context.Background(), login("alice")); done <- err }
	go exchange()
	waitFor(t, "the request is there", func() bool { return h.count() == 1 })
	old := g.servers[0]
	update(t, g, serverAt(next)) // the same name
	mustAnswer(t, g, login("alice"))
	update(t, g)
	mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "no RADIUS server")
	if len(g.Health()) != 0 || old.ended.Err() != nil {
		t.Error("the server is closed with a request under way")
	}
	h.flow(secret)
	noError(t, <-done)
	select {
	case <-old.ended.Done():
	case <-time.After(10 * time.Second):
		t.Error("a server that nobody uses any more stays open")
	}
	waitFor(t, "its goroutines end", func() bool { return goroutines() == "" })
}

// Close ends what is under way at removed servers as well.
func TestCloseAfterUpdate(t *testing.T) {
	var h held
	f := startFake(t, h.handle)
	g := startGroup(t, serverAt(f))
	done := make(chan error)
	go func() { _, err := g.Exchange(context.Background(), login("alice")); done <- err }()
	waitFor(t, "the request is there", func() bool { return h.count() == 1 })
	update(t, g)
	g.Close()
	if err := <-done; err == nil || !strings.Contains(err.Error(), ErrClosed.Error()) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

// Limits, tries and the order change at once; a configuration with an error changes nothing.
func TestUpdateLimits(t *testing.T) {
	var h held
	f := startFake(t, h.handle)
	sc := serverAt(f)
	sc.MaxOutstanding = 1
	g := startGroup(t, sc)
	done := make(chan error, 2)
	for range 2 {
		go func() { _, err := g.Exchange(context.Background(), login("alice")); done <- err }()
	}
	waitFor(t, "one waits", func() bool { return h.count() == 1 && g.Health()[0].Waiting == 1 })
	bad := sc
	bad.Timeout = -1
	if err := g.Update(Config{Servers: []ServerConfig{bad}}); err == nil || !strings.Contains(err.Error(), "server one: timeout") {
		t.Errorf("error %v", err)
	}
	if err := g.Update(Config{Servers: []ServerConfig{sc, sc}}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("error %v", err)
	}
	if g.Health()[0].Waiting != 1 {
		t.Error("an error changed something")
	}
	sc.MaxOutstanding = 2
	update(t, g, sc)
	waitFor(t, "both are there", func() bool { return h.count() == 2 })
	h.flow(secret)
	noError(t, <-done)
	noError(t, <-done)
}
