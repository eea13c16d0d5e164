package radius

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

// freeRADIUS is a FreeRADIUS of our own on loopback: one port where replies have a Message-Authenticator, one where they
// have none, and one for accounting. FreeRADIUS before 3.2.5 adds none of its own accord, so the configuration does.
type freeRADIUS struct {
	signed, unsigned, acct int
	dir                    string           // of its detail file, and of what the password was changed to
	client                 *tls.Certificate // that it believes
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
  mschap expired {
    use_mppe = yes
    with_ntdomain_hack = yes
    ntlm_auth = "/bin/echo NT_KEY: %[5]X"
    passchange {
      ntlm_auth = "/bin/sh ${confdir}/change.sh"
      ntlm_auth_username = "username: %%{mschap:User-Name}"
      ntlm_auth_domain = "nt-domain: ACME"
    }
  }
  always handled {
    rcode = handled
  }
  eap {
    default_eap_type = mschapv2
    timer_expire = 60
    max_sessions = 4096
    md5 {
    }
    mschapv2 {
    }
    tls-config common {
      private_key_file = ${confdir}/key.pem
      certificate_file = ${confdir}/cert.pem
      ca_file = ${confdir}/cert.pem
      auto_chain = no
      tls_min_version = "1.2"
      tls_max_version = "1.3"
      ecdh_curve = ""
    }
    tls {
      tls = common
    }
    peap {
      tls = common
      default_eap_type = mschapv2
      virtual_server = "unsigned"
      use_tunneled_reply = yes
    }
  }
  files {
    filename = ${confdir}/users
  }
  detail {
    filename = ${confdir}/detail
    permissions = 0600
  }
}
server accounting {
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = %[4]d
  }
  accounting {
    detail
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
    Post-Auth-Type Challenge {
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
    eap {
      ok = return
    }
    if (&User-Name == "otp") {
      if (!&State) {
        update control {
          &Response-Packet-Type := Access-Challenge
        }
        update reply {
          &State := 0x0102
          &Reply-Message := "Enter the code"
          &Message-Authenticator := 0x00
        }
        handled
      }
      elsif (&State == 0x0102 && &User-Password == "123456") {
        update control {
          &Auth-Type := Accept
        }
      }
      else {
        update control {
          &Auth-Type := Reject
        }
      }
    }
    chap
    mschap
    files
    pap
  }
  authenticate {
    eap
    Auth-Type Expired {
      expired
    }
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

old MS-CHAP2-CPW =* "", Auth-Type := Expired
	Framed-IP-Address = 10.9.0.8

old Cleartext-Password := "wonder-1", SMB-Account-CTRL-TEXT := "[Ue]"

tls
	Framed-IP-Address = 10.9.0.9

md5 Cleartext-Password := "wonder-1"
	Framed-IP-Address = 10.9.0.10

banned Auth-Type := Reject
	Reply-Message = "account disabled"
`

// changeScript stands for Samba's ntlm_auth, which changes passwords for FreeRADIUS: it notes what it is told and agrees. What
// the server checks the response with afterwards is the hash of the new password, in the configuration.
// FreeRADIUS 3.2.1 has a way of its own too, local_cpw, but crashes on it with OpenSSL 3.
const changeScript = `
while read -r line; do
  echo "$line" >>%s
  if [ "$line" = . ]; then break; fi
done
printf 'Password-Change: Yes\n.\n'
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
	hash := mschap.HashNTPasswordHash(mschap.NTPasswordHash("wonder-2"))
	fr := freeRADIUS{signed: freePort(t), unsigned: freePort(t), acct: freePort(t), dir: dir}
	var cert, key string
	cert, key, fr.client = certificates(t)
	for name, text := range map[string]string{
		"cert.pem":     cert,
		"key.pem":      key,
		"radiusd.conf": fmt.Sprintf(freeRADIUSConf, dir, fr.signed, fr.unsigned, fr.acct, hash),
		"policy":       freeRADIUSPolicy,
		"users":        freeRADIUSUsers,
		"change.sh":    fmt.Sprintf(changeScript, filepath.Join(dir, "changed")),
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

// certificates makes one for the server, which is its authority as well, and one for a client.
func certificates(t *testing.T) (cert, key string, client *tls.Certificate) {
	t.Helper()
	issue := func(name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template.Subject, template.SerialNumber = pkix.Name{CommonName: name}, big.NewInt(time.Now().UnixNano())
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if signer == nil {
			parent, signer = template, private
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return made, private
	}
	server, serverKey := issue("server", &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil, nil)
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	mine, private := issue("tls", &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, server, serverKey)
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return block("CERTIFICATE", server.Raw), block("PRIVATE KEY", der),
		&tls.Certificate{Certificate: [][]byte{mine.Raw}, PrivateKey: private}
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

// server is how to reach it.
func (fr freeRADIUS) server(port int, mode string) transport.ServerConfig {
	return transport.ServerConfig{
		Name: "freeradius", Address: "localhost", AuthPort: port, AcctPort: fr.acct, Secrets: []tenant.Secret{tenant.Secret(secret)},
		SourceAddress: netip.MustParseAddr("127.0.0.1"), // chooses IPv4 of the name's addresses
		Timeout:       5 * time.Second, Tries: 2, MessageAuthenticator: mode, NASIdentifier: "nas-1",
	}
}
