//go:build interop

package flood

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/simclient/load"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
	"concentrator/test/reliability/lab"
)

// Addresses beside those of the lab. The standing sessions are in the part gen; whoever logs in meanwhile is in a part of his
// own, so that their raw sockets don't see each other's packets.
const (
	clients   = "cli"
	loginsAt  = "198.18.0.1" // the daemon's, for clients
	clientsAt = "198.18.0.2"
	newcomers = "10.201.0.0/16"  // of clients, each used once
	void      = "100.127.0.0/16" // nobody is there: what is sent to them is lost, as with spoofed addresses
	voidVia   = "203.0.113.77"
	voidMAC   = "02:00:00:00:00:77" // of nobody
	villains  = "100.64.0.0/12"     // of the attacker, who gets the answers
	responder = lab.FarHost + ":5001"
)

// standing is how many sessions stand while floods come, and how many packets a second they have together each way.
const (
	standing    = 50
	standingPPS = 500
)

// documents are the lab's without its generous limits, a user for whom somebody else guesses passwords, and a tenant that asks
// a RADIUS server.
const documents = `kind: Tenant
name: tenants/acme
ipsec: {psks: [{id: main, secret: ` + lab.PSK + `}]}
---
kind: Pool
name: tenants/acme/pools/main
ranges: [10.64.0.0/21]
---
kind: Profile
name: tenants/acme/profiles/default
authMethods: [MSCHAPV2]
allowPlaintext: true
mppe: {policy: OPTIONAL, keyBits: [128]}
pool: tenants/acme/pools/main
---
kind: User
name: tenants/acme/users/lab
password: ` + lab.Password + `
---
kind: User
name: tenants/acme/users/mallory
password: ` + lab.Password + `
---
kind: Tenant
name: tenants/umbrella
realms: [` + realm + `]
authentication: {backend: RADIUS}
---
kind: RadiusServer
name: tenants/umbrella/radiusServers/one
address: ` + lab.FarHost + `
secrets: [` + radiusSecret + `]
purposes: [AUTHENTICATION]
---
kind: Pool
name: tenants/umbrella/pools/main
ranges: [10.64.8.0/24]
---
kind: Profile
name: tenants/umbrella/profiles/default
authMethods: [MSCHAPV2]
allowPlaintext: true
mppe: {policy: OPTIONAL, keyBits: [128]}
pool: tenants/umbrella/pools/main
---
kind: Listener
name: listeners/main
address: 0.0.0.0
protocols: [PPTP, L2TP_IPSEC, L2TP]
tenants: [tenants/acme, tenants/umbrella]
defaultTenant: tenants/acme
`

// The API's ports, on all addresses, so that strangers get at them.
const (
	portREST = 8443
	portGRPC = 9443
)

// config is the daemon's file: the lab's, and these ports.
func config(d *lab.Daemon) string {
	return fmt.Sprintf(`state_dir: %[1]s/state
api: {socket: %[1]s/api.sock, rest: "0.0.0.0:%[2]d", grpc: "0.0.0.0:%[3]d"}
log: {level: info, format: json}
`, d.Dir, portREST, portGRPC)
}

// world is a daemon, sessions that stand, and clients that log in.
type world struct {
	lab       *lab.Lab
	daemon    *lab.Daemon
	responder *traffic.Responder
	standing  *dialer
	sessions  []load.Session
	clients   *dialer

	mu   sync.Mutex // guards what follows
	used map[kind]int

	quiet  map[kind]time.Duration // medians without a flood
	memory int                    // resident before the first flood, octets
}

// dialer makes clients in a part of the lab.
type dialer struct {
	*load.Dialer
	part *netns.Handle
}

// newWorld starts all of it.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{lab: lab.New(t), used: map[kind]int{}, quiet: map[kind]time.Duration{}}
	w.lab.AddPart(t, clients)
	w.lab.Cable(t, "srv", clients, loginsAt, clients, "outer", clientsAt)
	for _, args := range [][]string{
		{"-n", w.lab.NS(clients), "route", "add", "local", newcomers, "dev", "lo"},
		{"-n", w.lab.NS("srv"), "route", "add", newcomers, "via", clientsAt},
		{"-n", w.lab.NS("atk"), "route", "add", loginsAt + "/32", "via", lab.AttackedAt},
		{"-n", w.lab.NS("atk"), "route", "add", lab.FarGateway + "/32", "via", lab.AttackedAt},
		{"-n", w.lab.NS("srv"), "neigh", "add", voidVia, "lladdr", voidMAC, "dev", "wild"},
		{"-n", w.lab.NS("srv"), "route", "add", void, "via", voidVia},
	} {
		lab.Run(t, "ip", args...)
	}
	w.daemon = w.lab.NewDaemon(t, documents)
	w.daemon.Write(t, "config.yaml", config(w.daemon))
	w.daemon.Start(t)
	var err error
	if w.responder, err = traffic.NewResponder(w.lab.NS("far"), netip.MustParseAddrPort(responder)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.responder.Close() })
	w.standing = w.dial(t, "gen", load.Config{
		Server:    netip.MustParseAddr(lab.Server),
		Protocols: []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP},
	}, standing)
	w.stand(t)
	w.clients = w.dial(t, clients, load.Config{
		Server: netip.MustParseAddr(loginsAt), Protocols: protocols, Sources: sources(),
	}, maxLogins)
	return w
}

// dial makes a dialer of clients who log in as the lab's user unless cfg says otherwise, with the group of most real clients.
// All that it still has is hung up at the end of the test.
func (w *world) dial(t *testing.T, part string, cfg load.Config, count int) *dialer {
	t.Helper()
	if cfg.User == "" {
		cfg.User = "lab"
	}
	if cfg.Password == "" {
		cfg.Password = lab.Password
	}
	cfg.Auth, cfg.PSK, cfg.NATT, cfg.Group = tenant.AuthMSCHAPv2, tenant.Secret(lab.PSK), true, wireike.GroupMODP2048
	var err error
	if cfg.Cipher, err = load.Cipher("AES-128-CBC-SHA1"); err != nil {
		t.Fatal(err)
	}
	h, err := netns.Open(w.lab.NS(part))
	if err != nil {
		t.Fatal(err)
	}
	d := &dialer{part: h}
	if err := h.Do(func() (err error) {
		d.Dialer, err = load.NewDialer(cfg, count)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = errors.Join(d.Close(ctx), h.Close()) // the daemon goes with its namespace, whatever is left
	})
	return d
}

// login logs client i in and says how long that took.
func (d *dialer) login(ctx context.Context, i int) (s load.Session, took time.Duration, err error) {
	err = d.part.Do(func() (err error) {
		if s, err = d.Dial(i); err != nil {
			return err
		}
		began := time.Now()
		err = s.Connect(ctx)
		took = time.Since(began)
		return err
	})
	return s, took, err
}

// hangUp ends a session and does not wait long for it.
func hangUp(s load.Session) {
	if s != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = s.HangUp(ctx)
	}
}

// stand logs the standing sessions in.
func (w *world) stand(t *testing.T) {
	t.Helper()
	w.sessions = make([]load.Session, standing)
	var group sync.WaitGroup
	errs := make([]error, standing)
	slots := make(chan struct{}, 4)
	for i := range standing {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			w.sessions[i], _, errs[i] = w.standing.login(ctx, i)
		})
	}
	group.Wait()
	t.Cleanup(func() {
		for _, s := range w.sessions {
			hangUp(s)
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("standing sessions: %v", err)
	}
}

// run moves the standing sessions' traffic until ctx ends.
func (w *world) run(ctx context.Context) (*traffic.Report, error) {
	cfg := traffic.Config{
		Responder: w.responder, Direction: traffic.Both, Size: traffic.Size{200}, PPS: standingPPS,
		Duration: time.Hour, Quiet: 200 * time.Millisecond,
	}
	for i, s := range w.sessions {
		if err := s.Err(); err != nil {
			return nil, fmt.Errorf("standing session %d has ended: %w", i, err)
		}
		p, back, err := s.Lend()
		if err != nil {
			return nil, fmt.Errorf("standing session %d: %w", i, err)
		}
		defer back()
		cfg.Paths = append(cfg.Paths, p)
	}
	return traffic.Run(ctx, cfg)
}

// arrived is how many packets have come to the daemon's network from the attacker.
func (w *world) arrived(t *testing.T) (packets int) {
	t.Helper()
	w.lab.In(t, "srv", func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		_, line, _ := strings.Cut(string(text), " wild:")
		_, err = fmt.Sscan(line, new(int), &packets) // octets, packets, …
		return err
	})
	return packets
}

// lines is how many lines the daemon has logged, but for the two of each session that was open: those are our clients'.
func (w *world) lines(t *testing.T) (n int) {
	t.Helper()
	for line := range strings.Lines(w.daemon.Log(t)) {
		if !strings.Contains(line, `"session open"`) && !strings.Contains(line, `"session closed"`) {
			n++
		}
	}
	return n
}
