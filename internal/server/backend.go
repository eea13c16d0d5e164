package server

import (
	"context"
	"net/netip"
	"sync"

	"concentrator/internal/ippool"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// Live is what the API needs of the running sessions. All methods are safe for concurrent use.
type Live interface {
	liveCapture
	liveWatch
	// Sessions returns the live sessions of tenants/{tenant}, or of all tenants for "", sorted by name.
	Sessions(tenant string) []session.Info
	// Session returns one live session.
	Session(name string) (session.Info, bool)
	// Disconnect begins to end a session; session.ErrNotFound if there is none of that name.
	Disconnect(name string, reason tenant.Reason) error
	// Logins returns the login attempts that match, the newest first.
	Logins(f session.LoginFilter) []session.LoginAttempt
	// PoolUsage says how many addresses tenants/{tenant}/pools/{pool} has to lease, and how many are leased.
	PoolUsage(pool string) (size, leased int)
	// PoolQuarantined says how many addresses of a pool are in quarantine.
	PoolQuarantined(pool string) int
	// Leases returns up to limit leases of a pool behind an address, sorted, and whether there are more. The zero address
	// begins at the first.
	Leases(pool string, after netip.Addr, limit int) ([]session.Lease, bool)
	// Lease returns what is known of one address of a pool; false: nothing.
	Lease(pool string, addr netip.Addr) (session.Lease, bool)
	// LeasesOutside returns, sorted, the leases that a pool would cut off if it became next, or if it went (nil).
	LeasesOutside(pool string, next *ippool.Parsed) []session.Lease
	// ReleaseLease forgets who had an address, and begins to end the session that has it; session.ErrNotFound if nothing
	// is known of it.
	ReleaseLease(pool string, addr netip.Addr) error
	// Lockouts returns those of tenants/{tenant}, or of all tenants for "", sorted by name.
	Lockouts(tenant string) []session.Lockout
	// Lift ends tenants/{tenant}/lockouts/{lockout}; session.ErrNoLockout if there is none of that name.
	Lift(name string) error
	// RadiusHealth says how tenants/{tenant}/radiusServers/{server} does; false while nothing uses it.
	RadiusHealth(name string) (session.RadiusHealth, bool)
	// TestRadiusServer asks one RADIUS server; that it does not answer is no error. It blocks until ctx ends at most.
	TestRadiusServer(ctx context.Context, name string, t session.RadiusTest) (session.RadiusTestResult, error)
	// AccountingStatus returns the queue of tenants/{tenant}, or for "" those of all tenants that had records, sorted by
	// tenant.
	AccountingStatus(tenant string) []session.AccountingStatus
	// AccountingUnsent returns up to limit waiting records of tenants/{tenant} with IDs over after, in the order of their
	// IDs, and whether there are more.
	AccountingUnsent(tenant string, after uint64, limit int) ([]session.AccountingRecord, bool)
	// PSKUse says how a pre-shared key of tenants/{tenant} is used.
	PSKUse(tenant, id string) session.PSKUse
	// Instance describes this instance.
	Instance() session.InstanceInfo

	liveDrain
}

// backend is what the services share.
type backend struct {
	store   *store.Store
	live    Live
	metrics *telemetry.Metrics
	audit   *auditTrail

	// writing serialises writes: what one checks of other resources must still be so when it is stored.
	writing sync.Mutex
	claims  *claims // guarded by writing

	// service serialises what takes the instance out of service and what puts it back.
	service   sync.Mutex
	ops       *operations
	readiness *readiness
	faults    *telemetry.Faults

	keys     *keyring
	watches  *watches
	captures captures

	derived  sync.Map // by store.Kind: the messages that lists keep, *store.Derived
	requests *store.RequestIDs
	quota    *quotas

	about        about
	makeBackup   func(ctx context.Context, path string, progress func(done, total int64)) (int64, error)
	noNamespaces bool // the process can't make or enter any

	stopping context.Context //nolint:containedctx // ends the streams when the server stops
}
