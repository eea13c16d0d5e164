package dataplane

import "slices"

// receiveSeeds are programs that reach what takes more than one step to reach: each of what may happen, in each kind of
// session.
func receiveSeeds() [][]byte {
	clear := []byte{doCall, doAttach, 0, 0, doOpen, 0, 1}
	mppe := []byte{doCall, doAttach, 0, 16, doKeys, 0, 0, doOpen, 0, 1}
	natt := []byte{doPeer, 0, doL2TP, 0, 0, doAttach, 0, 0, doOpen, 0, 1}
	raw := []byte{doPeer, 1 | 2<<2, doL2TP, 0, 0, doAttach, 0, 0, doOpen, 0, 1}
	plain := []byte{doL2TP, 0, 1, doAttach, 0, 0, doOpen, 0, 1}
	var all [][]byte
	for _, state := range [][]byte{clear, mppe, natt, raw, plain} {
		for _, then := range slices.Concat(packetSeeds(), orderSeeds(), policySeeds(), controlSeeds(), peerSeeds(), rawSeeds()) {
			all = append(all, join(state, then))
		}
	}
	return all
}

// up is packets of session 0's client.
func up(kind, flags byte, more ...byte) []byte {
	return append([]byte{doSend, 0, kind, flags}, more...)
}

// down is packets for session 0.
func down(kind, flags byte) []byte { return []byte{doDown, 0, kind, flags} }

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// packetSeeds are single packets, and many of one kind, both ways.
func packetSeeds() [][]byte {
	return [][]byte{
		up(0, 0), up(1, sendMany|sendMore), up(2, sendMany), up(3, 0), up(4, 0), up(5, 0), up(6, sendMore),
		up(8, 0, 6, 0xc0, 0x21, 9, 1, 0, 4),
		up(9, 0, 0),
		up(10, 0, 4, 0x90, 0, 1, 2),
		up(11, 0, 14, 6, 0xa5, 6, 0xa5, 0, 20, 0, 0, 0xc8, 2, 0, 12, 0, 1),
		down(0, 0), down(1, sendMany|sendMore), down(2, 0), down(3, 2), down(4, sendMore),
		down(0x05, 0), down(0x35, 1), down(0x95, 0),
	}
}

// orderSeeds are packets that come late, early, changed, again, elsewhere, or when their session is gone.
func orderSeeds() [][]byte {
	return [][]byte{
		{doElsewhere, 0},
		up(0, sendMutated, 0, 0, 30, 1), up(0, sendCut), up(0, sendAstray|sendMany),
		up(0, sendGap|sendMore), up(0x40, sendGap|sendReversed|sendMany), up(0x80, sendGap),
		join(up(0, sendHold), up(1, 0)),
		join(up(0, 0), []byte{doAgain, 0, 0, doAgain, 0, 2}),
		join(up(0, sendHold|sendMany), []byte{doClose, 0, doWait, 0}),
		join(up(0, 0), up(1, sendMore|sendReversed)),
		join(up(0, 0), up(0, sendGap|sendMany), []byte{doWait, 3}),
		join(up(0, 0), up(0, sendMany|sendMore|sendReversed), up(0xc0, sendGap), []byte{doWait, 4}),
	}
}

// policySeeds are MTUs, rates, access lists, answers to DHCPINFORM, and captures.
func policySeeds() [][]byte {
	much := join([]byte{doAttach, 0, 64}, up(1, sendMany|sendMore), down(1, sendMany|sendMore))
	return [][]byte{
		join([]byte{doAttach, 0, 2 << 1}, down(1, 0), down(2, 0)),
		join(much, []byte{doWait, 3, doWait, 5}),
		join(much, []byte{doPolicy, 0, 0, doWait, 0}),
		join(much, []byte{doClose, 0, doWait, 3}),
		join([]byte{doAttach, 0, 128 | 32}, up(5, 0), up(2, sendMany), down(0, 0), down(3, 0)),
		join([]byte{doTap, 0, 0, doTap, 0, 2}, up(0, 0), down(0, 0), []byte{doTap, 0, 1}, up(0, 0)),
		join([]byte{doTap, 0, 2}, up(0, 0), []byte{
			doRaw, 4, 0, 3, 20, 0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 6, doClose, 0,
		}),
		join([]byte{doCall, doL2TP, 0, 1, doAttach, 1, 0, doOpen, 1, 1}, up(4, 0), []byte{doClose, 1}, down(0, 0)),
	}
}

// controlSeeds are control frames, networks and listeners that come and go, and sockets that fail.
func controlSeeds() [][]byte {
	return [][]byte{
		{doControl, 0, 0, 0, 3, 1, 2, 3, doControl, 1, 0, 0, 0, doControl, 2, 0, 0, 0, doWait, 0},
		{doControl, 3, 0, 0, 0, doControl, 8, 0, 0, 0, doControl, 4, 0, 0, 0, doWait, 0},
		join([]byte{doNetwork, 4}, up(0, 0), []byte{doNetwork, 6}, up(0, 0),
			[]byte{doNetwork, 0x80, doAttach, 0, 0}, up(6, sendMore)),
		{doNetwork, 0, doNetwork, 1, doKeys, 0, 3},
		join([]byte{doListener, 0}, up(0, 0), down(0, 0), []byte{doListener, 9, doListener, 2}, up(0, 0)),
		join(up(5, sendMany|sendMore), []byte{doListener, 3, doListener, 11}),
		join([]byte{doBreak, 2}, up(0, sendMany), down(0, 0), []byte{doBreak, 0x81, doBreak, 0x83, doBreak, 0x87}, up(0, 0)),
		{doKeys, 0, 16},
		join([]byte{doKeys, 0, 16}, up(0, sendMore), up(0, sendGap), up(0, 0), down(0, sendMore)),
		join([]byte{doKeys, 0, 2}, up(0, 0), down(0, 0)),
	}
}

// peerSeeds are SAs that are made anew or used up, and peers that move, merge and end.
func peerSeeds() [][]byte {
	return [][]byte{
		join([]byte{doSA, 0, 0}, up(0, 0), down(0, 0), []byte{doSA, 0, 1}, down(0, 0), []byte{doSA, 0, 0x42}, up(0, sendMore)),
		join([]byte{doSA, 0, 0x20}, up(0, sendMore), down(1, sendMore)),
		join([]byte{doPeerChange, 0, 3, 0}, up(0, 0), down(0, 0), []byte{doPeerChange, 0, 1, 0}, down(0, 0), up(0, 0)),
		join([]byte{doPeer, 0, doPeerChange, 1, 0, 0, doPeerChange, 0, 2, 1}, up(0, 0), []byte{doSA, 0, 0}, down(0, 0)),
		join([]byte{doPeer, 0, doPeerChange, 0, 2, 1}, up(0, 0), down(0, 0),
			[]byte{doPeerChange, 0, 0, 0, doPeerChange, 1, 0, 0}, up(0, 0)),
	}
}

// rawSeeds are octets that nobody has sealed.
func rawSeeds() [][]byte {
	return [][]byte{
		{doRaw, 0, 0, 3, 14, 0x30, 0x01, 0x88, 0x0b, 0, 2, 0, 0, 0, 0, 0, 1, 0x00, 0x21},
		{doRaw, 0, 0, 3, 8, 0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 0},
		{doRaw, 1, 0, 3, 9, 0, 0, 0, 0, 0, 0, 0, 1, 1},
		{doRaw, 2, 0, 0, 3, 1, 2, 3},
		{doRaw, 3, 0, 0, 1, 0xff},
		{doRaw, 3, 0, 0, 6, 0, 0, 0, 0, 1, 2},
		{doRaw, 3 | 0xc0, 0, 0, 5, 0, 0, 0, 0, 1},
		{doRaw, 4, 0, 3, 12, 0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0},
		{doRaw, 4, 0, 3, 10, 0, 2, 0, 0, 0, 0, 0xc0, 0x21, 9, 1},
		join([]byte{doDownRaw, 32, 32}, make([]byte, 10), []byte{
			0x45, 0, 0, 22, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 9, 0, 0, 0, 0, 1, 2, 0,
		}),
		{doDownRaw, 0, 3, 1, 2, 3, 0},
	}
}
