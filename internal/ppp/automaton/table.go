package automaton

// State is a state of the automaton (RFC 1661 section 4.2), with the number that the RFC gives it.
type State uint8

// The states.
const (
	Initial State = iota
	Starting
	Closed
	Stopped
	Closing
	Stopping
	ReqSent
	AckRcvd
	AckSent
	Opened
	numStates = iota
)

// String returns the RFC's name of the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "?"
}

var stateNames = [numStates]string{
	"Initial", "Starting", "Closed", "Stopped", "Closing", "Stopping", "Req-Sent", "Ack-Rcvd", "Ack-Sent", "Opened",
}

// Event is an event of the automaton (RFC 1661 section 4.3).
type Event uint8

// The events.
const (
	Up        Event = iota // lower layer is up
	Down                   // lower layer is down
	Open                   // administrative open
	Close                  // administrative close
	TOPlus                 // timeout, counter > 0
	TOMinus                // timeout, counter expired
	RCRPlus                // Configure-Request, good
	RCRMinus               // Configure-Request, bad
	RCA                    // Configure-Ack
	RCN                    // Configure-Nak or -Reject
	RTR                    // Terminate-Request
	RTA                    // Terminate-Ack
	RUC                    // unknown code
	RXJPlus                // Code- or Protocol-Reject, permitted
	RXJMinus               // Code- or Protocol-Reject, catastrophic
	RXR                    // Echo-Request, Echo-Reply, Discard-Request
	numEvents = iota
)

// String returns the RFC's name of the event.
func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return "?"
}

var eventNames = [numEvents]string{
	"Up", "Down", "Open", "Close", "TO+", "TO-", "RCR+", "RCR-", "RCA", "RCN", "RTR", "RTA", "RUC", "RXJ+", "RXJ-", "RXR",
}

// Actions is a set of actions (RFC 1661 section 4.4). They are carried out from the lowest bit up, so that a layer goes
// down before anything is sent, counters are set before they are used, and a layer comes up last.
type Actions uint16

// The actions.
const (
	TLD Actions = 1 << iota // this layer down
	IRC                     // initialise restart counter
	ZRC                     // zero restart counter
	SCR                     // send Configure-Request
	SCA                     // send Configure-Ack
	SCN                     // send Configure-Nak or -Reject
	STR                     // send Terminate-Request
	STA                     // send Terminate-Ack
	SCJ                     // send Code-Reject
	SER                     // send Echo-Reply
	TLS                     // this layer started
	TLF                     // this layer finished
	TLU                     // this layer up
	endOfActions
)

// Mark is the letter behind a cell of the RFC's table: an option of the implementation. None of them is taken here;
// they stand in the table so that it can be compared with the RFC in full.
type Mark byte

// The marks (RFC 1661 section 4.1).
const (
	NoMark  Mark = 0
	Restart Mark = 'r' // restart option: a second Open is Down, then Up
	Passive Mark = 'p' // passive option: wait instead of giving up
	Crossed Mark = 'x' // crossed connection: this can only be a packet of an earlier one
)

// Step is one cell of the table.
type Step struct {
	Do   Actions
	To   State
	Mark Mark
	ok   bool
}

func to(s State) Step                        { return Step{To: s, ok: true} }
func do(a Actions, s State) Step             { return Step{Do: a, To: s, ok: true} }
func marked(m Mark, a Actions, s State) Step { return Step{Do: a, To: s, Mark: m, ok: true} }

// no is a cell that the RFC prints as "-": the event can not happen in this state.
var no = Step{}

// table is RFC 1661 section 4.1, events down, states across.
var table = [numEvents][numStates]Step{
	Up: {
		to(Closed), do(IRC|SCR, ReqSent), no, no, no, no,
		no, no, no, no,
	},
	Down: {
		no, no, to(Initial), do(TLS, Starting), to(Initial), to(Starting),
		to(Starting), to(Starting), to(Starting), do(TLD, Starting),
	},
	Open: {
		do(TLS, Starting), to(Starting), do(IRC|SCR, ReqSent), marked(Restart, 0, Stopped), marked(Restart, 0, Stopping), marked(Restart, 0, Stopping),
		to(ReqSent), to(AckRcvd), to(AckSent), marked(Restart, 0, Opened),
	},
	Close: {
		to(Initial), do(TLF, Initial), to(Closed), to(Closed), to(Closing), to(Closing),
		do(IRC|STR, Closing), do(IRC|STR, Closing), do(IRC|STR, Closing), do(TLD|IRC|STR, Closing),
	},
	TOPlus: {
		no, no, no, no, do(STR, Closing), do(STR, Stopping),
		do(SCR, ReqSent), do(SCR, ReqSent), do(SCR, AckSent), no,
	},
	TOMinus: {
		no, no, no, no, do(TLF, Closed), do(TLF, Stopped),
		marked(Passive, TLF, Stopped), marked(Passive, TLF, Stopped), marked(Passive, TLF, Stopped), no,
	},
	RCRPlus: {
		no, no, do(STA, Closed), do(IRC|SCR|SCA, AckSent), to(Closing), to(Stopping),
		do(SCA, AckSent), do(SCA|TLU, Opened), do(SCA, AckSent), do(TLD|SCR|SCA, AckSent),
	},
	RCRMinus: {
		no, no, do(STA, Closed), do(IRC|SCR|SCN, ReqSent), to(Closing), to(Stopping),
		do(SCN, ReqSent), do(SCN, AckRcvd), do(SCN, ReqSent), do(TLD|SCR|SCN, ReqSent),
	},
	RCA: {
		no, no, do(STA, Closed), do(STA, Stopped), to(Closing), to(Stopping),
		do(IRC, AckRcvd), marked(Crossed, SCR, ReqSent), do(IRC|TLU, Opened), marked(Crossed, TLD|SCR, ReqSent),
	},
	RCN: {
		no, no, do(STA, Closed), do(STA, Stopped), to(Closing), to(Stopping),
		do(IRC|SCR, ReqSent), marked(Crossed, SCR, ReqSent), do(IRC|SCR, AckSent), marked(Crossed, TLD|SCR, ReqSent),
	},
	RTR: {
		no, no, do(STA, Closed), do(STA, Stopped), do(STA, Closing), do(STA, Stopping),
		do(STA, ReqSent), do(STA, ReqSent), do(STA, ReqSent), do(TLD|ZRC|STA, Stopping),
	},
	RTA: {
		no, no, to(Closed), to(Stopped), do(TLF, Closed), do(TLF, Stopped),
		to(ReqSent), to(ReqSent), to(AckSent), do(TLD|SCR, ReqSent),
	},
	RUC: {
		no, no, do(SCJ, Closed), do(SCJ, Stopped), do(SCJ, Closing), do(SCJ, Stopping),
		do(SCJ, ReqSent), do(SCJ, AckRcvd), do(SCJ, AckSent), do(SCJ, Opened),
	},
	RXJPlus: {
		no, no, to(Closed), to(Stopped), to(Closing), to(Stopping),
		to(ReqSent), to(ReqSent), to(AckSent), to(Opened),
	},
	RXJMinus: {
		no, no, do(TLF, Closed), do(TLF, Stopped), do(TLF, Closed), do(TLF, Stopped),
		do(TLF, Stopped), do(TLF, Stopped), do(TLF, Stopped), do(TLD|IRC|STR, Stopping),
	},
	RXR: {
		no, no, to(Closed), to(Stopped), to(Closing), to(Stopping),
		to(ReqSent), to(AckRcvd), to(AckSent), do(SER, Opened),
	},
}

// Next looks up what an event does in a state. It is false for a pair that the RFC prints as "-".
func Next(s State, e Event) (Step, bool) {
	st := table[e][s]
	return st, st.ok
}

// TimerRuns says whether the restart timer runs in a state. RFC 1661 section 4.1 defines it so: the timer runs where a
// timeout can happen.
func TimerRuns(s State) bool { return table[TOPlus][s].ok }
