//go:build interop

package interop

import (
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Pings is what came of pinging. With a deadline ping may send, and get back, one more than it was told to.
type Pings struct {
	Sent, Received int
}

// pingCommand pings until count replies have come; it gives up 1 to 2 s after count were sent. Without its deadline ping
// would wait for the last replies only twice as long as for the others, which is not enough for a busy guest.
func pingCommand(target string, count int, interval time.Duration) []string {
	deadline := int(math.Ceil((time.Duration(count) * interval).Seconds())) + 1
	return []string{
		"ping", "-n", "-q", "-c", strconv.Itoa(count), "-i", fmt.Sprintf("%.3f", interval.Seconds()),
		"-w", strconv.Itoa(deadline), target,
	}
}

var pingLine = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// parsePings reads what ping printed.
func parsePings(t testing.TB, out string) (p Pings) {
	t.Helper()
	m := pingLine.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("ping printed %q", out)
	}
	p.Sent, _ = strconv.Atoi(m[1]) // digits
	p.Received, _ = strconv.Atoi(m[2])
	return p
}

// Ping pings from the guest, whose routes decide which way, until count replies have come or it is hopeless.
func (l *Link) Ping(t testing.TB, target string, count int, interval time.Duration) Pings {
	t.Helper()
	out, _, err := l.Guest.Sh(t.Context(), strings.Join(pingCommand(target, count, interval), " "))
	if err != nil {
		t.Fatal(err)
	}
	return parsePings(t, out)
}

// PingFor pings from the guest for so many whole seconds, at the interval or what the guest's clock makes of it.
func (l *Link) PingFor(t testing.TB, target string, interval, duration time.Duration) Pings {
	t.Helper()
	out, _, err := l.Guest.Sh(t.Context(), fmt.Sprintf("ping -n -q -i %.3f -w %d %s", interval.Seconds(), int(duration.Seconds()), target))
	if err != nil {
		t.Fatal(err)
	}
	return parsePings(t, out)
}

// PingFrom pings from a part of the lab.
func (l *Lab) PingFrom(t testing.TB, part, target string, count int, interval time.Duration) Pings {
	t.Helper()
	args := inside(l.NS(part), "ping", pingCommand(target, count, interval)[1:]...)
	out, _ := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput() // no reply is an error, too
	return parsePings(t, string(out))
}
