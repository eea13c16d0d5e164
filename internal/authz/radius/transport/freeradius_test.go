package transport

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/tenant"
)

// freeRADIUS is a FreeRADIUS of our own on loopback, with UDP and TLS. Before 3.2.5 it signs no replies of its own accord, so
// the configuration does, but for the user "unsigned".
type freeRADIUS struct {
	dir             string
	auth, acct, tls int
	parties         parties
	stop            func()
}

const freeRADIUSConf = `
prefix = /usr
libdir = /usr/lib/freeradius
confdir = %[1]s
logdir = %[1]s
run_dir = %[1]s
pidfile = %[1]s/radiusd.pid
name = radiusd
max_request_time = 10
cleanup_delay = 2
max_requests = 4096
hostname_lookups = no
log {
  destination = stdout
}
security {
  max_attributes = 200
  reject_delay = 0
  status_server = yes
  allow_vulnerable_openssl = yes
}
proxy_requests = no
client udp {
  ipaddr = 127.0.0.0/8
  secret = testing123
  require_message_authenticator = yes
}
clients over_tls {
  client loop {
    ipaddr = 127.0.0.1
    proto = tls
    secret = radsec
  }
}
thread pool {
  start_servers = 2
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 2
  max_requests_per_server = 0
}
modules {
  pap {
  }
  files {
    filename = ${confdir}/users
  }
  detail {
    filename = ${confdir}/detail
    permissions = 0600
  }
}
server default {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = %[2]d
  }
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = %[3]d
  }
  listen {
    type = auth+acct
    ipaddr = 127.0.0.1
    port = %[4]d
    proto = tcp
    clients = over_tls
    limit {
      max_connections = 8
      lifetime = 0
      idle_timeout = 30
    }
    tls {
      private_key_file = ${confdir}/server.key
      certificate_file = ${confdir}/server.pem
      ca_file = ${confdir}/ca.pem
      require_client_cert = yes
      tls_min_version = "1.2"
      tls_max_version = "1.3"
    }
  }
  authorize {
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
  }
  accounting {
    detail
  }
  post-auth {
    if (&User-Name != "unsigned") {
      update reply {
        &Message-Authenticator := 0x00
      }
    }
    Post-Auth-Type REJECT {
      update reply {
        &Message-Authenticator := 0x00
      }
    }
  }
}
`

const freeRADIUSUsers = `
alice Cleartext-Password := "wonder-1"
	Reply-Message = "Welcome"

unsigned Cleartext-Password := "wonder-1"
`

// startFreeRADIUS starts the server and returns when it is ready. Without the program the test is skipped, unless
// CONCENTRATOR_REAL=1 says that it must be there.
func startFreeRADIUS(t *testing.T) *freeRADIUS {
	t.Helper()
	if _, err := freeRADIUSProgram(); err != nil {
		if os.Getenv("CONCENTRATOR_REAL") == "1" {
			t.Fatal("CONCENTRATOR_REAL=1, but freeradius is not installed: apt-get install freeradius")
		}
		t.Skip("freeradius is not installed")
	}
	fr := &freeRADIUS{dir: t.TempDir(), auth: freePort(t), acct: freePort(t), tls: freePort(t), parties: newParties(t)}
	for name, text := range map[string]string{
		"radiusd.conf": fmt.Sprintf(freeRADIUSConf, fr.dir, fr.auth, fr.acct, fr.tls),
		"users":        freeRADIUSUsers,
		"server.key":   fr.parties.server.key,
		"server.pem":   fr.parties.server.chain,
		"ca.pem":       fr.parties.ca.pem,
	} {
		if err := os.WriteFile(filepath.Join(fr.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fr.start(t)
	t.Cleanup(func() { fr.stop() })
	return fr
}

func freeRADIUSProgram() (string, error) {
	if program, err := exec.LookPath("freeradius"); err == nil {
		return program, nil
	}
	return exec.LookPath("/usr/sbin/freeradius")
}

// start runs the program until stop, which may be called again.
func (fr *freeRADIUS) start(t *testing.T) {
	t.Helper()
	program, err := freeRADIUSProgram()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-f", "-d", fr.dir, "-l", "stdout")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			mu.Lock()
			fmt.Fprintln(&log, lines.Text())
			mu.Unlock()
			if strings.Contains(lines.Text(), "Ready to process requests") {
				close(ready)
			}
		}
	}()
	fr.stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			<-ended
		}
		cmd.Wait() //nolint:errcheck // how it ends does not matter
		if t.Failed() {
			mu.Lock()
			t.Logf("freeradius said:\n%s", log.String())
			mu.Unlock()
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("freeradius ended at once: %s", log.String())
	case <-time.After(30 * time.Second):
		t.Fatal("freeradius does not get ready")
	}
}

// freePort returns a port that neither TCP nor UDP uses.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (fr *freeRADIUS) udp() ServerConfig {
	return ServerConfig{
		Name: "udp", Address: "127.0.0.1", AuthPort: fr.auth, AcctPort: fr.acct, Secrets: []tenant.Secret{tenant.Secret(secret)},
		Timeout: 500 * time.Millisecond, Tries: 3, DeadTime: 600 * time.Millisecond, NASIdentifier: "nas-1",
	}
}

func (fr *freeRADIUS) overTLS() ServerConfig {
	p := fr.parties
	return ServerConfig{
		Name: "tls", Address: "127.0.0.1", AuthPort: fr.tls, Transport: TLS, TLS: TLSConfig{
			CACertificates: []string{p.ca.pem}, CertificateChain: p.client.chain, CertificateKey: tenant.Secret(p.client.key),
		},
		Timeout: 2 * time.Second, Tries: 2, DeadTime: 600 * time.Millisecond, NASIdentifier: "nas-1",
	}
}

// pap is a login with a password.
func pap(user, password string) Request {
	r := login(user)
	build := r.Build
	r.Build = func(t Target) (*radius.Packet, error) {
		m, err := build(t)
		if err != nil {
			return nil, err
		}
		cipher, err := radius.NewUserPassword([]byte(password), t.Secret, t.Authenticator[:])
		if err != nil {
			return nil, err
		}
		m.Add(2, cipher)
		return m, nil
	}
	return r
}

// started is the Accounting-Request of a session that has begun.
func started(session string) Request {
	r := record(session)
	build := r.Build
	r.Build = func(t Target) (*radius.Packet, error) {
		m, err := build(t)
		if err != nil {
			return nil, err
		}
		m.Add(40, []byte{0, 0, 0, 1})
		m.Add(4, t.LocalAddr.AsSlice())
		return m, nil
	}
	return r
}

// Both transports against the real one: logins, accounting, Status-Server, a missing Message-Authenticator, many at once.
func TestFreeRADIUS(t *testing.T) {
	fr := startFreeRADIUS(t)
	for _, sc := range []ServerConfig{fr.udp(), fr.overTLS()} {
		t.Run(sc.Name, func(t *testing.T) {
			sc.Timeout = 5 * time.Second
			g := startGroup(t, sc)
			if r := mustAnswer(t, g, pap("alice", "wonder-1")); r.Packet[0] != 2 || !r.Signed || !bytes.Contains(r.Packet, []byte("Welcome")) {
				t.Errorf("reply % x", r.Packet)
			}
			if r := mustAnswer(t, g, pap("alice", "wrong")); r.Packet[0] != 3 || !r.Signed {
				t.Errorf("reply % x", r.Packet)
			}
			session := "session-over-" + sc.Name
			if r := mustAnswer(t, g, started(session)); r.Packet[0] != 5 {
				t.Errorf("reply % x", r.Packet)
			}
			detail, err := os.ReadFile(filepath.Join(fr.dir, "detail"))
			if err != nil || !bytes.Contains(detail, []byte(session)) {
				t.Errorf("%v, the server's accounting lacks %s:\n%s", err, session, detail)
			}
			for _, p := range []Purpose{Access, Accounting} {
				r := *statusServer()
				r.Purpose, r.Server = p, sc.Name
				if got := mustAnswer(t, g, r); got.Packet[0] != 2 && got.Packet[0] != 5 {
					t.Errorf("Status-Server for %s: % x", p, got.Packet)
				}
			}
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					if r, err := ask(t, g, pap("alice", "wonder-1")); err != nil || r.Packet[0] != 2 {
						t.Errorf("reply % x, %v", r.Packet, err)
					}
				})
			}
			wg.Wait()
			if h := g.Health()[0]; h.State != Alive || h.Outstanding != 0 || h.RTT <= 0 {
				t.Errorf("health %+v", h)
			}

			sc.MessageAuthenticator, sc.Timeout, sc.Tries = ModeRequire, time.Second, 1
			update(t, g, sc)
			mustFail(t, g, pap("unsigned", "wonder-1"), tenant.ReasonRadiusNoMessageAuthenticator, "CVE-2024-3596")
			sc.MessageAuthenticator, sc.Timeout = ModeOff, 5*time.Second
			update(t, g, sc)
			if r := mustAnswer(t, g, pap("unsigned", "wonder-1")); r.Packet[0] != 2 || r.Signed {
				t.Errorf("reply % x", r.Packet)
			}
		})
	}
}

// The server dies and comes back: a login goes on elsewhere, a probe finds the server again.
func TestFreeRADIUSDies(t *testing.T) {
	fr := startFreeRADIUS(t)
	second := startFake(t, func(q query) { q.send(good(q)) })
	for _, sc := range []ServerConfig{fr.udp(), fr.overTLS()} {
		t.Run(sc.Name, func(t *testing.T) {
			two := serverAt(second)
			two.Name, two.Priority = "two", 1
			g := startGroup(t, sc, two)
			if r := mustAnswer(t, g, pap("alice", "wonder-1")); r.Server != sc.Name {
				t.Fatalf("%s answers", r.Server)
			}
			fr.stop()
			begun := time.Now()
			if r := mustAnswer(t, g, pap("alice", "wonder-1")); r.Server != "two" || time.Since(begun) > 5*time.Second {
				t.Fatalf("%s answers after %s", r.Server, time.Since(begun))
			}
			if stateOf(g, 0) != Dead {
				t.Errorf("health %+v", g.Health()[0])
			}
			fr.start(t)
			waitFor(t, "the probe finds it", func() bool { return stateOf(g, 0) == Alive })
			if r := mustAnswer(t, g, pap("alice", "wonder-1")); r.Server != sc.Name {
				t.Fatalf("%s answers", r.Server)
			}
			if s := portStats(g, 0, Access); s.ProbeAnswers == 0 || s.Deaths != 1 {
				t.Errorf("counters %+v", s)
			}
		})
	}
}
