package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/ippool"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

const (
	// leasesPart stands before the last part of a lease's name.
	leasesPart = "/leases/"
	// anyPool ends a parent that reads across the pools of a tenant, AIP-159.
	anyPool = "/pools/-"
	// maxListed is how many leases an error lists: it travels in trailers.
	maxListed = 100
)

type leaseService struct {
	concentratorv1.UnimplementedLeaseServiceServer
	*backend
}

func (s leaseService) GetLease(_ context.Context, r *concentratorv1.GetLeaseRequest) (*concentratorv1.Lease, error) {
	pool, addr, err := s.findLease(r.GetName())
	if err != nil {
		return nil, err
	}
	l, ok := s.live.Lease(pool, addr)
	if !ok {
		return nil, noLease(r.GetName())
	}
	return encodeLease(l), nil
}

func (s leaseService) ListLeases(
	ctx context.Context, r *concentratorv1.ListLeasesRequest,
) (*concentratorv1.ListLeasesResponse, error) {
	l, err := newListing(r, (*concentratorv1.Lease)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	state := session.LeaseState(word(r.GetState()))
	names, err := s.poolsOf(r.GetParent())
	if err != nil {
		return nil, err
	}
	all := func(after string) iter.Seq2[*concentratorv1.Lease, error] {
		return s.leases(names, after, func(l session.Lease) bool {
			return (r.GetUser() == "" || l.User == r.GetUser()) && (state == "" || l.State == state)
		})
	}
	page, next, err := pageOf(ctx, l, all, (*concentratorv1.Lease).GetName)
	return &concentratorv1.ListLeasesResponse{Leases: page, NextPageToken: next}, err
}

func (s leaseService) ReleaseLease(_ context.Context, r *concentratorv1.ReleaseLeaseRequest) (*emptypb.Empty, error) {
	pool, addr, err := s.findLease(r.GetName())
	if err != nil {
		return nil, err
	}
	err = s.live.ReleaseLease(pool, addr)
	if errors.Is(err, session.ErrNotFound) {
		return nil, noLease(r.GetName())
	}
	if err != nil {
		return nil, &resourceError{r.GetName(), fmt.Errorf("%s: %w", r.GetName(), err)}
	}
	return &emptypb.Empty{}, nil
}

func noLease(name string) error {
	return &resourceError{name, fmt.Errorf("%s: %w; nobody has the address, and nobody is remembered for it", name, store.ErrNotFound)}
}

// findLease reads a lease's name, and wants its pool to exist.
func (b *backend) findLease(name string) (pool string, addr netip.Addr, err error) {
	if pool, addr, err = parseLease(name); err != nil {
		return "", addr, invalid("name", "%v", err)
	}
	_, err = find[store.Pool](b, pool)
	return pool, addr, err
}

// parseLease cuts the name of a lease.
func parseLease(name string) (pool string, addr netip.Addr, err error) {
	pool, last, ok := strings.Cut(name, leasesPart)
	if ok {
		addr, err = netip.ParseAddr(last)
	}
	if !ok || err != nil || !addr.Is4() || store.CheckName(store.KindPool, pool) != nil {
		return "", addr, fmt.Errorf("%q is not tenants/{tenant}/pools/{pool}/leases/{address}", name)
	}
	return pool, addr, nil
}

// poolsOf names the pools that a list of leases is about, sorted.
func (b *backend) poolsOf(parent string) ([]string, error) {
	owner, all := strings.CutSuffix(parent, anyPool)
	if !all {
		if owner, _, _ = strings.Cut(parent, "/pools/"); owner == anyTenant || store.CheckName(store.KindPool, parent) != nil {
			return nil, invalid("parent", "%q is not tenants/{tenant}/pools/{pool}, tenants/{tenant}/pools/- or tenants/-/pools/-", parent)
		}
		_, err := find[store.Pool](b, parent)
		return []string{parent}, err
	}
	if err := b.checkParent(store.KindPool, owner); err != nil {
		return nil, err
	}
	records, _, err := store.List[store.Pool](b.store, owner, "", 0)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(records))
	for i, p := range records {
		names[i] = p.Name
	}
	slices.Sort(names)
	return names, nil
}

// leases yields those of some pools that are wanted, behind the one called after: by pool, and then by address.
func (b *backend) leases(pools []string, after string, want func(session.Lease) bool) iter.Seq2[*concentratorv1.Lease, error] {
	return func(yield func(*concentratorv1.Lease, error) bool) {
		var from netip.Addr // in the pool where the page begins
		fromPool := ""
		if after != "" {
			var err error
			if fromPool, from, err = parseLease(after); err != nil {
				yield(nil, errPageToken)
				return
			}
		}
		for _, pool := range pools {
			if pool < fromPool {
				continue
			}
			var last netip.Addr
			if pool == fromPool {
				last = from
			}
			for more := true; more; {
				var list []session.Lease
				list, more = b.live.Leases(pool, last, maxPage)
				for _, l := range list {
					if last = l.Address; want(l) && !yield(encodeLease(l), nil) {
						return
					}
				}
				more = more && len(list) > 0
			}
		}
	}
}

func leaseName(l session.Lease) string { return l.Pool + leasesPart + l.Address.String() }

func encodeLease(l session.Lease) *concentratorv1.Lease {
	m := &concentratorv1.Lease{
		Name:       leaseName(l),
		User:       valid(l.User),
		Session:    l.Session,
		State:      toEnum[concentratorv1.Lease_State](l.State),
		Static:     l.Static,
		ExpireTime: timestamp(l.Until),
	}
	if l.State == session.LeaseLeased {
		m.LeaseTime = timestamp(l.Since)
	} else {
		m.ReleaseTime = timestamp(l.Since)
	}
	return m
}

// checkLeases refuses what a pool is to be, while sessions have addresses that it then would not have.
func checkLeases(b *backend, name string, next *ippool.Parsed) error {
	list := b.live.LeasesOutside(name, next)
	if len(list) == 0 {
		return nil
	}
	pre := &errdetails.PreconditionFailure{}
	var texts []string
	for i, l := range list[:min(len(list), maxListed)] {
		who := l.Address.String() + " (" + valid(l.User) + ", " + l.Session + ")"
		if i < maxNamed {
			texts = append(texts, who)
		}
		pre.Violations = append(pre.Violations, &errdetails.PreconditionFailure_Violation{
			Type: "LEASE", Subject: leaseName(l), Description: who + " would not be of the pool",
		})
	}
	message := fmt.Sprintf("%s would lose addresses that sessions have: %s", name, strings.Join(texts, ", "))
	if len(list) > maxNamed {
		message += fmt.Sprintf(" and %d more", len(list)-maxNamed)
	}
	metadata := map[string]string{"resource": name, "leases": fmt.Sprint(len(list))}
	return newStatus(codes.FailedPrecondition, reasonLeased, message+"; release them first", metadata, pre).Err()
}

// leaseHolders names the sessions that have an address of a pool.
func leaseHolders(b *backend, pool string) []string {
	list := b.live.LeasesOutside(pool, nil)
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = l.Session
	}
	return names
}
