package server

import (
	"concentrator/internal/ippool"
	"concentrator/internal/session"
)

// liveWatch is what watches need of the running sessions: for each live kind what there is of it, and its changes.
type liveWatch interface {
	// SessionFeed is the live sessions; a change of counters is none.
	SessionFeed() *session.Feed[session.Info]
	// LoginFeed is the login attempts that are kept.
	LoginFeed() *session.Feed[session.LoginAttempt]
	// LeaseFeed is the leases, by tenants/{tenant}/pools/{pool}/leases/{address}.
	LeaseFeed() *session.Feed[session.Lease]
	// PoolFeed is how full the pools are, by tenants/{tenant}/pools/{pool}.
	PoolFeed() *session.Feed[ippool.Usage]
	// LockoutFeed is the lockouts.
	LockoutFeed() *session.Feed[session.Lockout]
	// HealthFeed is whether the RADIUS servers that are in use answer, by tenants/{tenant}/radiusServers/{server}.
	HealthFeed() *session.Feed[session.RadiusState]
}
