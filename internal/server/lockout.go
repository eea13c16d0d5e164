package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

// lockoutsPart stands before the last part of a lockout's name.
const lockoutsPart = "/lockouts/"

type lockoutService struct {
	concentratorv1.UnimplementedLockoutServiceServer
	*backend
}

// checkLockoutName returns the tenant of tenants/{tenant}/lockouts/{lockout}.
func checkLockoutName(name string) (owner string, err error) {
	owner, id, ok := strings.Cut(name, lockoutsPart)
	if !ok || id == "" || strings.Contains(id, "/") || checkTenantName(owner) != nil {
		return "", invalid("name", "%q is not tenants/{tenant}/lockouts/{lockout}", name)
	}
	return owner, nil
}

func noLockout(name string) error {
	return &resourceError{name, fmt.Errorf("%s: %w", name, session.ErrNoLockout)}
}

func (s lockoutService) GetLockout(_ context.Context, r *concentratorv1.GetLockoutRequest) (*concentratorv1.Lockout, error) {
	owner, err := checkLockoutName(r.GetName())
	if err != nil {
		return nil, err
	}
	l, err := s.find(owner, r.GetName())
	if err != nil {
		return nil, err
	}
	return encodeLockout(l), nil
}

// find returns one lockout of a tenant.
func (s lockoutService) find(owner, name string) (session.Lockout, error) {
	all := s.live.Lockouts(owner)
	i := slices.IndexFunc(all, func(l session.Lockout) bool { return l.Name == name })
	if i < 0 {
		return session.Lockout{}, noLockout(name)
	}
	return all[i], nil
}

func (s lockoutService) ListLockouts(
	ctx context.Context, r *concentratorv1.ListLockoutsRequest,
) (*concentratorv1.ListLockoutsResponse, error) {
	l, err := newListing(r, (*concentratorv1.Lockout)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return nil, err
	}
	all := sorted(s.live.Lockouts(parent), func(l session.Lockout) string { return l.Name }, encodeLockout)
	page, next, err := pageOf(ctx, l, all, (*concentratorv1.Lockout).GetName)
	return &concentratorv1.ListLockoutsResponse{Lockouts: page, NextPageToken: next}, err
}

func (s lockoutService) DeleteLockout(_ context.Context, r *concentratorv1.DeleteLockoutRequest) (*emptypb.Empty, error) {
	name := r.GetName()
	owner, err := checkLockoutName(name)
	if err != nil {
		return nil, err
	}
	l, err := s.find(owner, name)
	switch {
	case err != nil:
		return nil, err
	case r.GetEtag() != "" && r.GetEtag() != lockoutEtag(l):
		return nil, &resourceError{name, fmt.Errorf("lift %s: %w since etag %s", name, store.ErrConflict, r.GetEtag())}
	case !r.GetValidateOnly() && s.live.Lift(name) != nil:
		return nil, noLockout(name)
	}
	return &emptypb.Empty{}, nil
}

func lockoutEtag(l session.Lockout) string {
	var until int64
	if !l.Until.IsZero() {
		until = l.Until.UnixMilli()
	}
	return fmt.Sprintf("%x-%x", l.Failures, until)
}

func encodeLockout(l session.Lockout) *concentratorv1.Lockout {
	return &concentratorv1.Lockout{
		Name:          l.Name,
		Kind:          toEnum[concentratorv1.Lockout_Kind](l.Kind),
		Subject:       valid(l.Subject),
		ClientAddress: textOf(l.ClientAddress),
		Failures:      int32(l.Failures),
		Until:         timestamp(l.Until),
		Etag:          lockoutEtag(l),
	}
}
