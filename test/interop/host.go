//go:build interop

package interop

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bulkSize is the size of a TCP transfer in octets, where nothing else is asked for.
const bulkSize = 10 << 20

// Host is a TCP service behind a tenant's network, in a namespace of its own. A client sends one line and gets its answer:
//
//	name      the host's name
//	down N    bulkSize octets N times
//	up N      and bulkSize octets N times: "SHA256" of what came
//	echo      each further line
type Host struct {
	Name     string
	listener net.Listener
	payload  []byte
}

// NewHost starts the service on innerHost, port 7000, in a part of the lab. Every host has its own random octets, which
// the guests find in Dir/NAME.
func (l *Lab) NewHost(part string) (*Host, error) {
	h := &Host{Name: part, payload: make([]byte, bulkSize)}
	_, _ = rand.Read(h.payload) // never fails
	var err error
	if h.listener, err = listenIn(l.NS(part), innerHost+":7000"); err != nil {
		return nil, fmt.Errorf("service of host %s: %w", part, err)
	}
	go h.serve()
	return h, nil
}

// Close ends the service.
func (h *Host) Close() { h.listener.Close() }

func (h *Host) serve() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer c.Close()
			h.answer(c) // a failure shows at the client
		}()
	}
}

func (h *Host) answer(c net.Conn) {
	patience := func(d time.Duration) { _ = c.SetDeadline(time.Now().Add(d)) }
	patience(10 * time.Second)
	r := bufio.NewReader(c)
	request, err := r.ReadString('\n')
	if err != nil {
		return
	}
	verb, times, _ := strings.Cut(strings.TrimSpace(request), " ")
	n, _ := strconv.Atoi(times) // 0 for the verbs without a number
	patience(time.Duration(1+n) * time.Minute)
	switch verb {
	case "name":
		_, _ = fmt.Fprintln(c, h.Name)
	case "down":
		for range n {
			if _, err := c.Write(h.payload); err != nil {
				return
			}
		}
	case "up":
		digest := sha256.New()
		if _, err := io.CopyN(digest, r, int64(n)*bulkSize); err != nil {
			return
		}
		_, _ = fmt.Fprintln(c, hex.EncodeToString(digest.Sum(nil)))
	case "echo":
		for {
			patience(time.Minute)
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, line); err != nil {
				return
			}
		}
	}
}

// sum is the SHA256 of the host's octets, n times.
func (h *Host) sum(n int) string {
	digest := sha256.New()
	for range n {
		_, _ = digest.Write(h.payload) // never fails
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// ask opens a connection to the host behind the link, in bash, which leaves it on file descriptor 4.
const ask = "exec 4<>/dev/tcp/" + innerHost + "/7000 || exit 1\n"

// HostName asks the host that the link leads to for its name.
func (l *Link) HostName(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(l.Guest.Must(t, ask+"echo name >&4; timeout 10 cat <&4"))
}

// Download moves bulkSize octets from the host to the guest by TCP and returns the rate in Mbit/s.
func (l *Link) Download(t testing.TB, h *Host) float64 {
	t.Helper()
	return l.DownloadTimes(t, h, 1)
}

// Upload moves bulkSize octets from the guest to the host by TCP and returns the rate in Mbit/s.
func (l *Link) Upload(t testing.TB, h *Host) float64 {
	t.Helper()
	return l.UploadTimes(t, h, 1)
}

// DownloadRate moves octets from the host to the guest by TCP for three seconds, and returns the rate in Mbit/s: where a
// limit would make bulkSize take long.
func (l *Link) DownloadRate(t testing.TB) float64 {
	t.Helper()
	const seconds = 3
	out := strings.TrimSpace(l.Guest.Must(t, ask+fmt.Sprintf("echo down 1 >&4; timeout %d cat <&4 | wc -c", seconds)))
	n, err := strconv.ParseFloat(out, 64)
	if err != nil {
		t.Fatalf("a download of %d s: %q", seconds, out)
	}
	return n * 8 / seconds / 1e6
}

// DownloadTimes is Download of n times the octets over one connection.
func (l *Link) DownloadTimes(t testing.TB, h *Host, n int) float64 {
	t.Helper()
	rate, err := l.download(t.Context(), h, n)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

// UploadTimes is Upload of n times the octets over one connection.
func (l *Link) UploadTimes(t testing.TB, h *Host, n int) float64 {
	t.Helper()
	rate, err := l.upload(t.Context(), h, n)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

func (l *Link) download(ctx context.Context, h *Host, n int) (float64, error) {
	return l.transfer(ctx, h, n, fmt.Sprintf("echo down %d >&4; timeout %d head -c %d <&4 | sha256sum", n, 100*n, n*bulkSize))
}

func (l *Link) upload(ctx context.Context, h *Host, n int) (float64, error) {
	if err := os.WriteFile(filepath.Join(l.Guest.Dir, "payload"), h.payload, 0o644); err != nil {
		return 0, err
	}
	return l.transfer(ctx, h, n, fmt.Sprintf("{ echo up %d; for _ in {1..%d}; do timeout 100 cat /lab/payload; done; } >&4; timeout 100 head -n 1 <&4", n, n))
}

func (l *Link) transfer(ctx context.Context, h *Host, n int, script string) (float64, error) {
	out, status, err := l.Guest.Sh(ctx, ask+`begin=$EPOCHREALTIME
		got=$(`+script+`)
		echo "$got $(( ${EPOCHREALTIME/./} - ${begin/./} ))"`)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(out)
	if want := h.sum(n); status != 0 || len(fields) < 2 || fields[0] != want {
		return 0, fmt.Errorf("transfer between %s and %s: status %d, got %q, want the octets with the sum %s", l.Guest.Name, h.Name, status, out, want)
	}
	micros, err := strconv.ParseFloat(fields[len(fields)-1], 64)
	if err != nil || micros <= 0 {
		return 0, fmt.Errorf("transfer took %q", fields[len(fields)-1])
	}
	return float64(n) * bulkSize * 8 / micros, nil
}

// echoScript keeps one TCP connection to the host busy for so long: a line each quarter of a second, which must come back
// within 10 s.
func echoScript(over time.Duration) string {
	return ask + fmt.Sprintf(`echo echo >&4
		end=$(( ${EPOCHREALTIME/./} + %d ))
		for ((i = 0; ${EPOCHREALTIME/./} < end; i++)); do
			echo "line $i" >&4
			read -r -t 10 line <&4 && [ "$line" = "line $i" ] || { echo "line $i did not come back: $line"; exit 1; }
			sleep .25
		done
		echo "$i lines"`, over.Microseconds())
}
