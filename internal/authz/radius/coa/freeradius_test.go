package coa

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

// find returns the path of a program. Without it the test is skipped, unless CONCENTRATOR_REAL=1 says that it must be there.
func find(t *testing.T, program, debian string) string {
	t.Helper()
	for _, p := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	if os.Getenv("CONCENTRATOR_REAL") == "1" {
		t.Fatalf("CONCENTRATOR_REAL=1, but %s is not installed: apt-get install %s", program, debian)
	}
	t.Skip(program + " is not installed")
	return ""
}

// radclient sends what the attributes say, with NOW for the time, and returns what it shows. It verifies replies by itself.
func radclient(t *testing.T, port, command, attrs string, flags ...string) (out string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	args := append(flags, "-x", "-t", "2", "-r", "2", "127.0.0.1:"+port, command, secret)
	cmd := exec.CommandContext(ctx, find(t, "radclient", "freeradius-utils"), args...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(attrs, "NOW", strconv.FormatInt(time.Now().Unix(), 10)) + "\n")
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("radclient: %v\n%s", err, b)
	}
	return string(b), err == nil
}

// asFreeRADIUSSees are requests in FreeRADIUS' words and what it is to see of the answer.
var asFreeRADIUSSees = []struct {
	name, command, attrs string
	words                []string // of the reply
	did                  []string
}{
	{
		"Disconnect", "disconnect", `Acct-Session-Id="s-1",User-Name="alice"`,
		[]string{"Received Disconnect-ACK"},
		[]string{"disconnect s-1"},
	},
	{
		"Disconnect with all that is usual", "disconnect",
		`Acct-Session-Id="s-2",NAS-Identifier="nas-1",NAS-IP-Address=192.0.2.1,Calling-Station-Id="198.51.100.2",` +
			`Called-Station-Id="192.0.2.1",Framed-IP-Address=10.9.0.2,NAS-Port=2,Event-Timestamp=NOW,Proxy-State=0x0102,` +
			`Message-Authenticator=0x00`,
		[]string{"Received Disconnect-ACK", "Proxy-State = 0x0102"},
		[]string{"disconnect s-2"},
	},
	{
		"CoA", "coa", `User-Name="bob",Session-Timeout=60,Filter-Id="guests",Class=0x78`,
		[]string{"Received CoA-ACK"},
		[]string{"change s-3 timeout=1m0s acl=guests class=x"},
	},
	{
		"CoA of a rate", "coa", `User-Name="bob",Mikrotik-Rate-Limit="1M/2M"`,
		[]string{"Received CoA-ACK"},
		[]string{"change s-3 rate=1000000 rate=2000000"},
	},
	{
		"unknown session", "disconnect", `Acct-Session-Id="s-9"`,
		[]string{"Received Disconnect-NAK", "Error-Cause = Session-Context-Not-Found"},
		nil,
	},
	{
		"unknown vendor's attribute", "coa", `User-Name="bob",Session-Timeout=60,Cisco-AVPair="x=y"`,
		[]string{"Received CoA-NAK", "Error-Cause = Unsupported-Attribute"},
		nil,
	},
	{
		"another NAS", "coa", `User-Name="bob",NAS-Identifier="nas-2",Session-Timeout=60`,
		[]string{"Received CoA-NAK", "Error-Cause = NAS-Identification-Mismatch"},
		nil,
	},
	{
		"several sessions", "coa", `User-Name="alice",Session-Timeout=60`,
		[]string{"Received CoA-NAK", "Error-Cause = Multiple-Session-Selection-Unsupported"},
		nil,
	},
}

// listening starts a Server for FreeRADIUS and radclient and returns its port.
func listening(t *testing.T, h *host) (*Server, string) {
	t.Helper()
	s := start(t, h, func(c *Config) {
		c.NASIdentifier = "nas-1"
		c.NASAddresses = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.1")} }
	})
	return s, serve(t, s, listen(t, "udp4", "127.0.0.1:0"))
}

// TestRadclient: what FreeRADIUS' client sends is understood, and it believes the answers.
func TestRadclient(t *testing.T) {
	find(t, "radclient", "freeradius-utils")
	h := aHost()
	s, port := listening(t, h)
	for _, tt := range asFreeRADIUSSees {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := radclient(t, port, tt.command, tt.attrs)
			for _, w := range append(tt.words, "Message-Authenticator = ") {
				if !strings.Contains(out, w) {
					t.Errorf("radclient shows no %q:\n%s", w, out)
				}
			}
			if did := h.did(); !slices.Equal(did, tt.did) {
				t.Errorf("did %q, want %q", did, tt.did)
			}
		})
	}
	t.Run("another secret", func(t *testing.T) {
		c := acme()
		c.Secrets = []tenant.Secret{tenant.Secret("testing124")}
		s.SetSources([]Source{c})
		out, ok := radclient(t, port, "disconnect", `Acct-Session-Id="s-1"`)
		if ok || h.did() != nil || s.Stats().Drops[DropAuthenticator] != 2 { // a try and a retry
			t.Errorf("counters %+v; radclient shows\n%s", s.Stats(), out)
		}
	})
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
  status_server = no
  allow_vulnerable_openssl = yes
}
proxy_requests = yes
client loop {
  ipaddr = 127.0.0.0/8
  secret = testing123
  coa_server = nas
}
proxy server {
  default_fallback = no
}
home_server nas {
  type = coa
  ipaddr = 127.0.0.1
  port = %[2]s
  secret = testing123
  coa {
    irt = 1
    mrt = 2
    mrc = 3
    mrd = 5
  }
}
home_server_pool nas {
  type = fail-over
  home_server = nas
}
thread pool {
  start_servers = 2
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 2
  max_requests_per_server = 0
}
modules {
  always ok {
    rcode = ok
  }
}
server relay {
  listen {
    type = coa
    ipaddr = 127.0.0.1
    port = %[3]s
  }
  recv-coa {
    update control {
      &Home-Server-Pool := nas
    }
    ok
  }
  send-coa {
    # This version passes the NAS' Message-Authenticator on, and signs its own replies wrongly if they have one.
    update reply {
      &Message-Authenticator !* ANY
    }
    ok
  }
}
server accounting {
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = %[4]s
  }
  accounting {
    if (&Class == 0x637574) {
      update disconnect {
        &User-Name = "%%{User-Name}"
        &Acct-Session-Id = "%%{Acct-Session-Id}"
      }
    }
    else {
      update coa {
        &User-Name = "%%{User-Name}"
        &Acct-Session-Id = "%%{Acct-Session-Id}"
        &Mikrotik-Rate-Limit = "512k/1M"
      }
    }
    ok
  }
}
`

func freePort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)
}

// startFreeRADIUS starts a server that relays CoA and Disconnect to the port given, and makes some of its own when accounting
// comes. It returns when the server is ready.
func startFreeRADIUS(t *testing.T, nas string) (relay, accounting string) {
	t.Helper()
	program, dir := find(t, "freeradius", "freeradius"), t.TempDir()
	relay, accounting = freePort(t), freePort(t)
	conf := fmt.Sprintf(freeRADIUSConf, dir, nas, relay, accounting)
	if err := os.WriteFile(filepath.Join(dir, "radiusd.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-f", "-d", dir, "-l", "stdout", "-xx")
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
		isReady := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			mu.Lock()
			fmt.Fprintln(&log, lines.Text())
			mu.Unlock()
			if !isReady && strings.Contains(lines.Text(), "Ready to process requests") {
				isReady = true
				close(ready)
			}
		}
	}()
	t.Cleanup(func() {
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
		t.Fatal("freeradius ended at once")
	case <-time.After(30 * time.Second):
		t.Fatal("freeradius does not get ready")
	}
	return relay, accounting
}

// TestFreeRADIUSRelays: requests that FreeRADIUS passes on, and its own answer to their sender.
func TestFreeRADIUSRelays(t *testing.T) {
	find(t, "radclient", "freeradius-utils")
	h := aHost()
	s, port := listening(t, h)
	relay, _ := startFreeRADIUS(t, port)
	for _, tt := range asFreeRADIUSSees {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := radclient(t, relay, tt.command, tt.attrs)
			if !strings.Contains(out, tt.words[0]) { // its own reply keeps of ours what it likes
				t.Errorf("radclient shows no %q:\n%s", tt.words[0], out)
			}
			if did := h.did(); !slices.Equal(did, tt.did) {
				t.Errorf("did %q, want %q", did, tt.did)
			}
		})
	}
	if got := s.Stats(); got.Repeats != 0 || got.Drops != [NumDrops]uint64{} {
		t.Errorf("FreeRADIUS did not take an answer: counters %+v", got)
	}
}

// TestFreeRADIUSOriginates: requests that FreeRADIUS' policy makes of its own accord.
func TestFreeRADIUSOriginates(t *testing.T) {
	find(t, "radclient", "freeradius-utils")
	h := aHost()
	h.events = make(chan string, 10)
	s, port := listening(t, h)
	_, accounting := startFreeRADIUS(t, port)
	for _, tt := range []struct{ class, session, want string }{
		{"0x78", "s-3", "change s-3 rate=512000 rate=1000000"},
		{"0x637574", "s-1", "disconnect s-1"},
	} {
		user := map[string]string{"s-1": "alice", "s-3": "bob"}[tt.session]
		out, ok := radclient(t, accounting, "acct", fmt.Sprintf(`User-Name="%s",Acct-Session-Id="%s",Acct-Status-Type=Interim-Update,`+
			`NAS-IP-Address=127.0.0.1,Class=%s`, user, tt.session, tt.class))
		if !ok {
			t.Fatalf("radclient shows\n%s", out)
		}
		select {
		case got := <-h.events:
			if got != tt.want {
				t.Errorf("did %q, want %q", got, tt.want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("FreeRADIUS sent nothing that was done: counters %+v", s.Stats())
		}
	}
}
