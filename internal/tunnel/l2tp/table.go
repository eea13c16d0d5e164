package l2tp

import "strconv"

// tunnelState is a state of a tunnel that a peer has asked for, RFC 2661 section 7.2.1. The RFC's idle is two states
// here: idle before the SCCRQ, stopped after the end, when messages are still acknowledged. closed is the end of that.
type tunnelState uint8

const (
	idle tunnelState = iota
	waitCtlConn
	established
	stopped
	closed
	numTunnelStates
)

// String returns the RFC's name of the state.
func (s tunnelState) String() string {
	if s < numTunnelStates {
		return [...]string{"idle", "wait-ctl-conn", "established", "stopped", "closed"}[s]
	}
	return "state " + strconv.Itoa(int(s))
}

// tunnelEvent is what can happen to a tunnel.
type tunnelEvent uint8

const (
	requestGood    tunnelEvent = iota // SCCRQ that we accept
	requestBad                        // SCCRQ that we refuse
	connectedGood                     // SCCCN with the right Challenge Response, or none where none is wanted
	connectedBad                      // SCCCN with a wrong one
	gotStop                           // StopCCN
	gotHello                          // HELLO
	gotCallMessage                    // a message about a call
	gotOutOfOrder                     // SCCRQ, SCCRP or SCCCN when it is not its time
	gotBad                            // a message that can't be read and can't be ignored
	localStop                         // we want the tunnel to end
	gaveUp                            // the state's deadline has passed
	undeliverable                     // the peer acknowledges nothing
	lost                              // the peer is gone, or has begun anew: nobody is there to be told
	numTunnelEvents
)

// tunnelAction is a set of things to do, from the lowest bit up.
type tunnelAction uint8

const (
	endCalls    tunnelAction = 1 << iota // every call is gone with the tunnel
	sendReply                            // SCCRP
	open                                 // calls may come
	handleCall                           // over to the call's table
	tellStopped                          // the Handler learns that the tunnel is gone
	sendStop                             // StopCCN
	forget                               // nothing is sent and nothing acknowledged any more
)

// tunnelStep is one cell of tunnelTable.
type tunnelStep struct {
	do   tunnelAction
	next tunnelState
}

// The ways in which a tunnel that the Handler knows ends.
const (
	stopByUs   = tellStopped | sendStop
	stopByPeer = tellStopped
	vanish     = tellStopped | forget
)

// tunnelTable is the right half of RFC 2661 section 7.2.1, completed with what the RFC says elsewhere. HELLO needs nothing
// but its acknowledgement. A message about a call that comes before the SCCCN, which the RFC doesn't allow and the order
// of delivery doesn't bring about, is ignored.
var tunnelTable = [numTunnelEvents][numTunnelStates]tunnelStep{
	//               idle                   wait-ctl-conn                   established                            stopped            closed
	requestGood:    {{sendReply, waitCtlConn}, {0, waitCtlConn}, {0, established}, {0, stopped}, {0, closed}},
	requestBad:     {{sendStop, stopped}, {0, waitCtlConn}, {0, established}, {0, stopped}, {0, closed}},
	connectedGood:  {{0, idle}, {open, established}, {endCalls | stopByUs, stopped}, {0, stopped}, {0, closed}},
	connectedBad:   {{0, idle}, {stopByUs, stopped}, {endCalls | stopByUs, stopped}, {0, stopped}, {0, closed}},
	gotStop:        {{0, idle}, {stopByPeer, stopped}, {endCalls | stopByPeer, stopped}, {0, stopped}, {0, closed}},
	gotHello:       {{0, idle}, {0, waitCtlConn}, {0, established}, {0, stopped}, {0, closed}},
	gotCallMessage: {{0, idle}, {0, waitCtlConn}, {handleCall, established}, {0, stopped}, {0, closed}},
	gotOutOfOrder:  {{0, idle}, {stopByUs, stopped}, {endCalls | stopByUs, stopped}, {0, stopped}, {0, closed}},
	gotBad:         {{0, idle}, {stopByUs, stopped}, {endCalls | stopByUs, stopped}, {0, stopped}, {0, closed}},
	localStop:      {{forget, closed}, {stopByUs, stopped}, {endCalls | stopByUs, stopped}, {0, stopped}, {0, closed}},
	gaveUp:         {{forget, closed}, {stopByUs, stopped}, {endCalls | stopByUs, stopped}, {forget, closed}, {0, closed}},
	undeliverable:  {{forget, closed}, {vanish, closed}, {endCalls | vanish, closed}, {forget, closed}, {0, closed}},
	lost:           {{forget, closed}, {vanish, closed}, {endCalls | vanish, closed}, {forget, closed}, {0, closed}},
}

// callState is a state of an incoming call at the LNS, RFC 2661 section 7.4.2.
type callState uint8

const (
	callIdle callState = iota
	callWaitConnect
	callEstablished
	numCallStates
)

// callEvent is what can happen to a call.
type callEvent uint8

const (
	callAccepted  callEvent = iota // ICRQ that the Handler accepts
	callRefused                    // ICRQ that is refused
	gotConnected                   // ICCN
	gotBadMessage                  // an ICRQ for it or another message out of order, or one that can't be read
	gotDisconnect                  // CDN
	localHangup                    // Call.Disconnect
	callGaveUp                     // no ICCN in time
	tunnelGone                     // the tunnel ended
	numCallEvents
)

// callAction is a set of things to do for a call, from the lowest bit up.
type callAction uint8

const (
	enter      callAction = 1 << iota // into the tables
	sendAccept                        // ICRP
	connect                           // PPP may begin
	leave                             // out of the tables, the Handler told
	sendHangup                        // CDN
)

// callStep is one cell of callTable.
type callStep struct {
	do   callAction
	next callState
}

// callTable is RFC 2661 section 7.4.2.
var callTable = [numCallEvents][numCallStates]callStep{
	//              idle                                     wait-connect                      established
	callAccepted:  {{enter | sendAccept, callWaitConnect}, {0, callWaitConnect}, {0, callEstablished}},
	callRefused:   {{sendHangup, callIdle}, {0, callWaitConnect}, {0, callEstablished}},
	gotConnected:  {{0, callIdle}, {connect, callEstablished}, {leave | sendHangup, callIdle}},
	gotBadMessage: {{0, callIdle}, {leave | sendHangup, callIdle}, {leave | sendHangup, callIdle}},
	gotDisconnect: {{0, callIdle}, {leave, callIdle}, {leave, callIdle}},
	localHangup:   {{0, callIdle}, {leave | sendHangup, callIdle}, {leave | sendHangup, callIdle}},
	callGaveUp:    {{0, callIdle}, {leave | sendHangup, callIdle}, {0, callEstablished}},
	tunnelGone:    {{0, callIdle}, {leave, callIdle}, {leave, callIdle}},
}
