package guess

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Lockout is one user, source or tenant whose next failure holds up at once, or is being held up.
type Lockout struct {
	Tenant   string // ID
	ID       string // its own in the tenant, and the same as long as the subject is
	Kind     Kind
	Subject  string     // the user as it is remembered, any octets; the source; the tenant's ID
	Source   netip.Addr // of a user: only from this source, where the user is known; zero: from all that are new for it
	Failures int        // as far as they are not forgotten
	Until    time.Time  // no attempt counts before; zero: the next one does
}

// idLen is how much of the subject's hash names a lockout, in octets: enough to tell a few thousand apart.
const idLen = 8

// lockoutID names a lockout, whatever octets its subject has.
func lockoutID(kind Kind, subject string, source netip.Addr) string {
	id := strings.ToLower(string(kind))
	if kind == KindTenant {
		return id
	}
	text := subject
	if source.IsValid() {
		text = source.String() + " " + subject
	}
	sum := sha256.Sum256([]byte(text))
	return id + "-" + hex.EncodeToString(sum[:idLen])
}

// List returns the lockouts of a tenant, or of all tenants for "", by tenant and ID.
func (g *Guard) List(tenantID string) []Lockout {
	var out []Lockout
	g.each(tenantID, func(l Lockout, _ func()) { out = append(out, l) })
	slices.SortFunc(out, func(a, b Lockout) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Lift forgets the failures behind a lockout. False: there is none of that ID.
func (g *Guard) Lift(tenantID, id string) bool {
	found := false
	g.each(tenantID, func(l Lockout, lift func()) {
		if l.ID == id {
			found = true
			lift()
		}
	})
	return found
}

// each calls f with the lockouts of a tenant, or of all for "", and with what lifts each. f is not to call the Guard.
func (g *Guard) each(tenantID string, f func(l Lockout, lift func())) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	show := func(l Lockout, p Policy, c *counter, r ref, lift func()) {
		if !c.holds(p, now) {
			return
		}
		l.Tenant, l.ID, l.Failures = r.tenant, lockoutID(l.Kind, l.Subject, l.Source), c.failures()
		if c.until.After(now) {
			l.Until = c.until
		}
		f(l, func() {
			lift()
			g.touch(r)
		})
	}
	for id, t := range g.tenants {
		if tenantID != "" && id != tenantID {
			continue
		}
		t.users.all(func(key string, c *counter) {
			show(Lockout{Kind: KindUser, Subject: key}, g.policies.User, c, ref{id, inUsers, key}, func() { t.users.remove(key) })
		})
		t.sources.all(func(key string, c *counter) {
			show(Lockout{Kind: KindSource, Subject: key}, g.policies.Source, c, ref{id, inSources, key}, func() { t.sources.remove(key) })
		})
		t.known.all(func(key string, k *known) {
			for i := range k.sources {
				s := &k.sources[i]
				l := Lockout{Kind: KindUser, Subject: key, Source: s.source}
				show(l, g.policies.Pair, &s.counter, ref{id, inKnown, key}, func() { s.counter = counter{} })
			}
		})
		show(Lockout{Kind: KindTenant, Subject: id}, g.policies.Tenant, &t.tenant, ref{id, inTenant, ""}, func() { t.tenant = counter{} })
	}
}

// printable makes a name fit for a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
