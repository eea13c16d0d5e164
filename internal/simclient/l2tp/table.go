package l2tp

// State is a state of a tunnel that we have asked for, RFC 2661 section 7.2.1, without the RFC's idle: a Machine asks for
// the tunnel as soon as it is made, and is closed after its end. WaitStop waits for the acknowledgement of our StopCCN.
type State uint8

// The states.
const (
	WaitReply State = iota // wait-ctl-reply
	Established
	WaitStop
	Closed
	numStates
)

// String returns the RFC's name of the state.
func (s State) String() string {
	if s < numStates {
		return [...]string{"wait-ctl-reply", "established", "wait-stop", "closed"}[s]
	}
	return "unknown"
}

// event is what can happen to a tunnel.
type event uint8

const (
	gotReply       event = iota // SCCRP
	replyBad                    // SCCRP with a wrong Challenge Response, or one that we can't answer
	gotStop                     // StopCCN
	gotCallMessage              // a message about a call
	gotOutOfOrder               // anything else that must not come
	gotHello                    // HELLO
	localStop                   // we want the tunnel to end
	gaveUp                      // no answer
	stopAcked                   // our StopCCN has arrived
	numEvents
)

// action is a set of things to do, from the lowest bit up.
type action uint8

const (
	endCalls action = 1 << iota
	sendConnected
	tellStarted
	sendStop
	handleCall
	tellClosed
)

// step is one cell of table.
type step struct {
	do   action
	next State
}

// table is the left half of RFC 2661 section 7.2.1.
var table = [numEvents][numStates]step{
	//               wait-ctl-reply                                 established                     wait-stop               closed
	gotReply:       {{sendConnected | tellStarted, Established}, {endCalls | sendStop, WaitStop}, {0, WaitStop}, {0, Closed}},
	replyBad:       {{sendStop, WaitStop}, {0, Established}, {0, WaitStop}, {0, Closed}},
	gotStop:        {{tellClosed, Closed}, {endCalls | tellClosed, Closed}, {tellClosed, Closed}, {0, Closed}},
	gotCallMessage: {{0, WaitReply}, {handleCall, Established}, {0, WaitStop}, {0, Closed}},
	gotOutOfOrder:  {{sendStop, WaitStop}, {endCalls | sendStop, WaitStop}, {0, WaitStop}, {0, Closed}},
	gotHello:       {{0, WaitReply}, {0, Established}, {0, WaitStop}, {0, Closed}},
	localStop:      {{tellClosed, Closed}, {endCalls | sendStop, WaitStop}, {0, WaitStop}, {0, Closed}},
	gaveUp:         {{tellClosed, Closed}, {endCalls | tellClosed, Closed}, {tellClosed, Closed}, {0, Closed}},
	stopAcked:      {{0, WaitReply}, {0, Established}, {tellClosed, Closed}, {0, Closed}},
}

// callState is a state of a call that has come in at us, RFC 2661 section 7.4.1, without the RFC's states of the
// telephone line.
type callState uint8

const (
	callIdle callState = iota
	callWaitReply
	callEstablished
	numCallStates
)

// callEvent is what can happen to a call.
type callEvent uint8

const (
	openRequest   callEvent = iota // we want it
	callReply                      // ICRP
	gotDisconnect                  // CDN
	localHangup                    // we no longer want it
	tunnelGone                     // the tunnel ended
	numCallEvents
)

// callAction is a set of things to do for a call, from the lowest bit up.
type callAction uint8

const (
	sendRequest callAction = 1 << iota
	sendConnect
	tellAnswered
	sendHangup
	tellEnded
)

// callStep is one cell of callTable.
type callStep struct {
	do   callAction
	next callState
}

// callTable is RFC 2661 section 7.4.1.
var callTable = [numCallEvents][numCallStates]callStep{
	//              idle                          wait-reply                                     established
	openRequest:   {{sendRequest, callWaitReply}, {0, callWaitReply}, {0, callEstablished}},
	callReply:     {{0, callIdle}, {sendConnect | tellAnswered, callEstablished}, {sendHangup | tellEnded, callIdle}},
	gotDisconnect: {{0, callIdle}, {tellEnded, callIdle}, {tellEnded, callIdle}},
	localHangup:   {{0, callIdle}, {sendHangup | tellEnded, callIdle}, {sendHangup | tellEnded, callIdle}},
	tunnelGone:    {{0, callIdle}, {tellEnded, callIdle}, {tellEnded, callIdle}},
}
