package traffic

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Phases of a run.
const (
	phaseSend  int32 = iota
	phaseDrain       // nothing new is made
	phaseStop
)

// state is what the threads of a run share.
type state struct {
	cfg      *Config
	run      uint32 // in every packet
	began    time.Time
	sessions []session // each belongs to one client thread
	up, down meter
	phase    atomic.Int32
	full     atomic.Int32 // senders whose bound is reached

	mu  sync.Mutex // guards what follows
	err error
	cpu struct{ client, responder time.Duration }
}

// nanos is a time on the run's clock, in nanoseconds.
func (st *state) nanos(t time.Time) int64 { return int64(t.Sub(st.began)) }

// fail ends the run.
func (st *state) fail(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.err = errors.Join(st.err, err)
	st.phase.Store(phaseStop)
}

func (st *state) addCPU(to *time.Duration, used time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	*to += used
}

// Run moves packets as cfg says and reports. It returns when it is done, at the latest a little after cfg.Duration or the
// end of ctx; then the report is of what was sent until then. It uses one locked thread for each Gate among the Paths and
// one for the responder, so GOMAXPROCS should be greater than that.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	st := &state{cfg: &cfg, run: rand.Uint32(), began: time.Now()} //nolint:gosec // to tell runs apart, not a secret
	st.sessions = newSessions(cfg.Paths)
	clients, err := newClients(st)
	if err != nil {
		return nil, err
	}
	responder, err := newResponding(st)
	if err != nil {
		return nil, errors.Join(err, closeAll(clients, nil))
	}
	own := processCPU()
	st.began = time.Now()
	var threads sync.WaitGroup
	for _, c := range clients {
		c.start()
		threads.Go(func() { st.thread(&st.cpu.client, c.loop) })
	}
	responder.start()
	threads.Go(func() { st.thread(&st.cpu.responder, responder.loop) })

	senders := 0
	if cfg.Direction != Down {
		senders = len(clients)
	}
	if cfg.Direction&Down != 0 {
		senders++
	}
	took := st.watch(ctx, int32(senders))
	st.drain()
	threads.Wait()
	r := &Report{
		Sessions: len(cfg.Paths), DurationS: took.Seconds(), OwnCPUS: (processCPU() - own).Seconds(),
		ClientCPUS: st.cpu.client.Seconds(), ResponderCPUS: st.cpu.responder.Seconds(),
	}
	var sinks []*sink
	for _, c := range clients {
		r.Foreign += c.foreign
		sinks = append(sinks, &c.sink)
	}
	if cfg.Direction != Down {
		r.Up = newStream(&st.up, []*sink{&responder.sink}, took)
		r.Lost += r.Up.Lost
	}
	if cfg.Direction != Up {
		r.Down = newStream(&st.down, sinks, took)
		r.Lost += r.Down.Lost
	}
	return r, errors.Join(st.err, closeAll(clients, responder))
}

func closeAll(clients []*client, r *responding) (err error) {
	for _, c := range clients {
		err = errors.Join(err, c.close())
	}
	if r != nil {
		err = errors.Join(err, r.close())
	}
	return err
}

// thread runs loop on a thread of its own and counts what processor time it takes.
func (st *state) thread(cpu *time.Duration, loop func() error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := usage(unix.RUSAGE_THREAD)
	if err := loop(); err != nil {
		st.fail(err)
	}
	st.addCPU(cpu, usage(unix.RUSAGE_THREAD)-before)
}

func processCPU() time.Duration { return usage(unix.RUSAGE_SELF) }

// usage is processor time, user and system.
func usage(who int) time.Duration {
	var r unix.Rusage
	if unix.Getrusage(who, &r) != nil { // it can't fail
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// look is how often Run looks at its threads.
const look = 5 * time.Millisecond

// watch waits until all is sent that should be, and returns how long that took.
func (st *state) watch(ctx context.Context, senders int32) time.Duration {
	tick := time.NewTicker(look)
	defer tick.Stop()
	reported := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return time.Since(st.began)
		case <-tick.C:
		}
		took := time.Since(st.began)
		if st.cfg.Duration > 0 && took >= st.cfg.Duration || st.full.Load() >= senders || st.phase.Load() != phaseSend {
			return took
		}
		if st.cfg.Progress != nil && took-reported >= time.Second {
			reported = took
			st.cfg.Progress(Progress{
				Elapsed: took, UpSent: st.up.sent.Load(), UpArrived: st.up.arrived.Load(),
				DownSent: st.down.sent.Load(), DownArrived: st.down.arrived.Load(),
			})
		}
	}
}

// drain lets arrive what is under way, and stops the threads.
func (st *state) drain() {
	st.phase.CompareAndSwap(phaseSend, phaseDrain)
	last, at := uint64(0), time.Now()
	for time.Since(at) < st.cfg.Quiet && st.phase.Load() != phaseStop {
		time.Sleep(look)
		arrived := st.up.arrived.Load() + st.down.arrived.Load()
		if arrived != last {
			last, at = arrived, time.Now()
		}
		// With duplicates there may be more than were sent; then silence decides.
		if arrived == st.up.sent.Load()+st.down.sent.Load() && time.Since(at) > 2*look {
			break
		}
	}
	st.phase.Store(phaseStop)
}
