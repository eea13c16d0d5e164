package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"concentrator/internal/authz"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// profileOf returns the profile that a verdict names, or the tenant's default, or the built-in one.
func (m *Manager) profileOf(tenantName, profile string) (*store.Profile, error) {
	name := profile
	switch {
	case name == "":
		name = tenantName + "/profiles/default"
	case !strings.Contains(name, "/"):
		name = tenantName + "/profiles/" + name
	}
	p, err := store.Shared[store.Profile](m.cfg.Store, name)
	if errors.Is(err, store.ErrNotFound) && profile == "" {
		p, err = &store.Profile{Meta: store.Meta{Name: name}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read profile %s: %w", name, err)
	}
	with := p.WithDefaults()
	return &with, nil
}

// mppePolicy is what a profile's mppe.policy comes to: without allowPlaintext OPTIONAL is REQUIRED, and DISABLED can't be.
func mppePolicy(p *store.Profile) (tenant.MPPEPolicy, error) {
	switch {
	case p.MPPE.Policy == tenant.MPPEDisabled && !p.AllowPlaintext:
		return "", &refusal{
			stage: tenant.StageCCP, reason: tenant.ReasonPlaintextNotAllowed,
			detail:  p.Name + " disables MPPE but does not set allowPlaintext",
			message: "Unencrypted connections are not allowed",
		}
	case p.MPPE.Policy == tenant.MPPEOptional && !p.AllowPlaintext:
		return tenant.MPPERequired, nil
	}
	return p.MPPE.Policy, nil
}

// offer lists the authentication methods that a profile lets a client of this carrier use, in the profile's order. What
// ESP protects needs no more protection. Of PPTP, MPPE protects the data but not the login, and plain L2TP has nothing.
// EAP is a RADIUS server's business: we only pass it on.
func offer(p *store.Profile, c *carrier, by tenant.Backend) ([]tenant.AuthMethod, error) {
	plainToo := true
	switch {
	case c.ccp:
		pol, err := mppePolicy(p)
		if err != nil {
			return nil, err
		}
		plainToo = p.AllowPlaintext && pol != tenant.MPPERequired
	case !c.protected() && !p.AllowPlaintext:
		return nil, &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonPlaintextNotAllowed,
			detail:  p.Name + " does not set allowPlaintext, which " + string(c.protocol) + " outside IPsec needs",
			message: "Unencrypted connections are not allowed",
		}
	}
	var out []tenant.AuthMethod
	for _, a := range p.AuthMethods {
		plain := a == tenant.AuthPAP || a == tenant.AuthCHAP
		if plain && !plainToo || a == tenant.AuthEAP && by != tenant.BackendRADIUS {
			continue
		}
		out = append(out, a)
	}
	return out, nil
}

// encryption checks that the method used is one that the user's profile allows, and says which MPPE the link may and
// must negotiate, given the keys there are.
func encryption(p *store.Profile, c *carrier, by tenant.Backend, used tenant.AuthMethod, v authz.Verdict) (tenant.MPPE, error) {
	methods, err := offer(p, c, by)
	if err != nil {
		return tenant.MPPE{}, err
	}
	if !slices.Contains(methods, used) {
		return tenant.MPPE{}, &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonNoCommonAuthMethod,
			detail:  fmt.Sprintf("%s does not let its users log in with %s", p.Name, used),
			message: "This authentication method is not allowed for you",
		}
	}
	if !c.ccp {
		if v.MPPEPolicy == tenant.MPPERequired && !c.protected() {
			return tenant.MPPE{}, &refusal{
				stage: tenant.StageCCP, reason: tenant.ReasonMPPERequired,
				detail:  "the login requires encryption, and " + string(c.protocol) + " outside IPsec has none",
				message: "Encryption is required",
			}
		}
		return tenant.MPPE{Policy: tenant.MPPEDisabled}, nil
	}
	out := p.MPPE
	out.Policy, _ = mppePolicy(p)
	if v.MPPEPolicy == tenant.MPPERequired {
		out.Policy = tenant.MPPERequired
	}
	if len(v.MPPEKeyBits) > 0 {
		out.KeyBits = slices.DeleteFunc(slices.Clone(out.KeyBits), func(b int) bool { return !slices.Contains(v.MPPEKeyBits, b) })
	}
	if len(v.Keys.Send) == 0 || len(v.Keys.Recv) == 0 {
		out.KeyBits = nil
	}
	if len(out.KeyBits) == 0 {
		if out.Policy == tenant.MPPERequired {
			return tenant.MPPE{}, &refusal{
				stage: tenant.StageCCP, reason: tenant.ReasonMPPERequired,
				detail:  p.Name + " requires MPPE, but the login gave no keys for a strength that it allows",
				message: "Encryption is required",
			}
		}
		out.Policy = tenant.MPPEDisabled
	}
	return out, nil
}

// rateLimit is the profile's, but where the verdict has one.
func rateLimit(p *store.Profile, v authz.Verdict) tenant.RateLimit {
	r := p.RateLimit
	if v.UpBps != nil {
		r.UpBps = *v.UpBps
	}
	if v.DownBps != nil {
		r.DownBps = *v.DownBps
	}
	return r
}

// dscp is the profile's model in the dataplane's words.
func dscp(p *store.Profile) policy.DSCP {
	if p.DSCP == tenant.DSCPUniform {
		return policy.Uniform
	}
	return policy.Pipe
}
