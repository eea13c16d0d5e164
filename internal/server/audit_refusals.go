package server

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"concentrator/internal/store"
)

// How fast calls that were refused or failed may come into the trail one by one. What comes faster is counted, and written as
// one event later: nobody must push out of the trail what others did, or keep the disk busy.
var (
	// strangerLimit is for callers who are not known, all together: 8640 events a day at most.
	strangerLimit = refusalLimit{every: 10 * time.Second, burst: 50}
	// knownLimit is for callers who are known, all together.
	knownLimit = refusalLimit{every: 5 * time.Second, burst: 300}
)

type refusalLimit struct {
	every time.Duration
	burst int
}

const (
	// refusalFlush is how long counted refusals wait at least before they are written.
	refusalFlush = 10 * time.Second
	// maxRefusals is how many kinds of strangers' are told apart; the rest are counted by code alone.
	maxRefusals = 128
	// maxKnownRefusals is as many of callers who are known, and maxRefusalsOf of those of one tenant, or of one who is bound to
	// none: the rest of them are counted by caller and code, and then by tenant and code.
	maxKnownRefusals = 256
	maxRefusalsOf    = 16
)

// refusals are calls that were refused or failed, and that came too fast. It is safe for concurrent use.
type refusals struct {
	mu       sync.Mutex
	known    *rate.Limiter
	stranger *rate.Limiter
	counted  map[refusal]*store.AuditEvent
	order    []refusal   // of counted, the oldest first
	timer    *time.Timer // nil: nothing is counted
	closed   bool
	flushing sync.Mutex
}

// refusal is what such calls must have in common to be counted together.
type refusal struct {
	caller, host, tenant, method, code, reason string
}

func (l refusalLimit) limiter() *rate.Limiter { return rate.NewLimiter(rate.Every(l.every), l.burst) }

// limiter is the one that counts for an event.
func (r *refusals) limiter(e *store.AuditEvent) *rate.Limiter {
	if e.Caller == "" {
		return r.stranger
	}
	return r.known
}

// refused records a call that was refused or that failed: at once, or together with others of its kind later, which is then
// counted.
func (t *auditTrail) refused(e store.AuditEvent) (counted bool) {
	if !t.take(&e) {
		return true
	}
	_ = t.write(e) // it is logged; the caller has an error already
	return false
}

// take says whether an event may be written now; else it is counted.
func (t *auditTrail) take(e *store.AuditEvent) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := refusal{e.Caller, hostOf(e.Address), e.Tenant, e.Method, e.Code, e.Reason}
	same := t.counted[key]
	if t.closed || same == nil && t.limiter(e).Allow() {
		return true
	}
	if same == nil {
		if coarse := t.coarser(key); coarse != key {
			key, same = coarse, t.counted[coarse]
			if e.Caller != coarse.caller {
				e.Caller, e.Role = coarse.caller, ""
			}
			e.Address, e.Tenant, e.Method, e.Reason = "", coarse.tenant, "", ""
		}
	}
	if same == nil {
		e.Address, e.RequestID = key.host, ""
		t.counted[key] = e
		t.order = append(t.order, key)
	} else {
		same.Count++
		if same.Resource != e.Resource {
			same.Resource = "" // of several
		}
		if same.Detail != e.Detail {
			same.Detail = ""
		}
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(refusalFlush, func() { t.flush(false) })
	}
	return false
}

// coarser is the key itself if there is room for one more kind, else one that has less to tell apart: whoever is refused in ever
// other ways takes from what is told of himself, not of others.
func (r *refusals) coarser(key refusal) refusal {
	group := groupOf(key.caller)
	all, own := 0, 0
	for k := range r.counted {
		if (k.caller == "") == (key.caller == "") {
			all++
		}
		if groupOf(k.caller) == group {
			own++
		}
	}
	bound := ""
	if group != key.caller {
		bound = group
	}
	switch {
	case key.caller == "" && all < maxRefusals, key.caller != "" && all < maxKnownRefusals && own < maxRefusalsOf:
		return key
	case key.caller == "":
		return refusal{code: key.code} // these are few: there are not many codes
	case all < maxKnownRefusals && own < 2*maxRefusalsOf:
		return refusal{caller: key.caller, tenant: bound, code: key.code}
	}
	return refusal{caller: group, tenant: bound, code: key.code} // as many as there are tenants, and callers bound to none
}

// groupOf is the tenant that a caller is bound to, or the caller.
func groupOf(caller string) string { return cmp.Or(store.TenantOf(caller), caller) }

// flush writes what was counted, as far as the limits let it, or all of it.
func (t *auditTrail) flush(all bool) {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	for _, e := range t.due(all) {
		_ = t.write(*e) // it is logged
	}
}

// due takes out of counted what is to be written, and has the rest wait on.
func (t *auditTrail) due(all bool) []*store.AuditEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*store.AuditEvent
	var left []refusal
	for _, key := range t.order {
		e := t.counted[key]
		if !all && !t.limiter(e).Allow() {
			left = append(left, key)
			continue
		}
		delete(t.counted, key)
		list = append(list, e)
	}
	t.order, t.timer = left, nil
	if len(left) > 0 {
		t.timer = time.AfterFunc(refusalFlush, func() { t.flush(false) })
	}
	return list
}

// close writes what was counted. What comes later is written at once.
func (t *auditTrail) close() {
	t.mu.Lock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	t.flush(true)
}
