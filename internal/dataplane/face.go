package dataplane

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/telemetry"
)

const (
	// maxReadErrors in a row take a socket out of the loop, so that a broken one can't spin.
	maxReadErrors = 100
	// readPause is how long it is left alone then.
	readPause = time.Second
)

// faceKind is what a face carries.
type faceKind uint8

const (
	faceGRE  faceKind = iota // raw, IP protocol 47
	faceESP                  // raw, IP protocol 50
	faceIKE                  // UDP 500
	faceNATT                 // UDP 4500: IKE behind the non-ESP marker, and ESP in UDP (RFC 3948)
	faceL2TP                 // UDP 1701: L2TP outside an SA
)

// String is the word for k in logs.
func (k faceKind) String() string {
	return [...]string{faceGRE: "GRE", faceESP: "ESP", faceIKE: "IKE", faceNATT: "NAT-T", faceL2TP: "L2TP"}[k]
}

// face is a shard's socket towards clients, with what waits to be sent by it: raw GRE or ESP of a namespace, or one UDP
// port of an address. It belongs to the shard.
type face struct {
	kind       faceKind
	index      uint32          // the same on every shard
	sock       netio.Socket    // of GRE and ESP
	udp        netio.UDPSocket // of the others
	sink       DatagramSink    // of UDP
	plain      bool            // of faceL2TP: what comes is wanted
	slot       int
	gone       bool
	readErrors int
	broken     bool // it was taken out of the loop, and has not been read without an error since
	dirty      bool // in shard.dirty
	tos        bool // its datagrams tell their Type of Service
	backlog    bool // the last answer of wire().Backlogged
	askAgain   int64
	n          int // of pending
	pending    [batchSize]netio.Message
	calls      [batchSize]*call // whose message it is; nil: nobody's
}

// wire is the socket, of whichever kind.
func (f *face) wire() netio.Face {
	if f.udp != nil {
		return f.udp
	}
	return f.sock
}

func (s *shard) addFace(f *face) error {
	f.gone = true // until it is watched
	slot, err := s.watch(f.wire().FD(), source{face: f})
	if err != nil {
		return err
	}
	f.slot, f.gone = slot, false
	s.faces[f.index] = f
	return nil
}

// removeFace lets go of the socket, which the caller then closes. What waits in it is lost.
func (s *shard) removeFace(f *face) {
	if s.faces[f.index] != f {
		return
	}
	s.flush()
	if !f.gone {
		f.gone = true
		s.unwatch(f.wire().FD(), f.slot)
	}
	delete(s.faces, f.index)
	if f.broken {
		s.mended(f)
	}
}

// readWire serves up to one batch from a socket and says whether it was full.
func (s *shard) readWire(f *face) (full bool) {
	if f.gone {
		return false
	}
	s.makeRoom()
	first, last := s.used, batchSize
	if s.careful {
		last = first + 1
	}
	var n int
	var err error
	if f.udp != nil {
		n, err = f.udp.ReadBatch(s.areas[first:last], s.datagrams[first:last]) // 1
	} else {
		n, err = f.sock.ReadBatch(s.areas[first:last], s.sizes[first:last]) // 1
	}
	if err != nil {
		s.readFailed(f, err)
		return false
	}
	f.readErrors = 0
	if f.broken {
		s.mended(f)
	}
	s.used += n
	full = s.used == last
	s.fairIn.Batch(n, s.backlogged(f, full), s.now)
	for i := first; i < s.used; i++ {
		s.takeWire(f, i)
	}
	s.at = blame{}
	if s.careful {
		s.flush()
	}
	return full
}

// takeWire takes the packet that was read into s.in[i].
func (s *shard) takeWire(f *face, i int) {
	b := &s.in[i]
	b.Reset()
	s.at = blame{} // until it is known
	s.stats.WireInPackets++
	if f.udp != nil {
		d := &s.datagrams[i]
		s.stats.WireInBytes += uint64(d.Size + len(d.Rest))
		if d.Cut || !b.SetLen(d.Size) {
			s.drop(nil, DropWireOversize)
			return
		}
		s.datagram(f, b, d, false)
		return
	}
	s.stats.WireInBytes += uint64(s.sizes[i])
	switch {
	case s.sizes[i] > len(s.areas[i]) || !b.SetLen(s.sizes[i]):
		s.drop(nil, DropWireOversize)
	case f.kind == faceGRE:
		s.find(f, b, false)
	default:
		s.rawESP(f, b, false)
	}
}

func (s *shard) readFailed(f *face, err error) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		if f.broken {
			s.mended(f)
		}
		return
	}
	s.stats.ReceiveErrors++
	if f.readErrors++; f.readErrors < maxReadErrors {
		return
	}
	s.unwatch(f.wire().FD(), f.slot)
	f.gone, f.broken, f.readErrors = true, true, 0
	go s.faults.Raise(telemetry.FaultListener, s.nameOf(f), "the socket is broken: "+err.Error()) // a log may block
	time.AfterFunc(readPause, func() {
		s.inbox.push(func(s *shard) {
			if s.faces[f.index] != f || !f.gone {
				return
			}
			if err := s.addFace(f); err != nil {
				go s.log.Error("can't take up a broken socket", telemetry.Shard, s.id, telemetry.Error, err)
				return
			}
			s.readWire(f) // nothing to read is good news too
		})
	})
}

// mended is for a socket that was broken and is not any more.
func (s *shard) mended(f *face) {
	f.broken = false
	go s.faults.Clear(telemetry.FaultListener, s.nameOf(f))
}

// nameOf is the subject of the fault of a shard's socket.
func (s *shard) nameOf(f *face) string { return shardName(s.id) + "/" + f.kind.String() }

// queue puts a finished GRE packet of c into the next batch to the wire. b must stay as it is until the flush.
func (s *shard) queue(c *call, b *pktbuf.Buf) {
	if len(c.outer) != 0 {
		c.tapGRE(b)
	}
	if m := s.enqueue(c.face, c); m != nil {
		m.Data, m.From, m.To, m.TOS = b.Bytes(), c.local, c.remote, b.TOS
	}
}

// enqueue gives a finished packet of c, or nobody's, its place in the next batch to the wire, for the caller to fill in: an
// empty message. Its data must stay as it is until the flush. nil, and counted: the socket is gone.
func (s *shard) enqueue(f *face, c *call) *netio.Message {
	if f.gone {
		s.drop(c, DropWireSend)
		return nil
	}
	if f.n == batchSize {
		s.write(f)
	}
	if !f.dirty {
		f.dirty = true
		s.dirty = append(s.dirty, f)
	}
	m := &f.pending[f.n]
	f.calls[f.n] = c
	f.n++
	return m
}

// write sends what is pending on f. A message that can't be sent is dropped and never keeps the others.
func (s *shard) write(f *face) {
	pending := f.pending[:f.n]
	if f.udp != nil { // not by wire, which takes longer
		f.udp.WriteBatch(pending)
	} else {
		f.sock.WriteBatch(pending)
	}
	for i := range pending {
		if pending[i].Errno != 0 {
			s.drop(f.calls[i], DropWireSend)
			s.noteUnsent(pending[i].Errno)
			continue
		}
		s.stats.WireOutPackets++
		s.stats.WireOutBytes += uint64(len(pending[i].Data))
	}
	clear(f.calls[:f.n])
	clear(pending) // an IKE message is the collector's again
	f.n = 0
}
