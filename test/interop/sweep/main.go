//go:build interop

// Command sweep asks many addresses from a guest, by ICMP, TCP and UDP, and prints who has answered how, which takes no
// package of Debian and no process for each question.
//
//	sweep LOCAL RATE WHAT...
//
// WHAT is icmp:PREFIX, tcp:PREFIX:PORTS or udp:PREFIX:PORTS, with ports as 22,80 or 1-65535. RATE is questions a second.
// The guest itself, LOCAL, is not asked. Each line of the answer is one of
//
//	asked COUNT
//	ADDRESS icmp TYPE CODE COUNT    0 0 is an answer to a ping
//	ADDRESS tcp open PORT
//	ADDRESS tcp closed COUNT
//	ADDRESS udp PORT
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What answers are known by.
const (
	ourPort = 61000 // TCP and UDP
	ourID   = 0x5357
)

// patience is how long answers may take after the last question.
const patience = 2 * time.Second

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: sweep LOCAL RATE WHAT...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "sweep:", err)
		os.Exit(1)
	}
}

// sweep is one at work.
type sweep struct {
	local   netip.Addr
	each    time.Duration // between two questions
	begin   time.Time
	asked   int
	sockets map[string]net.PacketConn

	mu      sync.Mutex
	answers map[string]int
}

func run(local, rate string, what []string) error {
	s := &sweep{sockets: make(map[string]net.PacketConn), answers: make(map[string]int)}
	var err error
	if s.local, err = netip.ParseAddr(local); err != nil {
		return err
	}
	n, err := strconv.Atoi(rate)
	if err != nil || n <= 0 {
		return fmt.Errorf("rate %q", rate)
	}
	s.each = time.Second / time.Duration(n)
	for _, protocol := range []string{"icmp", "tcp", "udp"} {
		c, err := net.ListenPacket("ip4:"+protocol, local)
		if err != nil {
			return err
		}
		s.sockets[protocol] = c
		go s.listen(protocol, c)
	}
	s.begin = time.Now()
	for _, w := range what {
		if err := s.ask(w); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	time.Sleep(patience)
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Println("asked", s.asked)
	for _, a := range slices.Sorted(maps.Keys(s.answers)) {
		if strings.Contains(a, "open") || strings.Contains(a, "udp") {
			fmt.Println(a)
		} else {
			fmt.Println(a, s.answers[a])
		}
	}
	return nil
}

// ask asks one WHAT.
func (s *sweep) ask(what string) error {
	parts := strings.Split(what, ":")
	socket := s.sockets[parts[0]]
	if socket == nil || len(parts) < 2 {
		return errors.New("neither icmp, tcp nor udp of something")
	}
	prefix, err := netip.ParsePrefix(parts[1])
	if err != nil {
		return err
	}
	list := []uint16{0}
	if parts[0] != "icmp" {
		if len(parts) != 3 {
			return errors.New("no ports")
		}
		if list, err = ports(parts[2]); err != nil {
			return err
		}
	}
	for _, port := range list {
		for a := prefix.Masked().Addr(); prefix.Contains(a); a = a.Next() {
			if a == s.local {
				continue
			}
			if err := s.send(socket, a, s.question(parts[0], a, port)); err != nil {
				return fmt.Errorf("to %s: %w", a, err)
			}
		}
	}
	return nil
}

// ports reads 22,80 or 1-65535.
func ports(text string) (list []uint16, err error) {
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		for p := from; p <= to; p++ {
			list = append(list, uint16(p))
		}
	}
	return list, nil
}

// send sends at its time.
func (s *sweep) send(c net.PacketConn, to netip.Addr, packet []byte) error {
	if wait := time.Until(s.begin.Add(time.Duration(s.asked) * s.each)); wait > 5*time.Millisecond {
		time.Sleep(wait)
	}
	s.asked++
	for {
		_, err := c.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()})
		switch {
		case errors.Is(err, syscall.ENOBUFS):
			time.Sleep(time.Millisecond)
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
			// What an answer before this one has left at the socket: the packet was not sent yet.
		default:
			return err
		}
	}
}

// question makes a ping, a SYN or a datagram.
func (s *sweep) question(protocol string, to netip.Addr, port uint16) []byte {
	switch protocol {
	case "icmp":
		p := []byte{8, 0, 0, 0, ourID >> 8, ourID & 0xff, 0, 1}
		binary.BigEndian.PutUint16(p[2:], checksum(0, p))
		return p
	case "udp":
		p := make([]byte, 12) // no checksum
		binary.BigEndian.PutUint16(p, ourPort)
		binary.BigEndian.PutUint16(p[2:], port)
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)))
		return p
	default:
		p := make([]byte, 20)
		binary.BigEndian.PutUint16(p, ourPort)
		binary.BigEndian.PutUint16(p[2:], port)
		binary.BigEndian.PutUint32(p[4:], uint32(s.asked))
		p[12], p[13] = 5<<4, 0x02 // SYN
		binary.BigEndian.PutUint16(p[14:], 1024)
		pseudo := append(append(s.local.AsSlice(), to.AsSlice()...), 0, syscall.IPPROTO_TCP, 0, byte(len(p)))
		binary.BigEndian.PutUint16(p[16:], checksum(sum(0, pseudo), p))
		return p
	}
}

// sum adds the 16-bit words of b, of even length.
func sum(start uint32, b []byte) uint32 {
	for i := 0; i < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return start
}

// checksum is the Internet checksum, RFC 1071.
func checksum(start uint32, b []byte) uint16 {
	n := sum(start, b)
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return ^uint16(n)
}

// listen counts the answers of one protocol.
func (s *sweep) listen(protocol string, c net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error, which the ICMP socket has seen too
		}
		if a := answer(protocol, buf[:n]); a != "" {
			s.mu.Lock()
			s.answers[from.String()+" "+protocol+a]++
			s.mu.Unlock()
		}
	}
}

// answer says what a packet is an answer of; "" if it is none to us.
func answer(protocol string, p []byte) string {
	if len(p) < 8 {
		return ""
	}
	switch protocol {
	case "icmp":
		if p[0] == 8 || p[0] == 0 && binary.BigEndian.Uint16(p[4:]) != ourID {
			return ""
		}
		return fmt.Sprintf(" %d %d", p[0], p[1])
	case "udp":
		if binary.BigEndian.Uint16(p[2:]) != ourPort {
			return ""
		}
		return fmt.Sprintf(" %d", binary.BigEndian.Uint16(p))
	default:
		if len(p) < 20 || binary.BigEndian.Uint16(p[2:]) != ourPort {
			return ""
		}
		if p[13]&0x04 != 0 {
			return " closed"
		}
		return fmt.Sprintf(" open %d", binary.BigEndian.Uint16(p))
	}
}
