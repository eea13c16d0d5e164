package pptp

// State is a state of the control connection's originator, RFC 2637 section 3.1.1, without the RFC's idle: a Machine
// asks for the control connection as soon as it is made, and is closed after its end.
type State uint8

// The states.
const (
	WaitReply State = iota // wait_ctl_reply
	Established
	WaitStopReply
	Closed
	numStates
)

// String returns the RFC's name of the state.
func (s State) String() string {
	if s < numStates {
		return [...]string{"wait_ctl_reply", "established", "wait_stop_reply", "closed"}[s]
	}
	return "unknown"
}

// event is what can happen to the control connection.
type event uint8

const (
	startAccepted  event = iota // Start-Control-Connection-Reply that says yes
	startRefused                // the same that says no, or names another version
	gotStop                     // Stop-Control-Connection-Request
	gotStopReply                // Stop-Control-Connection-Reply
	gotEcho                     // Echo-Request
	gotEchoReply                // Echo-Reply
	gotCallMessage              // a message about a call
	gotStray                    // anything else
	localStop                   // we want the connection to end
	gaveUp                      // the state's deadline has passed
	silent                      // no answer to our Echo-Request
	broken                      // TCP is gone, or the octets on it are not PPTP
	numEvents
)

// action is a set of things to do, from the lowest bit up.
type action uint8

const (
	endCalls action = 1 << iota
	tellStarted
	sendStopRequest
	sendStopReply
	sendEchoReply
	tellEcho
	handleCall
	tellClosed
)

// step is one cell of table.
type step struct {
	do   action
	next State
}

// table is RFC 2637 section 3.1.1, completed with the messages that the figure leaves out.
var table = [numEvents][numStates]step{
	//               wait_ctl_reply                                established                                      wait_stop_reply                       closed
	startAccepted:  {{tellStarted, Established}, {0, Established}, {0, WaitStopReply}, {0, Closed}},
	startRefused:   {{tellClosed, Closed}, {0, Established}, {0, WaitStopReply}, {0, Closed}},
	gotStop:        {{sendStopReply | tellClosed, Closed}, {endCalls | sendStopReply | tellClosed, Closed}, {sendStopReply | tellClosed, Closed}, {0, Closed}},
	gotStopReply:   {{tellClosed, Closed}, {0, Established}, {tellClosed, Closed}, {0, Closed}},
	gotEcho:        {{0, WaitReply}, {sendEchoReply, Established}, {sendEchoReply, WaitStopReply}, {0, Closed}},
	gotEchoReply:   {{0, WaitReply}, {tellEcho, Established}, {0, WaitStopReply}, {0, Closed}},
	gotCallMessage: {{0, WaitReply}, {handleCall, Established}, {0, WaitStopReply}, {0, Closed}},
	gotStray:       {{0, WaitReply}, {0, Established}, {0, WaitStopReply}, {0, Closed}},
	localStop:      {{tellClosed, Closed}, {endCalls | sendStopRequest, WaitStopReply}, {0, WaitStopReply}, {0, Closed}},
	gaveUp:         {{tellClosed, Closed}, {0, Established}, {tellClosed, Closed}, {0, Closed}},
	silent:         {{tellClosed, Closed}, {endCalls | tellClosed, Closed}, {tellClosed, Closed}, {0, Closed}},
	broken:         {{tellClosed, Closed}, {endCalls | tellClosed, Closed}, {tellClosed, Closed}, {0, Closed}},
}

// callState is a state of a call that we place, RFC 2637 section 3.2.4.2.
type callState uint8

const (
	callIdle callState = iota
	callWaitReply
	callEstablished
	callWaitDisconnect
	numCallStates
)

// callEvent is what can happen to a call.
type callEvent uint8

const (
	openRequest    callEvent = iota // we want it
	callAccepted                    // Outgoing-Call-Reply that says yes
	callRefused                     // Outgoing-Call-Reply that says no
	gotDisconnect                   // Call-Disconnect-Notify
	localClear                      // we no longer want it
	callGaveUp                      // no answer in time
	connectionGone                  // the control connection ended
	numCallEvents
)

// callAction is a set of things to do for a call, from the lowest bit up.
type callAction uint8

const (
	sendCallRequest callAction = 1 << iota
	sendClear
	tellAnswered
	tellEnded
)

// callStep is one cell of callTable.
type callStep struct {
	do   callAction
	next callState
}

// callTable is RFC 2637 section 3.2.4.2.
var callTable = [numCallEvents][numCallStates]callStep{
	//               idle                              wait_reply                                established                              wait_disconnect
	openRequest:    {{sendCallRequest, callWaitReply}, {0, callWaitReply}, {0, callEstablished}, {0, callWaitDisconnect}},
	callAccepted:   {{0, callIdle}, {tellAnswered, callEstablished}, {0, callEstablished}, {0, callWaitDisconnect}},
	callRefused:    {{0, callIdle}, {tellAnswered | tellEnded, callIdle}, {0, callEstablished}, {tellEnded, callIdle}},
	gotDisconnect:  {{0, callIdle}, {tellEnded, callIdle}, {tellEnded, callIdle}, {tellEnded, callIdle}},
	localClear:     {{0, callIdle}, {sendClear, callWaitDisconnect}, {sendClear, callWaitDisconnect}, {0, callWaitDisconnect}},
	callGaveUp:     {{0, callIdle}, {sendClear, callWaitDisconnect}, {0, callEstablished}, {tellEnded, callIdle}},
	connectionGone: {{0, callIdle}, {tellEnded, callIdle}, {tellEnded, callIdle}, {tellEnded, callIdle}},
}
