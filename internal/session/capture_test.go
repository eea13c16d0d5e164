package session

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/dataplane/capture/capturetest"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/tenant"
)

// captureRun is a capture that runs.
type captureRun struct {
	w    *world
	call *fakeCall
	done chan struct{}

	mu    sync.Mutex
	file  bytes.Buffer
	at    []time.Time // of each piece
	block chan struct{}
	fail  error

	all Captured // once done
	err error
	end time.Time
}

// capture begins one of the client's session.
func (w *world) capture(ctx context.Context, name string, spec CaptureSpec) *captureRun {
	if spec.Duration == 0 {
		spec.Duration = time.Hour
	}
	r := &captureRun{w: w, done: make(chan struct{})}
	w.plane.mu.Lock()
	for _, c := range w.plane.calls {
		r.call = c
	}
	w.plane.mu.Unlock()
	go func() {
		defer close(r.done)
		r.all, r.err = w.m.Capture(ctx, name, spec, r.take)
		r.end = time.Now()
	}()
	synctest.Wait()
	return r
}

func (r *captureRun) take(piece []byte) error {
	r.mu.Lock()
	block, fail := r.block, r.fail
	r.mu.Unlock()
	if block != nil {
		<-block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file.Write(piece)
	r.at = append(r.at, time.Now())
	return fail
}

// soFar is what has been taken: how many pieces and octets, and when the last was.
func (r *captureRun) soFar() (pieces, octets int, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.at), r.file.Len(), r.at[len(r.at)-1]
}

// pass is n packets of a size that the shard sees at a side.
func (r *captureRun) pass(side dataplane.Side, n, size int) {
	r.call.mu.Lock()
	defer r.call.mu.Unlock()
	for i := range n {
		r.call.taps[side].Put(bytes.Repeat([]byte{byte(i)}, size))
	}
}

// wait returns what was taken until the end.
func (r *captureRun) wait() []capturetest.Packet {
	r.w.t.Helper()
	<-r.done
	r.call.mu.Lock()
	defer r.call.mu.Unlock()
	if n := len(r.call.taps[0]) + len(r.call.taps[1]); n != 0 {
		r.w.t.Errorf("%d taps are left", n)
	}
	return capturetest.File(r.w.t, r.file.Bytes())
}

func TestCapture(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.login(simppp.Windows(alice, password))
		name := w.session(acme).Name
		if _, err := w.m.Capture(t.Context(), name+"x", CaptureSpec{Duration: time.Second}, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("capture of nobody: %v", err)
		}

		began := time.Now()
		r := w.capture(t.Context(), name, CaptureSpec{Duration: 10 * time.Second})
		if pieces, octets, _ := r.soFar(); pieces != 1 || octets != 24 {
			t.Fatalf("%d pieces at once, %d octets", pieces, octets)
		}
		r.pass(dataplane.Outer, 1, 100)
		for range 3 {
			r.pass(dataplane.Inner, 10, 100)
			passed := time.Now()
			time.Sleep(100 * time.Millisecond)
			_, _, last := r.soFar()
			if late := last.Sub(passed); late < 0 || late > 100*time.Millisecond {
				t.Errorf("handed on after %v", late)
			}
		}
		time.Sleep(9 * time.Second)
		r.pass(dataplane.Inner, 3, 2000)
		if got := r.wait(); len(got) != 33 || len(got[32].Data) != 2000 || r.all != (Captured{33, 0}) || r.err != nil {
			t.Errorf("%d packets, %+v, %v", len(got), r.all, r.err)
		}
		if took := r.end.Sub(began); took < 10*time.Second || took > 10*time.Second+100*time.Millisecond {
			t.Errorf("took %v", took)
		}

		for what, spec := range map[string]CaptureSpec{"packets": {Outer: true, Packets: 5}, "octets": {Outer: true, Octets: 350, Snap: 70}} {
			r := w.capture(t.Context(), name, spec)
			r.pass(dataplane.Outer, 20, 100)
			if got := r.wait(); len(got) != 5 || r.err != nil || r.all.Packets != 5 {
				t.Errorf("%s: %d packets, %+v, %v", what, len(got), r.all, r.err)
			}
		}
	})
}

// TestCaptureEnds: by whatever, at once, and leaves nothing.
func TestCaptureEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.login(simppp.Windows(alice, password))
		name := w.session(acme).Name

		ctx, cancel := context.WithCancel(t.Context())
		r := w.capture(ctx, name, CaptureSpec{})
		r.pass(dataplane.Inner, 1, 100)
		cancel()
		if r.wait(); !errors.Is(r.err, context.Canceled) {
			t.Errorf("canceled: %v", r.err)
		}

		r = w.capture(t.Context(), name, CaptureSpec{})
		r.mu.Lock()
		r.fail = errors.New("the reader is gone")
		r.mu.Unlock()
		r.pass(dataplane.Inner, 1, 100)
		if r.wait(); !errors.Is(r.err, r.fail) {
			t.Errorf("a sink that fails: %v", r.err)
		}

		// A sink that stalls costs packets, which are counted, and nobody waits for it.
		r = w.capture(t.Context(), name, CaptureSpec{})
		r.mu.Lock()
		r.block = make(chan struct{})
		block := r.block
		r.mu.Unlock()
		r.pass(dataplane.Inner, 1, 100)
		time.Sleep(time.Second)
		r.pass(dataplane.Inner, 5000, 1400)
		if err := w.m.Disconnect(name, tenant.ReasonAdminDisconnect); err != nil {
			t.Fatal(err)
		}
		w.until("the session is gone", func() bool { return len(w.m.Sessions(acme)) == 0 })
		close(block)
		if got := r.wait(); r.err != nil || r.all.Missed == 0 || len(got)+int(r.all.Missed) != 5001 || int(r.all.Packets) != len(got) {
			t.Errorf("%d packets, %+v, %v", len(got), r.all, r.err)
		}
		if _, err := w.m.Capture(t.Context(), name, CaptureSpec{Duration: time.Second}, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("capture of a session that is gone: %v", err)
		}
	})
}

func TestCaptureAtMostFour(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.login(simppp.Windows(alice, password))
		name := w.session(acme).Name
		for range 2 { // what has ended makes room
			ctx, cancel := context.WithCancel(t.Context())
			var all []*captureRun
			for range maxCaptures {
				all = append(all, w.capture(ctx, name, CaptureSpec{}))
			}
			_, err := w.m.Capture(t.Context(), name, CaptureSpec{Duration: time.Second}, nil)
			if !errors.Is(err, ErrTooManyCaptures) || !strings.Contains(err.Error(), "4") {
				t.Errorf("the fifth: %v", err)
			}
			all[0].pass(dataplane.Inner, 1, 100)
			time.Sleep(100 * time.Millisecond)
			cancel()
			for _, r := range all {
				<-r.done
			}
			for i, r := range all {
				if got := r.wait(); len(got) != 1 {
					t.Errorf("capture %d: %d packets", i, len(got))
				}
			}
		}
	})
}
