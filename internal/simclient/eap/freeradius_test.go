package eap

import (
	"bufio"
	"bytes"
	"crypto/x509"
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
)

// freeRADIUS is a FreeRADIUS of our own on loopback that speaks EAP.
type freeRADIUS struct {
	addr *net.UDPAddr
	ca   *authority // of its certificate, and of whom it believes
}

// eapOptions is how it speaks EAP.
type eapOptions struct {
	favourite  string // default_eap_type
	minTLS     string // of TLS: "1.2" or "1.3"
	maxTLS     string
	fragment   int    // octets of TLS in one packet
	padding    int    // octets that its certificate is longer than need be
	mschapv2   string // options of EAP-MSCHAPv2
	serverName string // in its certificate
}

const radiusSecret = "testing123"

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
  auth = yes
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
  mschap {
    use_mppe = yes
    require_encryption = no
    require_strong = no
    with_ntdomain_hack = yes
    allow_retry = yes
  }
  files {
    filename = ${confdir}/users
  }
  eap {
    default_eap_type = %[3]s
    timer_expire = 60
    max_sessions = 4096
    md5 {
    }
    mschapv2 {
      %[7]s
    }
    tls-config tls-common {
      private_key_file = ${confdir}/key.pem
      certificate_file = ${confdir}/cert.pem
      ca_file = ${confdir}/ca.pem
      auto_chain = no
      fragment_size = %[6]d
      tls_min_version = "%[4]s"
      tls_max_version = "%[5]s"
      ecdh_curve = ""
    }
    tls {
      tls = tls-common
    }
    peap {
      tls = tls-common
      default_eap_type = mschapv2
      virtual_server = "inner"
      use_tunneled_reply = yes
    }
  }
}
server outer {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = %[2]d
  }
  authorize {
    eap {
      ok = return
    }
    files
  }
  authenticate {
    Auth-Type MS-CHAP {
      mschap
    }
    eap
  }
}
server inner {
  authorize {
    eap {
      ok = return
    }
    files
  }
  authenticate {
    Auth-Type MS-CHAP {
      mschap
    }
    eap
  }
}
`

// freeRADIUSUsers has no entry for who comes with a certificate of the authority.
const freeRADIUSUsers = `
alice Cleartext-Password := "wonder-1"

DEFAULT User-Name =~ "alice$", Cleartext-Password := "wonder-1"
`

// startFreeRADIUS starts the server and returns when it is ready. Without the program the test is skipped, unless
// CONCENTRATOR_REAL=1 says that it must be there.
func startFreeRADIUS(t *testing.T, o eapOptions) *freeRADIUS {
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
	if o.fragment == 0 {
		o.fragment = 1024
	}
	if o.serverName == "" {
		o.serverName = "radius.example.net"
	}
	dir := t.TempDir()
	fr := &freeRADIUS{addr: freeAddr(t), ca: newAuthority(t, "test authority")}
	fr.ca.write(dir, fr.ca.issue(o.serverName, x509.ExtKeyUsageServerAuth, o.padding))
	for name, text := range map[string]string{
		"radiusd.conf": fmt.Sprintf(
			freeRADIUSConf, dir, fr.addr.Port, o.favourite, o.minTLS, o.maxTLS, o.fragment, o.mschapv2,
		),
		"users": freeRADIUSUsers,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, exec.Command(program, "-f", "-d", dir, "-xx", "-l", "stdout"))
	return fr
}

// run starts FreeRADIUS, waits until it is ready, and ends it with the test.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
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
			defer mu.Unlock()
			t.Logf("freeradius said:\n%s", log.String())
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("freeradius ended at once")
	case <-time.After(30 * time.Second):
		t.Fatal("freeradius does not get ready")
	}
}

func freeAddr(t *testing.T) *net.UDPAddr {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr)
}
