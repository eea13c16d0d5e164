package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

type sessionService struct {
	concentratorv1.UnimplementedSessionServiceServer
	*backend
}

func (s sessionService) GetSession(_ context.Context, r *concentratorv1.GetSessionRequest) (*concentratorv1.Session, error) {
	if err := checkSessionName(r.GetName()); err != nil {
		return nil, err
	}
	i, ok := s.live.Session(r.GetName())
	if !ok {
		return nil, noSession(r.GetName())
	}
	return encodeSession(i), nil
}

func (s sessionService) ListSessions(ctx context.Context, r *concentratorv1.ListSessionsRequest) (*concentratorv1.ListSessionsResponse, error) {
	l, err := newListing(r, (*concentratorv1.Session)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return nil, err
	}
	// A session gets its name with its tenant; before that there is nothing to call it by, and it sorts before the first page.
	all := sorted(s.live.Sessions(parent), func(i session.Info) string { return i.Name }, encodeSession)
	page, next, err := pageOf(ctx, l, all, (*concentratorv1.Session).GetName)
	return &concentratorv1.ListSessionsResponse{Sessions: page, NextPageToken: next}, err
}

func (s sessionService) DisconnectSession(_ context.Context, r *concentratorv1.DisconnectSessionRequest) (*emptypb.Empty, error) {
	if err := checkSessionName(r.GetName()); err != nil {
		return nil, err
	}
	err := s.live.Disconnect(r.GetName(), tenant.ReasonAdminDisconnect)
	if errors.Is(err, session.ErrNotFound) {
		err = noSession(r.GetName())
	}
	if err != nil {
		return nil, &resourceError{r.GetName(), err}
	}
	return &emptypb.Empty{}, nil
}

func noSession(name string) error {
	return &resourceError{name, fmt.Errorf("%s: %w; no live session has that name", name, store.ErrNotFound)}
}

// liveParent checks the parent of a list or watch of live things, and returns it as Live wants it.
func (b *backend) liveParent(parent string) (string, error) {
	if parent == anyTenant {
		return "", nil
	}
	return parent, b.checkParent(store.KindUser, parent)
}

func checkSessionName(name string) error {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "tenants" || parts[2] != "sessions" || parts[1] == "" || parts[3] == "" {
		return invalid("name", "%q is not tenants/{tenant}/sessions/{session}", name)
	}
	return nil
}

func encodeSession(i session.Info) *concentratorv1.Session {
	return &concentratorv1.Session{
		Name:          i.Name,
		User:          i.User,
		Protocol:      toEnum[concentratorv1.Listener_Protocol](i.Protocol),
		State:         toEnum[concentratorv1.Session_State](i.State),
		Listener:      i.Listener,
		ClientAddress: textOfPort(i.ClientAddress),
		NatDetected:   i.NATDetected,
		Address:       textOf(i.Address),
		Profile:       i.Profile,
		AuthMethod:    toEnum[concentratorv1.Profile_AuthMethod](i.AuthMethod),
		Cipher:        i.Cipher,
		Mtu:           int32(i.MTU),
		Shard:         int32(i.Shard),
		StartTime:     timestamp(i.StartTime),
		IdleTime:      durationpb.New(i.IdleTime),
		InBytes:       int64(i.InBytes),
		OutBytes:      int64(i.OutBytes),
		InPackets:     int64(i.InPackets),
		OutPackets:    int64(i.OutPackets),
		Drops:         encodeDrops(i.Drops),
		RateLimit:     encodeRateLimit(i.RateLimit),
		Acl:           i.ACL,
	}
}

func encodeDrops(drops map[string]uint64) map[string]int64 {
	m := make(map[string]int64, len(drops))
	for reason, n := range drops {
		m[reason] = int64(n)
	}
	return m
}
