package server

import (
	"context"
	"sync"

	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Live is what the API needs of the running sessions. All methods are safe for concurrent use.
type Live interface {
	// Sessions returns the live sessions of tenants/{tenant}, or of all tenants for "", sorted by name.
	Sessions(tenant string) []session.Info
	// Session returns one live session.
	Session(name string) (session.Info, bool)
	// Disconnect begins to end a session; session.ErrNotFound if there is none of that name.
	Disconnect(name string, reason tenant.Reason) error
	// WatchSessions calls fn for every live session of tenants/{tenant} (or of all tenants for ""), then once for the
	// end of the snapshot, then for each change; with the token of an earlier event, for each change after it. It
	// returns fn's error, ctx's, or session.ErrExpired for a token that is too old and a watcher that is too slow.
	WatchSessions(ctx context.Context, tenant, token string, fn func(session.Event) error) error
	// Logins returns the login attempts that match, the newest first.
	Logins(f session.LoginFilter) []session.LoginAttempt
	// PoolUsage says how many addresses tenants/{tenant}/pools/{pool} has to lease, and how many are leased.
	PoolUsage(pool string) (size, leased int)
	// Instance describes this instance.
	Instance() session.InstanceInfo
}

// backend is what the services share.
type backend struct {
	store *store.Store
	live  Live

	// writing serialises writes: what one checks of other resources must still be so when it is stored.
	writing sync.Mutex
	claims  *claims // guarded by writing

	stopping context.Context //nolint:containedctx // ends the streams when the server stops
}
