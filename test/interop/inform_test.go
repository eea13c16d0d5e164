//go:build interop

package interop

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// bootp is a DHCP message without its options: hardware type 8 and the rest as the client of a PPP link has it.
func bootp(xid, secs, own, hardware string) string {
	head := "01080600" + xid + secs + "0000" + own + strings.Repeat("00", 12) + hardware
	return head + strings.Repeat("00", 236-len(head)/2) + "63825363"
}

// TestInform asks as Windows and as macOS do, through MPPE and through ESP: the answer has routes, name servers and suffix
// of the profile, and by the routes the host behind the tenant is reached.
func TestInform(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		dial Dial
		nat  bool
	}{
		{"PPTP", Dial{Server: acmeServer, User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128}, false},
		{"L2TP/IPsec", overIPsec(acmeServer, acmePSK, cbcSHA1), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := borrow(t, 1)[0]
			if c.nat {
				g.GoBehind(t, g.index, PrivateAddr(g.index))
			}
			build := exec.Command("go", "build", "-tags=interop", "-o", g.Dir+"/", "concentrator/test/interop/askdhcp")
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
			link := dial(t, g, c.dial)
			own := hex.EncodeToString(link.Local.AsSlice())

			// Windows 2000's as captured (CAP-ASLEAP frame 267), asking for what Windows 10 does.
			windows := bootp("8d6ffc30", "0600", own, "534500000000") +
				"350108" + "3d0708534500000000" + "0c066c6170746f70" + "3c084d53465420352e30" + "370c010f03062c2e2f1f2179f9fc" + "ff"
			// What pppd of macOS makes, and without a checksum.
			macOS := bootp("00000001", "0000", own, "00000001000000000000000000000001") +
				"350108" + "3d070800000001" + "0000" + "3706062e2c01790f" + "ff"
			router := hex.EncodeToString(link.Remote.AsSlice())
			routes := "180a6300" + router + "090a80" + router
			common := map[byte]string{
				53: "05", 54: router, 1: "ffffffff", 6: "0a6300350a630036",
				15: hex.EncodeToString([]byte("corp.acme.example")), 121: routes,
			}
			for client, q := range map[string]struct {
				flags, message string
				also           map[byte]string
			}{
				"Windows": {"", windows, map[byte]string{61: "08534500000000", 249: routes}},
				"macOS":   {"-no-checksum", macOS, map[byte]string{61: "08000000010000"}},
			} {
				want := maps.Clone(common)
				maps.Copy(want, q.also)
				out := g.Must(t, fmt.Sprintf("/lab/askdhcp %s %s %s %s", q.flags, link.Interface(), link.Local, q.message))
				checkInform(t, client, out, link.Remote, q.message, want)
			}
			discover := strings.Replace(macOS, "350108", "350101", 1)
			if out := g.Must(t, fmt.Sprintf("/lab/askdhcp %s %s %s", link.Interface(), link.Local, discover)); out != "nobody\n" {
				t.Errorf("a DISCOVER is answered: %s", out)
			}
			if n := world.daemon.OpenSession(t, "acme", link).Drops["dhcp_refused"]; n != 1 {
				t.Errorf("%d dhcp_refused, want the DISCOVER", n)
			}
			g.Must(t, fmt.Sprintf("ip route add 10.99.0.0/24 via %s dev %s", link.Remote, link.Interface()))
			if p := link.Ping(t, innerHost, 3, 200*time.Millisecond); p.Received < 3 {
				t.Errorf("by the routes told: %+v", p)
			}
			link.HangUp(t)
		})
	}
}

// checkInform checks what askdhcp has printed: one answer of the server to question, which says exactly want.
func checkInform(t *testing.T, client, out string, server netip.Addr, question string, want map[byte]string) {
	t.Helper()
	from, text, _ := strings.Cut(strings.TrimSpace(out), " ")
	m, err := hex.DecodeString(text)
	if err != nil || len(m) < 300 || from != netip.AddrPortFrom(server, 67).String() {
		t.Errorf("%s: %v answered %d octets, want %v: %s", client, from, len(m), server, out)
		return
	}
	// Transaction and hardware address are the question's, and no address is given.
	if m[0] != 2 || text[8:16] != question[8:16] || text[24:32] != question[24:32] || text[32:40] != "00000000" ||
		text[56:88] != question[56:88] || text[472:480] != "63825363" {
		t.Errorf("%s: answered %s", client, text)
	}
	got := map[byte]string{}
	for o := m[240:]; len(o) > 1 && o[0] != 255; {
		end := 2 + int(o[1])
		if end > len(o) {
			t.Errorf("%s: an option is cut: %s", client, text)
			return
		}
		got[o[0]] = hex.EncodeToString(o[2:end])
		o = o[end:]
	}
	for _, code := range slices.Sorted(maps.Keys(want)) {
		if got[code] != want[code] {
			t.Errorf("%s: option %d is %q, want %q", client, code, got[code], want[code])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: told %v", client, got)
	}
}
