package transport

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"layeh.com/radius"

	"concentrator/internal/tenant"
)

// Exchange asks the servers for r's purpose, one after the other, until one answers; the error is a *NoAnswer. It takes at
// most Tries × Timeout for each server, jitter included, once the request has a place among those under way there, and ctx
// bounds it all.
//
// Servers with the lowest Priority come first, in random order by Weight among those of the same; dead ones come last. A
// request that waits for a server which others find dead leaves it at once if there is another one that is not.
func (g *Group) Exchange(ctx context.Context, r Request) (Reply, error) {
	switch {
	case int(r.Purpose) >= numPurposes,
		r.Code != radius.CodeAccessRequest && r.Code != radius.CodeAccountingRequest && r.Code != radius.CodeStatusServer:
		err := fmt.Errorf("radius: %s is no request for %s", r.Code, r.Purpose)
		return Reply{}, &NoAnswer{Reason: tenant.ReasonRadiusTimeout, Detail: err.Error(), Err: err}
	}
	servers, err := g.acquire(&r)
	if err != nil {
		return Reply{}, err
	}
	defer g.release(servers)

	left := order(servers, random)
	var fails []*failure
	for len(left) > 0 {
		i, trial, died := choose(left, r.Purpose)
		p := left[i].ports[r.Purpose]
		left = slices.Delete(left, i, i+1)
		a := attempt{tries: r.Tries, died: died, more: func() bool {
			return slices.ContainsFunc(left, func(s *server) bool { return !s.ports[r.Purpose].isDead() })
		}}
		if trial && r.Server == "" {
			a.tries = 1 // the others are waiting
		}
		reply, f := p.ask(ctx, &r, a)
		if trial {
			p.endTrial()
		}
		if f == nil {
			return reply, nil
		}
		if fails = append(fails, f); f.final {
			break
		}
	}
	return Reply{}, noAnswer(fails)
}

// acquire returns the servers that r may go to, which stay open until release.
func (g *Group) acquire(r *Request) ([]*server, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, &NoAnswer{Reason: tenant.ReasonRadiusTimeout, Detail: ErrClosed.Error(), Err: ErrClosed}
	}
	var found []*server
	for _, s := range g.servers {
		if s.ports[r.Purpose] != nil && (r.Server == "" || r.Server == s.cfg.Load().Name) {
			s.users++
			found = append(found, s)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	detail := fmt.Sprintf("no RADIUS server is configured for %s", r.Purpose)
	if r.Server != "" {
		detail = fmt.Sprintf("RADIUS server %s is not configured for %s", r.Server, r.Purpose)
	}
	return nil, &NoAnswer{Reason: tenant.ReasonRadiusTimeout, Detail: detail, Err: ErrNoServer}
}

func (g *Group) release(servers []*server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range servers {
		s.users--
		g.dismiss(s)
	}
}

// order returns servers by priority, and those of one priority as a lottery has it, in which each has as many tickets as its
// Weight.
func order(servers []*server, random func() float64) []*server {
	rest := slices.Clone(servers)
	slices.SortStableFunc(rest, func(a, b *server) int { return cmp.Compare(a.cfg.Load().Priority, b.cfg.Load().Priority) })
	out := make([]*server, 0, len(rest))
	for len(rest) > 0 {
		same, sum := 0, 0
		for same < len(rest) && rest[same].cfg.Load().Priority == rest[0].cfg.Load().Priority {
			sum += rest[same].cfg.Load().Weight
			same++
		}
		drawn, i := int(random()*float64(sum)), 0
		for i < same-1 && drawn >= rest[i].cfg.Load().Weight {
			drawn -= rest[i].cfg.Load().Weight
			i++
		}
		out = append(out, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return out
}

// choose returns the index of the server to ask next: the first that is not dead or is to be tried, otherwise the first.
func choose(left []*server, purpose Purpose) (i int, trial bool, died <-chan struct{}) {
	for i, s := range left {
		if ok, trial, died := s.ports[purpose].claim(); ok {
			return i, trial, died
		}
	}
	return 0, false, nil
}
