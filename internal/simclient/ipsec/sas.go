package ipsec

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/wire/esphdr"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// sas are a client's ESP SAs. in is taken before gate.
type sas struct {
	heard atomic.Int64 // when the last valid packet came, in Unix nanoseconds

	in     sync.Mutex // guards what follows, and the handling of what has come
	opened pktbuf.Buf

	gate     *traffic.Gate // guards what follows, and sending by ESP
	inbound  map[uint32]*inbound
	unused   int // of inbound
	outbound map[uint32]*outbound
	current  *outbound
	sealed   pktbuf.Buf
}

// inbound is an SA towards us.
type inbound struct {
	sa   *esp.Inbound
	used bool // a valid packet has come
}

// outbound is an SA towards the server. It is kept as long as its pair, as sequence numbers never start again.
type outbound struct {
	sa    *esp.Outbound
	encap bool
}

// newSPI returns an SPI that no SA of ours has.
func (s *sas) newSPI() uint32 {
	s.gate.Lock()
	defer s.gate.Unlock()
	for {
		var b [4]byte
		_, _ = rand.Read(b[:]) // it never fails
		if spi := binary.BigEndian.Uint32(b[:]); spi >= esphdr.MinSPI && s.inbound[spi] == nil {
			return spi
		}
	}
}

// add installs both directions of a child; the one towards the server is not used yet.
func (s *sas) add(c *ikev1.Child, short bool) error {
	p := esp.Params{
		SPI: c.InboundSPI, Encryption: c.Encryption, Key: c.InboundKey, Integrity: c.Integrity, AuthKey: c.InboundAuthKey, ESN: c.ESN,
	}
	in, err := esp.NewInbound(p)
	if err != nil {
		return fmt.Errorf("SA from the server: %w", err)
	}
	p.SPI, p.Key, p.AuthKey = c.OutboundSPI, c.OutboundKey, c.OutboundAuthKey
	out, err := esp.NewOutbound(p)
	if err != nil {
		return fmt.Errorf("SA to the server: %w", err)
	}
	if short {
		out.Truncate()
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.inbound == nil {
		s.inbound, s.outbound = map[uint32]*inbound{}, map[uint32]*outbound{}
	}
	s.inbound[c.InboundSPI] = &inbound{sa: in}
	s.unused++
	s.outbound[c.InboundSPI] = &outbound{out, c.UDPEncap}
	return nil
}

// use sends through a child from now on.
func (s *sas) use(c *ikev1.Child) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.current = s.outbound[c.InboundSPI]
}

// remove takes a child out.
func (s *sas) remove(c *ikev1.Child) {
	s.gate.Lock()
	defer s.gate.Unlock()
	if in := s.inbound[c.InboundSPI]; in != nil {
		in.sa.Close()
		if !in.used {
			s.unused--
		}
	}
	if out := s.outbound[c.InboundSPI]; out != nil {
		if s.current == out {
			s.current = nil
		}
		out.sa.Close()
	}
	delete(s.inbound, c.InboundSPI)
	delete(s.outbound, c.InboundSPI)
}

// count is how many pairs there are.
func (s *sas) count() int {
	s.gate.Lock()
	defer s.gate.Unlock()
	return len(s.inbound)
}

func (s *sas) idle() time.Duration {
	heard := s.heard.Load()
	if heard == 0 {
		return time.Hour
	}
	return time.Since(time.Unix(0, heard))
}

const (
	udpHeaderLen = 8
	udpProtocol  = 17
)

// seal sends an L2TP message that fill writes, from our port to the server's, by the current SA.
func (c *Client) seal(fill func(b *pktbuf.Buf) bool) error {
	s := &c.sas
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.current == nil {
		return ErrNoSA
	}
	b := &s.sealed
	b.Reset()
	if !fill(b) || !c.putUDP(b) {
		return fmt.Errorf("%w: the packet is too long", ErrNoSA)
	}
	if v := s.current.sa.Seal(b, esphdr.NextHeaderUDP); v != esp.OK {
		return fmt.Errorf("%w: %v", ErrNoSA, v)
	}
	port := ESP
	if s.current.encap {
		port = PortNATT
	}
	c.send(port, slices.Clone(b.Bytes()))
	return nil
}

// putUDP puts a UDP header before an L2TP message. False: there is no room.
func (c *Client) putUDP(b *pktbuf.Buf) bool {
	head := b.Prepend(udpHeaderLen)
	if head == nil {
		return false
	}
	binary.BigEndian.PutUint16(head, c.cfg.IKE.Port)
	binary.BigEndian.PutUint16(head[2:], wirel2tp.Port)
	binary.BigEndian.PutUint16(head[4:], uint16(b.Len()))
	binary.BigEndian.PutUint16(head[6:], 0)
	binary.BigEndian.PutUint16(head[6:], checksum(b.Bytes(), c.cfg.Own, c.cfg.Server))
	return true
}

// stripUDP takes the UDP header off an L2TP message. False: it is not from the server's port to ours.
func (c *Client) stripUDP(b *pktbuf.Buf) bool {
	p := b.Bytes()
	if len(p) < udpHeaderLen || binary.BigEndian.Uint16(p) != wirel2tp.Port || binary.BigEndian.Uint16(p[2:]) != c.cfg.IKE.Port {
		return false
	}
	b.TrimFront(udpHeaderLen)
	return true
}

// checksum is that of a UDP datagram, RFC 768.
func checksum(p []byte, src, dst netip.Addr) uint16 {
	s, d := src.As4(), dst.As4()
	sum := uint64(udpProtocol) + uint64(len(p)) + uint64(binary.BigEndian.Uint32(s[:])) + uint64(binary.BigEndian.Uint32(d[:]))
	var carry uint64
	for ; len(p) >= 16; p = p[16:] {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(p), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(p[8:]), carry)
	}
	var last [16]byte // what is left, with zeros behind
	copy(last[:], p)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(last[:]), carry)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(last[8:]), carry)
	sum, carry = bits.Add64(sum, carry, 0)
	sum += carry
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	if sum == 0xffff {
		return 0xffff // 0 would mean none
	}
	return ^uint16(sum)
}

// short says whether the length of a packet is one of AES-CBC with a check value that is cut to 96 bits.
func short(packet []byte) bool {
	const block = 16
	return (len(packet)-esphdr.HeaderLen-block-esphdr.TruncatedICVLen)%block == 0
}

// open takes an ESP packet of the server and hands on what is in it.
func (c *Client) open(packet []byte) {
	s := &c.sas
	s.in.Lock()
	defer s.in.Unlock()
	b := &s.opened
	if b.SetBytes(packet) && c.decrypt(b) && c.stripUDP(b) {
		c.message(b)
	}
}

// decrypt opens the ESP packet in b. False: it is none for us, or holds nothing.
func (c *Client) decrypt(b *pktbuf.Buf) bool {
	s := &c.sas
	s.gate.Lock()
	defer s.gate.Unlock()
	sa := c.find(b.Bytes())
	if sa == nil {
		return false
	}
	next, v := sa.Open(b)
	return c.opened(sa, v, time.Now()) && next == esphdr.NextHeaderUDP
}

// find is the SA that a packet is to be opened by; nil: it is not for us. The Gate is held, as for the next one.
func (c *Client) find(packet []byte) *esp.Inbound {
	h, err := esphdr.ParseHeader(packet)
	if err != nil {
		return nil
	}
	in := c.sas.inbound[h.SPI]
	switch {
	case in == nil:
		return nil
	case c.cfg.ShortICV && !short(packet):
		c.lost.Add(1)
		return nil
	}
	return in.sa
}

// opened takes note of what became of a packet. False: nothing is in it.
func (c *Client) opened(sa *esp.Inbound, v esp.Verdict, now time.Time) bool {
	s := &c.sas
	if v != esp.OK && v != esp.Dummy {
		c.lost.Add(1)
		return false
	}
	s.heard.Store(now.UnixNano())
	if s.unused > 0 {
		for spi, in := range s.inbound {
			if in.sa == sa && !in.used {
				in.used = true
				s.unused--
				c.used(spi)
			}
		}
	}
	return v == esp.OK
}
