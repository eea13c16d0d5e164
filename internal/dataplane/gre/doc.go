// Package gre keeps the state of one PPTP call's enhanced GRE stream: sequence numbers, the reorder window,
// acknowledgements, loss (RFC 2637 section 4).
//
// GRE has no integrity: whoever can send from the peer's address can send any sequence number. So the session
// decides in two steps. Place says where a number would fall and moves nothing. Only when the caller has
// found the packet credible (dataplane/mppe and dataplane/policy do that) does Accept move the position. What a
// shard does with a packet that has a sequence number:
//
//	place := s.Place(h.Seq)
//	if place == Late || place == Duplicate { drop }
//	encrypted frame, and place isn't Early or the receiver isn't Stateful now:
//	    verdict := mppe.OpenBatch(…)             // decrypts what is credible, leaves alone what isn't
//	    OK → Verified, Resynced → Confirmed, anything else → drop: nothing has moved
//	encrypted frame otherwise:
//	    Unverified: it is kept as it came and must be opened when Pop gives it back
//	clear frame: policy.CredibleFrame or drop
//	    Control if the session decrypts (the receiver exists), else Clear
//	switch s.Accept(h.Seq, b, evidence, now) {
//	case Deliver:     deliver b; then Pop until there is no more
//	case DeliverLast: Pop until there is no more; then deliver b
//	case Held:        the session has its own copy; Pop until there is no more
//	case Waiting, Refused: drop
//	}
//	when Deadline says so: Expire, then Pop until there is no more
//
// A Session belongs to its shard's goroutine (or to a simulated client's): no lock, no clock, no goroutine.
// It allocates nothing after NewSession; early packets are copied into Bufs of the shard's pool.
//
// The peer's acknowledgements are not used: RFC 2637 section 4.4 describes a send window, but a window on top
// of the windows that run inside the tunnel only stalls them, and no client needs it.
package gre
