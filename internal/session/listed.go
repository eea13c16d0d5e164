package session

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// So many refused log-ins of one stage and reason are logged at once, and so many a second: in a flood the log must not fill the
// disk. What is above is counted. Those of strangers are not kept for "login list" then either, which would have no room for
// what users did.
const (
	listedBurst     = 40
	listedPerSecond = 5
)

// listed limits what refusals are told of. The zero value is ready.
type listed struct {
	mu    sync.Mutex
	kinds map[refusalKind]*rate.Limiter
	more  map[tenant.Stage]uint64 // not told of, since the start
}

// refusalKind is what refusals are limited by; there are a few dozen.
type refusalKind struct {
	stage  tenant.Stage
	reason tenant.Reason
}

// may says whether one more refusal is told of, and counts it if not.
func (l *listed) may(now time.Time, stage tenant.Stage, reason tenant.Reason) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil {
		l.kinds, l.more = map[refusalKind]*rate.Limiter{}, map[tenant.Stage]uint64{}
	}
	k := refusalKind{stage, reason}
	t := l.kinds[k]
	if t == nil {
		t = rate.NewLimiter(listedPerSecond, listedBurst)
		l.kinds[k] = t
	}
	if !t.AllowN(now, 1) {
		l.more[stage]++
		return false
	}
	return true
}

// stranger says whether whoever is refused at a stage has not even said who he is.
func stranger(at tenant.Stage) bool {
	return slices.Index(tenant.Stages, at) < slices.Index(tenant.Stages, tenant.StageAuthentication)
}

// samples are how many were not told of.
func (l *listed) samples() (out []telemetry.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for stage, n := range l.more {
		out = append(out, telemetry.Sample{Labels: []string{string(stage)}, Value: float64(n)})
	}
	return out
}
