package automaton

import (
	"iter"

	"concentrator/internal/wire/ppp"
)

// Answer collects a Layer's opinion on a Configure-Request. What the Layer does not object to is acknowledged. If
// anything is rejected, the answer is a Configure-Reject of just that, else a Configure-Nak of what was objected to,
// else a Configure-Ack of the whole list (RFC 1661 sections 5.2 to 5.4).
type Answer struct {
	options    ppp.Options
	nak, rej   []byte
	rejectOnly bool
}

func (a *Answer) reset(o ppp.Options, rejectOnly bool) {
	a.options, a.rejectOnly = o, rejectOnly
	a.nak, a.rej = a.nak[:0], a.rej[:0]
}

// Options walks the peer's options. A second option of a type is rejected here and not shown: no option of LCP, IPCP or
// CCP may stand in a list twice (RFC 1661 section 6). The values are borrowed until Judge returns.
func (a *Answer) Options() iter.Seq[ppp.Option] {
	return func(yield func(ppp.Option) bool) {
		var seen [256]bool
		for o := range a.options.All() {
			if seen[o.Type] {
				a.Reject(o)
				continue
			}
			seen[o.Type] = true
			if !yield(o) {
				return
			}
		}
	}
}

// Has says whether the peer's list holds an option of the type.
func (a *Answer) Has(typ byte) bool {
	_, ok := a.options.Find(typ)
	return ok
}

// Reject refuses an option of the peer.
func (a *Answer) Reject(o ppp.Option) { a.rej = ppp.AppendOption(a.rej, o.Type, o.Value...) }

// Nak says which value we would take for an option of the peer. Once too many Configure-Naks have gone out without the
// peer giving in, it rejects the option (Max-Failure, RFC 1661 section 4.6).
func (a *Answer) Nak(o ppp.Option, want ...byte) {
	if a.rejectOnly {
		a.Reject(o)
		return
	}
	a.nak = ppp.AppendOption(a.nak, o.Type, want...)
}

// Prompt asks for an option that the peer left out. It asks for nothing once Max-Failure is reached: then the Layer must
// do without.
func (a *Answer) Prompt(typ byte, want ...byte) {
	if !a.rejectOnly {
		a.nak = ppp.AppendOption(a.nak, typ, want...)
	}
}

// RejectOnly says that Max-Failure is reached: Nak rejects and Prompt does nothing.
func (a *Answer) RejectOnly() bool { return a.rejectOnly }

// Good says whether nothing was objected to so far.
func (a *Answer) Good() bool { return len(a.rej) == 0 && len(a.nak) == 0 }

// code returns the code of the answer and its option list.
func (a *Answer) code() (byte, []byte) {
	switch {
	case len(a.rej) > 0:
		return ppp.CodeConfigureReject, a.rej
	case len(a.nak) > 0:
		return ppp.CodeConfigureNak, a.nak
	}
	return ppp.CodeConfigureAck, a.options.Bytes()
}
