// Package automaton is the option negotiation automaton of RFC 1661 section 4, once for LCP and every network control
// protocol.
//
// It has two parts. The table (table.go) is the state transition table of section 4.1 as data; it does nothing itself,
// and a test compares every cell with the table as the RFC prints it. A Machine (machine.go) runs one protocol by that
// table: state, identifiers, restart counter and timer, and the packets with codes 1 to 7. What the options mean is the
// business of its Layer. Called by internal/ppp, and by clients in tests.
//
// A Machine belongs to one goroutine. It has no clock, no lock and starts no goroutine: every method takes the time, and
// Deadline says when Tick is wanted.
//
// Where a Machine departs from the letter of RFC 1661, a comment says why: repeated packets do not bring an open layer
// down, and no peer can keep a layer half open for ever.
package automaton
