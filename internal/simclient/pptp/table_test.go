package pptp

import "testing"

// TestRFC2637Section3_1_1 compares the table with the arrows of the RFC's figure of the control connection originator.
// The RFC's idle is Closed here where a TCP connection has ended.
func TestRFC2637Section3_1_1(t *testing.T) {
	for _, c := range []struct {
		arrow string
		from  State
		ev    event
		do    action
		to    State
	}{
		{"Receive Start Control Connection Reply, version OK", WaitReply, startAccepted, tellStarted, Established},
		{"Receive Start Control Connection Reply, version not OK", WaitReply, startRefused, tellClosed, Closed},
		{"Local terminate / send Stop Control Connection Request", Established, localStop, endCalls | sendStopRequest, WaitStopReply},
		{"Receive Stop Control Connection Request / send Stop Reply, close TCP", Established, gotStop, endCalls | sendStopReply | tellClosed, Closed},
		{"Receive Stop Control Connection Reply / close TCP", WaitStopReply, gotStopReply, tellClosed, Closed},
	} {
		if got := table[c.ev][c.from]; got != (step{c.do, c.to}) {
			t.Errorf("%s: %+v", c.arrow, got)
		}
	}
}

// TestRFC2637Section3_2_4_2 compares the call table with the arrows of the RFC's figure of the PNS's outgoing call.
func TestRFC2637Section3_2_4_2(t *testing.T) {
	for _, c := range []struct {
		arrow string
		from  callState
		ev    callEvent
		do    callAction
		to    callState
	}{
		{"Open request / send Outgoing Call Request", callIdle, openRequest, sendCallRequest, callWaitReply},
		{"Receive Outgoing Call Reply with error", callWaitReply, callRefused, tellAnswered | tellEnded, callIdle},
		{"Receive Outgoing Call Reply, no error", callWaitReply, callAccepted, tellAnswered, callEstablished},
		{"Abort request / send Call Clear Request", callWaitReply, localClear, sendClear, callWaitDisconnect},
		{"Receive Call Disconnect Notify", callEstablished, gotDisconnect, tellEnded, callIdle},
		{"Local terminate / send Call Clear Request", callEstablished, localClear, sendClear, callWaitDisconnect},
		{"Receive Call Disconnect Notify", callWaitDisconnect, gotDisconnect, tellEnded, callIdle},
	} {
		if got := callTable[c.ev][c.from]; got != (callStep{c.do, c.to}) {
			t.Errorf("%s: %+v", c.arrow, got)
		}
	}
}

func TestTablesAreSound(t *testing.T) {
	for ev := range numEvents {
		for from := range numStates {
			s := table[ev][from]
			if from == Closed && s != (step{0, Closed}) {
				t.Errorf("event %d: closed does %b and goes to %s", ev, s.do, s.next)
			}
			if from != Closed && (s.next == Closed) != (s.do&tellClosed != 0) {
				t.Errorf("event %d in %s: Closed is told exactly on the way there", ev, from)
			}
			if (from == Established && s.next != Established) != (s.do&endCalls != 0) {
				t.Errorf("event %d in %s: calls end exactly when established is left", ev, from)
			}
		}
	}
	for ev := range numCallEvents {
		for from := range numCallStates {
			s := callTable[ev][from]
			if (from != callIdle && s.next == callIdle) != (s.do&tellEnded != 0) {
				t.Errorf("call event %d in state %d: the end is told exactly on the way there", ev, from)
			}
		}
	}
}
