package server

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/ippool"
	"concentrator/internal/store"
)

type poolService struct {
	concentratorv1.UnimplementedPoolServiceServer
	*backend
}

var pools = &resource[store.Pool, *concentratorv1.Pool]{
	idField: "poolId",
	meta:    func(r *store.Pool) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.Pool, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode: func(r *store.Pool) *concentratorv1.Pool {
		return &concentratorv1.Pool{
			Ranges: r.Ranges, Gateway: textOf(r.Gateway), Exclude: r.Exclude, Quarantine: toDuration(r.Quarantine),
		}
	},
	decode: decodePool,
	check:  checkPool,
	show:   showPool,
	stored: func(b *backend, name string, r *store.Pool) { b.claims.setPool(name, r) },
	referrers: func(b *backend, name string) ([]string, error) {
		by, err := referrersOf(b, store.TenantOf(name), func(p *store.Profile) (string, bool) { return p.Name, p.Pool == name })
		return append(by, leaseHolders(b, name)...), err
	},
}

func (s poolService) CreatePool(ctx context.Context, r *concentratorv1.CreatePoolRequest) (*concentratorv1.Pool, error) {
	return create(ctx, s.backend, pools, r, r.GetParent(), r.GetPoolId(), r.GetPool())
}

func (s poolService) GetPool(_ context.Context, r *concentratorv1.GetPoolRequest) (*concentratorv1.Pool, error) {
	return get(s.backend, pools, r.GetName())
}

func (s poolService) ListPools(ctx context.Context, r *concentratorv1.ListPoolsRequest) (*concentratorv1.ListPoolsResponse, error) {
	page, next, err := list(ctx, s.backend, pools, r, r.GetParent())
	return &concentratorv1.ListPoolsResponse{Pools: page, NextPageToken: next}, err
}

func (s poolService) UpdatePool(ctx context.Context, r *concentratorv1.UpdatePoolRequest) (*concentratorv1.Pool, error) {
	return update(ctx, s.backend, pools, r.GetPool(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s poolService) DeletePool(ctx context.Context, r *concentratorv1.DeletePoolRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, pools, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func poolSpec(r *store.Pool) ippool.Spec {
	return ippool.Spec{Ranges: r.Ranges, Gateway: r.Gateway, Exclude: r.Exclude, Quarantine: r.Quarantine}
}

func decodePool(m *concentratorv1.Pool, _ *store.Pool, bad *fieldErrors) *store.Pool {
	r := &store.Pool{
		Ranges: m.GetRanges(), Gateway: bad.ipv4("gateway", m.GetGateway()), Exclude: m.GetExclude(),
		Quarantine: m.GetQuarantine().AsDuration(),
	}
	if len(r.Ranges) == 0 {
		bad.add("ranges", "is empty, must hold at least one range such as 10.64.0.0/24")
		return r
	}
	if _, err := ippool.ParseSpec(poolSpec(r)); err != nil {
		path := "ranges"
		var where *ippool.FieldError
		if errors.As(err, &where) {
			path, err = where.Field, where.Err
		}
		bad.add(path, "%v", err)
	}
	return r
}

func checkPool(b *backend, r *store.Pool, bad *fieldErrors) error {
	parsed, err := ippool.ParseSpec(poolSpec(r))
	if err != nil {
		return err
	}
	b.claims.checkPool(r.Name, parsed, bad)
	return checkLeases(b, r.Name, parsed)
}

// showPool fills in the gateway and quarantine in effect and how full the pool is.
func showPool(b *backend, m *concentratorv1.Pool) {
	size, leased := b.live.PoolUsage(m.GetName())
	m.Usage = &concentratorv1.Pool_Usage{
		Size: int64(size), Leased: int64(leased), Quarantined: int64(b.live.PoolQuarantined(m.GetName())),
	}
	if m.GetQuarantine() == nil {
		m.Quarantine = durationpb.New(0)
	}
	if m.GetGateway() != "" {
		return
	}
	if parsed, err := ippool.ParseSpec(ippool.Spec{Ranges: m.GetRanges(), Exclude: m.GetExclude()}); err == nil {
		m.Gateway = parsed.Gateway().String()
	}
}
