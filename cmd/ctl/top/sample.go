package top

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "concentrator/api/gen/concentrator/v1"
)

// sample is what the API said at one time. What the caller may not see is nil.
type sample struct {
	at       time.Time
	instance *pb.Instance
	sessions []*pb.Session
	servers  []*pb.RadiusServer
	queues   []*pb.AccountingQueue
	logins   []*pb.LoginAttempt // the newest first
}

const (
	pageSize   = 1000
	mostItems  = 5000 // of each kind: more would be no help to anyone's eyes
	mostLogins = 200
	askTime    = 10 * time.Second
)

// take asks for everything below parent. Its error is one of the connection: what the caller may not see is left out.
func take(ctx context.Context, conn grpc.ClientConnInterface, parent, tenant string, now func() time.Time) (*sample, error) {
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	s := &sample{}
	var err error
	s.instance, err = pb.NewInstanceServiceClient(conn).GetInstance(ctx, &pb.GetInstanceRequest{Name: "instances/-"})
	if err != nil {
		s.instance = nil
		if !hidden(err) {
			return nil, err
		}
	}
	if s.sessions, err = pages(func(token string) ([]*pb.Session, string, error) {
		r, err := pb.NewSessionServiceClient(conn).ListSessions(ctx,
			&pb.ListSessionsRequest{Parent: parent, PageSize: pageSize, PageToken: token})
		return r.GetSessions(), r.GetNextPageToken(), err
	}); err != nil {
		return nil, err
	}
	s.at = now() // the counters are of now
	if s.servers, err = pages(func(token string) ([]*pb.RadiusServer, string, error) {
		r, err := pb.NewRadiusServerServiceClient(conn).ListRadiusServers(ctx,
			&pb.ListRadiusServersRequest{Parent: parent, PageSize: pageSize, PageToken: token})
		return r.GetRadiusServers(), r.GetNextPageToken(), err
	}); err != nil {
		return nil, err
	}
	if s.queues, err = pages(func(token string) ([]*pb.AccountingQueue, string, error) {
		r, err := pb.NewAccountingQueueServiceClient(conn).ListAccountingQueues(ctx,
			&pb.ListAccountingQueuesRequest{Parent: parent, PageSize: pageSize, PageToken: token})
		return r.GetAccountingQueues(), r.GetNextPageToken(), err
	}); err != nil {
		return nil, err
	}
	r, err := pb.NewLoginAttemptServiceClient(conn).ListLoginAttempts(ctx,
		&pb.ListLoginAttemptsRequest{Parent: tenant, PageSize: mostLogins})
	if err != nil && !hidden(err) {
		return nil, err
	}
	s.logins = r.GetLogins()
	return s, nil
}

// pages reads a list to its end, or to mostItems.
func pages[T any](page func(token string) (items []T, next string, err error)) (all []T, err error) {
	for token := ""; ; {
		items, next, err := page(token)
		if hidden(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if token = next; token == "" || len(all) >= mostItems {
			return all, nil
		}
	}
}

// hidden says whether the caller may not see what it asked for.
func hidden(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.NotFound, codes.Unimplemented:
		return true
	}
	return false
}
