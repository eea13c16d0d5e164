package tenant

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestCheckACL(t *testing.T) {
	good := ACLRule{
		Action: ACLPermit, Direction: ACLUp, Protocol: "tcp",
		Sources:          []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Destinations:     []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("0.0.0.0/0")},
		DestinationPorts: []PortRange{{80, 80}, {1000, 2000}},
	}
	v6, mapped := netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::ffff:192.0.2.0/120")
	for name, c := range map[string]struct {
		change func(*ACLRule)
		path   string // of the fault; "" for none
	}{
		"right":               {func(*ACLRule) {}, ""},
		"any without ports":   {func(r *ACLRule) { r.Protocol, r.DestinationPorts = "any", nil }, ""},
		"number":              {func(r *ACLRule) { r.Protocol, r.DestinationPorts = "132", nil }, ""},
		"ports by number":     {func(r *ACLRule) { r.Protocol = "17" }, ""},
		"no action":           {func(r *ACLRule) { r.Action = "" }, "action"},
		"action in small":     {func(r *ACLRule) { r.Action = "permit" }, "action"},
		"no direction":        {func(r *ACLRule) { r.Direction = "" }, "direction"},
		"unknown protocol":    {func(r *ACLRule) { r.Protocol = "TCP" }, "protocol"},
		"too high a protocol": {func(r *ACLRule) { r.Protocol = "256" }, "protocol"},
		"signed protocol":     {func(r *ACLRule) { r.Protocol = "+6" }, "protocol"},
		"second spelling":     {func(r *ACLRule) { r.Protocol = "06" }, "protocol"},
		"ports of any":        {func(r *ACLRule) { r.Protocol = "" }, "protocol"},
		"ports of icmp":       {func(r *ACLRule) { r.Protocol = "icmp" }, "protocol"},
		"source ports of 0":   {func(r *ACLRule) { r.Protocol, r.SourcePorts = "0", []PortRange{{1, 1}} }, "protocol"},
		"no prefix":           {func(r *ACLRule) { r.Sources = append(r.Sources, netip.Prefix{}) }, "sources[1]"},
		"IPv6":                {func(r *ACLRule) { r.Destinations[1] = v6 }, "destinations[1]"},
		"mapped":              {func(r *ACLRule) { r.Destinations[1] = mapped }, "destinations[1]"},
		"bits behind":         {func(r *ACLRule) { r.Sources[0] = netip.MustParsePrefix("10.0.0.1/8") }, "sources[0]"},
		"backwards":           {func(r *ACLRule) { r.DestinationPorts[1] = PortRange{3, 2} }, "destinationPorts[1]"},
		"backwards source":    {func(r *ACLRule) { r.SourcePorts = []PortRange{{3, 2}} }, "sourcePorts[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			r.Sources, r.Destinations = slices.Clone(r.Sources), slices.Clone(r.Destinations)
			r.DestinationPorts = slices.Clone(r.DestinationPorts)
			c.change(&r)
			err := CheckACL([]ACLRule{good, r})
			var bad *ACLError
			switch {
			case c.path == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.path != "" && (!errors.As(err, &bad) || bad.Path() != "rules[1]."+c.path):
				t.Errorf("got %v, want a fault of rules[1].%s", err, c.path)
			case c.path != "" && !strings.HasPrefix(err.Error(), bad.Path()+": "):
				t.Errorf("%q does not begin with its path", err)
			}
		})
	}
}

func TestACLBounds(t *testing.T) {
	one := ACLRule{Action: ACLDeny, Direction: ACLBoth, Protocol: "udp"}
	full := make([]ACLRule, MaxACLRules)
	for i := range full {
		full[i] = one
		full[i].SourcePorts = make([]PortRange, MaxACLTerms/MaxACLRules)
	}
	if err := CheckACL(full); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	if err := CheckACL(nil); err != nil {
		t.Errorf("none: %v", err)
	}
	for name, rules := range map[string][]ACLRule{
		"rules": append(full[:len(full):len(full)], one),
		"terms": append([]ACLRule{{
			Action: ACLDeny, Direction: ACLUp, Protocol: "udp",
			SourcePorts: make([]PortRange, MaxACLTerms/MaxACLRules+1),
		}}, full[1:]...),
	} {
		var bad *ACLError
		if err := CheckACL(rules); !errors.As(err, &bad) || bad.Path() != "rules" {
			t.Errorf("one too many of the %s: %v", name, err)
		}
	}
}

func TestPortRange(t *testing.T) {
	for text, want := range map[string]PortRange{
		"80": {80, 80}, "0": {0, 0}, "65535": {65535, 65535}, "1000-2000": {1000, 2000}, "0-65535": {0, 65535},
	} {
		got, err := ParsePortRange(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParsePortRange(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-", "80-", "-80", "65536", "1-65536", "2-1", "http", "+1", " 1", "1-2-3", "1 - 2"} {
		if got, err := ParsePortRange(text); err == nil {
			t.Errorf("ParsePortRange(%q) = %v, want an error", text, got)
		}
	}
	if got, err := ParsePortRange("7-7"); err != nil || got.String() != "7" {
		t.Errorf("7-7 is %v, %v", got, err)
	}
}

// TestACLRuleJSON: the form in which rules are stored.
func TestACLRuleJSON(t *testing.T) {
	const want = `{"action":"DENY","direction":"DOWN","protocol":"udp","sources":["192.0.2.0/24"],` +
		`"sourcePorts":["53","1000-2000"]}`
	r := ACLRule{
		Action: ACLDeny, Direction: ACLDown, Protocol: "udp", Sources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		SourcePorts: []PortRange{{53, 53}, {1000, 2000}},
	}
	j, err := json.Marshal(r)
	if err != nil || string(j) != want {
		t.Errorf("%s, %v", j, err)
	}
	var back ACLRule
	if err := json.Unmarshal(j, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("read back: %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"sourcePorts":["2-1"]}`), &back); err == nil {
		t.Error("a range that ends before it begins is read")
	}
}
