package session

import (
	"bytes"
	"sync"
	"time"

	"concentrator/internal/tenant"
)

// PSKUse says how a pre-shared key of a tenant is used.
type PSKUse struct {
	Count int64     // ISAKMP SAs that it made, since the start or since the tenant has it
	Last  time.Time // when the latest was made; zero if none was
}

// pskUses counts how pre-shared keys are used, so that an operator sees when an old one can go. It is kept in memory,
// bounded by the keys that there are, and safe for concurrent use.
type pskUses struct {
	mu  sync.Mutex
	all map[pskName]*pskUse
}

// pskName is a pre-shared key of a tenant, by its ID.
type pskName struct{ tenant, id string }

type pskUse struct {
	secret tenant.Secret // whose use it is: another one under the same ID begins anew
	use    PSKUse
}

// keep counts for these tenants' keys from now on, and for no others.
func (u *pskUses) keep(tenants map[string]tenantPolicy) {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := make(map[pskName]*pskUse)
	for name, t := range tenants {
		for _, k := range t.policy.PSKs {
			key := pskName{name, k.ID}
			if have := u.all[key]; have != nil && bytes.Equal(have.secret, k.Secret) {
				next[key] = have
			} else {
				next[key] = &pskUse{secret: k.Secret}
			}
		}
	}
	u.all = next
}

// used counts that a client has proved a key. Of a key that went in this moment nothing is kept.
func (u *pskUses) used(tenantName, id string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if k := u.all[pskName{tenantName, id}]; k != nil {
		k.use.Count++
		k.use.Last = now
	}
}

func (u *pskUses) of(tenantName, id string) PSKUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	if k := u.all[pskName{tenantName, id}]; k != nil {
		return k.use
	}
	return PSKUse{}
}

// PSKUse says how a pre-shared key of tenants/{tenant} is used. Of one that there is not it is zero.
func (m *Manager) PSKUse(tenantName, id string) PSKUse { return m.pskUses.of(tenantName, id) }
