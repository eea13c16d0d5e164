package pptp

import "testing"

// TestRFC2637Section3_1_2 compares the control table with the arrows of the RFC's figure of the control connection
// receiver. The RFC's idle is closed here where a TCP connection has ended.
func TestRFC2637Section3_1_2(t *testing.T) {
	for _, c := range []struct {
		arrow string
		from  controlState
		ev    controlEvent
		do    controlAction
		to    controlState
	}{
		{"Receive Start Control Connection Request, version not OK / send reply with error", idle, gotStartOld, sendStartVersion | closeTCP, closed},
		{"Receive Start Control Connection Request, version OK / send reply", idle, gotStart, sendStartReply, established},
		{"Receive Stop Control Connection Request / send Stop Reply, close TCP", established, gotStop, endCalls | sendStopReply | closeTCP, closed},
		{"Local terminate / send Stop Control Connection Request", established, localTerminate, endCalls | sendStopRequest, waitStopReply},
		{"Receive Stop Control Connection Reply / close TCP", waitStopReply, gotStopReply, closeTCP, closed},
	} {
		if got := controlTable[c.ev][c.from]; got != (controlStep{c.do, c.to}) {
			t.Errorf("%s: %+v", c.arrow, got)
		}
	}
}

// TestRFC2637Section3_2_4_1 compares the call table with the arrows of the RFC's figure of the PAC's outgoing call.
func TestRFC2637Section3_2_4_1(t *testing.T) {
	for _, c := range []struct {
		arrow string
		from  callState
		ev    callEvent
		do    callAction
		to    callState
	}{
		{"Receive Outgoing Call Request in error / send reply with error", callIdle, requestBad, sendRefusal, callIdle},
		{"Receive Outgoing Call Request, no error / off hook; dial", callIdle, requestGood, askHandler, callWaitAnswer},
		{"Incomplete call / send Outgoing Call Reply with error", callWaitAnswer, incomplete, sendRefusal, callIdle},
		{"Telco answer / send Outgoing Call Reply", callWaitAnswer, answered, sendConnected, callEstablished},
		{"Receive Call Clear Request / hang up and send Call Disconnect Notify", callEstablished, gotClear, hangUp | sendDisconnect, callIdle},
		{"Local terminate / hang up and send Call Disconnect Notify", callEstablished, localHangup, hangUp | sendDisconnect, callIdle},
	} {
		if got := callTable[c.ev][c.from]; got != (callStep{c.do, c.to}) {
			t.Errorf("%s: %+v", c.arrow, got)
		}
	}
}

// TestControlTableIsSound checks what must hold for every cell.
func TestControlTableIsSound(t *testing.T) {
	for ev := range numControlEvents {
		for from := range numControlStates {
			s := controlTable[ev][from]
			if from == closed && s != (controlStep{0, closed}) {
				t.Errorf("event %d: closed does %b and goes to %s", ev, s.do, s.next)
			}
			if from != closed && (s.next == closed) != (s.do&closeTCP != 0) {
				t.Errorf("event %d in %s: closing TCP and the state closed must go together", ev, from)
			}
			if (from == established && s.next != established) != (s.do&endCalls != 0) {
				t.Errorf("event %d in %s: calls end exactly when established is left", ev, from)
			}
			if (from != waitStopReply && s.next == waitStopReply) != (s.do&sendStopRequest != 0) {
				t.Errorf("event %d in %s: a Stop-Control-Connection-Request goes out exactly on the way to wait_stop_reply", ev, from)
			}
			if s.next == idle {
				t.Errorf("event %d in %s: nothing goes back to idle", ev, from)
			}
		}
	}
}

// TestCallTableIsSound checks what must hold for every cell.
func TestCallTableIsSound(t *testing.T) {
	for ev := range numCallEvents {
		for from := range numCallStates {
			s := callTable[ev][from]
			if (from == callEstablished && s.next == callIdle) != (s.do&hangUp != 0) {
				t.Errorf("event %d in state %d: hanging up and leaving established must go together", ev, from)
			}
			if (from == callWaitAnswer && s.next == callEstablished) != (s.do&sendConnected != 0) {
				t.Errorf("event %d in state %d: a call is connected exactly by being answered", ev, from)
			}
		}
	}
}
