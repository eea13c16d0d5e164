package session

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/guess"
	"concentrator/internal/ppp"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
)

const (
	// inboxSize bounds the control frames that wait for one session. A client that sends more loses its own.
	inboxSize = 64
	// framesPerSecond and framesBurst bound the control frames that are taken from one client: each can make us negotiate
	// everything anew. Before it has said who it is they are fewer: a log-in with EAP-TLS has about fifty.
	framesPerSecond      = 100
	framesBurst          = 200
	earlyFramesPerSecond = 20
	earlyFramesBurst     = 100
	// setupTimeout is how long a call may take until LCP is open. On a bad line TCP brings a client of PPTP the answer to its call
	// up to 21 s late.
	setupTimeout = time.Minute
	// loginTimeout is how long it may take from there until it is authenticated.
	loginTimeout = time.Minute
	// networkTimeout is how long it may take from there until it carries IP. A client asks five or six things one after the
	// other, three seconds later each time that the question or the answer is lost: at 20 % loss one in fifty needs over 30 s.
	networkTimeout = time.Minute
	// encryptionTimeout is how long CCP may take of it where MPPE is required: shorter than clients wait, so that they hear why.
	encryptionTimeout = 30 * time.Second
	// maxConfigure is how often PPP sends a request, three seconds apart: as long as networkTimeout. IPCP asks while the
	// client, which takes CCP for open later than we do if our last word of it was lost, doesn't listen.
	maxConfigure = 20
	// typingTimeout is how long a user may take to type another password, as ppp's own timer has it.
	typingTimeout = 60 * time.Second
	// maxTyping bounds how long a call may go on in which a server has a user asked one thing after the other.
	maxTyping = 5 * time.Minute
	// terminateTimeout bounds a polite goodbye: two Terminate-Requests, three seconds apart.
	terminateTimeout = 7 * time.Second
)

// session is one PPP link from its call to its end. All fields below inbox belong to its goroutine, but for those
// under mu.
type session struct {
	m      *Manager
	id     string
	log    *slog.Logger
	ticket *ticket
	inbox  chan event
	done   chan struct{} // closed when everything it held is free again

	frames  *rate.Limiter  // belongs to the shard's thread
	forced  chan forcedEnd // one order to end at once, from another goroutine
	changes chan changing

	carrier carrier
	call    Call
	link    *ppp.Link

	sequenced   bool    // data messages carry sequence numbers (L2TP)
	begun       bool    // PPP has begun: at once, or when a carrier that waits was connected
	early       []event // frames that came before that
	leases      leases
	serial      uint64    // of the latest login that the link asked about
	asking      *deciding // the decision on it; nil: none yet
	verdict     *granted
	encrypted   bool         // CCP is open
	mustEncrypt bool         // since this login it was
	attached    *ppp.Network // since this login: what NetworkReady said
	carries     bool         // the link carries IP
	pending     *ending      // set inside a callback of the link, carried out after it
	finished    bool
	terminated  bool
	end         ending
	recorded    bool         // the outcome of the current attempt stands in the login log already
	opened      bool         // it has been open once
	reached     tenant.Stage // the furthest stage so far: a goodbye begins at LCP again
	setupBy     time.Time
	within      time.Duration // what setupBy has given it
	expires     time.Time     // session timeout; zero: none
	booked      bool          // the ledger has the session's begin
	interimAt   time.Time     // when the next interim accounting record is due; zero: none
	lastData    time.Time     // inner traffic either way, as of the last look
	ctx         context.Context
	cancel      context.CancelFunc

	traced *telemetry.Login // until it is open; nil: it is not traced

	mu      sync.Mutex
	info    Info                // what others see
	trace   LoginTrace          // how the last verdict came about
	idents  []string            // what the client called itself
	under   acl                 // the rules that it is under
	account *accounting.Session // as accounting knows it; nil: it has not begun, or has ended
	mailbox *outcome            // the last decision, until the session takes it
	pass    *guess.Pass         // of an EAP conversation under way; nil: there is none
	left    tenant.Reason       // why it was left with the session's end; empty: it was not
	dead    bool                // no decision is taken any more
	// unlisted says that the feed knows that the session is gone.
	unlisted bool
}

type ending struct {
	stage  tenant.Stage
	reason tenant.Reason
	detail string
}

type forcedEnd struct {
	reason tenant.Reason
	detail string
	polite bool // tell the client first
}

// event is one thing that happened to a session: exactly one field is set, or frame and protocol.
type event struct {
	connected *l2tp.Connect // PPP may begin
	carrier   bool          // another SA carries the session, or another peer
	rules     *acl          // the ACL that the session is under has changed
	frame     []byte        // owned
	protocol  uint16
	decided   bool // the mailbox holds a decision
	outOfSync bool
}

// Deliver implements dataplane.Sink on the shard's thread.
func (s *session) Deliver(protocol uint16, packet []byte) {
	if !s.frames.Allow() {
		s.m.cfg.Metrics.ControlFrameDropped()
		return
	}
	s.post(event{protocol: protocol, frame: append(make([]byte, 0, len(packet)), packet...)})
}

// OutOfSync implements dataplane.Sink on the shard's thread.
func (s *session) OutOfSync() { s.post(event{outOfSync: true}) }

// Broken implements dataplane.Sink on the shard's thread.
func (s *session) Broken(detail string) {
	s.force(forcedEnd{reason: tenant.ReasonLostCarrier, detail: detail})
}

// post never blocks: the shard calls it. What finds no room is lost, as a frame on the wire may be.
func (s *session) post(e event) {
	select {
	case s.inbox <- e:
	default:
		s.m.cfg.Metrics.ControlFrameDropped()
	}
}

// tell delivers what must not get lost, from a goroutine that may wait.
func (s *session) tell(e event) {
	select {
	case s.inbox <- e:
	case <-s.done:
	}
}

// force ends the session from another goroutine: at once, or politely, by a Terminate-Request first. Only the first
// order of each kind counts.
func (s *session) force(f forcedEnd) {
	select {
	case s.forced <- f:
	default:
	}
}

// run is the session's goroutine: the only one that touches link.
func (s *session) run() {
	defer s.m.wg.Done()
	defer s.teardown()
	defer s.contain()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	if !s.carrier.waits {
		s.begun = true
		s.link.Start(time.Now())
		s.carryOut(time.Now())
	}
	for !s.finished {
		timer.Reset(time.Until(s.deadline()))
		select {
		case e := <-s.inbox:
			s.handle(time.Now(), e)
		case f := <-s.forced:
			s.endBy(time.Now(), f)
		case c := <-s.changes:
			c.done <- s.apply(time.Now(), c.change)
		case now := <-timer.C:
			s.tick(now)
		}
		s.carryOut(time.Now())
	}
}

// contain keeps a panic of the session's own from being anybody else's: the session ends.
func (s *session) contain() {
	if p := recover(); p != nil {
		s.m.cfg.Faults.Panicked(s.log, "sessions/"+s.id, p)
		s.finished, s.end = true, ending{s.reached, tenant.ReasonLostCarrier, ownFault}
	}
}

// ownFault is why a session ends that has made us panic.
const ownFault = "a fault of the server's own in the work for this session"

func (s *session) handle(now time.Time, e event) {
	switch {
	case e.decided:
		s.decided(now)
	case e.outOfSync:
		s.link.ResetRequest(now)
	case e.carrier:
		s.carrierChanged()
	case e.rules != nil:
		s.rulesChanged(*e.rules)
	case e.connected != nil:
		s.connected(now, e.connected)
	case !s.begun:
		if len(s.early) < maxEarly {
			s.early = append(s.early, e)
		}
	default:
		s.receive(now, e)
	}
}

// receive gives the link a frame. A login may be in it, of which nothing shall stay.
func (s *session) receive(now time.Time, e event) {
	s.link.Receive(now, e.protocol, e.frame)
	e.wipe()
}

// wipe clears what may be secret in an event that is over.
func (e *event) wipe() {
	clear(e.frame)
	if e.connected != nil {
		clear(e.connected.ProxyAuthentication.Response)
	}
}

// maxEarly is how many frames are kept that have overtaken the ICCN behind which the client sent them: data has a shorter
// way through the daemon than control messages. Without them it would wait for a whole restart timer.
const maxEarly = 8

// connected begins PPP: the peer has said that the call is up, and how its data shall come.
func (s *session) connected(now time.Time, r *l2tp.Connect) {
	if s.begun {
		return
	}
	s.begun = true
	if r.SequencingRequired {
		s.sequenced = true
		s.call.SetSequencing(true)
	}
	s.link.StartProxied(now, proxied(r))
	clear(r.ProxyAuthentication.Response)
	early := s.early
	s.early = nil
	for _, e := range early {
		s.receive(now, e)
	}
}

// carrierChanged takes notice of another SA: its name, and the room that it leaves for inner packets.
func (s *session) carrierChanged() {
	h := handler{s}
	if s.attached != nil && s.snapshot().MTU != s.verdict.sessionMTU(s.attached.PeerMRU, s.room()) {
		h.attach()
	}
	if s.carries {
		h.describe(func(*Info) {})
	}
}

// carryOut does what a callback of the link could not do from inside.
func (s *session) carryOut(now time.Time) {
	if p := s.link.Phase(); s.begun && slices.Index(tenant.Stages, p) > slices.Index(tenant.Stages, s.reached) {
		s.reached = p
		i := s.snapshot()
		s.m.reach(i.Tenant, i.Protocol, i.ClientAddress, p)
		s.traced.Reached(string(p))
		if p == tenant.StageAuthentication && s.verdict == nil { // where packets get lost LCP alone may take most of the time
			s.setupBy, s.within = now.Add(loginTimeout), loginTimeout
		}
	}
	if p := s.pending; p != nil && !s.finished {
		s.pending = nil
		s.terminate(now, *p)
	}
}

// deadline is the earliest of the link's and the session's own.
func (s *session) deadline() time.Time {
	d := time.Now().Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(d) {
			d = t
		}
	}
	if t, ok := s.link.Deadline(); ok {
		earlier(t)
	}
	earlier(s.setupBy)
	if s.terminated { // only the goodbye's timers count
		return d
	}
	earlier(s.expires)
	earlier(s.interimAt)
	if s.opened {
		earlier(s.closes())
	}
	if s.idleTimeout() > 0 && s.opened {
		earlier(s.lastData.Add(s.idleTimeout()))
	}
	return d
}

func (s *session) idleTimeout() time.Duration {
	if s.verdict == nil {
		return 0
	}
	return s.verdict.idleTimeout
}

// closes is when the allowed hours are over; zero: never.
func (s *session) closes() time.Time {
	if s.verdict == nil {
		return time.Time{}
	}
	return s.verdict.closes
}

func (s *session) tick(now time.Time) {
	if s.opened {
		// Data that came in since the last look is a sign of life, and data either way restarts the idle timeout.
		c := s.call.Counters()
		if seen := now.Add(-c.LastInbound); seen.After(s.lastData) {
			s.link.NoteActivity(seen)
		}
		if seen := now.Add(-c.LastActivity); seen.After(s.lastData) {
			s.lastData = seen
		}
		if !s.terminated && !s.interimAt.IsZero() && !now.Before(s.interimAt) {
			s.interim(now, c)
		}
		if s.terminated {
			// Nothing but the goodbye's own timers counts any more.
		} else if idle := s.idleTimeout(); idle > 0 && now.Sub(s.lastData) >= idle {
			s.terminate(now, ending{tenant.StageOpen, tenant.ReasonIdleTimeout, fmt.Sprintf("no traffic for %s", idle)})
		} else if !s.expires.IsZero() && !now.Before(s.expires) {
			s.expires = time.Time{}
			s.terminate(now, ending{tenant.StageOpen, tenant.ReasonSessionTimeout, "the session's time is over"})
		} else if closes := s.closes(); !closes.IsZero() && !now.Before(closes) {
			s.terminate(now, ending{tenant.StageOpen, tenant.ReasonSessionTimeout, "the allowed hours are over"})
		}
	}
	if !s.setupBy.IsZero() && !now.Before(s.setupBy) {
		if s.terminated {
			s.stop(s.end)
			return
		}
		s.setupBy = time.Time{}
		s.terminate(now, s.late())
		if s.verdict == nil { // nobody that we know: no slot is held for the sake of politeness
			s.stop(s.end)
			return
		}
	}
	if t, ok := s.link.Deadline(); ok && !now.Before(t) {
		s.link.Tick(now)
	}
}

// late is the end of a call that takes too long. CCP, which may repeat its request for as long, is only waited for where
// MPPE is required.
func (s *session) late() ending {
	if s.link.Phase() == tenant.StageCCP || s.carries {
		return ending{
			tenant.StageCCP, tenant.ReasonMPPERequired,
			fmt.Sprintf("MPPE required but not agreed on within %s", s.within),
		}
	}
	return ending{s.reached, tenant.ReasonPeerTimeout, fmt.Sprintf("not through %s within %s", s.reached, s.within)}
}
