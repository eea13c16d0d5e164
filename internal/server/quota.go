package server

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// defaultRequestRate is how many calls a second one caller may make in the long run.
	defaultRequestRate = 100
	// quotaBurst is for how many seconds' calls at once a caller may have saved up.
	quotaBurst = 2
	// maxQuotas is how many callers are remembered before those who have not called of late are forgotten. More than this many
	// callers who do call share one quota.
	maxQuotas = 4096
)

// quotas bounds how often each caller calls. It is safe for concurrent use.
type quotas struct {
	limit rate.Limit
	now   func() time.Time

	mu       sync.Mutex
	byCaller map[string]*rate.Limiter
	others   *rate.Limiter
}

// newQuotas allows perSecond calls to each caller; 0 means defaultRequestRate.
func newQuotas(perSecond int) *quotas {
	if perSecond == 0 {
		perSecond = defaultRequestRate
	}
	q := &quotas{limit: rate.Limit(perSecond), now: time.Now, byCaller: map[string]*rate.Limiter{}}
	q.others = q.full()
	return q
}

func (q *quotas) burst() int { return quotaBurst * int(q.limit) }

func (q *quotas) full() *rate.Limiter { return rate.NewLimiter(q.limit, q.burst()) }

// take counts a call of who, and refuses it if there were too many. Who is root, or the daemon, is not counted.
func (q *quotas) take(who caller) error {
	if who.name == callerRoot || who.name == callerSystem {
		return nil
	}
	now := q.now()
	l := q.of(who.name, now)
	if l.AllowN(now, 1) {
		return nil
	}
	wait := time.Duration(math.Ceil((1 - l.TokensAt(now)) / float64(q.limit) * float64(time.Second)))
	return newStatus(codes.ResourceExhausted, reasonRateLimited,
		fmt.Sprintf("%s calls too often: at most %d calls a second, and %d at once", who.name, int(q.limit), q.burst()), nil,
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}).Err()
}

// of returns the quota of a caller.
func (q *quotas) of(name string, now time.Time) *rate.Limiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.byCaller[name]; l != nil {
		return l
	}
	if len(q.byCaller) >= maxQuotas {
		for name, l := range q.byCaller {
			if l.TokensAt(now) >= float64(q.burst()) {
				delete(q.byCaller, name) // a new one would be as full
			}
		}
	}
	if len(q.byCaller) >= maxQuotas {
		return q.others
	}
	l := q.full()
	q.byCaller[name] = l
	return l
}
