package ikev1

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"concentrator/internal/strangers"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// Engine runs IKEv1 for any number of listeners. Its methods are safe for concurrent use and, but for Shutdown, neither
// block nor call the Host: what they ask for is done on a worker soon after.
type Engine struct {
	cfg Config
	h   Host

	// border is held from before Host.Established until its Peer has the new SA, and around Peer.Empty, so that the one
	// can't overtake the other. It is taken before mu.
	border sync.Mutex

	mu      sync.Mutex // guards what follows
	wake    *sync.Cond // ready or stopped has changed
	ready   turns
	timers  timers
	clock   *time.Timer
	armed   time.Time
	workers sync.WaitGroup
	closing bool // no new peers
	stopped bool // workers end when they have nothing to do

	door       *strand // machine: door
	routes     map[SAID]*strand
	initiators map[initiatorKey]*strand   // phase 1 and ISAKMP SAs that a peer initiated, to know late copies of message 1
	ours       map[wireike.Cookie]*strand // exchanges that we initiated, by our cookie, until message 2
	peers      map[Peer]*strand           // machine: peer
	handshakes int                        // strands in phase 1 behind message 3
	strangers  *list.List                 // of *handshake: those of sources that nobody has authenticated from, the oldest first
	half       halfOpenTable
	sources    sourceTable
	guard      *strangers.Guard // first messages of strangers that are let in although the table of half-open ones is crowded
	lastGood   goodTable
	stats      Stats
}

// initiatorKey names an exchange by its first message. The port is left out as a NAT may change it.
type initiatorKey struct {
	cookie wireike.Cookie
	addr   netip.Addr
}

// Stats counts what has happened since the start, and what there is now.
type Stats struct {
	HalfOpen   int // exchanges of which only message 1 has come
	Handshakes int // exchanges in phase 1 behind message 3
	Peers      int
	SAs        int // ISAKMP SAs, handshakes included

	Received       uint64 // messages
	Malformed      uint64 // messages that could not be parsed
	Unknown        uint64 // messages for an SA that does not exist
	Unprotected    uint64 // informational messages in the clear, which are never acted on
	Unauthentic    uint64 // encrypted messages whose hash was wrong
	Unexpected     uint64 // messages that do not fit the state of their SA
	Duplicates     uint64 // messages that had come before
	QueueFull      uint64 // messages dropped as too many waited
	Limited        uint64 // first messages dropped for a limit
	Pushed         uint64 // exchanges in phase 1 that newer ones pushed out
	Refused        uint64 // failed attempts, whether the Host was told or the rate of telling was used up
	EstablishedSAs uint64
	Children       uint64 // quick modes that led to a child
	DeadPeers      uint64 // peers that did not answer dead peer detection
}

// New returns an Engine that asks and tells h. It starts the workers; Shutdown ends them.
func New(cfg Config, h Host) *Engine {
	e := &Engine{
		cfg: cfg.withDefaults(), h: h,
		routes: map[SAID]*strand{}, initiators: map[initiatorKey]*strand{}, ours: map[wireike.Cookie]*strand{},
		peers: map[Peer]*strand{}, strangers: list.New(),
	}
	e.wake = sync.NewCond(&e.mu)
	e.ready.init(e.cfg.Workers)
	e.half.init(e.cfg.MaxHalfOpen)
	e.sources.init(e.cfg)
	e.lastGood.init()
	e.guard = strangers.NewGuard(newcomersPerSecond, newcomerBurst)
	e.door = newStrand()
	e.door.m = newDoor(e)
	e.clock = time.AfterFunc(time.Hour, e.strike)
	e.workers.Add(e.cfg.Workers)
	for range e.cfg.Workers {
		go e.work()
	}
	return e
}

// Receive takes a message from the network, without a non-ESP marker. It takes msg over and never blocks.
func (e *Engine) Receive(p Path, msg []byte) {
	h, err := wireike.ParseHeader(msg)
	p.Remote = netip.AddrPortFrom(p.Remote.Addr().Unmap(), p.Remote.Port())
	p.Local = netip.AddrPortFrom(p.Local.Addr().Unmap(), p.Local.Port())
	id := SAID{h.Initiator, h.Responder}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Received++
	switch {
	case e.stopped:
	case err != nil || h.Initiator.IsZero():
		e.stats.Malformed++
	case h.Responder.IsZero():
		if s := e.initiators[initiatorKey{h.Initiator, p.Remote.Addr()}]; s != nil {
			e.postLocked(s, event{path: p, msg: msg}, maxQueue)
		} else if !e.closing {
			e.knockLocked(p, h.Initiator, msg)
		}
	case e.routes[id] != nil:
		e.postLocked(e.routes[id], event{path: p, msg: msg}, maxQueue)
	case e.half.get(id) != nil:
		if s := e.promoteLocked(e.half.get(id), p); s != nil {
			e.postLocked(s, event{path: p, msg: msg}, maxQueue)
		}
	case e.ours[h.Initiator] != nil:
		e.postLocked(e.ours[h.Initiator], event{path: p, msg: msg}, maxQueue)
	default:
		e.stats.Unknown++
	}
}

// knockLocked hands a first message to the door, if the limits let it in.
func (e *Engine) knockLocked(p Path, initiator wireike.Cookie, msg []byte) {
	switch known, ok := e.admitLocked(time.Now(), p, initiatorKey{initiator, p.Remote.Addr()}, msg); {
	case !ok:
		e.stats.Limited++
	case known:
		e.hurryLocked(e.door, event{path: p, msg: msg}, maxDoorQueue)
	default:
		e.postLocked(e.door, event{path: p, msg: msg}, maxDoorQueue)
	}
}

// Limit reports that the SA with an inbound SPI has reached its byte or packet limit, in either direction: the soft one,
// whereupon the Engine negotiates a new child unless the peer has, or the hard one, which ends the child.
func (e *Engine) Limit(p Peer, inboundSPI uint32, hard bool) {
	e.postPeer(p, func(m *peer, now time.Time) { m.limit(now, inboundSPI, hard) })
}

// Used reports the first valid packet on an inbound SA. It stands in for a third message of Quick Mode that was lost, and
// it starts the end of the SAs that the child replaces.
func (e *Engine) Used(p Peer, inboundSPI uint32) {
	e.postPeer(p, func(m *peer, now time.Time) { m.used(now, inboundSPI) })
}

// Moved reports that valid ESP packets of a peer come from another address or port, so that our own messages go there.
// Peer.Move is not called for it.
func (e *Engine) Moved(p Peer, remote netip.AddrPort) {
	e.postPeer(p, func(m *peer, _ time.Time) { m.path.Remote = remote })
}

// Merge makes everything of from belong to into. from gets calls until it is done; the last of them is Empty with
// REPLACED, and into gets all that follow. It does nothing if either has no SA.
func (e *Engine) Merge(from, into Peer) {
	if from == into {
		return
	}
	e.postPeer(from, func(m *peer, _ time.Time) { m.mergeInto(into) })
}

// Drop ends all SAs of a peer, with Delete messages to it. The Peer hears Remove, SADown and Empty with the reason. It
// does nothing if the peer has no SA.
func (e *Engine) Drop(p Peer, reason tenant.Reason) {
	e.postPeer(p, func(m *peer, _ time.Time) { m.drop(reason, "ended on our side") })
}

// postPeer runs do on the strand of a peer; it does nothing if the peer has no SA.
func (e *Engine) postPeer(p Peer, do func(m *peer, now time.Time)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.peers[p]; s != nil {
		e.postLocked(s, event{call: func(now time.Time) {
			if m, ok := s.m.(*peer); ok {
				m.at = now
				do(m, now)
			}
		}}, 0)
	}
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.stats
	st.HalfOpen, st.Handshakes, st.Peers = e.half.len(), e.handshakes, len(e.peers)
	st.SAs = len(e.routes) + len(e.ours) // what we have begun has no route before its first answer
	return st
}

// Shutdown ends all SAs with Delete messages, waits until that is done, at most until ctx ends, and stops the workers. New
// exchanges are not answered any more from the beginning on.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	e.closing = true
	for _, s := range e.peers {
		e.postLocked(s, event{call: func(now time.Time) {
			if m, ok := s.m.(*peer); ok {
				m.at = now
				m.drop(tenant.ReasonShutdown, "the server is shutting down")
			}
		}}, 0)
	}
	e.mu.Unlock()
	err := e.drained(ctx)
	e.mu.Lock()
	e.stopped = true
	e.clock.Stop()
	e.wake.Broadcast()
	e.mu.Unlock()
	if err == nil {
		e.workers.Wait()
	}
	return err
}

// drained waits until no peer is left.
func (e *Engine) drained(ctx context.Context) error {
	const look = 10 * time.Millisecond
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		e.mu.Lock()
		left := len(e.peers)
		e.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
