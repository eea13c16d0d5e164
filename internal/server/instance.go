package server

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

// thisInstance names the instance that answers, whatever it is called.
const thisInstance = "instances/-"

type instanceService struct {
	concentratorv1.UnimplementedInstanceServiceServer
	*backend
}

func (s instanceService) GetInstance(_ context.Context, r *concentratorv1.GetInstanceRequest) (*concentratorv1.Instance, error) {
	return s.named(r.GetName())
}

// named returns this instance, if the name is its own or instances/-.
func (s instanceService) named(name string) (*concentratorv1.Instance, error) {
	if id, ok := strings.CutPrefix(name, "instances/"); !ok || id == "" || strings.Contains(id, "/") {
		return nil, invalid("name", "%q is not instances/{instance}", name)
	}
	m := s.this()
	if name != thisInstance && name != m.GetName() {
		return nil, &resourceError{name, fmt.Errorf("%s: %w; this is %s", name, store.ErrNotFound, m.GetName())}
	}
	return m, nil
}

// this is the instance that answers.
func (s instanceService) this() *concentratorv1.Instance {
	m := encodeInstance(s.live.Instance())
	m.Reencrypting, m.Conditions = s.store.Reencrypting(), s.readiness.conditions()
	m.Build, m.Configuration = s.about.build, s.about.configuration
	for _, f := range s.faults.Standing() {
		m.Faults = append(m.Faults, &concentratorv1.Instance_Fault{
			Type: string(f.Fault), Subject: f.Subject, Detail: f.Detail, BeginTime: timestamp(f.Begin),
		})
	}
	return m
}

func (s instanceService) ListInstances(ctx context.Context, r *concentratorv1.ListInstancesRequest) (*concentratorv1.ListInstancesResponse, error) {
	l, err := newListing(r, (*concentratorv1.Instance)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	page, next, err := pageOf(ctx, l, one(s.this()), (*concentratorv1.Instance).GetName)
	return &concentratorv1.ListInstancesResponse{Instances: page, NextPageToken: next}, err
}

// instanceName is the resource name of this instance.
func instanceName(i session.InstanceInfo) string {
	return "instances/" + strings.TrimPrefix(i.Name, "instances/")
}

func encodeInstance(i session.InstanceInfo) *concentratorv1.Instance {
	m := &concentratorv1.Instance{
		Name:        instanceName(i),
		Version:     i.Version,
		StartTime:   timestamp(i.StartTime),
		MaxSessions: int32(i.MaxSessions),
		Sessions:    int32(i.Sessions),
		Draining:    i.Draining,

		LoginsAccepted: i.Accepted,
		LoginsRefused:  i.Refused,
	}
	for _, s := range i.ShardStats {
		m.Shards = append(m.Shards, &concentratorv1.Instance_Shard{
			Shard:      int32(s.Shard),
			Sessions:   int32(s.Sessions),
			InPackets:  int64(s.InPackets),
			OutPackets: int64(s.OutPackets),
			WrongShard: int64(s.WrongShard),
			CpuTime:    durationpb.New(s.CPUTime),
			Drops:      encodeDrops(s.Drops),
		})
	}
	return m
}
