package tenant

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ACLAction is what becomes of a packet that a rule matches.
type ACLAction string

// The actions.
const (
	ACLPermit ACLAction = "PERMIT"
	ACLDeny   ACLAction = "DENY"
)

// ACLDirection says which packets of a session a rule is for.
type ACLDirection string

// The directions.
const (
	ACLUp   ACLDirection = "UP"   // from the client
	ACLDown ACLDirection = "DOWN" // to the client
	ACLBoth ACLDirection = "BOTH"
)

// Bounds of one ACL.
const (
	MaxACLRules = 1000
	// MaxACLTerms is how many prefixes and port ranges all rules of an ACL may hold together.
	MaxACLTerms = 10_000
)

// ACLRule is one rule of an access list. It matches an inner IPv4 packet that agrees with all its fields; of a list, any
// entry will do, and an empty list agrees with everything. The first rule that matches decides. In a direction for which
// a list has no rule at all everything passes; in the others, what no rule matches is denied.
type ACLRule struct {
	Action    ACLAction    `json:"action"`
	Direction ACLDirection `json:"direction"`
	// Protocol is "any" (also ""), "tcp", "udp", "icmp", "gre", "esp" or a number of the IPv4 header's field, 0 to 255.
	Protocol     string         `json:"protocol,omitempty"`
	Sources      []netip.Prefix `json:"sources,omitempty"`
	Destinations []netip.Prefix `json:"destinations,omitempty"`
	// Ports are for TCP and UDP only. A rule that has some matches no fragment but a datagram's first, which alone holds
	// them.
	SourcePorts      []PortRange `json:"sourcePorts,omitempty"`
	DestinationPorts []PortRange `json:"destinationPorts,omitempty"`
}

// HasPorts says whether the rule looks at ports.
func (r *ACLRule) HasPorts() bool { return len(r.SourcePorts) > 0 || len(r.DestinationPorts) > 0 }

// aclProtocols are the protocols with a name, by their IANA numbers.
var aclProtocols = map[string]uint8{"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50}

// ParseACLProtocol reads a rule's Protocol; any says that every protocol is meant.
func ParseACLProtocol(text string) (number uint8, any bool, err error) {
	if text == "" || text == "any" {
		return 0, true, nil
	}
	if n, ok := aclProtocols[text]; ok {
		return n, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, false, fmt.Errorf("%q is none of any, tcp, udp, icmp, gre, esp and the numbers 0 to 255", text)
	}
	return uint8(n), false, nil
}

// PortRange is the TCP or UDP ports from First to Last, both included. As text it is "80" or "1000-2000".
type PortRange struct {
	First, Last uint16
}

// ParsePortRange reads "80" or "1000-2000".
func ParsePortRange(text string) (PortRange, error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	first, err := parsePort(from)
	if err != nil {
		return PortRange{}, fmt.Errorf("%q is not a port or a range of ports such as 80 or 1000-2000", text)
	}
	last, err := parsePort(to)
	if err != nil {
		return PortRange{}, fmt.Errorf("%q is not a port or a range of ports such as 80 or 1000-2000", text)
	}
	if first > last {
		return PortRange{}, fmt.Errorf("%q ends before it begins", text)
	}
	return PortRange{First: first, Last: last}, nil
}

// parsePort reads digits only: no sign, no space.
func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err
}

// String is what ParsePortRange reads.
func (p PortRange) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// MarshalText implements encoding.TextMarshaler.
func (p PortRange) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PortRange) UnmarshalText(text []byte) error {
	r, err := ParsePortRange(string(text))
	if err != nil {
		return err
	}
	*p = r
	return nil
}

// ACLError is what CheckACL finds wrong.
type ACLError struct {
	Rule   int    // index; -1: the list as a whole
	Field  string // of the rule, spelled as in JSON, with an index in a list: "sources[2]"; "" for the list as a whole
	Detail string // what is wrong and what would be right
}

// Error implements error, with the field's path first.
func (e *ACLError) Error() string { return e.Path() + ": " + e.Detail }

// Path is where the fault is: "rules" or "rules[3].sources[2]".
func (e *ACLError) Path() string {
	if e.Rule < 0 {
		return "rules"
	}
	return fmt.Sprintf("rules[%d].%s", e.Rule, e.Field)
}

// CheckACL says whether the rules can be used; if not, its error is an *ACLError about the first fault. An ACL without rules
// is right, and permits everything.
func CheckACL(rules []ACLRule) error {
	if len(rules) > MaxACLRules {
		return &ACLError{-1, "", fmt.Sprintf("%d rules are too many, at most %d are possible", len(rules), MaxACLRules)}
	}
	terms := 0
	for i := range rules {
		if field, detail := rules[i].check(); detail != "" {
			return &ACLError{i, field, detail}
		}
		r := &rules[i]
		terms += len(r.Sources) + len(r.Destinations) + len(r.SourcePorts) + len(r.DestinationPorts)
	}
	if terms > MaxACLTerms {
		return &ACLError{-1, "", fmt.Sprintf(
			"%d prefixes and port ranges are too many, at most %d are possible", terms, MaxACLTerms)}
	}
	return nil
}

// check returns the first field that is wrong and why; no detail: none is.
func (r *ACLRule) check() (field, detail string) {
	switch r.Action {
	case ACLPermit, ACLDeny:
	default:
		return "action", fmt.Sprintf("%q is neither %s nor %s", r.Action, ACLPermit, ACLDeny)
	}
	switch r.Direction {
	case ACLUp, ACLDown, ACLBoth:
	default:
		return "direction", fmt.Sprintf("%q is none of %s, %s and %s", r.Direction, ACLUp, ACLDown, ACLBoth)
	}
	protocol, any, err := ParseACLProtocol(r.Protocol)
	if err != nil {
		return "protocol", err.Error()
	}
	portsFit := !any && (protocol == aclProtocols["tcp"] || protocol == aclProtocols["udp"])
	if r.HasPorts() && !portsFit {
		return "protocol", "only tcp and udp have ports: write one rule for each"
	}
	if field, detail := checkPrefixes("sources", r.Sources); detail != "" {
		return field, detail
	}
	if field, detail := checkPrefixes("destinations", r.Destinations); detail != "" {
		return field, detail
	}
	if field, detail := checkPorts("sourcePorts", r.SourcePorts); detail != "" {
		return field, detail
	}
	return checkPorts("destinationPorts", r.DestinationPorts)
}

func checkPrefixes(field string, prefixes []netip.Prefix) (where, detail string) {
	for i, p := range prefixes {
		where = fmt.Sprintf("%s[%d]", field, i)
		switch {
		case !p.IsValid():
			return where, "is not a prefix such as 192.0.2.0/24"
		case !p.Addr().Is4():
			return where, fmt.Sprintf("%s is not IPv4, and no other packets pass", p)
		case p != p.Masked():
			return where, fmt.Sprintf("%q has bits set behind its prefix, write %s", p, p.Masked())
		}
	}
	return "", ""
}

func checkPorts(field string, ports []PortRange) (where, detail string) {
	for i, p := range ports {
		if p.First > p.Last {
			return fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%q ends before it begins", p)
		}
	}
	return "", ""
}
