package eap

import (
	"bytes"
	"slices"

	wire "concentrator/internal/wire/eap"
)

// Peer is one login. It belongs to one goroutine; Close must follow.
type Peer struct {
	cfg Config

	method method // nil: none is under way
	typ    byte

	answered wire.Packet // the latest Request that has a Response
	reply    []byte      // that one
	refused  *Refusal    // what the method was told
	attempt  int         // index in Config.Passwords
	message  string      // what the server has said to the user
	over     bool
}

// Result is what comes of a packet.
type Result struct {
	// Reply is to be sent, if there is any. The caller may keep it.
	Reply []byte
	// Refused is a no: of the server's EAP-MSCHAPv2, which may allow another attempt, or by an EAP-Failure without one
	// before. It comes once.
	Refused *Refusal
	// Again says that the Reply to Refused is the next attempt, with the next password, and Changed that it puts
	// Config.NewPassword in the place of the one that was tried.
	Again, Changed bool
	// Done says that we are in.
	Done bool
	// Err says that the login is over without success.
	Err error
}

// Keys are what a method has agreed on.
type Keys struct {
	MSK []byte // 64 octets, RFC 3748 section 7.10
	// Send and Recv are MPPE's start keys: what we send with, and the server.
	Send, Recv [16]byte
}

// method is one method under way.
type method interface {
	// handle answers the data of a Request, which is borrowed.
	handle(id byte, data []byte) step
	// done says whether the server may send Success now.
	done() bool
	// keys returns nil if the method gives none. It must be done.
	keys() (*Keys, error)
	// close ends what runs.
	close()
}

// step is a method's answer to a Request.
type step struct {
	typ    byte   // of the Response; the Peer knows it
	data   []byte // what follows it
	silent bool   // there is no Response: the Request is no good

	refused        *Refusal
	again, changed bool // as Result has them
}

// failer is a method that can find out by itself that it has failed. What follows is only for form's sake.
type failer interface{ failure() error }

// New begins a login. The first packet is the server's.
func New(cfg Config) *Peer { return &Peer{cfg: cfg.withDefaults()} }

// Message is what the server has said to the user last.
func (p *Peer) Message() string {
	if m, ok := p.method.(*peap); ok && m.inner.message != "" {
		return m.inner.message
	}
	return p.message
}

// Type is the method under way; 0 before there is one.
func (p *Peer) Type() byte { return p.typ }

// Keys are those of the login that is Done; nil if the method gives none.
func (p *Peer) Keys() (*Keys, error) {
	if p.method == nil {
		return nil, nil
	}
	return p.method.keys()
}

// Close ends what runs. Keys can't be had any more.
func (p *Peer) Close() {
	p.over = true
	p.reset()
}

// reset leaves the method, if there is one.
func (p *Peer) reset() {
	if p.method != nil {
		p.method.close()
	}
	p.method, p.typ = nil, 0
}

// Receive takes a packet of the server, of which it keeps nothing. What is no good is answered with nothing (RFC 3748
// section 4).
func (p *Peer) Receive(packet []byte) Result {
	h, err := wire.ParsePacket(packet)
	if err != nil || p.over {
		return Result{}
	}
	switch h.Code {
	case wire.CodeRequest:
		return p.asked(h)
	default: // Success or Failure; a Response is for a server
		// It answers our latest Response (RFC 3748 section 4.2).
		if h.Code == wire.CodeResponse || p.reply == nil || h.ID != p.answered.ID {
			return Result{}
		}
		return p.ended(h.Code == wire.CodeSuccess)
	}
}

// ended handles Success and Failure.
func (p *Peer) ended(success bool) Result {
	p.over = true
	err := p.failure()
	switch {
	case success && p.proven():
		return Result{Done: true}
	case err != nil:
		return Result{Err: err}
	case success:
		return Result{Err: ErrImpostor}
	case p.refused != nil:
		return Result{Err: p.refused}
	}
	r := &Refusal{Message: p.message}
	return Result{Refused: r, Err: r}
}

// asked handles a Request. One that comes a second time gets the same answer (RFC 3748 section 4.1).
func (p *Peer) asked(h wire.Packet) Result {
	if p.reply != nil && h.ID == p.answered.ID && h.Type == p.answered.Type && bytes.Equal(h.Data, p.answered.Data) {
		return Result{Reply: slices.Clone(p.reply)}
	}
	s := p.answer(h)
	if s.silent {
		return Result{}
	}
	reply, err := wire.Packet{Code: wire.CodeResponse, ID: h.ID, Type: s.typ, Data: s.data}.AppendBinary(nil)
	if err != nil {
		return Result{}
	}
	p.reply, p.answered = reply, h
	p.answered.Data = slices.Clone(h.Data)
	if s.refused != nil {
		p.refused = s.refused
	}
	return Result{Reply: slices.Clone(p.reply), Refused: s.refused, Again: s.again, Changed: s.changed}
}

// answer makes the Response to a new Request.
func (p *Peer) answer(h wire.Packet) step {
	switch {
	case h.Type == wire.TypeIdentity: // also when the server begins anew
		p.reset()
		p.refused = nil
		return step{typ: h.Type, data: []byte(p.cfg.Identity)}
	case h.Type == wire.TypeNotification:
		p.message = string(h.Data)
		return step{typ: h.Type}
	case h.Type == wire.TypeNak:
		return step{silent: true}
	case p.method == nil:
		if !p.begin(h.Type) {
			return p.nak()
		}
	case h.Type != p.typ: // one method, once it has begun (RFC 3748 section 2.1)
		return step{silent: true}
	}
	s := p.method.handle(h.ID, h.Data)
	s.typ = h.Type
	if s.refused != nil {
		p.message = s.refused.Message
	}
	return s
}

// nak names what we would take; zero: nothing (RFC 3748 section 5.3.1).
func (p *Peer) nak() step {
	types := p.cfg.Methods
	if len(types) == 0 {
		types = []byte{0}
	}
	return step{typ: wire.TypeNak, data: types}
}

// begin begins a method, if it is one of ours.
func (p *Peer) begin(typ byte) bool {
	if !slices.Contains(p.cfg.Methods, typ) {
		return false
	}
	switch typ {
	case wire.TypeMD5:
		p.method = &md5Challenge{password: p.cfg.Passwords[0]}
	case wire.TypeMSCHAPv2:
		p.method = &mschapv2{p: p}
	case wire.TypeTLS:
		p.method = newEAPTLS(p.cfg)
	case wire.TypePEAP:
		p.method = newPEAP(p.cfg)
	default:
		return false
	}
	p.typ = typ
	return true
}

// proven says whether the method is done; the server may say so in a packet of an outer method.
func (p *Peer) proven() bool { return p.method != nil && p.method.done() }

// failure is what the method has found out by itself.
func (p *Peer) failure() error {
	if f, ok := p.method.(failer); ok {
		return f.failure()
	}
	return nil
}
