package tun

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/pktbuf"
)

// MaxPackets is how many packets a Coalescer takes between two flushes.
const MaxPackets = 128

// tableSize is the length of the flow table, a power of two: at most half of it is in use.
const tableSize = 2 * MaxPackets

// Queue is where a packet is written to.
type Queue struct {
	FD       int
	Offloads Offloads // of its device: what it doesn't take is not made
}

// Coalescer writes packets to queues, joining packets of one flow that follow each other into trains (GRO). The rules are
// those of Linux's own GRO, so that a train that is cut again gives the packets that went in. It belongs to one shard;
// about 14 KiB.
//
// Packets of one flow (queue, addresses, protocol, ports) are written in the order in which they were added, fragments
// and all. Between flows there is no order.
type Coalescer struct {
	n      int                        // packets waiting
	bufs   [MaxPackets]*pktbuf.Buf    // by index
	after  [MaxPackets]uint8          // the next packet of the same train
	errnos [MaxPackets]unix.Errno     // by index
	trains [MaxPackets]train          // in the order of their first packets
	made   int                        // trains in use
	table  [tableSize]entry           // open addressing: flow to its newest train
	epoch  uint32                     // what lives in table bears it
	seeds  [2]uint64                  // of the hash: clients choose ports
	lacks  Offloads                   // what the kernel turned out not to take
	iov    [MaxPackets + 1]unix.Iovec // of the train that is being written
	vnet   [HeaderLen]byte            // where a buffer has no room for it
	saved  [ipHeaderLen + 60]byte     // headers before they were made the train's: IPv4 and the longest of TCP
}

// entry is a place of the flow table. It is in use if its epoch is the Coalescer's.
type entry struct {
	epoch uint32
	train uint8
}

// NewCoalescer makes an empty Coalescer.
func NewCoalescer() *Coalescer {
	c := &Coalescer{epoch: 1}
	var seed [16]byte
	rand.Read(seed[:]) // can't fail: crypto/rand ends the program instead
	c.seeds[0], c.seeds[1] = binary.NativeEndian.Uint64(seed[:]), binary.NativeEndian.Uint64(seed[8:])
	return c
}

// Full says that Flush must come before the next Add.
func (c *Coalescer) Full() bool { return c.n == MaxPackets }

// Len is how many packets wait for Flush.
func (c *Coalescer) Len() int { return c.n }

// Add takes a finished inner IPv4 packet whose IPv4 header has been checked (policy.ParseIPv4), without padding behind it.
// b is borrowed until Flush or Reset; its headers may change, and the octets before it. The result is the packet's index
// for Errno: 0 for the first after a flush, and so on; -1, and b is not taken, if the Coalescer is full.
func (c *Coalescer) Add(q Queue, b *pktbuf.Buf) (index int) {
	if c.n == MaxPackets {
		return -1
	}
	i := c.n
	c.n++
	c.bufs[i], c.errnos[i] = b, 0
	p := b.Bytes()
	var s shape
	shapeOf(&s, p, q.FD)
	switch s.class {
	case stranger:
		c.start(q.FD, &s, i, false)
	case portless:
		c.closeAll(s.flow)
		c.start(q.FD, &s, i, false)
	default:
		c.addToFlow(q, &s, i, p)
	}
	return i
}

// addToFlow adds packet i, which is p, behind its flow's newest train, or makes it the first of a new one.
func (c *Coalescer) addToFlow(q Queue, s *shape, i int, p []byte) {
	joins := s.class == tcp && q.Offloads.TSO && !c.lacks.TSO || s.class == udp && q.Offloads.USO && !c.lacks.USO
	e := c.find(s.flow)
	if e.epoch == c.epoch {
		t := &c.trains[e.train]
		if joins && t.open && c.follows(t, s, p) {
			c.append(t, s, i, p)
			return
		}
		t.open = false
	}
	open := joins && !s.last
	t := c.start(q.FD, s, i, open)
	if open {
		e.epoch, e.train = c.epoch, t
		c.trains[t].expect(s, p)
	}
}

// find returns the flow's place in the table, or the free one where it belongs.
func (c *Coalescer) find(f flow) *entry {
	hi, lo := bits.Mul64(f.addresses^c.seeds[0], f.rest^c.seeds[1])
	for at := hi ^ lo; ; at++ { // ends: half of the places are free
		e := &c.table[at%tableSize]
		if e.epoch != c.epoch || c.trains[e.train].flow == f {
			return e
		}
	}
}

// start makes packet i the first of a new train. It returns the train's number.
func (c *Coalescer) start(fd int, s *shape, i int, open bool) (number uint8) {
	// Field by field: a struct that is made elsewhere and copied here costs several times as much.
	t := &c.trains[c.made]
	t.fd, t.flow, t.class, t.open, t.intact = fd, s.flow, s.class, open, false
	t.first, t.last, t.count = uint8(i), uint8(i), 1
	t.head, t.size, t.length = s.head, s.payload, s.head+s.payload
	c.made++
	return uint8(c.made - 1)
}

// closeAll ends the trains between the addresses of f: what follows may belong before what comes later of any of them.
func (c *Coalescer) closeAll(f flow) {
	for i := range c.trains[:c.made] {
		if t := &c.trains[i]; t.open && t.flow.between(f) {
			t.open = false
		}
	}
}

// Errno is the error of the write that packet index was in, 0 for none. It stays until the next Add after the Flush. An
// index that Add did not give has ENOBUFS.
func (c *Coalescer) Errno(index int) unix.Errno {
	if index < 0 || index >= MaxPackets {
		return unix.ENOBUFS
	}
	return c.errnos[index]
}

// Reset gives the buffers back without writing them.
func (c *Coalescer) Reset() {
	clear(c.bufs[:c.n])
	c.n, c.made = 0, 0
	c.epoch++
	if c.epoch == 0 { // old places must not come to life again
		clear(c.table[:])
		c.epoch = 1
	}
}
