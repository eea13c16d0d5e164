package session

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// In a flood of refusals some are told of, and the first of another kind always.
func TestListed(t *testing.T) {
	var l listed
	now := time.Unix(1000, 0)
	told := func(n int, stage tenant.Stage, reason tenant.Reason) (told int) {
		for range n {
			if l.may(now, stage, reason) {
				told++
			}
		}
		return told
	}
	if n := told(1000, tenant.StageCall, tenant.ReasonInstanceLimit); n != listedBurst {
		t.Errorf("%d are told of at once", n)
	}
	if told(1, tenant.StageCall, tenant.ReasonPeerTimeout) != 1 || told(1, tenant.StageAuthentication, tenant.ReasonInstanceLimit) != 1 {
		t.Error("one kind hides another")
	}
	now = now.Add(time.Second)
	if n := told(1000, tenant.StageCall, tenant.ReasonInstanceLimit); n != listedPerSecond {
		t.Errorf("%d are told of a second later", n)
	}
	samples := l.samples()
	if len(samples) != 1 || samples[0].Value != 2000-listedBurst-listedPerSecond || samples[0].Labels[0] != string(tenant.StageCall) {
		t.Errorf("counted %+v", samples)
	}
	if !stranger(tenant.StageCall) || !stranger(tenant.StageIKEMainMode) || stranger(tenant.StageAuthentication) {
		t.Error("strangers are not told from users")
	}
}

// Calls of strangers are bounded, and nobody else's.
func TestDoor(t *testing.T) {
	d := newDoor()
	known := &carrier{remote: netip.MustParseAddrPort("192.0.2.1:1701")}
	d.know(known)
	taken := 0
	for range 2 * callsBurst {
		if d.may(&carrier{remote: netip.MustParseAddrPort("192.0.2.2:1701")}) {
			taken++
		}
	}
	if taken < callsBurst || taken > callsBurst+callsPerSecond {
		t.Errorf("%d calls of strangers are taken at once", taken)
	}
	if d.knows(&carrier{remote: netip.MustParseAddrPort("192.0.2.2:1701")}) || !d.knows(known) {
		t.Error("who has logged in is not told from a stranger")
	}
	if !d.may(known) || !d.may(&carrier{peer: &ipsecPeer{}, remote: netip.MustParseAddrPort("192.0.2.3:500")}) {
		t.Error("who is known is refused")
	}
}

// A client that sends control frames without end is heard no faster than it could need.
func TestFramesAreBounded(t *testing.T) {
	s := (&Manager{ctx: t.Context(), cfg: Config{Metrics: telemetry.NewMetrics()}, log: slog.New(slog.DiscardHandler)}).newSession(carrier{}, "")
	s.inbox = make(chan event, 10*framesBurst)
	for range 5 * framesBurst {
		s.Deliver(0xc021, []byte{1, 1, 0, 4})
	}
	if n := len(s.inbox); n < earlyFramesBurst || n > earlyFramesBurst+earlyFramesPerSecond {
		t.Errorf("%d frames of %d are taken before the log-in", n, 5*framesBurst)
	}
}

// Who has said who he is may send more of them.
func TestFramesAfterTheLogin(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.login(simppp.Pppd(alice, password))
		for _, s := range w.m.sessions {
			if s.frames.Limit() != framesPerSecond || s.frames.Burst() != framesBurst {
				t.Errorf("%v a second, %d at once", s.frames.Limit(), s.frames.Burst())
			}
		}
	})
}
