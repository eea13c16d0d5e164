//go:build interop

package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Forgery is a flood of enhanced GRE packets (RFC 2637 section 4.1) that claim to come from a client.
type Forgery struct {
	From, To netip.Addr
	Count    int           // packets, spread evenly over
	Over     time.Duration // this long
	Call     func(i int) uint16
}

// forgedBatch packets are sent at a time.
const forgedBatch = 64

// Send sends the flood from the attacker's namespace. It ends early with the context. Each packet carries a random
// sequence number and what would be an MPPE packet with a random coherency count.
func (f Forgery) Send(ctx context.Context, l *Lab) error {
	var socket int
	err := inNamespace(l.NS("atk"), func() (err error) {
		socket, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) // headers are ours
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return fmt.Errorf("attacker's socket: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	to := &unix.SockaddrInet4{Addr: f.To.As4()}
	begin := time.Now()
	for i := range f.Count {
		if i%forgedBatch == 0 {
			due := begin.Add(time.Duration(i) * f.Over / time.Duration(f.Count))
			select {
			case <-ctx.Done():
				return fmt.Errorf("flood stopped after %d packets: %w", i, ctx.Err())
			case <-time.After(time.Until(due)):
			}
		}
		if err := unix.Sendto(socket, f.packet(i), 0, to); err != nil {
			return fmt.Errorf("send forged packet %d: %w", i, err)
		}
	}
	return nil
}

// forgedPayload is the length of a forged PPP frame in octets: that of a small encrypted packet.
const forgedPayload = 64

func (f Forgery) packet(i int) []byte {
	const ipHeader, greHeader = 20, 12
	p := make([]byte, ipHeader+greHeader+forgedPayload)
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(len(p))) // the kernel fills in ID and checksum
	p[8] = 64
	p[9] = unix.IPPROTO_GRE
	from, to := f.From.As4(), f.To.As4()
	copy(p[12:], from[:])
	copy(p[16:], to[:])

	gre := p[ipHeader:]
	gre[0], gre[1] = 0x30, 0x01                 // key and sequence present; version 1
	binary.BigEndian.PutUint16(gre[2:], 0x880b) // PPP
	binary.BigEndian.PutUint16(gre[4:], forgedPayload)
	binary.BigEndian.PutUint16(gre[6:], f.Call(i))
	binary.BigEndian.PutUint32(gre[8:], rand.Uint32())

	frame := gre[greHeader:]
	for n := 3; n < len(frame); n++ {
		frame[n] = byte(rand.Uint32())
	}
	frame[0] = 0xfd                                                           // MPPE, compressed protocol field
	binary.BigEndian.PutUint16(frame[1:], 0x9000|uint16(rand.Uint32()&0xfff)) // flushed, encrypted, coherency count
	return p
}
