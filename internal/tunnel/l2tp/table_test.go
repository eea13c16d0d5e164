package l2tp

import "testing"

// TestRFC2661Section7_2_1 compares the tunnel table with the rows of the RFC's table that concern one who is asked. The
// RFC's idle is stopped here where a tunnel has ended.
func TestRFC2661Section7_2_1(t *testing.T) {
	for _, c := range []struct {
		row  string
		from tunnelState
		ev   tunnelEvent
		do   tunnelAction
		to   tunnelState
	}{
		{"idle: receive SCCRQ, acceptable / send SCCRP", idle, requestGood, sendReply, waitCtlConn},
		{"idle: receive SCCRQ, not acceptable / send StopCCN, clean up", idle, requestBad, sendStop, stopped},
		{"wait-ctl-conn: receive SCCCN, acceptable / send tunnel-open event to waiting sessions", waitCtlConn, connectedGood, open, established},
		{"wait-ctl-conn: receive SCCCN, not acceptable / send StopCCN, clean up", waitCtlConn, connectedBad, stopByUs, stopped},
		{"wait-ctl-conn: receive SCCRP, SCCRQ / send StopCCN, clean up", waitCtlConn, gotOutOfOrder, stopByUs, stopped},
		{"established: admin tunnel close / send StopCCN, clean up", established, localStop, endCalls | stopByUs, stopped},
		{"established: receive SCCRQ, SCCRP, SCCCN / send StopCCN, clean up", established, gotOutOfOrder, endCalls | stopByUs, stopped},
		{"wait-ctl-conn: receive StopCCN / clean up", waitCtlConn, gotStop, stopByPeer, stopped},
		{"established: receive StopCCN / clean up", established, gotStop, endCalls | stopByPeer, stopped},
	} {
		if got := tunnelTable[c.ev][c.from]; got != (tunnelStep{c.do, c.to}) {
			t.Errorf("%s: %+v", c.row, got)
		}
	}
}

// TestRFC2661Section7_4_2 compares the call table with the rows of the RFC's table of incoming calls at the LNS.
func TestRFC2661Section7_4_2(t *testing.T) {
	for _, c := range []struct {
		row  string
		from callState
		ev   callEvent
		do   callAction
		to   callState
	}{
		{"idle: receive ICRQ, acceptable / send ICRP", callIdle, callAccepted, enter | sendAccept, callWaitConnect},
		{"idle: receive ICRQ, not acceptable / send CDN, clean up", callIdle, callRefused, sendHangup, callIdle},
		{"idle: receive ICCN / clean up", callIdle, gotConnected, 0, callIdle},
		{"wait-connect: receive ICCN, acceptable / prepare for data", callWaitConnect, gotConnected, connect, callEstablished},
		{"wait-connect: receive ICCN, not acceptable / send CDN, clean up", callWaitConnect, gotBadMessage, leave | sendHangup, callIdle},
		{"wait-connect: receive ICRQ, ICRP / send CDN, clean up", callWaitConnect, gotBadMessage, leave | sendHangup, callIdle},
		{"idle: receive CDN / clean up", callIdle, gotDisconnect, 0, callIdle},
		{"wait-connect: receive CDN / clean up", callWaitConnect, gotDisconnect, leave, callIdle},
		{"established: receive CDN / clean up", callEstablished, gotDisconnect, leave, callIdle},
		{"wait-connect: local close request / send CDN, clean up", callWaitConnect, localHangup, leave | sendHangup, callIdle},
		{"established: local close request / send CDN, clean up", callEstablished, localHangup, leave | sendHangup, callIdle},
		{"established: receive ICRQ, ICRP / send CDN, clean up", callEstablished, gotBadMessage, leave | sendHangup, callIdle},
		{"established: receive ICCN / send CDN, clean up", callEstablished, gotConnected, leave | sendHangup, callIdle},
	} {
		if got := callTable[c.ev][c.from]; got != (callStep{c.do, c.to}) {
			t.Errorf("%s: %+v", c.row, got)
		}
	}
}

// TestTunnelTableIsSound checks what must hold for every cell.
func TestTunnelTableIsSound(t *testing.T) {
	for ev := range numTunnelEvents {
		for from := range numTunnelStates {
			s := tunnelTable[ev][from]
			alive := func(s tunnelState) bool { return s == waitCtlConn || s == established }
			if from == closed && s != (tunnelStep{0, closed}) {
				t.Errorf("event %d: closed does %b and goes to %s", ev, s.do, s.next)
			}
			if from != closed && (s.next == closed) != (s.do&forget != 0) {
				t.Errorf("event %d in %s: forgetting and the state closed must go together", ev, from)
			}
			if (from == established && s.next != established) != (s.do&endCalls != 0) {
				t.Errorf("event %d in %s: calls end exactly when established is left", ev, from)
			}
			if (alive(from) && !alive(s.next)) != (s.do&tellStopped != 0) {
				t.Errorf("event %d in %s: the Handler is told exactly when a tunnel that it knows ends", ev, from)
			}
			if s.do&sendStop != 0 && s.next != stopped {
				t.Errorf("event %d in %s: a StopCCN that nobody waits for", ev, from)
			}
			if s.next == idle && from != idle || s.next < from {
				t.Errorf("event %d in %s: back to %s", ev, from, s.next)
			}
		}
	}
}

// TestCallTableIsSound checks what must hold for every cell.
func TestCallTableIsSound(t *testing.T) {
	for ev := range numCallEvents {
		for from := range numCallStates {
			s := callTable[ev][from]
			if (from != callIdle && s.next == callIdle) != (s.do&leave != 0) {
				t.Errorf("event %d in state %d: the Handler is told exactly when a call that it knows ends", ev, from)
			}
			if (from == callIdle && s.next != callIdle) != (s.do&enter != 0) {
				t.Errorf("event %d in state %d: a call is entered exactly when it begins", ev, from)
			}
			if (from != callEstablished && s.next == callEstablished) != (s.do&connect != 0) {
				t.Errorf("event %d in state %d: PPP begins exactly with the state established", ev, from)
			}
		}
	}
}
