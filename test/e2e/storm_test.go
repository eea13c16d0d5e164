package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	control "concentrator/internal/server"
	"concentrator/internal/session"
	siml2tp "concentrator/internal/simclient/l2tp"
	"concentrator/internal/simclient/plain"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// plainly makes the world one of L2TP without IPsec, whose clients come cheap.
func (w *world) plainly() (come func(user string, from netip.AddrPort) *plain.Client) {
	w.t.Helper()
	l, err := store.Get[store.Listener](w.store, "listeners/main")
	if err == nil {
		l.Protocols = []tenant.Protocol{tenant.ProtocolL2TP}
		err = store.Update(w.store, l)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := store.Get[store.Profile](w.store, acme+"/profiles/default")
	if err == nil {
		p.AllowPlaintext = true
		err = store.Update(w.store, p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var clients sync.Map // by address
	w.opener.arrive = func(f frame) {
		if c, ok := clients.Load(f.client); ok {
			c.(*plain.Client).Receive(f.data)
		}
	}
	return func(user string, from netip.AddrPort) *plain.Client {
		c := plain.NewL2TP(plain.Config{
			PPP:  simppp.MacOS(user, password),
			Send: func(b []byte) { w.opener.send(frame{port: 1701, client: from, server: server, data: b}) },
		}, siml2tp.MacOS("mac", from.Port()))
		clients.Store(from, c)
		return c
	}
}

// told is one change of a session as a watcher sees it.
func told(name string, state fmt.Stringer) string { return name + " " + state.String() }

type gone struct{}

func (gone) String() string { return "gone" }

// oracle reads all changes that the feed publishes from now on; wait returns them when no session is left.
func (w *world) oracle() (wait func() []string) {
	feed := w.m.SessionFeed()
	_, at := feed.Snapshot(func(string) bool { return false })
	return func() []string {
		var all []string
		for {
			batch, later, err := feed.Read(at)
			if err != nil {
				w.t.Fatal(err)
			}
			if later != nil {
				return all
			}
			for _, c := range batch {
				at = c.Revision
				if c.Value == nil {
					all = append(all, told(c.Name, gone{}))
				} else {
					all = append(all, told(c.Name, concentratorv1.Session_State(concentratorv1.Session_State_value[string(c.Value.State)])))
				}
			}
		}
	}
}

// watcher is one watch of acme's sessions.
type watcher struct {
	stream   grpc.ServerStreamingClient[concentratorv1.WatchSessionsResponse]
	revision string
	seen     []string
	ends     int // of sessions
}

func (w *world) watcher(conn *grpc.ClientConn, revision string) *watcher {
	w.t.Helper()
	stream, err := concentratorv1.NewSessionServiceClient(conn).WatchSessions(w.t.Context(), &concentratorv1.WatchSessionsRequest{
		Parent: acme, Revision: revision,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return &watcher{stream: stream, revision: revision}
}

// read reads until it has seen n sessions end.
func (o *watcher) read(n int) error {
	for o.ends < n {
		m, err := o.stream.Recv()
		if err != nil {
			return err
		}
		o.revision = m.GetRevision()
		switch e := m.GetEvent().(type) {
		case *concentratorv1.WatchSessionsResponse_Upsert:
			o.seen = append(o.seen, told(e.Upsert.GetName(), e.Upsert.GetState()))
		case *concentratorv1.WatchSessionsResponse_Removed:
			o.seen = append(o.seen, told(e.Removed, gone{}))
			o.ends++
		}
	}
	return nil
}

// A hundred watchers of a thousand log-ins: each that keeps up sees every change once and in order. Those that stall are cut
// off, hold up nobody, and miss nothing when they come back.
func TestWatchersInAStorm(t *testing.T) {
	const watchers, stalled, logins, parallel = 100, 5, 1000, 40
	w := newWorld(t)
	come := w.plainly()
	for i := range parallel {
		w.user(acme, fmt.Sprintf("user%02d", i))
	}
	w.start()
	api, err := control.New(control.Config{
		Store: w.store, Live: w.m, Log: slog.New(slog.DiscardHandler), StateDir: t.TempDir(), WatchPatience: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	dial := func() *grpc.ClientConn {
		conn, err := api.Dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}

	var all []*watcher
	for range watchers / 10 {
		conn := dial()
		for range 10 {
			all = append(all, w.watcher(conn, ""))
		}
	}
	for range stalled {
		all = append(all, w.watcher(dial(), ""))
	}
	for _, o := range all {
		m, err := o.stream.Recv()
		if err != nil || m.GetSnapshotDone() == nil {
			t.Fatalf("a watch begins with %v, %v", m, err)
		}
		o.revision = m.GetRevision()
	}

	truth := w.oracle()
	began := time.Now()
	var storm sync.WaitGroup
	login := func(client, round int) error {
		ctx, cancel := w.patient()
		defer cancel()
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(client)}), uint16(1024+round))
		c := come(fmt.Sprintf("user%02d", client), from)
		return errors.Join(c.Connect(ctx), c.HangUp(ctx))
	}
	for client := range parallel {
		storm.Go(func() {
			for round := range logins / parallel {
				if err := login(client, round); err != nil {
					t.Errorf("client %d, login %d: %v", client, round, err)
					return
				}
			}
		})
	}
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		var readers sync.WaitGroup
		for i, o := range all[:watchers] {
			readers.Go(func() {
				if err := o.read(logins); err != nil {
					t.Errorf("watcher %d ended after %d changes: %v", i, len(o.seen), err)
				}
			})
		}
		readers.Wait()
	}()
	storm.Wait()
	if t.Failed() {
		return // the watchers would wait for what does not come
	}
	w.until("nothing is left", func() error {
		if n := len(w.m.Sessions("")); n != 0 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	want := truth()
	took := time.Since(began)
	<-seen
	t.Logf("%d log-ins in %v, %d changes, seen by %d watchers %v later", logins, took.Round(time.Millisecond), len(want),
		watchers, (time.Since(began) - took).Round(time.Millisecond))
	time.Sleep(3 * time.Second) // the patience with the others is over

	for i, o := range all[watchers:] {
		err := o.read(logins)
		if status.Code(err) != codes.Aborted || !strings.Contains(reason(err), "WATCH_TOO_SLOW") {
			t.Errorf("stalled watcher %d ended after %d of %d changes with %v", i, len(o.seen), len(want), err)
		}
		again := w.watcher(dial(), o.revision)
		again.seen, again.ends = o.seen, o.ends
		if err := again.read(logins); err != nil {
			t.Errorf("stalled watcher %d, resumed, ended after %d of %d changes: %v", i, len(again.seen), len(want), err)
		}
		o.seen = again.seen
	}
	text := strings.Join(want, "\n")
	for i, o := range all {
		if strings.Join(o.seen, "\n") != text {
			t.Errorf("watcher %d has not seen each change once and in order", i)
		}
	}
	if n := len(w.m.Logins(session.LoginFilter{Outcome: session.OutcomeAccepted})); n != logins {
		t.Errorf("%d logins on record", n)
	}
}

// reason is the reason in an error's details.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
