package load

import (
	"context"
	"maps"
	"sync"
	"time"

	"concentrator/internal/simclient/histogram"
	"concentrator/internal/tenant"
)

// grace is how long logins may go on that are under way when everything is to end.
const grace = 3 * time.Second

// Plan is what a Load does.
type Plan struct {
	// Dial makes the client with an index from 0 to Count-1; again after the one before was hung up.
	Dial     func(i int) (Session, error)
	Count    int
	Parallel int           // logins and goodbyes under way at most
	Rate     float64       // logins begun a second; 0: as many as go
	Timeout  time.Duration // of one login
	Goodbye  time.Duration // of one goodbye
	// Together says that the first client need not go alone: a server lets an address of which it knows nothing have less than
	// one that somebody has logged in from.
	Together bool
}

// Load is a number of clients. Login, Hold and HangUp are called one after the other by one goroutine; the others any may
// call.
type Load struct {
	plan Plan

	mu     sync.Mutex // guards what follows, and the slots
	slots  []slot
	report Report
	parts  map[tenant.Protocol]*tally
	took   *histogram.Histogram
	begun  time.Time
	last   time.Time // when the last login ended
	done   int       // logins that have ended
	phase  string
}

// slot is the place of one client.
type slot struct {
	session Session // nil: there is none
	busy    bool    // a goroutine is logging it in or hanging it up
	again   time.Time
}

// New makes a Load that has done nothing yet.
func New(p Plan) *Load {
	return &Load{
		plan: p, slots: make([]slot, p.Count), parts: map[tenant.Protocol]*tally{}, took: &histogram.Histogram{},
		report: Report{
			Failed: map[tenant.Reason]int{}, LostReasons: map[tenant.Reason]int{}, Examples: map[tenant.Reason]string{},
		},
	}
}

// each runs f for the indices of the slots, Parallel at a time, until ctx ends; the first one alone, if it is to be.
func (l *Load) each(ctx context.Context, firstAlone bool, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(l.plan.Parallel, len(l.slots)) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	defer wg.Wait()
	defer close(next)
	from := 0
	if firstAlone {
		f(0)
		from = 1
	}
	for i := from; i < len(l.slots); i++ {
		select {
		case next <- i:
		case <-ctx.Done():
			return
		}
	}
}

// Login logs all clients in and returns when each has come in or has failed, or when ctx ends.
func (l *Load) Login(ctx context.Context) {
	l.mu.Lock()
	l.phase, l.begun, l.last = "logging in", time.Now(), time.Now()
	begun := l.begun
	l.mu.Unlock()
	l.each(ctx, !l.plan.Together, func(i int) {
		if l.plan.Rate > 0 {
			at := begun.Add(time.Duration(float64(i) / l.plan.Rate * float64(time.Second)))
			if sleep(ctx, time.Until(at)) != nil {
				return
			}
		}
		l.login(ctx, i)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.report.ElapsedS = l.last.Sub(l.begun).Seconds(); l.report.ElapsedS > 0 {
		l.report.Rate = float64(l.report.OK) / l.report.ElapsedS
	}
	l.report.Interrupted = ctx.Err() != nil
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// login logs client i in.
func (l *Load) login(ctx context.Context, i int) {
	if ctx.Err() != nil {
		return
	}
	s, err := l.plan.Dial(i)
	if err != nil {
		l.failed("", err, ReasonLocalError)
		return
	}
	began := time.Now()
	err = l.connect(ctx, s)
	took := time.Since(began)
	switch {
	case err == nil:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.slots[i].session = s
		l.ended()
		l.report.OK++
		l.took.Add(took)
		l.part(s.Protocol()).took.Add(took)
	case ctx.Err() != nil: // interrupted: neither well nor failed
		_ = l.goodbye(s)
	default:
		l.failed(s.Protocol(), err, Reason(err))
		_ = l.goodbye(s) // it may have got far
	}
}

// connect lets a client log in. When everything is to end it may still come to its end, for a while: what is half done
// can't be taken back in good order.
func (l *Load) connect(ctx context.Context, s Session) error {
	once, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.plan.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if sleep(once, grace) == nil {
			cancel()
		}
	})
	defer stop()
	return s.Connect(once)
}

// ended notes that a login has ended. mu is held.
func (l *Load) ended() {
	l.done++
	l.last = time.Now()
}

// failed counts a failed login.
func (l *Load) failed(p tenant.Protocol, err error, reason tenant.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended()
	l.report.Failed[reason]++
	l.example(reason, err)
	if p != "" {
		l.part(p).failed++
	}
}

// example keeps the first error of a reason. mu is held.
func (l *Load) example(reason tenant.Reason, err error) {
	if _, have := l.report.Examples[reason]; !have {
		l.report.Examples[reason] = err.Error()
	}
}

func (l *Load) part(p tenant.Protocol) *tally {
	t := l.parts[p]
	if t == nil {
		t = &tally{}
		l.parts[p] = t
	}
	return t
}

// goodbye hangs a client up, in a time of its own: also when everything is to end.
func (l *Load) goodbye(s Session) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.plan.Goodbye)
	defer cancel()
	return s.HangUp(ctx)
}

// Sessions are those that stand.
func (l *Load) Sessions() []Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Session
	for _, s := range l.slots {
		if s.session != nil {
			out = append(out, s.session)
		}
	}
	return out
}

// HangUp ends all sessions. It counts before which have ended by themselves.
func (l *Load) HangUp() {
	l.mu.Lock()
	l.phase = "hanging up"
	for i := range l.slots {
		if s := l.slots[i].session; s != nil {
			l.report.Open++
			if err := s.Err(); err != nil {
				l.lost(err)
				l.report.Open--
			}
		}
	}
	l.mu.Unlock()
	l.each(context.Background(), false, func(i int) {
		l.mu.Lock()
		s := l.slots[i].session
		l.slots[i].session = nil
		l.mu.Unlock()
		if s == nil {
			return
		}
		l.hangUp(s, s.Err() != nil)
	})
}

// hangUp hangs a session up and counts if it was not answered; of a dead one nothing else can be expected.
func (l *Load) hangUp(s Session, dead bool) {
	err := l.goodbye(s)
	if err == nil || dead {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.HangUpFailed++
	l.example(ReasonHangUp, err)
}

// lost counts a session that has ended by itself. mu is held.
func (l *Load) lost(err error) {
	reason := EndReason(err)
	l.report.Lost++
	l.report.LostReasons[reason]++
	l.example(reason, err)
}

// Report is what has come of it so far.
func (l *Load) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Failed, r.LostReasons, r.Examples = maps.Clone(r.Failed), maps.Clone(r.LostReasons), maps.Clone(r.Examples)
	r.P50Ms, r.P90Ms, r.P99Ms = ms(l.took.Quantile(0.5)), ms(l.took.Quantile(0.9)), ms(l.took.Quantile(0.99))
	r.MaxMs = ms(l.took.Max())
	if r.Pings != nil {
		pings := *r.Pings
		r.Pings = &pings
	}
	if r.Rekeys != nil {
		rekeys := *r.Rekeys
		r.Rekeys = &rekeys
	}
	if len(l.parts) > 1 {
		r.Protocols = map[tenant.Protocol]Part{}
		for p, t := range l.parts {
			r.Protocols[p] = Part{int(t.took.Count()), t.failed, ms(t.took.Quantile(0.5)), ms(t.took.Quantile(0.99))}
		}
	}
	return r
}

// Phase says what is being done, for people who watch.
func (l *Load) Phase(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.phase = name
}

// Status is how far a Load has come, for people who watch.
type Status struct {
	Phase            string
	Done, OK, Failed int // logins
	Open, Lost       int // sessions
	Rate             float64
	P50, P99         time.Duration
	Elapsed          time.Duration
}

// Status is how far it has come.
func (l *Load) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := Status{
		Phase: l.phase, Done: l.done, OK: l.report.OK, Failed: l.report.Failures(), Lost: l.report.Lost,
		P50: l.took.Quantile(0.5), P99: l.took.Quantile(0.99),
	}
	for _, s := range l.slots {
		if s.session != nil {
			st.Open++
		}
	}
	if l.begun.IsZero() {
		return st
	}
	st.Elapsed = time.Since(l.begun)
	if st.Rate = l.report.Rate; st.Rate == 0 {
		if took := l.last.Sub(l.begun).Seconds(); took > 0 {
			st.Rate = float64(l.done) / took
		}
	}
	return st
}
