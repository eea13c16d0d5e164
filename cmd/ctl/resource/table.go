package resource

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

// The kinds that something is special about.
const (
	tenantKind = "Tenant"
	userKind   = "User"
)

// ByName returns a noun of the table. It panics if there is none such: only names in the code are asked for.
func ByName(name string) *Noun {
	for _, n := range table {
		if n.Name == name {
			return n
		}
	}
	panic("ctl: no noun " + name)
}

// configured are the nouns that documents may have too; their commands need nothing but the table.
var configured = []string{"tenant", "profile", "acl", "user", "pool", "radius-server", "listener"}

var table = []*Noun{
	{
		Name: "tenant", Kind: tenantKind, Short: "Customers, each with its own users, addresses and network",
		Filter: "suspended = true OR realms:acme.example", Order: "displayName, name",
		Columns: []env.Column{
			env.Name("NAME", 0), env.Field("DISPLAY NAME", "display_name"), env.Field("REALMS", "realms"),
			env.Field("SUSPENDED", "suspended"), env.Field("LIMITS", "limits").OnlyWide(), env.Field("NETWORK", "network").OnlyWide(),
		},
		Related: []Related{
			{Head: "POOLS", Noun: "pool", Limit: 10},
			{Head: "RADIUS SERVERS", Noun: "radius-server", Limit: 10},
			{Head: "ACCOUNTING", Noun: "accounting-queue", Limit: 1},
			{Head: "LISTENERS", Noun: "listener", Parent: none, Filter: func(m protoreflect.Message) string {
				name := strconv.Quote(text(m, "name"))
				return "tenants:" + name + " OR defaultTenant = " + name
			}, Limit: 10},
			{Head: "SESSIONS", Noun: "session", Limit: 10},
			{Head: "REFUSED LOG-INS", Noun: "login", Filter: always("outcome = REFUSED"), Limit: 5},
		},
	},
	{
		Name: "profile", Kind: "Profile", Short: "What sessions are like: methods, encryption, pool, limits",
		Filter: `pool = "tenants/acme/pools/main" AND mtu < 1400`, Order: "mtu desc, name",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("METHODS", "auth_methods"), env.Field("POOL", "pool"),
			env.Field("DNS", "dns_servers"), env.Field("MPPE", "mppe").OnlyWide(), env.Field("PLAINTEXT", "allow_plaintext").OnlyWide(),
			env.Field("UP BPS", "rate_limit.up_bps").OnlyWide(), env.Field("DOWN BPS", "rate_limit.down_bps").OnlyWide(),
			env.Field("DSCP", "dscp").OnlyWide(), env.Field("ACL", "acl").OnlyWide(),
			env.Field("ROUTES", "client_routes").OnlyWide(), env.Field("SUFFIX", "dns_suffix").OnlyWide(),
			env.Field("HOURS", "allowed_hours").OnlyWide(), env.Field("ZONE", "time_zone").OnlyWide(),
		},
		Related: []Related{
			{Head: "USERS", Noun: "user", Filter: same("profile", "name"), Limit: 10},
			{Head: "SESSIONS", Noun: "session", Filter: same("profile", "name"), Limit: 10},
		},
	},
	{
		Name: "acl", Kind: "Acl", Short: "Which packets may pass in a session",
		Filter: `displayName = "Web*"`, Order: "displayName",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("DISPLAY NAME", "display_name"), env.Count("RULES", "rules"),
			env.Field("TEXT", "rules").OnlyWide(),
		},
		Related: []Related{
			{Head: "PROFILES", Noun: "profile", Filter: same("acl", "name"), Limit: 10},
			{Head: "SESSIONS", Noun: "session", Filter: same("acl", "name"), Limit: 10},
		},
	},
	{
		Name: "user", Kind: userKind, Short: "Who may log in, where the tenant decides itself",
		Filter: `disabled = true OR profile = "*/staff"`, Order: "expireTime desc, name",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("PROFILE", "profile"), env.Field("ADDRESS", "static_address"),
			env.Field("DISABLED", "disabled"), env.Field("EXPIRES", "expire_time").OnlyWide(), env.Field("ROUTES", "framed_routes").OnlyWide(),
		},
		Related: []Related{
			{Head: "SESSIONS", Noun: "session", Filter: ofUser, Limit: 10},
			{Head: "ADDRESSES", Noun: "lease", Parent: anyPool, Filter: ofUser, Limit: 10},
			{Head: "LAST LOG-INS", Noun: "login", Filter: ofUser, Limit: 5},
			{Head: "LOCKOUTS", Noun: "lockout", Filter: func(m protoreflect.Message) string {
				return "kind = USER AND subject = " + strconv.Quote(strings.ToLower(login(m)))
			}, Limit: 10},
		},
	},
	{
		Name: "pool", Kind: "Pool", Short: "Addresses for clients",
		Filter: "usage.leased > 200", Order: "usage.leased desc",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("RANGES", "ranges"), env.Field("GATEWAY", "gateway"),
			env.Field("SIZE", "usage.size"), env.Field("LEASED", "usage.leased"),
			env.Field("QUARANTINED", "usage.quarantined").OnlyWide(), env.Field("EXCLUDE", "exclude").OnlyWide(), env.Field("QUARANTINE", "quarantine").OnlyWide(),
		},
		Related: []Related{
			{Head: "PROFILES", Noun: "profile", Filter: same("pool", "name"), Limit: 10},
			{Head: "LEASED", Noun: "lease", Parent: itself, Filter: always("state = LEASED"), Limit: 20},
		},
	},
	{
		Name: "radius-server", Kind: "RadiusServer", Short: "Who decides logins, where the tenant asks RADIUS, and takes accounting",
		Filter: "health.state = DEAD", Order: "priority, name",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("ADDRESS", "address"), env.Field("PORT", "auth_port"),
			env.Field("TRANSPORT", "transport"), env.Field("PRIORITY", "priority"), env.Field("PURPOSES", "purposes"),
			env.Field("MESSAGE-AUTHENTICATOR", "message_authenticator"), env.Field("STATE", "health.state"),
			env.Field("ROUND TRIP", "health.round_trip_time").OnlyWide(), env.Field("SINCE", "health.since").OnlyWide(),
			env.Field("REQUESTS", "health.requests").OnlyWide(), env.Field("TIMEOUTS", "health.timeouts").OnlyWide(),
			env.Field("LAST ERROR", "health.last_error").OnlyWide(),
		},
		Related: []Related{{Head: "LAST LOG-INS THAT IT DECIDED", Noun: "login", Filter: same("server", "name"), Limit: 5}},
	},
	{
		Name: "listener", Kind: "Listener", Short: "Where clients arrive",
		Filter: "protocols:PPTP", Order: "address",
		Columns: []env.Column{
			env.Name("NAME", 0), env.Field("ADDRESS", "address"), env.Field("PROTOCOLS", "protocols"), env.Field("TENANTS", "tenants"),
			env.Field("DEFAULT", "default_tenant").OnlyWide(), env.Field("NAMESPACE", "namespace").OnlyWide(),
		},
		Related: []Related{{Head: "SESSIONS", Noun: "session", Parent: allTenants, Filter: same("listener", "name"), Limit: 10}},
	},
	{
		Name: "session", Kind: "Session", Short: "Who is connected", Line: sessionLine, Many: "live sessions",
		Filter: `state = OPEN AND user = "alice*"`, Order: "inBytes desc, user",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("USER", "user"), env.Field("PROTOCOL", "protocol"),
			env.Field("STATE", "state"), env.Field("CLIENT", "client_address"), env.Field("ADDRESS", "address"),
			env.Field("CIPHER", "cipher"), env.Field("IN", "in_bytes"), env.Field("OUT", "out_bytes"), env.Field("SINCE", "start_time"),
			env.Field("METHOD", "auth_method").OnlyWide(), env.Field("MTU", "mtu").OnlyWide(), env.Field("SHARD", "shard").OnlyWide(),
			env.Field("IDLE", "idle_time").OnlyWide(), env.Field("PROFILE", "profile").OnlyWide(), env.Field("LISTENER", "listener").OnlyWide(),
			env.Field("NAT", "nat_detected").OnlyWide(), env.Field("UP BPS", "rate_limit.up_bps").OnlyWide(),
			env.Field("DOWN BPS", "rate_limit.down_bps").OnlyWide(),
		},
		Related: []Related{
			{Head: "LEASE", Noun: "lease", Parent: anyPool, Filter: same("session", "name"), Limit: 5},
			{Head: "LAST LOG-INS", Noun: "login", Filter: func(m protoreflect.Message) string {
				host := text(m, "client_address")
				if i := strings.LastIndexByte(host, ':'); i >= 0 {
					host = host[:i]
				}
				return "user = " + strconv.Quote(text(m, "user")) + " AND clientAddress = " + strconv.Quote(host+":*")
			}, Limit: 3},
		},
	},
	{
		Name: "lease", Kind: "Lease", Short: "Which address of a pool who has, or had last", Narrow: narrowLeases,
		Filter: `state = LEASED AND user = "alice*"`, Order: "leaseTime desc",
		Columns: []env.Column{
			env.Name("TENANT", 2), env.Name("POOL", 1), env.Name("ADDRESS", 0), env.Field("USER", "user"), env.Field("STATE", "state"),
			env.Field("SESSION", "session"), env.Field("LEASED", "lease_time"), env.Field("RELEASED", "release_time"),
			env.Field("QUARANTINE UNTIL", "expire_time"), env.Field("STATIC", "static").OnlyWide(),
		},
		Related: []Related{{Head: "SESSION", Noun: "session", Filter: same("name", "session"), Limit: 1}},
	},
	{
		Name: "login", Kind: "LoginAttempt", Short: "Who logged in, who was refused, and why", Trail: true, Narrow: narrowLogins,
		Filter: `reason = WRONG_CREDENTIALS AND user = "alice*"`, Order: "time",
		Many: "login attempts, the newest first",
		Columns: []env.Column{
			env.Field("TIME", "time"), env.Name("TENANT", 1), env.Field("USER", "user"), env.Field("PROTOCOL", "protocol"),
			env.Field("CLIENT", "client_address"), env.Field("OUTCOME", "outcome"), env.Field("STAGE", "stage"),
			env.Field("REASON", "reason"), env.Field("DETAIL", "detail"), env.FullName("NAME").OnlyWide(),
		},
		Related: []Related{
			{Head: "THE USER'S SESSIONS", Noun: "session", Parent: tenantOrAll, Filter: same("user", "user"), Limit: 5},
		},
	},
	{
		Name: "lockout", Kind: "Lockout", Short: "Whose log-ins are held up after failed ones",
		Filter: "kind = USER AND failures > 10", Order: "failures desc",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("KIND", "kind"), env.Field("SUBJECT", "subject"),
			env.Field("CLIENT", "client_address"), env.Field("FAILURES", "failures"), env.Field("UNTIL", "until"),
		},
		Related: []Related{{Head: "REFUSED LOG-INS", Noun: "login", Filter: lockedOut, Limit: 10}},
	},
	{
		Name: "api-token", Kind: "ApiToken", Short: "Who may call the API, and what", Many: "tokens",
		Filter: "role = ADMIN AND NOT expireTime:*", Order: "lastUseTime desc",
		Columns: []env.Column{
			env.Name("TENANT", 1), env.Name("NAME", 0), env.Field("ROLE", "role"),
			env.Field("DISPLAY NAME", "display_name"), env.Field("EXPIRES", "expire_time"), env.Field("LAST USE", "last_use_time"),
			env.Count("CERTIFICATES", "certificate_fingerprints").OnlyWide(), env.Field("MADE", "create_time").OnlyWide(),
		},
		Related: []Related{{Head: "WHAT ITS HOLDER DID", Noun: "audit", Filter: same("caller", "name"), Limit: 10}},
	},
	{
		Name: "operation", Kind: "Operation", Short: "Long work: drains, imports, backups", Columns: env.OperationColumns,
		Filter: "kind = BACKUP AND state = FAILED", Order: "createTime desc",
	},
	{
		Name: "instance", Kind: "Instance", Short: "The instance itself: version, shards, slots, drain", Alone: "instances/-",
		Filter: "draining = true", Order: "name",
		Columns: []env.Column{
			env.Name("NAME", 0), env.Field("VERSION", "version"), env.Field("SINCE", "start_time"),
			env.Field("SESSIONS", "sessions"), env.Field("MOST", "max_sessions"), env.Field("DRAINING", "draining"),
			env.Field("ACCEPTED", "logins_accepted").OnlyWide(), env.Field("REFUSED", "logins_refused").OnlyWide(),
			env.Field("REENCRYPTING", "reencrypting").OnlyWide(), env.Count("SHARDS", "shards").OnlyWide(),
		},
		Related: []Related{
			{Head: "OPERATIONS THAT RUN", Noun: "operation", Parent: none, Filter: always("state = RUNNING"), Limit: 10},
		},
	},
	{
		Name: "audit", Kind: "AuditEvent", Short: "Who changed what, and who was refused", Trail: true, Limit: 100,
		Filter: `code != "OK" AND caller = "root"`, Order: "time",
		Many: "audit events, the newest first",
		Columns: []env.Column{
			env.Field("TIME", "time"), env.Name("NAME", 0), env.Name("TENANT", 1), env.Field("CALLER", "caller"), env.Field("METHOD", "method"),
			env.Field("RESOURCE", "resource"), env.Field("CODE", "code"), env.Field("REASON", "reason"),
			env.Field("ADDRESS", "address").OnlyWide(), env.Field("COUNT", "count").OnlyWide(), env.Field("CHANGED", "changed_fields").OnlyWide(),
			env.Field("DETAIL", "detail").OnlyWide(), env.Field("REQUEST", "request_id").OnlyWide(),
		},
	},
	{
		Name: "accounting-queue", Kind: "AccountingQueue", Short: "How accounting records get on", Many: "how the records get on",
		Filter: "unsent > 0", Order: "unsent desc",
		Columns: []env.Column{
			env.Part("TENANT", 1), env.Field("UNSENT", "unsent"), env.Field("OLDEST", "oldest_time"),
			env.Field("LIVE", "live_sessions"), env.Field("SENT", "sent"), env.Field("DROPPED", "dropped"),
			env.Field("FAILURES", "failures"), env.Field("LAST SENT", "last_sent_time"), env.Field("LAST ERROR", "last_error"),
			env.Field("BYTES", "unsent_bytes").OnlyWide(),
		},
	},
	{
		Name: "accounting-record", Kind: "AccountingRecord", Short: "Accounting records that wait", Limit: 1000,
		Filter: `kind = STOP AND user = "alice*"`, Order: "time desc",
		Many: "records that wait, the oldest first",
		Columns: []env.Column{
			env.Part("TENANT", 1), env.Name("RECORD", 0), env.Field("TIME", "time"), env.Field("KIND", "kind"), env.Field("USER", "user"),
			env.Field("SESSION", "session"), env.Field("ADDRESS", "address"), env.Field("IN", "in_bytes"), env.Field("OUT", "out_bytes"),
			env.Field("DURATION", "session_time"), env.Field("REASON", "reason"),
			env.Field("ATTEMPTS", "attempts"), env.Field("CRASHED", "crashed").OnlyWide(),
			env.Field("IN PACKETS", "in_packets").OnlyWide(), env.Field("OUT PACKETS", "out_packets").OnlyWide(),
		},
	},
}

func none(protoreflect.Message) string { return "" }

func allTenants(protoreflect.Message) string { return "tenants/-" }

func anyPool(m protoreflect.Message) string { return tenantOf(m) + "/pools/-" }

func itself(m protoreflect.Message) string { return text(m, "name") }

func tenantOrAll(m protoreflect.Message) string {
	if t := tenantOf(m); t != "" {
		return t
	}
	return "tenants/-"
}

func always(filter string) func(protoreflect.Message) string {
	return func(protoreflect.Message) string { return filter }
}

// same makes a filter: the related ones whose field, as JSON spells it, is this one's of that name in the proto file.
func same(theirs string, ours protoreflect.Name) func(protoreflect.Message) string {
	return func(m protoreflect.Message) string {
		v := text(m, ours)
		if v == "" {
			return ""
		}
		return theirs + " = " + strconv.Quote(v)
	}
}

// login is the login name of a user.
func login(m protoreflect.Message) string {
	name := text(m, "name")
	name = name[strings.LastIndexByte(name, '/')+1:]
	if plain, err := url.PathUnescape(name); err == nil {
		return plain
	}
	return name
}

func ofUser(m protoreflect.Message) string { return "user = " + strconv.Quote(login(m)) }

// lockedOut filters the attempts that a lockout is about.
func lockedOut(m protoreflect.Message) string {
	l, ok := m.Interface().(*pb.Lockout)
	if !ok {
		return ""
	}
	switch l.GetKind() {
	case pb.Lockout_USER:
		return "outcome = REFUSED AND user = " + strconv.Quote(l.GetSubject())
	case pb.Lockout_SOURCE:
		return "outcome = REFUSED AND clientAddress = " + strconv.Quote(l.GetSubject()+":*")
	default:
		return "outcome = REFUSED"
	}
}

// sessionLine shows a session as a line of watch.
func sessionLine(m proto.Message) string {
	s, ok := m.(*pb.Session)
	if !ok {
		return ""
	}
	text := fmt.Sprintf("%-14s %s  %s  %s", s.GetState(), s.GetName(), s.GetProtocol(), s.GetClientAddress())
	for _, f := range []struct{ key, value string }{
		{"user", s.GetUser()}, {"address", s.GetAddress()}, {"cipher", s.GetCipher()},
	} {
		if f.value != "" {
			text += "  " + f.key + "=" + f.value
		}
	}
	return text
}

func narrowLeases(flags *pflag.FlagSet) func(protoreflect.Message) error {
	user := flags.String("user", "", "only those of this user")
	state := flags.String("state", "", "only those in this state: "+words(pb.Lease_State(0)))
	return func(req protoreflect.Message) error {
		set(req, "user", *user)
		return setWord(req, "state", *state)
	}
}

func narrowLogins(flags *pflag.FlagSet) func(protoreflect.Message) error {
	user := flags.String("user", "", "only of this login name")
	peer := flags.String("peer", "", "only from this client address")
	outcome := flags.String("outcome", "", "only "+words(pb.LoginAttempt_Outcome(0)))
	return func(req protoreflect.Message) error {
		set(req, "user", *user)
		set(req, "peer", *peer)
		return setWord(req, "outcome", *outcome)
	}
}
