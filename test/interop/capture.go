//go:build interop

package interop

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Capture listens to every packet of every device of a namespace, in both directions.
type Capture struct {
	fd   int
	done chan struct{}

	mu      sync.Mutex
	packets int
	first   []string // a few of them, for a failure
}

// maxShown is how many packets a Capture keeps to show.
const maxShown = 5

// StartCapture begins to listen in the namespace ns. It ends with the test.
func StartCapture(t testing.TB, ns string) *Capture {
	t.Helper()
	const all = unix.ETH_P_ALL&0xff<<8 | unix.ETH_P_ALL>>8 // in network order
	c := &Capture{done: make(chan struct{})}
	if err := inNamespace(ns, func() (err error) {
		// Without link headers, so that TUN and Ethernet look the same.
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// It looks up four times a second whether it shall end.
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 250_000}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.listen()
	}()
	t.Cleanup(func() {
		close(c.done)
		<-ended
		_ = unix.Close(c.fd)
	})
	return c
}

func (c *Capture) listen() {
	buf := make([]byte, 2048)
	for {
		select {
		case <-c.done:
			return
		default:
		}
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok {
			return
		}
		protocol := link.Protocol&0xff<<8 | link.Protocol>>8
		if protocol == unix.ETH_P_ARP && neighbours(buf[:n]) {
			continue
		}
		c.mu.Lock()
		c.packets++
		if len(c.first) < maxShown {
			c.first = append(c.first, fmt.Sprintf("device %d, protocol %#04x: %s", link.Ifindex, protocol, hex.EncodeToString(buf[:min(n, 40)])))
		}
		c.mu.Unlock()
	}
}

// neighbours says whether an ARP packet is one of gateway and host, which look after each other now and then.
func neighbours(arp []byte) bool {
	if len(arp) < 28 {
		return false
	}
	known := func(b []byte) bool {
		a := netip.AddrFrom4([4]byte(b)).String()
		return a == innerGateway || a == innerHost
	}
	return known(arp[14:18]) && known(arp[24:28])
}

// Take returns how many packets there were since the last Take, and the first of them.
func (c *Capture) Take() (packets int, first []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	packets, first = c.packets, c.first
	c.packets, c.first = 0, nil
	return packets, first
}
