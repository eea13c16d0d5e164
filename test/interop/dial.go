//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dialTime is how long pppd may take until the link is up or refused.
const dialTime = 25 * time.Second

// Auth is an authentication method that a client can be held to.
type Auth string

// The methods of pppd, and how its log spells them in a Configure-Request's option.
const (
	AuthPAP      Auth = "pap"
	AuthCHAP     Auth = "chap MD5"
	AuthMSCHAPv2 Auth = "chap MS-v2"
	AuthEAP      Auth = "eap"
)

// Cipher is an encryption that a client insists on.
type Cipher string

// What a client may insist on, and how pppd's log spells it.
const (
	CipherNone    Cipher = ""
	CipherMPPE40  Cipher = "MPPE 40-bit stateless"
	CipherMPPE128 Cipher = "MPPE 128-bit stateless"
)

// Dial is one call by pppd over pptp, or over xl2tpd.
type Dial struct {
	Server         string // outer address of the listener
	User, Password string
	Auth           Auth
	Cipher         Cipher
	Unit           int    // the interface is pppUNIT
	Extra          string // more pppd options, one a line
	L2TP           *L2TP  // nil: PPTP
}

// options is pppd's option file for the call. name marks what pptp logs for it.
func (d Dial) options(name string) string {
	lines := []string{
		"noauth", "noipdefault", "nodefaultroute", "usepeerdns", "noipv6",
		"debug", "logfile /lab/" + name + ".log", "unit " + strconv.Itoa(d.Unit), "maxfail 1", "mtu 1400", "mru 1400",
		"name " + quoteOption(d.User), "password " + quoteOption(d.Password),
		"refuse-mschap",
	}
	if d.L2TP == nil {
		lines = append(lines, "updetach", fmt.Sprintf("pty \"pptp %s --nolaunchpppd --loglevel 1 --logstring %s\"", d.Server, name))
	}
	for auth, refuse := range map[Auth]string{
		AuthPAP: "refuse-pap", AuthCHAP: "refuse-chap", AuthMSCHAPv2: "refuse-mschap-v2", AuthEAP: "refuse-eap",
	} {
		if d.Auth != auth {
			lines = append(lines, refuse)
		}
	}
	switch d.Cipher {
	case CipherMPPE128:
		lines = append(lines, "require-mppe-128", "nomppe-stateful")
	case CipherMPPE40:
		lines = append(lines, "require-mppe-40", "nomppe-stateful")
	case CipherNone:
		lines = append(lines, "nomppe")
	}
	return strings.Join(append(lines, d.Extra), "\n") + "\n"
}

// quoteOption quotes a word for pppd's option file.
func quoteOption(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Link is a PPP link that is up in a guest.
type Link struct {
	Asked  Dial
	Guest  *Guest
	Local  netip.Addr // the address that the concentrator gave
	Remote netip.Addr // the concentrator's own
	DNS    []netip.Addr
	Auth   Auth   // as agreed
	Cipher Cipher // as agreed
	Took   time.Duration
	ESP    *ESP   // of L2TP/IPsec, as agreed
	name   string // of the call in the guest's logs
}

// Refusal is a call that did not come up.
type Refusal struct {
	Status int    // of pppd; 19: the server refused the login. Of L2TP: how far it came
	Log    string // of pppd, and what pptp warns of. Of L2TP: of charon, xl2tpd and pppd
}

// Error implements error with the last that the client said.
func (r *Refusal) Error() string {
	lines := strings.Split(strings.TrimSpace(r.Log), "\n")
	return fmt.Sprintf("the client gave up with status %d:\n\t%s", r.Status, strings.Join(lines[max(0, len(lines)-25):], "\n\t"))
}

// Dial calls, and returns when the link carries IP. The error is a *Refusal if pppd ended by itself.
func (g *Guest) Dial(ctx context.Context, d Dial) (*Link, error) {
	name := fmt.Sprintf("call%d", g.calls.Add(1))
	if d.L2TP != nil {
		return g.dialL2TP(ctx, d, name)
	}
	log := filepath.Join(g.Dir, name+".log")
	ctx, cancel := context.WithTimeout(ctx, dialTime+5*time.Second)
	defer cancel()
	begin := time.Now()
	out, status, err := g.Sh(ctx, fmt.Sprintf(`
		cat >/run/%[1]s <<'OPTIONS'
%[2]sOPTIONS
		exec timeout %[3]d pppd file /run/%[1]s`,
		name, d.options(name), int(dialTime.Seconds())))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return nil, fmt.Errorf("pppd left no log: %s", out)
	}
	if status != 0 {
		return nil, &Refusal{Status: status, Log: string(text)}
	}
	l := &Link{Asked: d, Guest: g, Took: time.Since(begin), name: name}
	return l, l.parse(string(text))
}

var (
	localLine  = regexp.MustCompile(`(?m)^local +IP address (\S+)`)
	remoteLine = regexp.MustCompile(`(?m)^remote IP address (\S+)`)
	dnsLine    = regexp.MustCompile(`(?m)^(?:primary|secondary) +DNS address (\S+)`)
	authOption = regexp.MustCompile(`(?m)^sent \[LCP ConfAck [^\]]*<auth ([^>]+)>`)
	mppeLine   = regexp.MustCompile(`(?m)^(MPPE \S+ \S+) compression enabled`)
)

// parse reads what was agreed out of pppd's log.
func (l *Link) parse(log string) (err error) {
	find := func(re *regexp.Regexp) string {
		all := re.FindAllStringSubmatch(log, -1)
		if len(all) == 0 {
			return ""
		}
		return all[len(all)-1][1]
	}
	var err1, err2 error
	l.Local, err1 = netip.ParseAddr(find(localLine))
	l.Remote, err2 = netip.ParseAddr(find(remoteLine))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("pppd's log has no addresses: %w\n%s", err, log)
	}
	for _, m := range dnsLine.FindAllStringSubmatch(log, -1) {
		a, err := netip.ParseAddr(m[1])
		if err != nil {
			return fmt.Errorf("DNS address in pppd's log: %w", err)
		}
		l.DNS = append(l.DNS, a)
	}
	l.Auth, l.Cipher = Auth(find(authOption)), Cipher(find(mppeLine))
	return nil
}

// Interface is the link's network interface in the guest.
func (l *Link) Interface() string { return fmt.Sprintf("ppp%d", l.Asked.Unit) }

// Log is all that pppd has logged for the link.
func (l *Link) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.Guest.Dir, l.name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var callIDs = regexp.MustCompile(`Outgoing call established \(call ID \d+, peer's call ID (\d+)\)`)

// CallID is the call ID that the concentrator gave the call.
func (l *Link) CallID(t testing.TB) uint16 {
	t.Helper()
	text := l.Guest.Syslog(t)
	for line := range strings.Lines(text) {
		if m := callIDs.FindStringSubmatch(line); m != nil && strings.Contains(line, " "+l.name+" ") {
			id, err := strconv.ParseUint(m[1], 10, 16)
			if err != nil {
				t.Fatal(err)
			}
			return uint16(id)
		}
	}
	t.Fatalf("pptp logged no call ID for %s:\n%s", l.name, text)
	return 0
}

// Route sends what the guest has for address through the link.
func (l *Link) Route(t testing.TB, address string) {
	t.Helper()
	l.Guest.Must(t, fmt.Sprintf("ip route replace %s/32 dev %s", address, l.Interface()))
}

// HangUp ends the call as a user does, and returns when pppd has said goodbye and its interface is gone.
func (l *Link) HangUp(t testing.TB) {
	t.Helper()
	if l.Asked.L2TP != nil {
		l.hangUpL2TP(t)
		return
	}
	// pppd itself would stay 5 s longer, waiting for a pptp that updetach has taken out of its hands.
	l.Guest.Must(t, fmt.Sprintf(`
		read -r pppd </run/%[1]s.pid || exit 1
		kill -TERM "$pppd"
		for _ in {1..200}; do
			grep -q '^Connection terminated' /lab/%[2]s.log && [ ! -e /sys/class/net/%[1]s ] && { kill -KILL "$pppd"; exit 0; }
			kill -0 "$pppd" || exit 0
			sleep .05
		done
		echo pppd does not hang up; exit 1`, l.Interface(), l.name))
}

// Gone waits until the link went down by itself, and returns how long that took.
func (l *Link) Gone(t testing.TB, limit time.Duration) time.Duration {
	t.Helper()
	return eventually(t, limit, func() string {
		if log := l.Log(t); !strings.Contains(log, "Connection terminated") {
			return "the link is still up; pppd logged last: " + log[max(0, len(log)-500):]
		}
		return ""
	})
}

// Counters are an interface's octets and packets as the kernel counts them: inner IP packets only.
type Counters struct {
	RxBytes, RxPackets, TxBytes, TxPackets uint64
}

// Sub is what was counted since earlier.
func (c Counters) Sub(earlier Counters) Counters {
	return Counters{
		c.RxBytes - earlier.RxBytes, c.RxPackets - earlier.RxPackets,
		c.TxBytes - earlier.TxBytes, c.TxPackets - earlier.TxPackets,
	}
}

// Counters reads the guest's counters of the link.
func (l *Link) Counters(t testing.TB) (c Counters) {
	t.Helper()
	out := l.Guest.Must(t, fmt.Sprintf("cd /sys/class/net/%s/statistics && cat rx_bytes rx_packets tx_bytes tx_packets", l.Interface()))
	if _, err := fmt.Sscan(out, &c.RxBytes, &c.RxPackets, &c.TxBytes, &c.TxPackets); err != nil {
		t.Fatalf("counters of %s: %v: %q", l.Interface(), err, out)
	}
	return c
}
