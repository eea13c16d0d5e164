//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// L2TP is how a call goes by xl2tpd and, but for plain L2TP, strongSwan.
type L2TP struct {
	Secret  string // shared with the tunnel's other end; "" asks for none
	IPsec   *IPsec // nil: in clear
	FixedID bool   // xl2tpd has the same tunnel ID each time, from rand() seeded by a clock that is set to the same second
}

// IPsec is how strongSwan protects the call.
type IPsec struct {
	PSK  string    // empty: by certificate
	Own  *Identity // the client's certificate
	CA   *Identity // whom the client believes
	IKE  string    // proposal as in ipsec.conf: "aes256-sha1-modp2048"
	ESP  string    // "aes256-sha1"
	More string    // more lines of ipsec.conf's connection

	// Lifetimes of the client; 0: 8 h, 1 h. It begins a new SA Margin, 0: 9 min, before the end.
	IKELifetime, ESPLifetime, Margin time.Duration

	// Impatient gives up within some seconds when nobody answers, rather than within three minutes.
	Impatient bool
}

// ESP is what strongSwan and the guest's kernel agreed on with the concentrator.
type ESP struct {
	IKE, ESP string // proposals as charon's log spells them: "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048"
	UDP      bool   // encapsulated, RFC 3948
}

// What the guest's kernel needs. A guest that only speaks PPTP does without.
const l2tpModules = "l2tp_ppp af_key xfrm_user esp4 authenc echainiv seqiv cbc ctr gcm ghash-generic hmac des_generic sha512_generic jitterentropy_rng drbg"

// Exit statuses of the dialling script: how far a call came that did not come up.
const (
	failedSetup = 80 + iota
	failedIKE
	failedL2TP // or PPP
	failedTime
)

// loadModules loads them, once. The kernel would go on looking for better implementations of each algorithm, by a process
// for each, which costs a client two seconds of its first call.
var loadModules = fmt.Sprintf(`
		if [ ! -d /sys/module/l2tp_ppp ]; then
			modprobe -a %s || exit %d
			echo >/proc/sys/kernel/modprobe
		fi
`, l2tpModules, failedSetup)

// hangUpAll ends every L2TP call of a guest, and tells the concentrator if that goes quickly.
const hangUpAll = `
		if [ -e /run/charon.pid ] || [ -e /run/xl2tpd.pid ]; then
			busybox killall -q -TERM xl2tpd
			[ -S /run/charon.ctl ] && timeout 4 ipsec stop >/dev/null 2>&1
			busybox killall -q -KILL xl2tpd pppd starter charon
			ip xfrm state flush
			ip xfrm policy flush
			rm -f /run/charon.* /run/starter.* /run/xl2tpd.*
		fi
`

// ipsecConf is strongSwan's ipsec.conf.
func (d Dial) ipsecConf(name string) string {
	s := d.L2TP.IPsec
	seconds := func(given, otherwise time.Duration) string {
		if given == 0 {
			given = otherwise
		}
		return strconv.Itoa(int(given.Seconds())) + "s"
	}
	lines := []string{
		"config setup", "conn " + name,
		"keyexchange=ikev1", "type=transport", "auto=add", "keyingtries=1",
		"left=%defaultroute", "leftprotoport=17/1701", "right=" + d.Server, "rightprotoport=17/1701", "rightid=%any",
		"ike=" + s.IKE + "!", "esp=" + s.ESP + "!",
		"ikelifetime=" + seconds(s.IKELifetime, 8*time.Hour), "lifetime=" + seconds(s.ESPLifetime, time.Hour),
		"margintime=" + seconds(s.Margin, 9*time.Minute), "rekeyfuzz=0%",
		"dpdaction=clear", "dpddelay=10s", "dpdtimeout=30s",
	}
	if s.PSK != "" {
		lines = append(lines, "authby=secret")
	} else {
		lines = append(lines, "leftauth=pubkey", "rightauth=pubkey", "leftcert=client.pem", "leftsendcert=always")
	}
	if s.More != "" {
		lines = append(lines, strings.Split(s.More, "\n")...)
	}
	return strings.Join(lines[:2], "\n") + "\n\t" + strings.Join(lines[2:], "\n\t") + "\n"
}

// strongswanConf is Debian's, with a log for the tests.
func (d Dial) strongswanConf(name string) string {
	patience := ""
	if d.L2TP.IPsec.Impatient {
		patience = "\tretransmit_tries = 2\n\tretransmit_timeout = 1.0\n\tretransmit_base = 1.5\n"
	}
	return `charon {
	load_modular = yes
` + patience + `	filelog {
		lab {
			path = /lab/` + name + `.charon
			default = 1
			ike = 2
			cfg = 2
			time_format = %H:%M:%S
			flush_line = yes
		}
	}
	plugins { include strongswan.d/charon/*.conf }
}
`
}

// xl2tpdConf is xl2tpd's configuration.
func (d Dial) xl2tpdConf(name string) string {
	lines := []string{"[global]", "port = 1701", "debug tunnel = yes", "debug state = yes"}
	if d.L2TP.FixedID {
		lines = append(lines, "rand source = sys")
	}
	lines = append(lines, "[lac "+name+"]", "lns = "+d.Server, "pppoptfile = /run/"+name, "length bit = yes", "redial = no", "autodial = no")
	if d.L2TP.Secret != "" {
		lines = append(lines, "challenge = yes")
	}
	return strings.Join(lines, "\n") + "\n"
}

// scriptTools are for waiting in a guest, where each process that is started costs a tenth of a second on a busy machine:
// all of it is bash's own.
//
//	pause S          sleeps
//	has FILE REGEXP  says whether the file has such a line, of 256 KiB at most
//	within S WORDS…  repeats a command until it succeeds; fails after so many seconds
const scriptTools = `
		[ -p /run/never ] || mkfifo /run/never
		exec 9<>/run/never
		pause() { read -r -t "$1" -u 9; }
		has() {
			local text
			[ -e "$1" ] || return 1
			read -r -d '' -N 262144 text <"$1"
			[[ $'\n'$text =~ $2 ]]
		}
		within() {
			local uptime end
			read -r uptime _ </proc/uptime
			end=$(( ${uptime/./} + $1 * 100 ))
			shift
			until "$@"; do
				read -r uptime _ </proc/uptime
				(( ${uptime/./} < end )) || return 1
				pause .05
			done
		}
`

// here writes a file of the guest in its script.
func here(path, text string) string {
	return "cat >" + path + " <<'END-OF-FILE'\n" + text + "END-OF-FILE\n"
}

// ipsecUp is the part of the script that sets IPsec up.
func (d Dial) ipsecUp(name string) string {
	s := d.L2TP.IPsec
	var script strings.Builder
	script.WriteString("rm -f /etc/ipsec.d/cacerts/* /etc/ipsec.d/certs/* /etc/ipsec.d/private/*\n")
	if s.Own != nil {
		// A guest that was booted again may begin at 1970 a second later, before every certificate's time.
		fmt.Fprintf(&script, "date -u -s @%d >/dev/null\n", time.Now().Unix())
	}
	script.WriteString(here("/etc/strongswan.conf", d.strongswanConf(name)) + here("/etc/ipsec.conf", d.ipsecConf(name)))
	if s.PSK != "" {
		script.WriteString(here("/etc/ipsec.secrets", ": PSK \""+s.PSK+"\"\n"))
	} else {
		script.WriteString(here("/etc/ipsec.secrets", ": "+s.Own.Kind+" client.key\n"))
		script.WriteString(here("/etc/ipsec.d/cacerts/ca.pem", s.CA.Certificate))
		script.WriteString(here("/etc/ipsec.d/certs/client.pem", s.Own.Certificate))
		script.WriteString(here("/etc/ipsec.d/private/client.key", s.Own.PrivateKey))
	}
	// "ipsec up" ends with status 0 when IKE has failed, and L2TP would then go in clear: only what it prints tells.
	script.WriteString(`
		ipsec start >/lab/` + name + `.starter 2>&1
		within 10 has /lab/` + name + `.charon "added configuration '` + name + `'"
		timeout 40 ipsec up ` + name + ` >/lab/` + name + `.up 2>&1
		has /lab/` + name + `.up "connection '` + name + `' established successfully" || exit ` + strconv.Itoa(failedIKE) + `
		ip -s xfrm state >/lab/` + name + `.xfrm
`)
	return script.String()
}

// dialL2TP is Dial by xl2tpd.
func (g *Guest) dialL2TP(ctx context.Context, d Dial, name string) (*Link, error) {
	const timeout = 40 * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout+30*time.Second)
	defer cancel()
	begin := time.Now()
	script := scriptTools + hangUpAll + loadModules
	if d.L2TP.IPsec != nil {
		script += d.ipsecUp(name)
	}
	script += here("/run/"+name, d.options(name)) + here("/run/xl2tpd.conf", d.xl2tpdConf(name)) +
		here("/run/xl2tpd.secrets", "* * "+d.L2TP.Secret+"\n")
	if d.L2TP.FixedID {
		script += "date -s '2020-01-01 00:00:00' >/dev/null\n" // in the past, or SAs would end
	}
	script += fmt.Sprintf(`
		xl2tpd -D -c /run/xl2tpd.conf -s /run/xl2tpd.secrets -p /run/xl2tpd.pid -C /run/xl2tpd.control >/lab/%[1]s.xl2tpd 2>&1 &
		within 5 [ -p /run/xl2tpd.control ]
		echo "c %[1]s" >/run/xl2tpd.control
		ended() {
			has /lab/%[1]s.log $'\n''remote IP address' && exit 0
			has /lab/%[1]s.log $'\n''Connection terminated' && exit %[3]d
			has /lab/%[1]s.xl2tpd 'Maximum retries|Connection ([0-9]+ )?closed|Unable to|died: ' && { pause .2; exit %[3]d; }
		}
		within %[2]d ended
		exit %[4]d
`, name, int(timeout.Seconds()), failedL2TP, failedTime)
	out, status, err := g.Sh(ctx, script)
	if err != nil {
		return nil, err
	}
	l := &Link{Asked: d, Guest: g, Took: time.Since(begin), name: name}
	if status != 0 {
		return nil, &Refusal{Status: status, Log: out + l.logs("up", "charon", "xl2tpd", "log")}
	}
	if d.L2TP.IPsec != nil {
		if l.ESP, err = l.parseESP(); err != nil {
			return nil, err
		}
	}
	return l, l.parse(l.logs("log"))
}

// path is where a program of the call logs.
func (l *Link) path(suffix string) string { return filepath.Join(l.Guest.Dir, l.name+"."+suffix) }

// logs are what the programs of the call have logged, one after the other; what was never written is left out.
func (l *Link) logs(suffixes ...string) string {
	var all strings.Builder
	for _, s := range suffixes {
		text, err := os.ReadFile(l.path(s))
		if err == nil {
			all.Write(text)
		}
	}
	return all.String()
}

var selected = map[string]*regexp.Regexp{
	"IKE": regexp.MustCompile(`selected proposal: IKE:(\S+)`),
	"ESP": regexp.MustCompile(`selected proposal: ESP:(\S+)`),
}

// parseESP reads what was agreed out of charon's log, and what is really used out of the kernel's SAs.
func (l *Link) parseESP() (*ESP, error) {
	log, sas := l.logs("charon"), l.logs("xfrm")
	ike, esp := selected["IKE"].FindStringSubmatch(log), selected["ESP"].FindStringSubmatch(log)
	if ike == nil || esp == nil || !strings.Contains(sas, "proto esp") || !strings.Contains(sas, "mode transport") {
		return nil, errors.New("IPsec is up, but charon's log has no proposals or the kernel no SAs:\n" + log + sas)
	}
	return &ESP{IKE: ike[1], ESP: strings.TrimSuffix(esp[1], "/NO_EXT_SEQ"), UDP: strings.Contains(sas, "encap type espinudp")}, nil
}

var xfrmPackets = regexp.MustCompile(`lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)`)

// ESPPackets is how many packets the guest's kernel has sent and received in all SAs that it has.
func (l *Link) ESPPackets(t testing.TB) (packets int) {
	t.Helper()
	out := l.Guest.Must(t, "ip -s xfrm state")
	for _, m := range xfrmPackets.FindAllStringSubmatch(out, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		packets += n
	}
	return packets
}

var tunnelIDs = regexp.MustCompile(`Connection established to [^\n]*Local: (\d+), Remote: \d+`)

// TunnelID is the ID that xl2tpd gave the tunnel.
func (l *Link) TunnelID(t testing.TB) string {
	t.Helper()
	m := tunnelIDs.FindStringSubmatch(l.logs("xl2tpd"))
	if m == nil {
		t.Fatalf("xl2tpd logged no tunnel ID:\n%s", l.logs("xl2tpd"))
	}
	return m[1]
}

// hangUpL2TP is HangUp by xl2tpd: LCP, the call, the tunnel, and the SAs.
func (l *Link) hangUpL2TP(t testing.TB) {
	t.Helper()
	script := scriptTools + fmt.Sprintf(`
		read -r pppd </run/%[1]s.pid || exit 1
		kill -TERM "$pppd"
		gone() { [ ! -e /proc/$pppd ] && [ ! -e /sys/class/net/%[1]s ]; }
		within 10 gone
		has /lab/%[2]s.log $'\n''Connection terminated' || { echo pppd does not hang up; exit 1; }
		within 2 has /lab/%[2]s.xl2tpd 'pppd exited'
		echo "d %[2]s" >/run/xl2tpd.control
		within 2 has /lab/%[2]s.xl2tpd '[Dd]isconnecting from'
		pause .3
		busybox killall -q -TERM xl2tpd
`, l.Interface(), l.name)
	if l.Asked.L2TP.IPsec != nil {
		script += "timeout 10 ipsec down " + l.name + " >/lab/" + l.name + ".down 2>&1\ntimeout 10 ipsec stop >/dev/null 2>&1\n"
	}
	l.Guest.Must(t, script+"exit 0")
}
