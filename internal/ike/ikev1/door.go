package ikev1

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"concentrator/internal/strangers"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// door is the machine for first messages. It keeps as little as possible of an exchange until message 3 proves that the
// address is real: no Diffie-Hellman, no goroutine, one small record. What it sends is never longer than what came.
type door struct {
	e        *Engine
	told     *rate.Limiter // refusals of message 1 that the Host hears of
	notified *rate.Limiter // notifies in the clear
	refused  refusedTable
	next     time.Time // when to look for half-open exchanges that are too old
}

// What an invented message 1 may cause at most: lines in a log, and notifies.
const (
	toldPerSecond, toldBurst         = 5, 20
	notifiedPerSecond, notifiedBurst = 20, 50
)

// While the table is crowded so many first messages of strangers a second are answered when they come for the first time, and as
// many when they come again, so that in a flood that is no stronger everybody gets in at once, and exchanges have less time. Then it
// is crowded no more soon after a flood, and meanwhile a place in it lasts for two seconds at least.
const (
	newcomersPerSecond, newcomerBurst = 500, 100

	crowdedLifetime = 3 * time.Second
)

// sweepInterval is how often half-open exchanges are looked at for their age.
const sweepInterval = time.Second

func newDoor(e *Engine) *door {
	return &door{
		e:        e,
		told:     rate.NewLimiter(toldPerSecond, toldBurst),
		notified: rate.NewLimiter(notifiedPerSecond, notifiedBurst),
	}
}

func (d *door) deadline() time.Time { return d.next }

// breakOff does nothing: no message leaves anything behind here that another one meets, and all come in by the door.
func (*door) breakOff() {}

func (*door) String() string { return "IKE" }

// tick forgets the half-open exchanges that are too old.
func (d *door) tick(now time.Time) {
	e := d.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		h := e.half.oldest()
		if h == nil {
			d.next = time.Time{}
			return
		}
		lifetime := e.cfg.HalfOpenLifetime
		if e.half.crowded() {
			lifetime = min(lifetime, crowdedLifetime)
		}
		if now.Sub(h.created) < lifetime {
			d.next = now.Add(sweepInterval)
			return
		}
		e.removeHalfLocked(h)
	}
}

// admitLocked applies the limits for first messages, before one costs anything: a flood comes this way. While the table is crowded
// a stranger's is let in when it has come before, which few invented addresses do and every client does, or when it has not; not too
// many of either. known says that somebody has authenticated from the source.
func (e *Engine) admitLocked(now time.Time, p Path, key initiatorKey, msg []byte) (known, ok bool) {
	a := p.Remote.Addr()
	_, known = e.lastGood.get(a)
	begun := e.half.byInitiator[key] != nil
	stranger := !known && !begun && e.half.crowded()
	var turn strangers.Turn
	if stranger {
		if turn = e.guard.Ask(now, p.Remote, msg); turn == (strangers.Turn{}) {
			return known, false
		}
	}
	if !e.sources.allow(now, a, known) {
		return known, false
	}
	return known, !stranger || turn.Take(now)
}

// full says whether a source has as many exchanges in phase 1 as it may, which those have changed that waited before it.
func (d *door) full(a netip.Addr) bool {
	e := d.e
	e.mu.Lock()
	defer e.mu.Unlock()
	_, known := e.lastGood.get(a)
	full := e.sources.full(a, known)
	if full {
		e.stats.Limited++
	}
	return full
}

func (d *door) receive(now time.Time, p Path, msg []byte) {
	e := d.e
	m, err := wireike.ParseMessage(msg)
	if err != nil {
		e.count(func(s *Stats) { s.Malformed++ })
		return
	}
	key := initiatorKey{m.Header.Initiator, p.Remote.Addr()}
	e.mu.Lock()
	late := e.initiators[key] // the exchange has gone on while this copy waited here
	if late != nil {
		e.postLocked(late, event{path: p, msg: msg}, maxQueue)
	}
	half := e.half.byInitiator[key]
	e.mu.Unlock()
	if late != nil {
		return
	}
	h := m.Header
	switch {
	case half == nil && d.full(p.Remote.Addr()):
	case h.Encrypted() || h.MessageID != 0 || m.Payloads.First() != wireike.PayloadSA || m.Payloads.Count(wireike.PayloadSA) != 1:
		e.count(func(s *Stats) { s.Unexpected++ })
	case half != nil:
		d.repeat(now, p, half, len(msg))
	case d.refused.again(now, key):
		e.count(func(s *Stats) { s.Duplicates++ })
		d.notify(now, p, h.Initiator, wireike.NotifyNoProposalChosen)
	case d.refused.has(now, key):
		e.count(func(s *Stats) { s.Duplicates++ })
	case h.Exchange == wireike.ExchangeMain:
		d.mainMode(now, p, m, msg)
	case h.Exchange == wireike.ExchangeAggressive:
		d.aggressive(now, p, m, msg)
	default:
		e.count(func(s *Stats) { s.Unexpected++ })
	}
}

// repeat answers a copy of message 1 as the first one was answered, and lets the exchange wait from now on: on a bad line the
// answers may have been lost.
func (d *door) repeat(now time.Time, p Path, half *halfOpen, size int) {
	e := d.e
	e.count(func(s *Stats) { s.Duplicates++ })
	if half.replies >= maxReplies || half.path.Listener != p.Listener {
		return
	}
	half.replies++
	if reply, err := half.message2(); err == nil && len(reply) <= size {
		e.h.Send(p, reply)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.half.renew(now, half)
	}
}

// mainMode takes message 1 of Main Mode: HDR, SA, vendor IDs.
func (d *door) mainMode(now time.Time, p Path, m wireike.Message, msg []byte) {
	e := d.e
	policy := e.h.Policy(p.Listener)
	if policy == nil {
		e.count(func(s *Stats) { s.Unexpected++ })
		return
	}
	body, _ := m.Payloads.Get(wireike.PayloadSA)
	sa, err := wireike.ParseSA(body)
	if err != nil {
		d.malformedSA(now, p, m, err)
		return
	}
	half := &halfOpen{
		id: SAID{Initiator: m.Header.Initiator}, path: p, created: now, vendor: vendorsOf(m.Payloads),
	}
	at, chosen, err := policy.chooseSuite(policy.Tenants, sa, false)
	if err != nil {
		d.refuse(now, p, m, err)
		return
	}
	half.choice, half.sa = at, slices.Clone(body)
	d.enter(now, half)
	reply, err := half.message2()
	if err != nil || len(reply) > len(msg) {
		e.count(func(s *Stats) { s.Limited++ })
		return
	}
	if e.cfg.Log.Enabled(context.Background(), slog.LevelDebug) { // a flood comes this way
		e.cfg.Log.Debug("main mode begins", telemetry.Listener, p.Listener, telemetry.Peer, p.Remote,
			telemetry.Cipher, chosen.String(), telemetry.Detail, half.vendor.String())
	}
	e.h.Send(p, reply)
}

// enter puts a half-open exchange into the table, under a cookie of ours.
func (d *door) enter(now time.Time, half *halfOpen) {
	e := d.e
	half.id.Responder = e.newCookie()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addHalfLocked(half)
	if d.next.IsZero() {
		d.next = now.Add(sweepInterval)
	}
}

// message2 is HDR, SA with what was chosen, vendor IDs.
func (h *halfOpen) message2() ([]byte, error) {
	sa, err := wireike.ParseSA(h.sa)
	if err != nil {
		return nil, err
	}
	prop, t, err := h.choice.at(sa)
	if err != nil {
		return nil, err
	}
	b := wireike.NewBuilder(wireike.Header{
		Initiator: h.id.Initiator, Responder: h.id.Responder, Exchange: wireike.ExchangeMain,
	})
	b.Add(wireike.PayloadSA, wireike.AppendChosen(nil, prop, nil, t))
	for _, v := range mirrored(h.vendor) {
		b.Add(wireike.PayloadVID, v.ID())
	}
	return b.Bytes(), nil
}

// malformedSA answers an SA payload that can't be read, where the protocol has an answer.
func (d *door) malformedSA(now time.Time, p Path, m wireike.Message, err error) {
	d.e.count(func(s *Stats) { s.Malformed++ })
	switch {
	case errors.Is(err, wireike.ErrDOI):
		d.notify(now, p, m.Header.Initiator, wireike.NotifyDOINotSupported)
	case errors.Is(err, wireike.ErrSituation):
		d.notify(now, p, m.Header.Initiator, wireike.NotifySituationNotSupported)
	}
}

// refuse tells the peer and, at a limited rate, the Host that message 1 has nothing that we accept.
func (d *door) refuse(now time.Time, p Path, m wireike.Message, err error) {
	d.refused.put(now, initiatorKey{m.Header.Initiator, p.Remote.Addr()})
	d.notify(now, p, m.Header.Initiator, wireike.NotifyNoProposalChosen)
	d.tell(now, p, err)
}

// tell reports a refusal of message 1.
func (d *door) tell(now time.Time, p Path, err error) {
	r := Refusal{Path: p, Stage: tenant.StageIKEMainMode, Reason: tenant.ReasonProtocolError, Detail: err.Error()}
	var none *errNoProposal
	if errors.As(err, &none) {
		r.Reason, r.Detail = none.reason, none.detail
	}
	d.e.count(func(s *Stats) { s.Refused++ })
	if d.told.AllowN(now, 1) {
		d.e.h.Refused(r)
	}
}

// notify sends a notify in the clear: 40 octets, for a message that had more.
func (d *door) notify(now time.Time, p Path, initiator wireike.Cookie, t wireike.NotifyType) {
	if !d.notified.AllowN(now, 1) {
		return
	}
	d.e.h.Send(p, d.e.clearNotify(SAID{initiator, d.e.newCookie()}, t))
}

// clearNotify is an unprotected informational message.
func (e *Engine) clearNotify(id SAID, t wireike.NotifyType) []byte {
	b := wireike.NewBuilder(wireike.Header{
		Initiator: id.Initiator, Responder: id.Responder, Exchange: wireike.ExchangeInformational,
		MessageID: e.random32(),
	})
	body, _ := wireike.Notify{Protocol: wireike.ProtocolISAKMP, Type: t}.AppendBinary(nil) // it never fails
	b.Add(wireike.PayloadNotify, body)
	return b.Bytes()
}

// count changes a counter.
func (e *Engine) count(f func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.stats)
}

// random returns n random octets. A source of randomness that fails leaves nothing that could safely be done.
func (e *Engine) random(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(e.cfg.Rand, b); err != nil {
		panic(err)
	}
	return b
}

// random32 returns a random number other than 0, for message IDs.
func (e *Engine) random32() uint32 {
	for {
		b := e.random(4)
		if v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]); v != 0 {
			return v
		}
	}
}

// newCookie returns a cookie that no SA of ours has.
func (e *Engine) newCookie() wireike.Cookie {
	for {
		if c := wireike.Cookie(e.random(len(wireike.Cookie{}))); !c.IsZero() {
			return c
		}
	}
}
