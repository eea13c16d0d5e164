package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// tokenPrefix begins every API token, so that one that went astray can be found and told for what it is.
const tokenPrefix = "conc_"

// newToken makes what the holder of an API token sends: 256 random bits, of which a plain hash gives nothing away.
func newToken() string {
	raw := make([]byte, tokenLen)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the process instead
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
}

func hashOf(token string) store.Fingerprint { return sha256.Sum256([]byte(token)) }

// grant is what one stored API token lets its holder do. A change of the token makes another grant and ends this one. A nil
// grant is that of callers without such a token: it never ends.
type grant struct {
	name   string // of the token
	id     string // of the grant, in this process
	role   tenant.Role
	expire time.Time // zero: never

	hash  store.Fingerprint
	certs []store.Fingerprint

	used  *atomic.Int64   // time of the last use, nanoseconds since 1970; 0: none. It is handed on to the next grant
	ended context.Context //nolint:containedctx // ends with the grant, and its streams with it
	end   context.CancelFunc
}

// caller is who uses the grant.
func (g *grant) caller(address string) caller {
	return caller{name: g.name, address: address, tenant: store.TenantOf(g.name), role: g.role, grant: g}
}

// over says whether the grant was ended or has expired.
func (g *grant) over() bool {
	return g != nil && (g.ended.Err() != nil || !g.expire.IsZero() && !time.Now().Before(g.expire))
}

// bound makes a context that ends with the grant too.
func (g *grant) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if g == nil {
		return context.WithCancel(ctx)
	}
	var cancel context.CancelFunc
	if g.expire.IsZero() {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithDeadline(ctx, g.expire)
	}
	stop := context.AfterFunc(g.ended, cancel)
	return ctx, func() { stop(); cancel() }
}

// same says whether the grant is still that of a token as it is now stored.
func (g *grant) same(r *store.APIToken) bool {
	return g.role == r.Role && g.expire.Equal(r.ExpireTime) && g.hash == r.Hash && slices.Equal(g.certs, r.Certificates)
}

// keyring is the stored API tokens by what their holders show. It is safe for concurrent use.
type keyring struct {
	mu            sync.RWMutex
	byName        map[string]*grant
	byHash        map[store.Fingerprint]*grant
	byCertificate map[store.Fingerprint]*grant
	made          uint64 // grants, so far
}

// loadKeyring reads what the store holds.
func loadKeyring(s *store.Store) (*keyring, error) {
	k := &keyring{
		byName: map[string]*grant{}, byHash: map[store.Fingerprint]*grant{}, byCertificate: map[store.Fingerprint]*grant{},
	}
	for _, parent := range []string{"", anyTenant} {
		all, _, err := store.List[store.APIToken](s, parent, "", 0)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			k.set(r.Name, r)
		}
	}
	return k, nil
}

// set is told of each token that was stored, and of each that was removed (nil).
func (k *keyring) set(name string, r *store.APIToken) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.byName[name]
	if old != nil && r != nil && old.same(r) {
		return
	}
	used := new(atomic.Int64)
	if old != nil {
		used = old.used
		delete(k.byName, name)
		delete(k.byHash, old.hash)
		for _, c := range old.certs {
			delete(k.byCertificate, c)
		}
		old.end()
	}
	if r == nil {
		return
	}
	k.made++
	g := &grant{name: name, id: strconv.FormatUint(k.made, 36), role: r.Role, expire: r.ExpireTime, hash: r.Hash, certs: slices.Clone(r.Certificates), used: used}
	g.ended, g.end = context.WithCancel(context.Background())
	k.byName[name] = g
	if g.hash != (store.Fingerprint{}) {
		k.byHash[g.hash] = g
	}
	for _, c := range g.certs {
		k.byCertificate[c] = g
	}
}

// holder returns the caller of the token that find gives, unless there is none or it is over.
func (k *keyring) holder(address string, find func() *grant) (caller, bool) {
	k.mu.RLock()
	g := find()
	k.mu.RUnlock()
	if g == nil || g.over() {
		return caller{}, false
	}
	g.used.Store(time.Now().UnixNano())
	return g.caller(address), true
}

// byToken returns the caller who sends token.
func (k *keyring) byToken(token, address string) (caller, bool) {
	return k.holder(address, func() *grant { return k.byHash[hashOf(token)] })
}

// byFingerprint returns the caller who shows a certificate, which must have been verified.
func (k *keyring) byFingerprint(cert store.Fingerprint, address string) (caller, bool) {
	return k.holder(address, func() *grant { return k.byCertificate[cert] })
}

// granted returns the caller whose token is called name, for a call that another door has let in by one of its grants: a body
// may take its time, and whose token was rotated meanwhile is not who has the new one.
func (k *keyring) granted(name, id, address string) (caller, bool) {
	return k.holder(address, func() *grant {
		if g := k.byName[name]; g != nil && g.id == id {
			return g
		}
		return nil
	})
}

// lastUse is when the token called name was last used; zero if it was not.
func (k *keyring) lastUse(name string) time.Time {
	k.mu.RLock()
	defer k.mu.RUnlock()
	g := k.byName[name]
	if g == nil || g.used.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, g.used.Load())
}

// whose is the name of the token that a certificate names; "" for none.
func (k *keyring) whose(cert store.Fingerprint) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if g := k.byCertificate[cert]; g != nil {
		return g.name
	}
	return ""
}
