package server

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"concentrator/internal/ippool"
	"concentrator/internal/session"
)

// fakeWatch is a liveWatch whose feeds the test fills.
type fakeWatch struct {
	once        sync.Once
	sessionFeed *session.Feed[session.Info]
	loginFeed   *session.Feed[session.LoginAttempt]
	leaseFeed   *session.Feed[session.Lease]
	poolFeed    *session.Feed[ippool.Usage]
	lockoutFeed *session.Feed[session.Lockout]
	healthFeed  *session.Feed[session.RadiusState]
}

// feeds makes the feeds at the first call.
func (f *fakeWatch) feeds() *fakeWatch {
	f.once.Do(func() {
		f.sessionFeed = session.NewFeed[session.Info](nil)
		f.loginFeed = session.NewLog[session.LoginAttempt](100)
		f.leaseFeed = session.NewFeed[session.Lease](nil)
		f.poolFeed = session.NewFeed[ippool.Usage](nil)
		f.lockoutFeed = session.NewFeed[session.Lockout](nil)
		f.healthFeed = session.NewFeed[session.RadiusState](nil)
	})
	return f
}

func (f *fakeWatch) SessionFeed() *session.Feed[session.Info]       { return f.feeds().sessionFeed }
func (f *fakeWatch) LoginFeed() *session.Feed[session.LoginAttempt] { return f.feeds().loginFeed }
func (f *fakeWatch) LeaseFeed() *session.Feed[session.Lease]        { return f.feeds().leaseFeed }
func (f *fakeWatch) PoolFeed() *session.Feed[ippool.Usage]          { return f.feeds().poolFeed }
func (f *fakeWatch) LockoutFeed() *session.Feed[session.Lockout]    { return f.feeds().lockoutFeed }
func (f *fakeWatch) HealthFeed() *session.Feed[session.RadiusState] { return f.feeds().healthFeed }

// publish puts what the test has set into the feeds, the leases of these tenants' pools "main" too.
func (f *fakeLive) publish(tenants ...string) {
	for _, i := range f.sessions {
		f.SessionFeed().Put(i.Name, i)
	}
	for _, a := range slices.Backward(f.logins) {
		f.LoginFeed().Add(func(int64) (string, session.LoginAttempt) { return a.Name, a })
	}
	for _, l := range f.lockouts {
		f.LockoutFeed().Put(l.Name, l)
	}
	for _, name := range tenants {
		list, _ := f.Leases(name+"/pools/main", netip.Addr{}, maxPage)
		for _, l := range list {
			f.LeaseFeed().Put(leaseName(l), l)
		}
	}
}

// usageOf is how full a pool is with so many leases.
func usageOf(leased int) ippool.Usage { return ippool.Usage{Size: 253, Leased: leased} }

// silence changes how long watches are silent, until the test is over.
func silence(t *testing.T, most time.Duration) {
	t.Helper()
	before := bookmarkEvery
	bookmarkEvery = most
	t.Cleanup(func() { bookmarkEvery = before })
}

// maskOf is an update mask.
func maskOf(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }
