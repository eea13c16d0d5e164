//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tsharkFields are the options by which tshark prints a line for each packet: its protocols, whom it is from and to, whether the
// header's checksum is right (1), and the type of ICMP.
const tsharkFields = "-o ip.check_checksum:TRUE -T fields -E separator=/s " +
	"-e frame.protocols -e ip.src -e ip.dst -e ip.checksum.status -e icmp.type"

// terminal is a command of ctl on a terminal of its own.
type terminal struct {
	*exec.Cmd
	screen string // file with all that the terminal has shown
}

// onTerminal starts a command of ctl.
func onTerminal(t *testing.T, screen, command string) *terminal {
	t.Helper()
	cmd := world.daemon.ctlCommand(t.Context())
	script, err := exec.LookPath("script")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = script, []string{"script", "-qefc", world.bin + "/" + command, screen}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &terminal{cmd, screen}
}

// text is what the terminal has shown.
func (s *terminal) text(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.screen)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCaptureSession captures live sessions by ctl, the inner side on a terminal into a file, the outer side through a pipe,
// and lets tshark read both: pings inside, GRE or ESP outside, and nothing that it finds strange. Nothing is captured on a
// terminal's screen.
func TestCaptureSession(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		dial    Dial
		nat     bool
		carries string // what tshark calls the packets outside
	}{
		{
			"PPTP",
			Dial{Server: acmeServer, User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			false,
			"raw:ip:gre",
		},
		{"L2TP/IPsec", overIPsec(acmeServer, acmePSK, cbcSHA1), true, "raw:ip:udp:udpencap:esp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const pings = 5
			g := borrow(t, 1)[0]
			from := g.Addr.String()
			if c.nat {
				g.GoBehind(t, g.index, PrivateAddr(g.index))
				from = NATAddr(g.index).String()
			}
			link := dial(t, g, c.dial)
			link.Route(t, innerHost)
			s := world.daemon.OpenSession(t, "acme", link)
			dir := t.TempDir()
			inner, outer := filepath.Join(dir, "inner.pcap"), filepath.Join(dir, "outer.pcap")

			screen := onTerminal(t, filepath.Join(dir, "screen"), "ctl session capture "+s.Name+" -w -")
			if err := screen.Wait(); err == nil || !strings.Contains(screen.text(t), "no text for a terminal") {
				t.Errorf("onto a screen: %v: %s", err, screen.text(t))
			}
			screen = onTerminal(t, filepath.Join(dir, "screen"), fmt.Sprintf("ctl session capture %s -w %s --packets %d", s.Name, inner, 2*pings))
			piped := world.daemon.ctlCommand(t.Context())
			piped.Path, piped.Args = "/bin/sh", []string{"sh", "-c", fmt.Sprintf(
				"%s/ctl session capture %s -w - --side outer | tee %s | tshark -r - %s", world.bin, s.Name, outer, tsharkFields)}
			var lines, errs bytes.Buffer
			piped.Stdout, piped.Stderr = &lines, &errs
			if err := piped.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, func() string {
				for _, file := range []string{inner, outer} {
					if i, err := os.Stat(file); err != nil || i.Size() < 24 {
						return "no capture into " + file
					}
				}
				return ""
			})
			if p := link.Ping(t, innerHost, pings, 50*time.Millisecond); p.Received < pings {
				t.Errorf("%+v", p)
			}
			if err := screen.Wait(); err != nil {
				t.Errorf("the inner side: %v", err)
			}
			if text := screen.text(t); !strings.Contains(text, fmt.Sprintf("%d packets, %d octets", 2*pings, 2*pings*84)) {
				t.Errorf("ctl says %q", text)
			}
			link.HangUp(t)
			if err := piped.Wait(); err != nil { // with the session
				t.Errorf("the outer side: %v: %s", err, &errs)
			}

			text, err := exec.CommandContext(t.Context(), "sh", "-c", "tshark -r "+inner+" "+tsharkFields).Output()
			if err != nil {
				t.Fatal(err)
			}
			asks := fmt.Sprintf("raw:ip:icmp:data %s %s 1 8", link.Local, innerHost)
			answers := fmt.Sprintf("raw:ip:icmp:data %s %s 1 0", innerHost, link.Local)
			var asked, answered int
			for line := range strings.Lines(string(text)) {
				switch strings.TrimSpace(line) {
				case asks:
					asked++
				case answers:
					answered++
				default:
					t.Errorf("inside: %s", line)
				}
			}
			if asked != pings || answered != pings {
				t.Errorf("inside were %d requests and %d replies", asked, answered)
			}
			var in, out int
			for line := range strings.Lines(lines.String()) {
				f := strings.Fields(line)
				switch {
				case len(f) < 4 || !strings.HasPrefix(f[0], c.carries) || f[3] != "1":
					t.Errorf("outside: %s", line)
				case f[1] == from && f[2] == c.dial.Server:
					in++
				case f[1] == c.dial.Server && f[2] == from:
					out++
				default:
					t.Errorf("outside: %s", line)
				}
			}
			if in < pings || out < pings {
				t.Errorf("outside came %d packets and went %d:\n%s", in, out, &lines)
			}
		})
	}
}
