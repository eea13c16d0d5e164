package ipsec

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/wire/esphdr"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// sas are a client's ESP SAs. in is taken before out.
type sas struct {
	heard atomic.Int64 // when the last valid packet came, in Unix nanoseconds

	in      sync.Mutex // guards what follows
	inbound map[uint32]*inbound
	opened  pktbuf.Buf

	out      sync.Mutex // guards what follows, and sending by ESP
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
	s.in.Lock()
	defer s.in.Unlock()
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
	s.in.Lock()
	defer s.in.Unlock()
	s.out.Lock()
	defer s.out.Unlock()
	if s.inbound == nil {
		s.inbound, s.outbound = map[uint32]*inbound{}, map[uint32]*outbound{}
	}
	s.inbound[c.InboundSPI] = &inbound{sa: in}
	s.outbound[c.InboundSPI] = &outbound{out, c.UDPEncap}
	return nil
}

// use sends through a child from now on.
func (s *sas) use(c *ikev1.Child) {
	s.out.Lock()
	defer s.out.Unlock()
	s.current = s.outbound[c.InboundSPI]
}

// remove takes a child out.
func (s *sas) remove(c *ikev1.Child) {
	s.in.Lock()
	defer s.in.Unlock()
	s.out.Lock()
	defer s.out.Unlock()
	if in := s.inbound[c.InboundSPI]; in != nil {
		in.sa.Close()
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
	s.in.Lock()
	defer s.in.Unlock()
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
	s.out.Lock()
	defer s.out.Unlock()
	if s.current == nil {
		return ErrNoSA
	}
	b := &s.sealed
	b.Reset()
	if !fill(b) {
		return fmt.Errorf("%w: the packet is too long", ErrNoSA)
	}
	head := b.Prepend(udpHeaderLen)
	binary.BigEndian.PutUint16(head, c.cfg.IKE.Port)
	binary.BigEndian.PutUint16(head[2:], wirel2tp.Port)
	binary.BigEndian.PutUint16(head[4:], uint16(b.Len()))
	binary.BigEndian.PutUint16(head[6:], 0)
	binary.BigEndian.PutUint16(head[6:], checksum(b.Bytes(), c.cfg.Own, c.cfg.Server))
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

// checksum is that of a UDP datagram, RFC 768.
func checksum(p []byte, src, dst netip.Addr) uint16 {
	sum := uint32(udpProtocol) + uint32(len(p))
	add := func(b []byte) {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	add(src.AsSlice())
	add(dst.AsSlice())
	add(p)
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
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
	h, err := esphdr.ParseHeader(packet)
	if err != nil {
		return
	}
	s := &c.sas
	s.in.Lock()
	defer s.in.Unlock()
	in, b := s.inbound[h.SPI], &s.opened
	if in == nil || !b.SetBytes(packet) {
		return
	}
	if c.cfg.ShortICV && !short(packet) {
		c.lost.Add(1)
		return
	}
	next, v := in.sa.Open(b)
	if v != esp.OK && v != esp.Dummy {
		c.lost.Add(1)
		return
	}
	s.heard.Store(time.Now().UnixNano())
	if !in.used {
		in.used = true
		c.used(h.SPI)
	}
	if v != esp.OK || next != esphdr.NextHeaderUDP {
		return
	}
	p := b.Bytes()
	if len(p) < udpHeaderLen || binary.BigEndian.Uint16(p) != wirel2tp.Port || binary.BigEndian.Uint16(p[2:]) != c.cfg.IKE.Port {
		return
	}
	b.TrimFront(udpHeaderLen)
	c.message(b)
}
