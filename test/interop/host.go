//go:build interop

package interop

import (
	"bufio"
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

// bulkSize is the size of a TCP transfer in octets.
const bulkSize = 10 << 20

// Host is a TCP service behind a tenant's network, in a namespace of its own. A client sends one line and gets its answer:
//
//	name      the host's name
//	down      bulkSize octets
//	up        and bulkSize octets: "SHA256" of what came
type Host struct {
	Name     string
	listener net.Listener
	payload  []byte
	sum      string
}

// NewHost starts the service on innerHost, port 7000, in a part of the lab. Every host has its own random octets, which
// the guests find in Dir/NAME.
func (l *Lab) NewHost(part string) (*Host, error) {
	h := &Host{Name: part, payload: make([]byte, bulkSize)}
	_, _ = rand.Read(h.payload) // never fails
	h.sum = sum(h.payload)
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
			_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
			h.answer(c) // a failure shows at the client
		}()
	}
}

func (h *Host) answer(c net.Conn) {
	r := bufio.NewReader(c)
	request, err := r.ReadString('\n')
	if err != nil {
		return
	}
	switch strings.TrimSpace(request) {
	case "name":
		_, _ = fmt.Fprintln(c, h.Name)
	case "down":
		_, _ = c.Write(h.payload)
	case "up":
		data := make([]byte, bulkSize)
		if _, err := io.ReadFull(r, data); err != nil {
			return
		}
		_, _ = fmt.Fprintln(c, sum(data))
	}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
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
	return l.transfer(t, h, "echo down >&4; timeout 100 head -c "+strconv.Itoa(bulkSize)+" <&4 | sha256sum")
}

// Upload moves bulkSize octets from the guest to the host by TCP and returns the rate in Mbit/s.
func (l *Link) Upload(t testing.TB, h *Host) float64 {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.Guest.Dir, "payload"), h.payload, 0o644); err != nil {
		t.Fatal(err)
	}
	return l.transfer(t, h, "{ echo up; timeout 100 cat /lab/payload; } >&4; timeout 100 head -n 1 <&4")
}

func (l *Link) transfer(t testing.TB, h *Host, script string) float64 {
	t.Helper()
	out := l.Guest.Must(t, ask+`begin=$EPOCHREALTIME
		got=$(`+script+`)
		echo "$got $(( ${EPOCHREALTIME/./} - ${begin/./} ))"`)
	fields := strings.Fields(out)
	if len(fields) < 2 || fields[0] != h.sum {
		t.Fatalf("transfer between %s and %s: got %q, want the octets with the sum %s", l.Guest.Name, h.Name, out, h.sum)
	}
	micros, err := strconv.ParseFloat(fields[len(fields)-1], 64)
	if err != nil || micros <= 0 {
		t.Fatalf("transfer took %q", fields[len(fields)-1])
	}
	return bulkSize * 8 / micros
}
