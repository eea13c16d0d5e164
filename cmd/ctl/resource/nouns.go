// Package resource has the verbs of every configured noun: create, get, list, update and delete. The flags of create
// and update are made of the API's own descriptors, so that a new field is a new flag. A radius-server can be tested too,
// and a tenant's pre-shared keys be changed.
package resource

import (
	"fmt"

	"github.com/spf13/cobra"

	"concentrator/cmd/ctl/env"
	"concentrator/internal/manifest"
)

// noun is one configured noun as ctl shows it.
type noun struct {
	name    string // as typed
	kind    string // as in documents
	short   string
	columns []env.Column
}

// The kinds that have verbs of their own.
const (
	radiusServer = "RadiusServer"
	tenantKind   = "Tenant"
)

var nouns = []noun{
	{"tenant", tenantKind, "Customers, each with its own users, addresses and network", []env.Column{
		env.Name("NAME", 0), env.Field("DISPLAY NAME", "display_name"), env.Field("REALMS", "realms"),
		env.Field("SUSPENDED", "suspended"), env.Field("LIMITS", "limits").OnlyWide(), env.Field("NETWORK", "network").OnlyWide(),
	}},
	{"profile", "Profile", "What sessions are like: methods, encryption, pool, limits", []env.Column{
		env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("METHODS", "auth_methods"), env.Field("POOL", "pool"),
		env.Field("DNS", "dns_servers"), env.Field("MPPE", "mppe").OnlyWide(), env.Field("PLAINTEXT", "allow_plaintext").OnlyWide(),
		env.Field("UP BPS", "rate_limit.up_bps").OnlyWide(), env.Field("DOWN BPS", "rate_limit.down_bps").OnlyWide(),
		env.Field("DSCP", "dscp").OnlyWide(), env.Field("ACL", "acl").OnlyWide(),
		env.Field("ROUTES", "client_routes").OnlyWide(), env.Field("SUFFIX", "dns_suffix").OnlyWide(),
		env.Field("HOURS", "allowed_hours").OnlyWide(), env.Field("ZONE", "time_zone").OnlyWide(),
	}},
	{"acl", "Acl", "Which packets may pass in a session", []env.Column{
		env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("DISPLAY NAME", "display_name"), env.Count("RULES", "rules"),
		env.Field("TEXT", "rules").OnlyWide(),
	}},
	{"user", "User", "Who may log in, where the tenant decides itself", []env.Column{
		env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("PROFILE", "profile"), env.Field("ADDRESS", "static_address"),
		env.Field("DISABLED", "disabled"), env.Field("EXPIRES", "expire_time").OnlyWide(), env.Field("ROUTES", "framed_routes").OnlyWide(),
	}},
	{"pool", "Pool", "Addresses for clients", []env.Column{
		env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("RANGES", "ranges"), env.Field("GATEWAY", "gateway"),
		env.Field("USAGE", "usage"), env.Field("EXCLUDE", "exclude").OnlyWide(), env.Field("QUARANTINE", "quarantine").OnlyWide(),
	}},
	{"radius-server", radiusServer, "Who decides logins, where the tenant asks RADIUS, and takes accounting", []env.Column{
		env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("ADDRESS", "address"), env.Field("PORT", "auth_port"),
		env.Field("TRANSPORT", "transport"), env.Field("PRIORITY", "priority"), env.Field("PURPOSES", "purposes"),
		env.Field("MESSAGE-AUTHENTICATOR", "message_authenticator"), env.Field("STATE", "health.state"),
		env.Field("ROUND TRIP", "health.round_trip_time").OnlyWide(), env.Field("SINCE", "health.since").OnlyWide(),
		env.Field("REQUESTS", "health.requests").OnlyWide(), env.Field("TIMEOUTS", "health.timeouts").OnlyWide(),
		env.Field("LAST ERROR", "health.last_error").OnlyWide(),
	}},
	{"listener", "Listener", "Where clients arrive", []env.Column{
		env.Name("NAME", 0), env.Field("ADDRESS", "address"), env.Field("PROTOCOLS", "protocols"), env.Field("TENANTS", "tenants"),
		env.Field("DEFAULT", "default_tenant").OnlyWide(), env.Field("NAMESPACE", "namespace").OnlyWide(),
	}},
}

// Commands makes the commands of all configured nouns.
func Commands(e *env.Env) []*cobra.Command {
	var out []*cobra.Command
	for _, n := range nouns {
		k, err := manifest.KindOf(n.kind)
		if err != nil {
			panic("ctl: " + err.Error()) // nouns names a kind that the API does not have
		}
		verbs := []*cobra.Command{create(e, n, k), get(e, n, k), list(e, n, k), update(e, n, k), remove(e, n, k)}
		switch n.kind {
		case radiusServer:
			verbs = append(verbs, test(e, k))
		case tenantKind:
			verbs = append(verbs, psks(e, k), rotatePSK(e, k))
		}
		out = append(out, env.Noun(n.name, n.short, verbs...))
	}
	return out
}

// named makes the full resource name of the argument.
func named(e *env.Env, k manifest.Kind, arg string) (string, error) {
	name, err := k.FullName(e.Tenant(), arg)
	if err != nil {
		return "", fmt.Errorf("%w: %w", env.ErrUsage, err)
	}
	return name, nil
}
