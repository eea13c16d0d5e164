package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/test/bench/rawio"
)

// errStuck is returned when a shard does not do what it must within a second.
var errStuck = errors.New("the shard does not answer")

// gate is the sink of a session that can hold its shard up: while the shard waits in Deliver, its queues are filled.
type gate struct {
	armed   atomic.Bool
	entered chan struct{}
	leave   chan struct{}

	tid   int          // of the shard's thread; set before entered
	begin atomic.Int64 // its CPU time when it left, in nanoseconds; 0: not yet
}

func newGate() *gate { return &gate{entered: make(chan struct{}), leave: make(chan struct{})} }

// Deliver implements dataplane.Sink. It does what a sink must not: it blocks.
func (g *gate) Deliver(uint16, []byte) {
	if !g.armed.CompareAndSwap(true, false) {
		return
	}
	g.tid = unix.Gettid()
	g.entered <- struct{}{}
	<-g.leave
	g.begin.Store(int64(rawio.ThreadTime()))
}

// OutOfSync implements dataplane.Sink.
func (g *gate) OutOfSync()    {}
func (g *gate) Broken(string) {}

// phase holds up the shards that the gates belong to, by control frames that knock sends, fills their queues, lets them go
// and returns what CPU time they took together until they had nothing more to do.
func phase(gates []*gate, knock, fill func() error) (sum time.Duration, err error) {
	for _, g := range gates {
		g.begin.Store(0)
		g.armed.Store(true)
	}
	err = knock()
	held := gates[:0:0]
	for _, g := range gates {
		if err == nil && g.wait() {
			held = append(held, g)
		} else {
			err = errors.Join(err, fmt.Errorf("%w: it has not got the control frame", errStuck))
		}
	}
	if err == nil {
		err = fill()
	}
	for _, g := range held {
		g.leave <- struct{}{}
	}
	if err != nil {
		return 0, err
	}
	for _, g := range gates {
		for g.begin.Load() == 0 { // a thread that has not been woken yet looks quiet
			time.Sleep(10 * time.Microsecond)
		}
		end, err := quietAfter(g.tid, 10*time.Second)
		if err != nil {
			return 0, err
		}
		sum += end - time.Duration(g.begin.Load())
	}
	return sum, nil
}

// wait waits for the shard; false if it does not come.
func (g *gate) wait() bool {
	select {
	case <-g.entered:
		return true
	case <-time.After(time.Second):
	}
	if g.armed.CompareAndSwap(true, false) {
		return false
	}
	<-g.entered // in the last moment
	return true
}
