//go:build interop && interop_long

package interop

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The flood: first messages of as many Main Modes, each from an address of its own.
const (
	floodSize = 20_000
	floodOver = 10 * time.Second
	// floodMemory is what the daemon may grow by, in octets: 1.5 KiB for each.
	floodMemory = 32 << 20
)

// TestHalfOpenFlood begins 20 000 Main Modes from spoofed addresses, while a real client connects. The daemon stays as small
// as it was, give or take 32 MiB.
func TestHalfOpenFlood(t *testing.T) {
	g := borrow(t, 1)[0]
	d := overIPsec(acmeServer, acmePSK, cbcSHA1)
	quiet := dial(t, g, d)
	quiet.HangUp(t)

	before := memory(t, world.daemon.PID())
	seen := received(t, "srv", "outer")
	sent := make(chan error, 1)
	go func() { sent <- sendMainModes(t.Context(), world.lab, netip.MustParseAddr(acmeServer)) }()
	time.Sleep(floodOver / 4) // well into it
	link := dial(t, g, d)
	t.Logf("a client is in after %v, without the flood after %v", link.Took, quiet.Took)
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 20, 50*time.Millisecond); p.Received < 19 {
		t.Errorf("the client's traffic suffers: %+v", p)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if n := received(t, "srv", "outer") - seen; n < floodSize {
		t.Errorf("only %d packets reached the daemon's network, %d were sent", n, floodSize)
	}
	after := memory(t, world.daemon.PID())
	t.Logf("resident memory: %.1f MiB before, %.1f MiB after %d half-open Main Modes", float64(before)/(1<<20), float64(after)/(1<<20), floodSize)
	if after > before+floodMemory {
		t.Errorf("the daemon grew by %.1f MiB, want at most %d", float64(after-before)/(1<<20), floodMemory>>20)
	}
	checkGoodbye(t, link, world.daemon.OpenSession(t, "acme", link))

	again := dial(t, g, d)
	t.Logf("after the flood a client is in after %v", again.Took)
	again.HangUp(t)
}

// memory is a process's resident memory in octets.
func memory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatalf("VmRSS of process %d: %v", pid, err)
	}
	return kib << 10
}

// sendMainModes sends floodSize first messages from as many addresses of the range spoofed.
func sendMainModes(ctx context.Context, l *Lab, to netip.Addr) error {
	var socket int
	err := inNamespace(l.NS("atk"), func() (err error) {
		socket, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) // headers are ours
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return fmt.Errorf("attacker's socket: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	first := binary.BigEndian.Uint32(netip.MustParsePrefix(spoofed).Addr().AsSlice())
	begin := time.Now()
	for i := range floodSize {
		if i%forgedBatch == 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("flood stopped after %d packets: %w", i, ctx.Err())
			case <-time.After(time.Until(begin.Add(time.Duration(i) * floodOver / floodSize))):
			}
		}
		var from [4]byte
		binary.BigEndian.PutUint32(from[:], first+uint32(i)*167+1) // over the whole range
		if err := unix.Sendto(socket, mainMode(from, to.As4()), 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
			return fmt.Errorf("send main mode %d: %w", i, err)
		}
	}
	return nil
}

// mainMode is the first message of a Main Mode (RFC 2409 section 5.4) from port 500: AES-256-CBC, SHA-1, pre-shared key,
// modp2048, and the vendor ID of NAT traversal (RFC 3947).
func mainMode(from, to [4]byte) []byte {
	attribute := func(kind, value uint16) []byte {
		return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 0x8000|kind), value)
	}
	payload := func(next byte, body ...byte) []byte {
		return append([]byte{next, 0, 0, byte(len(body) + 4)}, body...)
	}
	var attributes []byte
	for _, a := range [][2]uint16{{1, 7}, {14, 256}, {2, 2}, {3, 1}, {4, 14}, {11, 1}, {12, 28800}} {
		attributes = append(attributes, attribute(a[0], a[1])...)
	}
	transform := payload(0, append([]byte{1, 1, 0, 0}, attributes...)...) // number 1, KEY_IKE
	proposal := payload(0, append([]byte{1, 1, 0, 1}, transform...)...)   // number 1, ISAKMP, no SPI, one transform
	sa := payload(13, append([]byte{0, 0, 0, 1, 0, 0, 0, 1}, proposal...)...)
	natt := payload(0, 0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f)

	const ipHeader, udpHeader, isakmpHeader = 20, 8, 28
	p := make([]byte, ipHeader+udpHeader+isakmpHeader, 256)
	p = append(append(p, sa...), natt...)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p))) // the kernel fills in ID and checksum
	copy(p[12:], from[:])
	copy(p[16:], to[:])
	udp := p[ipHeader:]
	binary.BigEndian.PutUint16(udp[0:], 500)
	binary.BigEndian.PutUint16(udp[2:], 500)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp))) // no checksum
	isakmp := udp[udpHeader:]
	_, _ = rand.Read(isakmp[:8])                    // the initiator's cookie; never fails
	isakmp[16], isakmp[17], isakmp[18] = 1, 0x10, 2 // SA first, version 1.0, Identity Protection
	binary.BigEndian.PutUint32(isakmp[24:], uint32(len(isakmp)))
	return p
}
