package server

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

type userService struct {
	concentratorv1.UnimplementedUserServiceServer
	*backend
}

var users = &resource[store.User, *concentratorv1.User]{
	idField: "userId",
	meta:    func(r *store.User) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.User, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:    encodeUser,
	decode:    decodeUser,
	check:     checkUser,
	show:      func(*backend, *concentratorv1.User) {},
	lasting:   true,
	stored:    func(b *backend, name string, r *store.User) { b.claims.setUser(name, r) },
	referrers: noReferrers,
}

func (s userService) CreateUser(ctx context.Context, r *concentratorv1.CreateUserRequest) (*concentratorv1.User, error) {
	return create(ctx, s.backend, users, r, r.GetParent(), r.GetUserId(), r.GetUser())
}

func (s userService) GetUser(_ context.Context, r *concentratorv1.GetUserRequest) (*concentratorv1.User, error) {
	return get(s.backend, users, r.GetName())
}

func (s userService) ListUsers(ctx context.Context, r *concentratorv1.ListUsersRequest) (*concentratorv1.ListUsersResponse, error) {
	page, next, err := list(ctx, s.backend, users, r, r.GetParent())
	return &concentratorv1.ListUsersResponse{Users: page, NextPageToken: next}, err
}

func (s userService) UpdateUser(ctx context.Context, r *concentratorv1.UpdateUserRequest) (*concentratorv1.User, error) {
	return update(ctx, s.backend, users, r.GetUser(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s userService) DeleteUser(ctx context.Context, r *concentratorv1.DeleteUserRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, users, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func encodeUser(r *store.User) *concentratorv1.User {
	return &concentratorv1.User{
		Profile:       r.Profile,
		StaticAddress: textOf(r.StaticAddress),
		FramedRoutes:  texts(r.FramedRoutes),
		Disabled:      r.Disabled,
		MaxSessions:   int32(r.MaxSessions),
		ExpireTime:    timestamp(r.ExpireTime),
	}
}

func decodeUser(m *concentratorv1.User, old *store.User, bad *fieldErrors) *store.User {
	r := &store.User{
		Profile:       bad.reference("profile", m.GetProfile(), store.KindProfile),
		StaticAddress: bad.host("staticAddress", m.GetStaticAddress()),
		FramedRoutes:  bad.prefixes("framedRoutes", m.GetFramedRoutes()),
		Disabled:      m.GetDisabled(),
		MaxSessions:   int(m.GetMaxSessions()),
		ExpireTime:    bad.time("expireTime", m.GetExpireTime()),
	}
	switch {
	case m.Password != nil:
		r.Password = tenant.Secret(m.GetPassword())
	case old != nil:
		r.Password = old.Password
	default:
		bad.add("password", "is missing")
	}
	return r
}

func checkUser(b *backend, r *store.User, bad *fieldErrors) error {
	b.claims.checkUser(r, bad)
	return checkOwn[store.Profile](b, "profile", store.TenantOf(r.Name), r.Profile, bad)
}
