package main

import "math"

// tolerance is how far the I/O alone may be from what is known of the machine. Beyond it something else was measured than
// what the comparison is about, and the run is void.
const tolerance = 0.15

// callCosts are what moving one packet of 1400 octets costs in each call, in nanoseconds.
type callCosts struct {
	udpReceive, udpSend, udpSegment float64
	greReceive, greSend             float64
	tunRead, tunReadTrain           float64
	tunWrite, tunWriteTrain         float64 // into a namespace that drops it in routing
}

// reference is what is known of one kind of CPU, with 256 and with 4096 packets waiting.
type reference struct {
	name      string
	hot, cold callCosts
}

// references are measured on quiet machines, by CPU vendor, family and model.
var references = map[string]reference{
	"GenuineIntel/6/207": {
		name: "Xeon, Emerald Rapids",
		hot: callCosts{
			udpReceive: 292, udpSend: 1220, udpSegment: 477, greReceive: 366, greSend: 1359,
			tunRead: 303, tunReadTrain: 53, tunWrite: 631, tunWriteTrain: 58,
		},
		cold: callCosts{
			udpReceive: 394, udpSend: 1437, udpSegment: 458, greReceive: 413, greSend: 1428,
			tunRead: 386, tunReadTrain: 78, tunWrite: 676, tunWriteTrain: 87,
		},
	},
}

// of is what one packet of a path should need; PPTP's acknowledgements are not in it.
func (c callCosts) of(p path, d direction, offload bool) float64 {
	receive, send := c.udpReceive, c.udpSend
	switch {
	case p.carrier == pptp:
		receive, send = c.greReceive, c.greSend
	case offload:
		send = c.udpSegment
	}
	read, write := c.tunRead, c.tunWrite
	if offload {
		read, write = c.tunReadTrain, c.tunWriteTrain
	}
	if d == up {
		return receive + write
	}
	return read + send
}

// expected is what the I/O alone should need on a machine; 0: not known.
func expected(model string, p path, d direction, offload bool, queue int) float64 {
	r, known := references[model]
	if !known {
		return 0
	}
	if queue >= coldQueue {
		return r.cold.of(p, d, offload)
	}
	return r.hot.of(p, d, offload)
}

// strange says whether a figure is too far from what is expected.
func strange(got, want float64) bool {
	return want != 0 && math.Abs(got/want-1) > tolerance
}
