package server

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

type loginAttemptService struct {
	concentratorv1.UnimplementedLoginAttemptServiceServer
	*backend
}

func (s loginAttemptService) GetLoginAttempt(_ context.Context, r *concentratorv1.GetLoginAttemptRequest) (*concentratorv1.LoginAttempt, error) {
	name := r.GetName()
	parent, id, ok := strings.Cut("/"+name, "/logins/")
	parent = strings.TrimPrefix(parent, "/")
	if !ok || id == "" || strings.Contains(id, "/") || parent != "" && checkTenantName(parent) != nil {
		return nil, invalid("name", "%q is neither tenants/{tenant}/logins/{login} nor logins/{login}", name)
	}
	for _, a := range s.live.Logins(session.LoginFilter{Tenant: parent}) {
		if a.Name == name {
			return encodeFullLogin(a), nil
		}
	}
	return nil, &resourceError{name, fmt.Errorf("%s: %w; only the latest attempts are kept", name, store.ErrNotFound)}
}

func (s loginAttemptService) ListLoginAttempts(ctx context.Context, r *concentratorv1.ListLoginAttemptsRequest) (*concentratorv1.ListLoginAttemptsResponse, error) {
	l, err := newListing(r, (*concentratorv1.LoginAttempt)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	f := session.LoginFilter{User: r.GetUser()}
	if r.GetParent() != "" {
		if f.Tenant, err = s.liveParent(r.GetParent()); err != nil {
			return nil, err
		}
	}
	f.Outcome = session.Outcome(word(r.GetOutcome()))
	if r.GetPeer() != "" {
		if f.Peer, err = netip.ParseAddr(r.GetPeer()); err != nil {
			return nil, invalid("peer", "%q is not an IP address", r.GetPeer())
		}
	}
	all := s.live.Logins(f)
	if r.GetParent() == anyTenant {
		all = slices.DeleteFunc(all, func(a session.LoginAttempt) bool { return a.Tenant == "" })
	}
	encode := encodeLogin
	if r.GetView() == concentratorv1.LoginAttempt_FULL {
		encode = encodeFullLogin
	}
	page, next, err := pageOf(ctx, l, attempts(all, encode), (*concentratorv1.LoginAttempt).GetName)
	return &concentratorv1.ListLoginAttemptsResponse{Logins: page, NextPageToken: next}, err
}

// attempts yields log-in attempts as they are sorted: the newest first.
func attempts(all []session.LoginAttempt, encode func(session.LoginAttempt) *concentratorv1.LoginAttempt) resources[*concentratorv1.LoginAttempt] {
	return func(after string) iter.Seq2[*concentratorv1.LoginAttempt, error] {
		return func(yield func(*concentratorv1.LoginAttempt, error) bool) {
			// New attempts come in before the page and old ones go behind it: when the last one seen is gone, so is all that came
			// after it.
			seen := after == ""
			for _, a := range all {
				if seen && !yield(encode(a), nil) {
					return
				}
				seen = seen || a.Name == after
			}
		}
	}
}

// encodeLogin is the view BASIC: all but the attributes.
func encodeLogin(a session.LoginAttempt) *concentratorv1.LoginAttempt {
	return &concentratorv1.LoginAttempt{
		Name:          a.Name,
		Time:          timestamp(a.Time),
		Protocol:      toEnum[concentratorv1.Listener_Protocol](a.Protocol),
		ClientAddress: textOfPort(a.ClientAddress),
		User:          a.User,
		Stage:         toEnum[concentratorv1.LoginAttempt_Stage](a.Stage),
		Outcome:       toEnum[concentratorv1.LoginAttempt_Outcome](a.Outcome),
		Reason:        toEnum[concentratorv1.LoginAttempt_Reason](a.Reason),
		Detail:        a.Detail,
		Server:        a.Trace.Server,
		RoundTripTime: toDuration(a.Trace.RTT),
	}
}

// encodeFullLogin is the view FULL.
func encodeFullLogin(a session.LoginAttempt) *concentratorv1.LoginAttempt {
	m := encodeLogin(a)
	m.Sent, m.Received = encodeAttributes(a.Trace.Sent), encodeAttributes(a.Trace.Received)
	return m
}

func encodeAttributes(list []session.Attribute) []*concentratorv1.LoginAttempt_Attribute {
	var all []*concentratorv1.LoginAttempt_Attribute
	for _, a := range list {
		all = append(all, &concentratorv1.LoginAttempt_Attribute{Name: valid(a.Name), Value: valid(a.Value)})
	}
	return all
}

// valid makes a text that others sent fit for a message: protobuf takes nothing but UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
