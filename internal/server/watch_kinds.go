package server

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

func (s listenerService) WatchListeners(
	r *concentratorv1.WatchListenersRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchListenersResponse],
) error {
	return watchResource(s.backend, stream, listeners, "", r.GetRevision())
}

func (s tenantService) WatchTenants(
	r *concentratorv1.WatchTenantsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchTenantsResponse],
) error {
	own := callerOf(stream.Context()).tenant
	show := func(t *store.Tenant) *concentratorv1.Tenant { return tenants.message(s.backend, t) }
	return watch(s.backend, stream, "", r.GetRevision(), &storedSource[store.Tenant, *concentratorv1.Tenant]{
		b: s.backend, show: show, only: own, bound: own,
	})
}

func (s profileService) WatchProfiles(
	r *concentratorv1.WatchProfilesRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchProfilesResponse],
) error {
	return watchResource(s.backend, stream, profiles, r.GetParent(), r.GetRevision())
}

func (s userService) WatchUsers(
	r *concentratorv1.WatchUsersRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchUsersResponse],
) error {
	return watchResource(s.backend, stream, users, r.GetParent(), r.GetRevision())
}

func (s aclService) WatchAcls(
	r *concentratorv1.WatchAclsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchAclsResponse],
) error {
	return watchResource(s.backend, stream, acls, r.GetParent(), r.GetRevision())
}

func (s apiTokenService) WatchApiTokens(
	r *concentratorv1.WatchApiTokensRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchApiTokensResponse],
) error {
	return watchResource(s.backend, stream, apiTokens, r.GetParent(), r.GetRevision())
}

func (s poolService) WatchPools(
	r *concentratorv1.WatchPoolsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchPoolsResponse],
) error {
	return watchLevel(s.backend, stream, pools, s.live.PoolFeed(), r.GetParent(), r.GetRevision())
}

func (s radiusServerService) WatchRadiusServers(
	r *concentratorv1.WatchRadiusServersRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchRadiusServersResponse],
) error {
	return watchLevel(s.backend, stream, radiusServers, s.live.HealthFeed(), r.GetParent(), r.GetRevision())
}

func (s sessionService) WatchSessions(
	r *concentratorv1.WatchSessionsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse],
) error {
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return err
	}
	show := func(i *session.Info) proto.Message { return encodeSession(*i) }
	return watch(s.backend, stream, r.GetParent(), r.GetRevision(), &sessionSource{
		feedSource[session.Info]{feed: s.live.SessionFeed(), match: below(parent), show: show}, s.live, parent,
	})
}

// sessionSource is the live sessions, with their counters in the snapshot.
type sessionSource struct {
	feedSource[session.Info]
	live   Live
	parent string
}

func (s *sessionSource) snapshot(_ context.Context, emit func(watched) error) (position, error) {
	all, revision := s.feed.Snapshot(s.match)
	now := make(map[string]session.Info)
	for _, i := range s.live.Sessions(s.parent) {
		now[i.Name] = i
	}
	for _, c := range all {
		i := *c.Value
		if n, ok := now[c.Name]; ok {
			i.InBytes, i.OutBytes, i.InPackets, i.OutPackets = n.InBytes, n.OutBytes, n.InPackets, n.OutPackets
			i.Drops, i.IdleTime = n.Drops, n.IdleTime
		}
		if err := emit(watched{upsert: encodeSession(i)}); err != nil {
			return nil, err
		}
	}
	return position{revision}, nil
}

func (s loginAttemptService) WatchLoginAttempts(
	r *concentratorv1.WatchLoginAttemptsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchLoginAttemptsResponse],
) error {
	match := func(string) bool { return true }
	switch parent := r.GetParent(); parent {
	case "":
	case anyTenant:
		match = func(name string) bool { return strings.HasPrefix(name, "tenants/") }
	default:
		if _, err := s.liveParent(parent); err != nil {
			return err
		}
		match = below(parent)
	}
	return watchFeed(s.backend, stream, s.live.LoginFeed(), r.GetParent(), r.GetRevision(), match,
		func(a *session.LoginAttempt) proto.Message { return encodeLogin(*a) })
}

func (s lockoutService) WatchLockouts(
	r *concentratorv1.WatchLockoutsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchLockoutsResponse],
) error {
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return err
	}
	return watchFeed(s.backend, stream, s.live.LockoutFeed(), r.GetParent(), r.GetRevision(), below(parent),
		func(l *session.Lockout) proto.Message { return encodeLockout(*l) })
}

func (s leaseService) WatchLeases(
	r *concentratorv1.WatchLeasesRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchLeasesResponse],
) error {
	if _, err := s.poolsOf(r.GetParent()); err != nil {
		return err
	}
	parent, all := strings.CutSuffix(r.GetParent(), anyPool)
	if all && parent == anyTenant {
		parent = ""
	}
	return watchFeed(s.backend, stream, s.live.LeaseFeed(), r.GetParent(), r.GetRevision(), below(parent),
		func(l *session.Lease) proto.Message { return encodeLease(*l) })
}

// watchFeed serves a watch of a live kind.
func watchFeed[T, R any](
	b *backend, stream grpc.ServerStreamingServer[R], feed *session.Feed[T], parent, revision string,
	match func(name string) bool, show func(*T) proto.Message,
) error {
	defer feed.Follow()()
	return watch(b, stream, parent, revision, &feedSource[T]{feed: feed, match: match, show: show})
}

// below matches the names below a resource; "" matches all.
func below(parent string) func(name string) bool {
	return func(name string) bool { return parent == "" || strings.HasPrefix(name, parent+"/") }
}

func (s operationService) WatchOperations(
	r *concentratorv1.WatchOperationsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchOperationsResponse],
) error {
	return watchResource(s.backend, stream, operationKind, r.GetParent(), r.GetRevision())
}
