package session

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/authz/accounting"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/eap"
)

// TestBooksFullDisk: a session that begins and ends while the disk is full is billed all the same, once.
func TestBooksFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.ledger.fill(true)
		cl := w.login(simppp.Windows(alice, password))
		cl.fc.traffic(3)
		cl.hangUp()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		time.Sleep(2 * checkpointEvery)
		if got := w.ledger.of("alice"); len(got) != 0 {
			t.Fatalf("the full disk has %q", got)
		}
		if len(w.errors.take()) == 0 {
			t.Error("nothing was logged")
		}
		w.ledger.fill(false)
		time.Sleep(2 * checkpointEvery)
		want := []string{"start acme/alice 10.7.0.2 MSCHAPV2", "stop alice 300 USER_REQUEST"}
		if got := w.ledger.of("alice"); !slices.Equal(got, want) {
			t.Errorf("the ledger has %q, want %q", got, want)
		}
	})
}

// TestBooksFullDiskAtShutdown: the last chance is the shutdown, before Accounting-Off.
func TestBooksFullDiskAtShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.ledger.fill(true)
		w.login(simppp.Windows(alice, password)).hangUp()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		w.errors.take()
		w.ledger.fill(false)
		w.shutdown(time.Minute)
		want := []string{"on acme", "start acme/alice 10.7.0.2 MSCHAPV2", "stop alice 0 USER_REQUEST", "off acme"}
		if got := slices.DeleteFunc(w.ledger.of(""), isCheckpoint); !slices.Equal(got, want) {
			t.Errorf("the ledger has %q, want %q", got, want)
		}
	})
}

func isCheckpoint(line string) bool { return strings.HasPrefix(line, "checkpoint") }

// TestInterimsGoOn: a session that is changed more often than it reports still reports.
func TestInterimsGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.AcctInterimInterval = 2 * time.Minute })
		w.start()
		w.login(simppp.Windows(alice, password))
		host := dynamic{w.m}
		id := host.Sessions("acme")[0].ID
		for range 10 {
			time.Sleep(time.Minute)
			up := uint64(64_000)
			if err := host.Change(t.Context(), id, authz.Change{UpBps: &up}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.ledger.of("interim alice")); n < 4 {
			t.Errorf("%d interims in ten minutes, want one in two", n)
		}
	})
}

// TestLateTenant: a tenant that is made while another's user is in gets no Accounting-On: a server that the two share would
// take it for the end of that session. While nobody is in it does no harm.
func TestLateTenant(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addTenant("early", "10.8.0.0/29")
		w.settle()
		cl := w.login(simppp.Windows(alice, password))
		w.addTenant("late", "10.9.0.0/29")
		w.settle()
		cl.hangUp()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		if got := w.ledger.of("on "); !slices.Equal(got, []string{"on acme", "on early"}) {
			t.Errorf("%q", got)
		}
	})
}

// TestNoBooksAfterTheEnd: what the store says after the shutdown opens no account and no socket.
func TestNoBooksAfterTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.shutdown(time.Minute)
		before := w.ledger.of("")
		w.addTenant("late", "10.9.0.0/29")
		create(w, &store.RadiusServer{
			Meta: named("tenants/late/radiusServers/one"), Address: "127.0.0.1", Secrets: []tenant.Secret{tenant.Secret(radiusSecret)},
		})
		w.settle()
		if _, err := w.m.TestRadiusServer(t.Context(), "tenants/late/radiusServers/one", RadiusTest{}); err == nil {
			t.Error("a server was asked")
		}
		if _, ok := w.m.AccountingSink("acme"); ok {
			t.Error("there is a sink")
		}
		if got := w.ledger.of(""); !slices.Equal(got, before) {
			t.Errorf("accounting was told %q, and before %q", got, before)
		}
		w.m.radiusMu.Lock()
		defer w.m.radiusMu.Unlock()
		if len(w.m.radius) != 0 {
			t.Errorf("there are RADIUS clients of %d tenants", len(w.m.radius))
		}
	})
}

// TestManyServers: a server too many is left out, and the tenant goes on with the others.
func TestManyServers(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		for i := range maxRadiusServers {
			create(w, &store.RadiusServer{
				Meta: named(fmt.Sprintf("%s/radiusServers/a-%d", acme, i)), Priority: 2, Address: "127.0.0.1", AuthPort: 9,
				Secrets: []tenant.Secret{tenant.Secret(radiusSecret)},
			})
		}
		startRadiusAs(w, "one", 1, func(q *radiusQuery) []byte { return acceptMSCHAP(q) })
		w.start()
		w.login(simppp.Windows(alice, password))
		if got := w.errors.take(); len(got) != 1 {
			t.Errorf("logged %q, want one line about one server", got)
		}
		before := w.m.radius[acme]
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.AcctInterimInterval = time.Hour })
		w.settle()
		if w.m.radius[acme] != before {
			t.Error("another change has made the servers anew")
		}
	})
}

type someSink struct{}

func (someSink) Account(context.Context, accounting.Record) error { return nil }

// TestAccountingSink: records go to the tenant's servers, or to the file where it is meant; or they wait.
func TestAccountingSink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.m.cfg.LocalAccounting = someSink{}
		sink := func() string {
			switch s, ok := w.m.AccountingSink("acme"); {
			case !ok:
				return "none"
			case s == accounting.Sink(someSink{}):
				return "local"
			}
			return "servers"
		}
		want := func(what, want string) {
			t.Helper()
			w.settle()
			if got := sink(); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		want("before the store was read", "none")
		w.start()
		want("own users", "local")
		server := &store.RadiusServer{
			Meta: named(acme + "/radiusServers/one"), Address: "127.0.0.1", Secrets: []tenant.Secret{tenant.Secret(radiusSecret)},
		}
		create(w, server)
		want("own users and a server", "servers")
		alter(w, acme, func(t *store.Tenant) { t.Backend = tenant.BackendRADIUS })
		want("RADIUS", "servers")
		alter(w, server.Name, func(r *store.RadiusServer) { r.Purposes = []store.RadiusPurpose{store.RadiusAuthentication} })
		want("RADIUS without accounting", "local")
		remove[store.RadiusServer](w, server.Name)
		want("RADIUS without a server", "none")
		alter(w, acme, func(t *store.Tenant) { t.Backend = tenant.BackendLocal })
		want("own users again", "local")
	})
}

// TestACLRead: a session that was decided on with rules that have changed meanwhile gets those of now, also where the
// reconciler has been there before it.
func TestACLRead(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.addACL(acme + "/acls/quiet")
		w.start()
		cl := w.login(simppp.Windows(alice, password))
		old, err := w.m.compiledACL(acme + "/acls/quiet")
		if err != nil {
			t.Fatal(err)
		}
		alter(w, acme+"/acls/quiet", func(a *store.ACL) { a.Rules[0].Protocol = "icmp" })
		w.settle()
		s := w.m.byCallID(cl.fc.id)
		s.setFilter(old)
		if s.filter().etag == old.etag {
			t.Error("the session is under the old rules")
		}
	})
}

// lostConn is a socket whose namespace is gone.
type lostConn struct{ net.PacketConn }

func (lostConn) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, errFull }

// TestCoASocketLost: a socket that breaks is opened anew.
func TestCoASocketLost(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		w.m.cfg.CoA = netip.MustParseAddrPort("127.0.0.1:0")
		startRadius(w, func(*radiusQuery) []byte { return nil })
		w.start()
		socket := func() net.PacketConn {
			w.m.passing.Lock()
			defer w.m.passing.Unlock()
			if c := w.m.coaSockets[""]; c != nil {
				return c.PacketConn
			}
			return nil
		}
		first := socket()
		if first == nil {
			t.Fatal("there is no socket")
		}
		broken := lostConn{first}
		w.m.passing.Lock()
		w.m.coaSockets[""] = &coaSocket{PacketConn: broken}
		w.m.passing.Unlock()
		w.m.serveCoA("", broken)
		w.until("there is another socket", func() bool { return socket() != nil && socket() != net.PacketConn(broken) })
		if got := w.errors.take(); len(got) == 0 {
			t.Error("nothing was logged")
		}
	})
}

// TestSessionTimeoutOfALoginAnew: what a later login says of the session's time holds, but prolongs nothing.
func TestSessionTimeoutOfALoginAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		anew := func(limit time.Duration) {
			alter(w, acme+"/profiles/default", func(p *store.Profile) { p.SessionTimeout = limit })
			w.settle()
			n := len(w.ledger.of("update"))
			cl.tell(func(now time.Time) { cl.m.Renegotiate(now) })
			w.until("the session has logged in anew", func() bool { return len(w.ledger.of("update")) > n })
		}
		began := time.Now()
		anew(10 * time.Minute)
		time.Sleep(5 * time.Minute)
		anew(time.Hour)
		w.until("the session's time is over", func() bool { return w.m.slots.slots() == 0 })
		if took := time.Since(began); took > 11*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// TestEAPIdentity: what a client calls itself outside of EAP is not proved, so it ends nobody else's session. Its own name,
// which the server gives, counts.
func TestEAPIdentity(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme, func(r *store.Tenant) {
			r.Limits.MaxSessionsPerUser, r.Limits.DuplicatePolicy = 1, tenant.DuplicateReplace
			r.Realms, r.RealmStripping = []string{"acme.example"}, true
		})
		alter(w, acme+"/profiles/default", func(p *store.Profile) {
			p.AuthMethods, p.AllowPlaintext, p.MPPE.Policy = []tenant.AuthMethod{tenant.AuthEAP}, true, tenant.MPPEDisabled
		})
		names := make(chan string, 10)
		startRadius(w, func(q *radiusQuery) []byte {
			switch p, err := eap.ParsePacket(q.eapMessage()); {
			case err != nil:
				return join(accessReject)
			case p.Type == eap.TypeIdentity:
				return askMD5(p.ID+1, "1")
			default:
				return join(accessAccept, attr(attrUserName, []byte(<-names)...))
			}
		})
		w.start()
		names <- "alice"
		first := w.login(eapClient("alice"))
		names <- "mallory"
		second := w.login(eapClient("alice"))
		if first.ended() {
			t.Error("mallory has ended alice's session")
		}
		names <- "mallory@acme.example"
		w.login(eapClient("anonymous@acme.example"))
		w.until("mallory's first session is replaced", second.ended)
		if first.ended() {
			t.Error("mallory has ended alice's session")
		}
	})
}
