package server

import (
	"context"
	"fmt"
	"time"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

const (
	// allSessions is the filter that matches every session: an empty one would be too easy to send by mistake.
	allSessions = "*"
	// disconnectTime is how long sessions may take to end, goodbye included.
	disconnectTime = 30 * time.Second
	// disconnectLook is how often it is looked at whether they have.
	disconnectLook = 200 * time.Millisecond
)

// disconnectSettings are which sessions a DisconnectSessions is about.
type disconnectSettings struct {
	Parent string `json:"parent"`
	Filter string `json:"filter"`
}

func (s sessionService) DisconnectSessions(
	ctx context.Context, r *concentratorv1.DisconnectSessionsRequest,
) (*concentratorv1.Operation, error) {
	if r.GetFilter() == "" {
		return nil, invalid("filter", "is missing; %q ends all sessions", allSessions)
	}
	if _, err := s.liveParent(r.GetParent()); err != nil {
		return nil, err
	}
	settings := disconnectSettings{r.GetParent(), r.GetFilter()}
	names, err := s.sessionsOf(settings)
	if err != nil {
		return nil, err
	}
	d := work{
		kind: concentratorv1.Operation_DISCONNECT_SESSIONS, target: r.GetParent(), settings: settings, total: int64(len(names)),
	}
	if r.GetParent() == anyTenant {
		d.target = instanceName(s.live.Instance())
	} else {
		d.parent = r.GetParent()
	}
	if r.GetValidateOnly() {
		return notRunning(ctx, d, "sessions", store.Operation{Total: d.total}), nil
	}
	return s.ops.begin(ctx, d)
}

// sessionsOf names the sessions that match.
func (b *backend) sessionsOf(d disconnectSettings) ([]string, error) {
	var match *query.Filter
	if d.Filter != allSessions {
		var err error
		if match, err = query.ParseFilter((&concentratorv1.Session{}).ProtoReflect().Descriptor(), d.Filter); err != nil {
			return nil, invalid("filter", "%v", err)
		}
	}
	parent := d.Parent
	if parent == anyTenant {
		parent = ""
	}
	var names []string
	for _, i := range b.live.Sessions(parent) {
		if i.Name != "" && (match == nil || match.Matches(encodeSession(i))) {
			names = append(names, i.Name)
		}
	}
	return names, nil
}

// disconnectSessions is the job of DisconnectSessions.
func (b *backend) disconnectSessions(ctx context.Context, op *running) error {
	if op.resumed() {
		// Whoever is here now came after the restart, which has ended all that were meant.
		op.progress(op.total(), op.total())
		op.say("the daemon was restarted, and the sessions ended with it")
		return nil
	}
	var settings disconnectSettings
	if err := op.settings(&settings); err != nil {
		return err
	}
	names, err := b.sessionsOf(settings)
	if err != nil {
		return err
	}
	total := int64(len(names))
	op.progress(0, total)
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_ = b.live.Disconnect(name, tenant.ReasonAdminDisconnect) // one that has just ended is as good
	}
	late := time.NewTimer(disconnectTime)
	defer late.Stop()
	look := time.NewTicker(disconnectLook)
	defer look.Stop()
	for {
		left := names[:0]
		for _, name := range names {
			if _, live := b.live.Session(name); live {
				left = append(left, name)
			}
		}
		names = left
		op.progress(total-int64(len(names)), total)
		if len(names) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		case <-late.C:
			for _, name := range names {
				op.problem(name, reasonDeadline, fmt.Sprintf("has not ended within %s", disconnectTime))
			}
			return errSeeProblems
		}
	}
}
