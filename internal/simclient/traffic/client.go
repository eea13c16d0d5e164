package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
)

// client is the thread that seals, sends, receives and opens the packets of all sessions with one Gate.
type client struct {
	st      *state
	gate    *Gate
	mine    []uint32 // indices of its sessions
	sockets []socket
	acks    []uint32 // sessions that may owe an acknowledgement
	ackedAt time.Time

	// Sending. turns is nil where nothing is sent of its own accord.
	turns     *turns
	pace      *pace
	templates [MaxSize + 1]*template
	outBufs   [batch]pktbuf.Buf
	outs      [batch]Outgoing
	outWho    [batch]uint32
	outSize   [batch]int
	outOp     [batch]int // index in the operations; -1: none
	ackBufs   [8]pktbuf.Buf
	sender    *sender

	// Receiving.
	poller  *poller
	trains  *trainReader
	raws    *rawReader
	inBufs  [batch]pktbuf.Buf
	ins     [batch]Incoming
	inWho   [batch]uint32 // or nobody
	inHead  [batch]int    // octets of an IP header before the window
	inOp    [batch]int    // index in the operations; -1: none
	waiting int           // packets in inBufs
	sink    sink
	foreign uint64

	// Crypto.
	mppeSeals   []mppe.SealOp
	mppeOpens   []mppe.OpenOp
	espSeals    []esp.SealOp
	espOpens    []esp.OpenOp
	mppeScratch *mppe.Scratch
	espScratch  *esp.Scratch
}

// socket is a Socket as its thread reads it.
type socket struct {
	Socket
	only  uint32            // of SocketUDP: the session
	byKey map[uint32]uint32 // of raw ones: sessions by call ID or address
	first uint32            // any session of it
}

// newClients makes the threads, one for each Gate.
func newClients(st *state) (all []*client, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(all, nil))
		}
	}()
	byGate := map[*Gate]*client{}
	for i := range st.sessions {
		s := &st.sessions[i]
		c := byGate[s.Gate]
		if c == nil {
			if c, err = newClient(st, s.Gate); err != nil {
				return all, err
			}
			byGate[s.Gate] = c
			all = append(all, c)
		}
		if err = c.add(uint32(i)); err != nil {
			return all, fmt.Errorf("path %d: %w", i, err)
		}
	}
	return all, nil
}

func newClient(st *state, gate *Gate) (*client, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	c := &client{
		st: st, gate: gate, poller: p, sender: newSender(), trains: newTrainReader(), raws: newRawReader(),
		sink:        sink{flows: make([]flow, len(st.sessions))},
		mppeScratch: mppe.NewScratch(), espScratch: esp.NewScratch(),
		mppeSeals: make([]mppe.SealOp, 0, batch), mppeOpens: make([]mppe.OpenOp, 0, batch),
		espSeals: make([]esp.SealOp, 0, batch), espOpens: make([]esp.OpenOp, 0, batch),
	}
	for _, n := range st.cfg.Size {
		if c.templates[n] == nil {
			c.templates[n] = newTemplate(n, st.cfg.Responder.addr)
		}
	}
	return c, nil
}

// add makes a session one of the thread's.
func (c *client) add(i uint32) error {
	s := &c.st.sessions[i]
	c.mine = append(c.mine, i)
	at := slices.IndexFunc(c.sockets, func(k socket) bool { return k.FD == s.Socket.FD })
	if at < 0 {
		k := socket{Socket: s.Socket, only: i, first: i}
		if s.Socket.Kind == SocketUDP {
			if err := unix.SetsockoptInt(k.FD, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
				return fmt.Errorf("let datagrams come together: %w", err)
			}
		} else {
			k.byKey = map[uint32]uint32{}
		}
		enlarge(k.FD)
		if err := c.poller.add(k.FD, len(c.sockets)); err != nil {
			return err
		}
		at = len(c.sockets)
		c.sockets = append(c.sockets, k)
	} else if s.Socket.Kind == SocketUDP {
		return fmt.Errorf("%w: two sessions have one UDP socket", ErrConfig)
	}
	k := &c.sockets[at]
	if k.byKey == nil {
		return nil
	}
	key := uint32(s.Socket.CallID)
	if k.Kind == SocketESP {
		a := s.Socket.Local.As4()
		key = binary.BigEndian.Uint32(a[:])
	} else {
		c.acks = append(c.acks, i)
	}
	if _, ok := k.byKey[key]; ok || k.Kind != s.Socket.Kind {
		return fmt.Errorf("%w: two sessions of one socket have the same call ID or address", ErrConfig)
	}
	k.byKey[key] = i
	return nil
}

// close gives the sockets back as they were.
func (c *client) close() (err error) {
	for _, k := range c.sockets {
		if k.Kind == SocketUDP {
			err = errors.Join(err, unix.SetsockoptInt(k.FD, unix.SOL_UDP, unix.UDP_GRO, 0))
		}
	}
	return errors.Join(err, c.poller.close())
}

// start begins the sending at the run's beginning.
func (c *client) start() {
	st := c.st
	c.ackedAt = st.began
	if st.cfg.Direction == Down {
		return
	}
	back := &st.up
	if st.cfg.Direction == Echo {
		back = &st.down
	}
	share := float64(len(c.mine)) / float64(len(st.sessions))
	c.turns = newTurns(c.mine, st.cfg.Size, st.cfg.Train)
	c.pace = newPace(&st.up, back, st.cfg.PPS*share, st.cfg.UpWindow, st.cfg.Packets)
}

// maxWait is how long a thread sleeps at most: it looks for the run's end then.
const maxWait = 5 * time.Millisecond

// loop is the thread.
func (c *client) loop() error {
	for {
		now := time.Now()
		at := c.st.nanos(now)
		phase := c.st.phase.Load()
		if phase == phaseStop {
			return nil
		}
		wait, sent := maxWait, 0
		if c.pace != nil && phase == phaseSend {
			sent = c.pace.due(at, batch)
			if sent > 0 {
				c.send(sent, now)
			} else if c.pace.done() {
				c.pace = nil
				c.st.full.Add(1)
			} else {
				wait = min(wait, c.pace.wait(at))
			}
		}
		if sent > 0 {
			wait = 0
		}
		if err := c.receive(wait); err != nil {
			return err
		}
		if now.Sub(c.ackedAt) > ackEvery {
			c.ackedAt = now
			c.acknowledge(c.acks, now)
		}
	}
}

// ackEvery is how often all sessions are asked for acknowledgements that they owe.
const ackEvery = 50 * time.Millisecond
