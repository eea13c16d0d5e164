package query

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/corpus"
)

// filterSession and the others are what the tables below ask about.
var (
	filterSession = &concentratorv1.Session{
		Name:          "tenants/acme/sessions/s1",
		User:          `al"ice*x`,
		State:         concentratorv1.Session_OPEN,
		ClientAddress: "192.0.2.1:1701",
		NatDetected:   true,
		StartTime:     timestamppb.New(time.Date(2030, 1, 31, 12, 0, 0, 500, time.UTC)),
		IdleTime:      durationpb.New(1500 * time.Millisecond),
		InBytes:       1<<53 + 1,
		Drops:         map[string]int64{"REPLAY": 3, "a.b": 1},
	}
	filterUser = &concentratorv1.User{
		Name:         "tenants/acme/users/alice",
		FramedRoutes: []string{"10.1.0.0/16", "10.2.0.0/16"},
	}
	filterTenant = &concentratorv1.Tenant{
		Limits: &concentratorv1.Tenant_Limits{MaxSessions: 5},
		Ipsec: &concentratorv1.Tenant_Ipsec{
			Psks: []*concentratorv1.Tenant_Ipsec_Psk{{Id: "old"}, {Id: "new"}},
		},
	}
	filterListener = &concentratorv1.Listener{
		Protocols:       []concentratorv1.Listener_Protocol{concentratorv1.Listener_PPTP},
		MaxPptpSessions: proto.Int32(0),
	}
)

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		about proto.Message
		text  string
		want  bool
	}{
		{filterSession, `state = OPEN`, true},
		{filterSession, `state=OPEN`, true},
		{filterSession, `state != OPEN`, false},
		{filterSession, `state = CLOSING OR state = OPEN`, true},
		{filterSession, `name = "tenants/acme/*"`, true},
		{filterSession, `name = tenants/acme/sessions/s1`, true},
		{filterSession, `name = tenants/*/s1`, true},
		{filterSession, `name = "tenants/acme"`, false},
		{filterSession, `name = "*acme*s1*"`, true},
		{filterSession, `name = "*s1*acme*"`, false},
		{filterSession, `name != "*acme*"`, false},
		{filterSession, `name > "tenants/a"`, true},
		{filterSession, `user = "al\"ice\*x"`, true},
		{filterSession, `user = "al\"ice\*y"`, false},
		{filterSession, `user = 'al"ice*'`, true},
		{filterSession, `clientAddress = 192.0.2.1:*`, true},
		{filterSession, `client_address = "192.0.2.1:1701"`, true},
		{filterSession, `natDetected = true`, true},
		{filterSession, `natDetected != true`, false},
		{filterSession, `natDetected = false`, false},
		{filterSession, `startTime > 2030-01-31T12:00:00Z`, true},
		{filterSession, `startTime < "2030-01-31T13:00:00.5+01:00"`, true},
		{filterSession, `startTime > "2030-01-31T13:00:00.5+01:00"`, false},
		{filterSession, `idleTime >= 1.5s`, true},
		{filterSession, `idleTime > 1.5s`, false},
		{filterSession, `idleTime < 1.500000001s`, true},
		{filterSession, `inBytes > 9007199254740992`, true}, // 2^53: a float64 would not see it
		{filterSession, `inBytes = 9007199254740993`, true},
		{filterSession, `inBytes > 1e6`, true},
		{filterSession, `outBytes = 0`, true},
		{filterSession, `drops:REPLAY`, true},
		{filterSession, `drops:"a.*"`, true},
		{filterSession, `drops:NONE`, false},
		{filterSession, `drops.REPLAY > 2`, true},
		{filterSession, `drops."a.b" = 1`, true},
		{filterSession, `drops.NONE = 0`, false},
		{filterSession, `drops.NONE != 1`, false},
		{filterSession, `drops.REPLAY:*`, true},
		{filterSession, `drops:*`, true},
		{filterSession, `user:*`, true},
		{filterSession, `profile:*`, false},
		{filterSession, `startTime:*`, true},

		{filterUser, `framedRoutes:10.1.0.0/16`, true},
		{filterUser, `framedRoutes:10.1*`, true},
		{filterUser, `framedRoutes:10.3*`, false},
		{filterUser, `framedRoutes:*`, true},
		{filterUser, `NOT framedRoutes:*`, false},
		{filterUser, `-framedRoutes:10.3*`, true},
		{filterUser, `expireTime < 2030-01-31T12:00:00Z`, false}, // unset
		{filterUser, `expireTime != 2030-01-31T12:00:00Z`, false},
		{filterUser, `NOT expireTime:*`, true},

		{filterTenant, `limits.maxSessions = 5`, true},
		{filterTenant, `limits.max_sessions > 5`, false},
		{filterTenant, `limits:*`, true},
		{filterTenant, `network:*`, false},
		{filterTenant, `network.mtu = 0`, false}, // no network at all
		{filterTenant, `NOT network.mtu = 0`, true},
		{filterTenant, `ipsec.psks.id:new`, true},
		{filterTenant, `ipsec.psks.id:other`, false},
		{filterTenant, `ipsec.psks:*`, true},

		{filterListener, `protocols:PPTP`, true},
		{filterListener, `protocols:L2TP`, false},
		{filterListener, `maxPptpSessions = 0`, true},
		{filterListener, `maxL2tpSessions = 0`, false}, // unset, which is not 0
		{filterListener, `maxPptpSessions:*`, true},

		// google.aip.dev/160: OR before AND, and what stands side by side must all hold.
		{filterSession, `state = CLOSING AND natDetected = true OR state = OPEN`, false},
		{filterSession, `(state = CLOSING AND natDetected = true) OR state = OPEN`, true},
		{filterSession, `state = OPEN natDetected = true`, true},
		{filterSession, `state = OPEN natDetected = false`, false},
		{filterSession, `state = OPEN natDetected = false OR natDetected = true`, true},
		{filterSession, `NOT state = CLOSING AND NOT (natDetected = false OR user = x)`, true},
		{filterSession, `NOT NOT state = OPEN`, true},
		{filterSession, "\tstate = OPEN\n", true},
		{filterSession, `(state=OPEN)AND(natDetected=true)`, true},
	} {
		f, err := ParseFilter(tt.about.ProtoReflect().Descriptor(), tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := f.Matches(tt.about); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.text, got, tt.want)
		}
	}
	f, err := ParseFilter(filterUser.ProtoReflect().Descriptor(), "")
	if f != nil || err != nil || !f.Matches(filterUser) {
		t.Errorf("no filter: got %v, %v", f, err)
	}
}

func TestFilterErrors(t *testing.T) {
	deep := strings.Repeat("(", maxFilterDepth+1) + "user=x" + strings.Repeat(")", maxFilterDepth+1)
	for _, tt := range []struct {
		about proto.Message
		text  string
		want  string // of the violation's description
	}{
		{filterSession, `usr = x`, `character 1: no field "usr"; there are name, user, protocol`},
		{filterSession, `state = OPEN AND usr = x`, `character 18: no field "usr"`},
		{filterSession, `user = "ä" AND usr = x`, `character 16: no field "usr"`},
		{filterSession, `state = OPENED`, `character 9: "OPENED" is none of ESTABLISHING, AUTHENTICATING, OPEN, CLOSING`},
		{filterSession, `state > OPEN`, `has no order`},
		{filterSession, `natDetected = yes`, `neither true nor false`},
		{filterSession, `inBytes > many`, `"many" is not a number`},
		{filterSession, `inBytes > NaN`, `is not a number`},
		{filterSession, `idleTime > 500ms`, `"500ms" is not in seconds; write 0.5s`},
		{filterSession, `idleTime > 1m`, `write 60s`},
		{filterSession, `idleTime > 20`, `"20" is not a duration in seconds such as 20s`},
		{filterSession, `startTime > yesterday`, `not a time such as 2030-01-31T00:00:00Z`},
		{filterSession, `drops = 5`, `drops:KEY asks whether the key is in it`},
		{filterSession, `drops.a.b = 5`, `quotation marks`},
		{filterSession, `user.name = x`, `user has no fields of its own`},
		{filterSession, `startTime.seconds > 5`, `startTime has no fields of its own`},
		{filterSession, `user > "a*"`, `takes no wildcards`},
		{filterSession, `alice`, `character 6: one of = != < <= > >= : must come here, behind the field, not the end`},
		{filterSession, `"alice"`, `the name of a field must come here, not "\"alice\""`},
		{filterSession, `user =`, `a value must come here, not the end`},
		{filterSession, `user = "alice`, `character 8: the quotation mark has no other one`},
		{filterSession, `user == alice`, `a value must come here, not "="`},
		{filterSession, `(user = a`, `character 1: the parenthesis is not closed`},
		{filterSession, `user = a)`, `character 9: AND, OR or the end must come here, not ")"`},
		{filterSession, `user = a AND`, `the name of a field must come here, not the end`},
		{filterSession, `OR user = a`, `one of = != < <= > >= : must come here`},
		{filterSession, `user = a,b`, `the name of a field must come here, not ",b"`},
		{filterSession, `regex(user, "x")`, `there are no functions`},
		{filterSession, `.user = x`, `the name of a field must come here`},
		{filterSession, `drops. = 1`, `the name of a field must come here`},
		{filterSession, deep, `more than 16 levels`},
		{filterSession, strings.Repeat("NOT ", maxFilterDepth+1) + "user=x", `more than 16 levels`},
		{filterSession, strings.Repeat("user=x ", maxFilterTerms+1), `more than 64 comparisons`},
		{filterSession, strings.Repeat("x", maxFilter+1), `has 2049 octets, at most 2048`},
		{filterSession, "   ", `the name of a field must come here, not the end`},
		{filterUser, `password = x`, `password is never shown`},
		{filterUser, `framedRoutes = 10.1.0.0/16`, `framedRoutes is a list; framedRoutes:VALUE asks`},
		{filterTenant, `limits = 5`, `limits is compared by its fields maxSessions`},
		{filterTenant, `limits:5`, `limits:* asks whether there is one`},
		{filterTenant, `limits.nothing = 5`, `no field "nothing"; there are maxSessions`},
		{filterTenant, `ipsec.psks.secret:x`, `secret is never shown`},
		{filterTenant, `ipsec.psks.id = x`, `psks is a list; ipsec.psks.id:VALUE`},
		{filterTenant, `ipsec.psks:x`, `the elements of psks are compared by their fields id`},
		{&concentratorv1.AuditEvent{}, `before.x = 1`, `before:* asks whether there is one`},
	} {
		_, err := ParseFilter(tt.about.ProtoReflect().Descriptor(), tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	corpus.Add(f)
	for _, s := range []string{
		`state = OPEN AND user = "al*"`, `NOT (a:* OR -b.c="\"" d<=5s)`, `drops."x".y:1`, "((((", `user='`, "- - -", "\xff=\xfe",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, about := range []proto.Message{filterSession, filterTenant} {
			md := about.ProtoReflect().Descriptor()
			c, err := ParseFilter(md, text)
			if err != nil || strings.TrimSpace(text) == "" {
				continue
			}
			yes := c.Matches(about)
			// Around it more may be too much for the bounds.
			if not, err := ParseFilter(md, "NOT ("+text+")"); err == nil && not.Matches(about) == yes {
				t.Errorf("%q and its opposite are both %v", text, yes)
			}
			if same, err := ParseFilter(md, "("+text+") AND ("+text+")"); err == nil && same.Matches(about) != yes {
				t.Errorf("%q is %v, twice it is not", text, yes)
			}
		}
	})
}
