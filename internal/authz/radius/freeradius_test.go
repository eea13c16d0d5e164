package radius

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
)

// freeRADIUS is a FreeRADIUS of our own on loopback: one port where replies have a Message-Authenticator and one where
// they have none. FreeRADIUS before 3.2.5 adds none of its own accord, so the configuration does.
type freeRADIUS struct{ signed, unsigned int }

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
client loop {
  ipaddr = 127.0.0.0/8
  secret = testing123
  require_message_authenticator = yes
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
    normalise = yes
  }
  chap {
  }
  mschap {
    use_mppe = yes
    require_encryption = no
    require_strong = no
    with_ntdomain_hack = yes
  }
  files {
    filename = ${confdir}/users
  }
}
server signed {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = %[2]d
  }
  $INCLUDE ${confdir}/policy
  post-auth {
    update reply {
      &Message-Authenticator := 0x00
    }
    Post-Auth-Type REJECT {
      update reply {
        &Message-Authenticator := 0x00
      }
    }
  }
}
server unsigned {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = %[3]d
  }
  $INCLUDE ${confdir}/policy
}
`

const freeRADIUSPolicy = `
  authorize {
    chap
    mschap
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
    Auth-Type CHAP {
      chap
    }
    Auth-Type MS-CHAP {
      mschap
    }
  }
`

const freeRADIUSUsers = `
alice Cleartext-Password := "wonder-1"
	Service-Type = Framed-User,
	Framed-Protocol = PPP,
	Framed-IP-Address = 10.9.0.7,
	Framed-Route = "10.20.0.0/16 0.0.0.0 1",
	Class = 0x746e743a6163,
	Class += 0x02,
	Session-Timeout = 3600,
	Idle-Timeout = 600,
	MS-Primary-DNS-Server = 10.0.0.53,
	Reply-Message = "Welcome"

pool Cleartext-Password := "wonder-1"
	Framed-IP-Address = 255.255.255.254

mikrotik Cleartext-Password := "wonder-1"
	Mikrotik-Rate-Limit = "512k/10M"

ascend Cleartext-Password := "wonder-1"
	Ascend-Data-Rate = 512000,
	Ascend-Xmit-Rate = 10000000

wispr Cleartext-Password := "wonder-1"
	WISPr-Bandwidth-Max-Up = 512000,
	WISPr-Bandwidth-Max-Down = 10000000

banned Auth-Type := Reject
	Reply-Message = "account disabled"
`

// startFreeRADIUS starts the server and returns when it is ready. Without the program the test is skipped, unless
// CONCENTRATOR_REAL=1 says that it must be there.
func startFreeRADIUS(t *testing.T) freeRADIUS {
	t.Helper()
	program, err := exec.LookPath("freeradius")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/freeradius")
	}
	if err != nil {
		if os.Getenv("CONCENTRATOR_REAL") == "1" {
			t.Fatal("CONCENTRATOR_REAL=1, but freeradius is not installed: apt-get install freeradius")
		}
		t.Skip("freeradius is not installed")
	}
	dir := t.TempDir()
	fr := freeRADIUS{signed: freePort(t), unsigned: freePort(t)}
	for name, text := range map[string]string{
		"radiusd.conf": fmt.Sprintf(freeRADIUSConf, dir, fr.signed, fr.unsigned),
		"policy":       freeRADIUSPolicy,
		"users":        freeRADIUSUsers,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	cmd := exec.Command(program, "-f", "-d", dir, "-l", "stdout")
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
	return fr
}

func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

func TestFreeRADIUS(t *testing.T) {
	fr := startFreeRADIUS(t)
	at := func(port int, mode string) *Client {
		c, err := New(Config{Log: quiet, Servers: []ServerConfig{{
			Name: "freeradius", Address: "localhost", AuthPort: port, Secrets: []tenant.Secret{tenant.Secret(secret)},
			SourceAddress: netip.MustParseAddr("127.0.0.1"), // chooses IPv4 of the name's addresses
			Timeout:       5 * time.Second, Tries: 2, MessageAuthenticator: mode, NASIdentifier: "nas-1",
		}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	base := func(user string, method tenant.AuthMethod) authz.Request {
		r := papRequest()
		r.User, r.PeerName, r.Method, r.Password = user, user, method, nil
		return r
	}
	pap := func(user, password string) authz.Request {
		r := base(user, tenant.AuthPAP)
		r.Password = tenant.Secret(password)
		return r
	}
	md5 := func(user, password string) authz.Request {
		r := base(user, tenant.AuthCHAP)
		r.ID, r.Challenge = 42, []byte("0123456789abcdefghij")
		sum := chap.MD5Response(r.ID, []byte(password), r.Challenge)
		r.Response = sum[:]
		return r
	}
	challenge, peer := [16]byte{0x5b, 0x5d, 1}, [16]byte{0x21, 0x40, 2}
	v2 := func(user, password string) authz.Request {
		r := base(user, tenant.AuthMSCHAPv2)
		r.ID, r.Challenge, r.MPPEWanted = 43, challenge[:], true
		r.Response, _ = mschap.ClientResponse(challenge, peer, user, password).AppendBinary(nil)
		return r
	}
	signed := at(fr.signed, ModeRequire)

	alice := authz.Verdict{
		Message: "Welcome", Address: netip.MustParseAddr("10.9.0.7"),
		Routes: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, Class: [][]byte{[]byte("tnt:ac"), {2}},
		SessionTimeout: time.Hour, IdleTimeout: 10 * time.Minute, DNS: addrs("10.0.0.53"),
	}
	for _, r := range []authz.Request{pap("alice", "wonder-1"), md5("alice", "wonder-1")} {
		t.Run(string(r.Method), func(t *testing.T) {
			if got := mustAllow(t, signed, r); !reflect.DeepEqual(got, alice) {
				t.Errorf("got  %+v\nwant %+v", got, alice)
			}
		})
	}
	for _, name := range []string{"alice", `ACME\alice`} {
		t.Run("MSCHAPV2 "+name, func(t *testing.T) {
			r := v2(name, "wonder-1")
			r.User = "alice"
			got := mustAllow(t, signed, r)
			response, err := mschap.ParseResponse(r.Response)
			if err != nil {
				t.Fatal(err)
			}
			if !mschap.CheckAuthenticatorResponse(got.Success, response, challenge, name, "wonder-1") {
				t.Errorf("the peer would not believe %q", got.Success)
			}
			hashHash := mschap.HashNTPasswordHash(mschap.NTPasswordHash("wonder-1"))
			send, recv := mschap.StartKeys(hashHash, response.NTResponse)
			if !bytes.Equal(got.Keys.Send, send[:]) || !bytes.Equal(got.Keys.Recv, recv[:]) {
				t.Errorf("keys send %x recv %x, want the peer's %x and %x", []byte(got.Keys.Send), []byte(got.Keys.Recv), send, recv)
			}
			if got.MPPEPolicy != tenant.MPPEOptional || len(got.MPPEKeyBits) == 0 {
				t.Errorf("MPPE policy %q, key lengths %v", got.MPPEPolicy, got.MPPEKeyBits)
			}
			got.Success, got.Keys, got.MPPEPolicy, got.MPPEKeyBits = "", tenant.KeyPair{}, "", nil
			if !reflect.DeepEqual(got, alice) {
				t.Errorf("got  %+v\nwant %+v", got, alice)
			}
		})
	}
	t.Run("address of the pool", func(t *testing.T) {
		if got := mustAllow(t, signed, pap("pool", "wonder-1")); !reflect.DeepEqual(got, authz.Verdict{}) {
			t.Errorf("got %+v, want nothing but an accept", got)
		}
	})
	for _, vendor := range []string{"mikrotik", "ascend", "wispr"} {
		t.Run("rate limit of "+vendor, func(t *testing.T) {
			want := authz.Verdict{UpBps: new(uint64(512_000)), DownBps: new(uint64(10_000_000))}
			if got := mustAllow(t, signed, pap(vendor, "wonder-1")); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	for _, tt := range []struct {
		name    string
		r       authz.Request
		message string
		retry   bool
	}{
		{"PAP, wrong", pap("alice", "wonder-2"), "", false},
		{"CHAP, wrong", md5("alice", "wonder-2"), "", false},
		{"MSCHAPV2, wrong", v2("alice", "wonder-2"), "", true},
		{"unknown", pap("bob", "wonder-1"), "", false},
		{"rejected with a message", pap("banned", "x"), "account disabled", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ask(t, signed, tt.r)
			if err != nil || got.Deny != tenant.ReasonRadiusReject || got.Retry != tt.retry ||
				!strings.Contains(got.Message, tt.message) || !strings.Contains(got.Detail, "freeradius rejected") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	if s := signed.Stats(); s.Retransmits != 0 || s.Drops != [NumDrops]uint64{} {
		t.Errorf("counters %+v", s)
	}

	t.Run("no Message-Authenticator", func(t *testing.T) {
		c, err := newClient(Config{Log: quiet, Servers: []ServerConfig{{
			Name: "freeradius", Address: "127.0.0.1", AuthPort: fr.unsigned, Secrets: []tenant.Secret{tenant.Secret(secret)},
			Timeout: 300 * time.Millisecond, Tries: 2,
		}}}, environment{lookup: lookup, sockets: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		v, err := ask(t, c, pap("alice", "wonder-1"))
		refusedFor(t, v, err, tenant.ReasonRadiusNoMessageAuthenticator, "freeradius (127.0.0.1:", "messageAuthenticator")
		mustAllow(t, at(fr.unsigned, ModeAuto), pap("alice", "wonder-1"))
	})
	t.Run("wrong secret", func(t *testing.T) {
		// The server drops what is signed with another secret, without a word.
		c, err := New(Config{Log: quiet, Servers: []ServerConfig{{
			Name: "freeradius", Address: "127.0.0.1", AuthPort: fr.signed, Secrets: []tenant.Secret{tenant.Secret("testing124")},
			Timeout: 300 * time.Millisecond, Tries: 2,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		v, err := ask(t, c, pap("alice", "wonder-1"))
		refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "2 requests", "another secret")
	})
}
