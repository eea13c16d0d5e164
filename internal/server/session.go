package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
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
		return nil, &resourceError{r.GetName(), fmt.Errorf("%s: %w", r.GetName(), session.ErrNotFound)}
	}
	return encodeSession(i), nil
}

func (s sessionService) ListSessions(_ context.Context, r *concentratorv1.ListSessionsRequest) (*concentratorv1.ListSessionsResponse, error) {
	q := query{"Session", r.GetParent()}
	limit, after, err := q.page(r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return nil, err
	}
	all := s.live.Sessions(parent)
	// A session gets its name with its tenant; before that there is nothing to call it by.
	all = slices.DeleteFunc(all, func(i session.Info) bool { return i.Name <= after })
	page, next := fill(q, all[:min(len(all), limit)], len(all) > limit,
		func(i session.Info) string { return i.Name }, encodeSession)
	return &concentratorv1.ListSessionsResponse{Sessions: page, NextPageToken: next}, nil
}

func (s sessionService) DisconnectSession(_ context.Context, r *concentratorv1.DisconnectSessionRequest) (*emptypb.Empty, error) {
	if err := checkSessionName(r.GetName()); err != nil {
		return nil, err
	}
	if err := s.live.Disconnect(r.GetName(), tenant.ReasonAdminDisconnect); err != nil {
		return nil, &resourceError{r.GetName(), err}
	}
	return &emptypb.Empty{}, nil
}

func (s sessionService) WatchSessions(r *concentratorv1.WatchSessionsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchSessionsResponse]) error {
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	err = s.live.WatchSessions(ctx, parent, r.GetRevision(), func(e session.Event) error {
		return stream.Send(encodeEvent(e))
	})
	switch {
	case s.stopping.Err() != nil:
		return errShuttingDown
	case errors.Is(err, session.ErrExpired):
		return fmt.Errorf("%w: list again, and watch without a revision", err)
	}
	return err
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

func encodeEvent(e session.Event) *concentratorv1.WatchSessionsResponse {
	m := &concentratorv1.WatchSessionsResponse{Revision: e.Revision}
	switch {
	case e.Upsert != nil:
		m.Event = &concentratorv1.WatchSessionsResponse_Upsert{Upsert: encodeSession(*e.Upsert)}
	case e.Removed != "":
		m.Event = &concentratorv1.WatchSessionsResponse_Removed{Removed: e.Removed}
	default:
		m.Event = &concentratorv1.WatchSessionsResponse_SnapshotDone{SnapshotDone: &emptypb.Empty{}}
	}
	return m
}
