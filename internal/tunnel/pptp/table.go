package pptp

import "strconv"

// controlState is a state of the control connection's receiver, RFC 2637 section 3.1.2. The RFC's idle is two states
// here, since a TCP connection is never used twice: idle before the start, closed after the end.
type controlState uint8

const (
	idle controlState = iota
	established
	waitStopReply
	closed
	numControlStates
)

// String returns the RFC's name of the state.
func (s controlState) String() string {
	if s < numControlStates {
		return [...]string{"idle", "established", "wait_stop_reply", "closed"}[s]
	}
	return "state " + strconv.Itoa(int(s))
}

// controlEvent is what can happen to a control connection.
type controlEvent uint8

const (
	gotStart       controlEvent = iota // Start-Control-Connection-Request in a version that we can speak
	gotStartOld                        // Start-Control-Connection-Request in an earlier version
	gotStop                            // Stop-Control-Connection-Request
	gotStopReply                       // Stop-Control-Connection-Reply
	gotEcho                            // Echo-Request
	gotEchoReply                       // Echo-Reply
	gotCallRequest                     // Outgoing-Call-Request or Incoming-Call-Request
	gotCallMessage                     // any other message about a call that a client may send
	gotStray                           // a reply to something that we never ask for
	localTerminate                     // we want the connection to end
	gaveUp                             // the state's deadline has passed
	silent                             // no answer to our Echo-Request
	broken                             // TCP is gone, or the octets on it are not PPTP
	numControlEvents
)

// controlAction is a set of things to do, from the lowest bit up: calls end before anything is sent, and closing is last.
type controlAction uint16

const (
	endCalls          controlAction = 1 << iota // every call is gone with the connection
	sendStartReply                              // Start-Control-Connection-Reply, ResultOK
	sendStartExists                             // the same, "control connection exists already"
	sendStartVersion                            // the same, "version not supported"
	sendStopRequest                             // Stop-Control-Connection-Request
	sendStopReply                               // Stop-Control-Connection-Reply, ResultOK
	sendEchoReply                               // Echo-Reply
	sendNotConnected                            // refusal of a call on a connection that was not started
	handleCallRequest                           // over to the call's table
	handleCallMessage                           // over to the call's table
	closeTCP                                    // after what was sent has been written
)

// controlStep is one cell of controlTable.
type controlStep struct {
	do   controlAction
	next controlState
}

// controlTable is RFC 2637 section 3.1.2, completed with the messages that the figure leaves out. A message that comes
// before the start ends the connection (section 3.1: what is invalid closes it, so that both sides are in a known state);
// one that comes after our own Stop-Control-Connection-Request has crossed it and is ignored.
//
// The RFC lets a receiver stay idle after a bad start and take another; here the connection is closed, as no client tries
// a second version on the same one.
var controlTable = [numControlEvents][numControlStates]controlStep{
	//               idle                                       established                                  wait_stop_reply                        closed
	gotStart:       {{sendStartReply, established}, {sendStartExists, established}, {0, waitStopReply}, {0, closed}},
	gotStartOld:    {{sendStartVersion | closeTCP, closed}, {sendStartExists, established}, {0, waitStopReply}, {0, closed}},
	gotStop:        {{sendStopReply | closeTCP, closed}, {endCalls | sendStopReply | closeTCP, closed}, {sendStopReply | closeTCP, closed}, {0, closed}},
	gotStopReply:   {{closeTCP, closed}, {0, established}, {closeTCP, closed}, {0, closed}},
	gotEcho:        {{closeTCP, closed}, {sendEchoReply, established}, {sendEchoReply, waitStopReply}, {0, closed}},
	gotEchoReply:   {{closeTCP, closed}, {0, established}, {0, waitStopReply}, {0, closed}},
	gotCallRequest: {{sendNotConnected | closeTCP, closed}, {handleCallRequest, established}, {0, waitStopReply}, {0, closed}},
	gotCallMessage: {{closeTCP, closed}, {handleCallMessage, established}, {0, waitStopReply}, {0, closed}},
	gotStray:       {{closeTCP, closed}, {0, established}, {0, waitStopReply}, {0, closed}},
	localTerminate: {{closeTCP, closed}, {endCalls | sendStopRequest, waitStopReply}, {0, waitStopReply}, {0, closed}},
	gaveUp:         {{closeTCP, closed}, {endCalls | sendStopRequest, waitStopReply}, {closeTCP, closed}, {0, closed}},
	silent:         {{closeTCP, closed}, {endCalls | closeTCP, closed}, {closeTCP, closed}, {0, closed}},
	broken:         {{closeTCP, closed}, {endCalls | closeTCP, closed}, {closeTCP, closed}, {0, closed}},
}

// callState is a state of a call that we were asked to place, RFC 2637 section 3.2.4.1.
type callState uint8

const (
	callIdle callState = iota
	callWaitAnswer
	callEstablished
	numCallStates
)

// callEvent is what can happen to a call.
type callEvent uint8

const (
	requestGood    callEvent = iota // Outgoing-Call-Request that we can try
	requestBad                      // Outgoing-Call-Request in error
	answered                        // the Handler connected it
	incomplete                      // the Handler refused it
	gotClear                        // Call-Clear-Request
	gotGone                         // Call-Disconnect-Notify: it is not a client's to send, but says what it says
	localHangup                     // Call.Disconnect
	connectionGone                  // the control connection ended
	numCallEvents
)

// callAction is a set of things to do for a call, from the lowest bit up.
type callAction uint8

const (
	askHandler callAction = 1 << iota // "off hook; dial"
	sendConnected
	sendRefusal
	hangUp         // the call is no more: out of the tables, the Handler told
	sendDisconnect // Call-Disconnect-Notify
)

// callStep is one cell of callTable.
type callStep struct {
	do   callAction
	next callState
}

// callTable is RFC 2637 section 3.2.4.1. wait_cs_ans lasts only as long as Handler.OutgoingCall runs, so nothing but its
// two outcomes can meet it.
var callTable = [numCallEvents][numCallStates]callStep{
	//               idle                         wait_cs_ans                       established
	requestGood:    {{askHandler, callWaitAnswer}, {0, callWaitAnswer}, {0, callEstablished}},
	requestBad:     {{sendRefusal, callIdle}, {0, callWaitAnswer}, {0, callEstablished}},
	answered:       {{0, callIdle}, {sendConnected, callEstablished}, {0, callEstablished}},
	incomplete:     {{0, callIdle}, {sendRefusal, callIdle}, {0, callEstablished}},
	gotClear:       {{0, callIdle}, {0, callWaitAnswer}, {hangUp | sendDisconnect, callIdle}},
	gotGone:        {{0, callIdle}, {0, callWaitAnswer}, {hangUp, callIdle}},
	localHangup:    {{0, callIdle}, {0, callWaitAnswer}, {hangUp | sendDisconnect, callIdle}},
	connectionGone: {{0, callIdle}, {0, callWaitAnswer}, {hangUp, callIdle}},
}
