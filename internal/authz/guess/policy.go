package guess

import (
	"math"
	"time"
)

// Kind is whom a hold-up is about.
type Kind string

// The kinds, spelled as in the API.
const (
	KindUser   Kind = "USER"
	KindSource Kind = "SOURCE"
	KindTenant Kind = "TENANT"
)

// Policy says how failures of one kind hold up.
type Policy struct {
	Free    int           // so many failures hold nothing up but the next; at least 1
	Base    time.Duration // how long the failure that reaches Free holds up; each further one, twice as long
	Max     time.Duration // but no longer than this
	Forgive time.Duration // one failure is forgotten in so long
}

// Policies are those of a Guard.
type Policies struct {
	User   Policy // a user, from all sources that are new for the user
	Pair   Policy // a user from a source that the user is known from
	Source Policy // a source, for users that are new there
	Tenant Policy // a tenant, for users from sources that are new for them
}

// DefaultPolicies is what a Guard uses where nothing else is said. A source waits longer than a user does: when a single
// source guesses at a user, it is the source that cannot go on, and the user can log in from anywhere.
func DefaultPolicies() Policies {
	return Policies{
		User:   Policy{Free: 5, Base: 2 * time.Second, Max: time.Minute, Forgive: 5 * time.Minute},
		Pair:   Policy{Free: 5, Base: 2 * time.Second, Max: time.Minute, Forgive: time.Minute},
		Source: Policy{Free: 10, Base: 2 * time.Second, Max: 15 * time.Minute, Forgive: 3 * time.Minute},
		Tenant: Policy{Free: 100, Base: 250 * time.Millisecond, Max: 2 * time.Second, Forgive: time.Second},
	}
}

// delay is how long a level holds up.
func (p Policy) delay(level float64) time.Duration {
	if level < float64(p.Free) {
		return 0
	}
	d := float64(p.Base) * math.Exp2(level-float64(p.Free))
	return min(p.Max, time.Duration(min(d, float64(p.Max))))
}

// top is the level from which on failures don't raise it: there the delay is Max already.
func (p Policy) top() float64 {
	if p.Base <= 0 || p.Max <= p.Base {
		return float64(p.Free)
	}
	return float64(p.Free) + math.Ceil(math.Log2(float64(p.Max)/float64(p.Base)))
}
