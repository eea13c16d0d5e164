package server

import (
	"context"
	"errors"
	"net/netip"

	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

type aclService struct {
	concentratorv1.UnimplementedAclServiceServer
	*backend
}

var acls = &resource[store.ACL, *concentratorv1.Acl]{
	idField: "aclId",
	meta:    func(r *store.ACL) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.Acl, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:  encodeACL,
	decode:  decodeACL,
	check:   func(*backend, *store.ACL, *fieldErrors) error { return nil },
	show:    func(*backend, *concentratorv1.Acl) {},
	lasting: true,
	stored:  func(*backend, string, *store.ACL) {},
	referrers: func(b *backend, name string) ([]string, error) {
		return referrersOf(b, store.TenantOf(name), func(p *store.Profile) (string, bool) { return p.Name, p.ACL == name })
	},
}

func (s aclService) CreateAcl(ctx context.Context, r *concentratorv1.CreateAclRequest) (*concentratorv1.Acl, error) {
	return create(ctx, s.backend, acls, r, r.GetParent(), r.GetAclId(), r.GetAcl())
}

func (s aclService) GetAcl(_ context.Context, r *concentratorv1.GetAclRequest) (*concentratorv1.Acl, error) {
	return get(s.backend, acls, r.GetName())
}

func (s aclService) ListAcls(ctx context.Context, r *concentratorv1.ListAclsRequest) (*concentratorv1.ListAclsResponse, error) {
	page, next, err := list(ctx, s.backend, acls, r, r.GetParent())
	return &concentratorv1.ListAclsResponse{Acls: page, NextPageToken: next}, err
}

func (s aclService) UpdateAcl(ctx context.Context, r *concentratorv1.UpdateAclRequest) (*concentratorv1.Acl, error) {
	return update(ctx, s.backend, acls, r.GetAcl(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s aclService) DeleteAcl(ctx context.Context, r *concentratorv1.DeleteAclRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, acls, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func encodeACL(r *store.ACL) *concentratorv1.Acl {
	m := &concentratorv1.Acl{DisplayName: r.DisplayName}
	for _, rule := range r.Rules {
		m.Rules = append(m.Rules, &concentratorv1.Acl_Rule{
			Action:           toEnum[concentratorv1.Acl_Rule_Action](rule.Action),
			Direction:        toEnum[concentratorv1.Acl_Rule_Direction](rule.Direction),
			Protocol:         rule.Protocol,
			Sources:          texts(rule.Sources),
			Destinations:     texts(rule.Destinations),
			SourcePorts:      texts(rule.SourcePorts),
			DestinationPorts: texts(rule.DestinationPorts),
		})
	}
	return m
}

// anyProtocol is a rule's protocol that stands for all.
const anyProtocol = "any"

func decodeACL(m *concentratorv1.Acl, _ *store.ACL, bad *fieldErrors) *store.ACL {
	r := &store.ACL{DisplayName: m.GetDisplayName()}
	before := len(bad.list)
	for i, rule := range m.GetRules() {
		r.Rules = append(r.Rules, decodeRule(at("rules", i), rule, bad))
	}
	if len(bad.list) > before {
		return r // CheckACL would find the same again, and say it worse
	}
	var wrong *tenant.ACLError
	if err := tenant.CheckACL(r.Rules); errors.As(err, &wrong) {
		bad.add(wrong.Path(), "%s", wrong.Detail)
	}
	return r
}

func decodeRule(path string, m *concentratorv1.Acl_Rule, bad *fieldErrors) tenant.ACLRule {
	rule := tenant.ACLRule{
		Action:           tenant.ACLAction(word(m.GetAction())),
		Direction:        tenant.ACLDirection(word(m.GetDirection())),
		Protocol:         m.GetProtocol(),
		Sources:          decodeNetworks(path+".sources", m.GetSources(), bad),
		Destinations:     decodeNetworks(path+".destinations", m.GetDestinations(), bad),
		SourcePorts:      decodePorts(path+".sourcePorts", m.GetSourcePorts(), bad),
		DestinationPorts: decodePorts(path+".destinationPorts", m.GetDestinationPorts(), bad),
	}
	if m.GetAction() == 0 {
		bad.add(path+".action", "is missing, must be %s", query.Words(m.GetAction().Descriptor().Values()))
	}
	if m.GetDirection() == 0 {
		rule.Direction = tenant.ACLBoth
	}
	if rule.Protocol == "" {
		rule.Protocol = anyProtocol
	}
	return rule
}

// decodeNetworks reads a rule's networks. What else is asked of them is said by tenant.CheckACL.
func decodeNetworks(path string, list []string, bad *fieldErrors) []netip.Prefix {
	var all []netip.Prefix
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			bad.add(at(path, i), "%q is not a network such as 192.0.2.0/24", s)
			continue
		}
		all = append(all, p)
	}
	return all
}

func decodePorts(path string, list []string, bad *fieldErrors) []tenant.PortRange {
	var all []tenant.PortRange
	for i, s := range list {
		p, err := tenant.ParsePortRange(s)
		if err != nil {
			bad.add(at(path, i), "%v", err)
			continue
		}
		all = append(all, p)
	}
	return all
}
