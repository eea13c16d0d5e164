package rawio

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ThreadTime is the CPU time, user and system, that the calling thread has used.
func ThreadTime() time.Duration {
	var ts unix.Timespec
	// Raw: the call can't block. The clock is always there.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

// clockCost is what one ThreadTime adds to a span between two of them: the least mean of many in a row.
func clockCost() time.Duration {
	const looks = 100
	least := time.Second
	for range 20 {
		begin, end := ThreadTime(), time.Duration(0)
		for range looks {
			end = ThreadTime()
		}
		least = min(least, (end-begin)/looks)
	}
	return least
}

// Cost is what moving packets has cost one thread.
type Cost struct {
	Packets     int
	Read, Write time.Duration // in the two halves of the loop
	Ack         time.Duration // for PPTP's acknowledgements
	Whole       time.Duration // of the whole loop, without what its clock cost
}

// PerPacket is Whole for one packet, in nanoseconds; 0 without packets.
func (c Cost) PerPacket() float64 { return each(c.Whole, c.Packets) }

// ReadPerPacket is the part of it that is Read.
func (c Cost) ReadPerPacket() float64 { return each(c.Read, c.Packets) }

// WritePerPacket is the part of it that is Write.
func (c Cost) WritePerPacket() float64 { return each(c.Write, c.Packets) }

// AckPerPacket is the part of it that is Ack.
func (c Cost) AckPerPacket() float64 { return each(c.Ack, c.Packets) }

func each(d time.Duration, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(d) / float64(n)
}

// add sums up.
func (c *Cost) add(o Cost) {
	c.Packets += o.Packets
	c.Read += o.Read
	c.Write += o.Write
	c.Ack += o.Ack
	c.Whole += o.Whole
}

// Less is what c is more than o.
func (c Cost) Less(o Cost) Cost {
	c.Packets -= o.Packets
	c.Read -= o.Read
	c.Write -= o.Write
	c.Ack -= o.Ack
	c.Whole -= o.Whole
	return c
}

// Sum adds up the costs of several runs of a loop.
func Sum(costs ...Cost) (sum Cost) {
	for _, c := range costs {
		sum.add(c)
	}
	return sum
}

// meter splits a loop's time.
type meter struct {
	off         bool          // nobody asks
	clock       time.Duration // what one look costs
	begin, last time.Duration
	looks       int
	cost        Cost
}

func (m *meter) start() {
	m.looks, m.cost = 0, Cost{}
	if m.off {
		return
	}
	m.begin = ThreadTime()
	m.last = m.begin
}

// read, write and ack end a span of each kind.
func (m *meter) read()  { m.cost.Read += m.span() }
func (m *meter) write() { m.cost.Write += m.span() }
func (m *meter) ack()   { m.cost.Ack += m.span() }

func (m *meter) span() time.Duration {
	if m.off {
		return 0
	}
	now := ThreadTime()
	d := now - m.last - m.clock
	m.last = now
	m.looks++
	return d
}

// stop returns the loop's cost for n packets.
func (m *meter) stop(n int) Cost {
	m.cost.Packets = n
	m.cost.Whole = m.last - m.begin - time.Duration(m.looks)*m.clock
	return m.cost
}
