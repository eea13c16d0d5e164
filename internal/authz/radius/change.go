package radius

import (
	"errors"
	"fmt"
	"slices"

	"layeh.com/radius"

	"concentrator/internal/authz"
)

// Values of Error-Cause, RFC 5176 section 3.5, as BadAttribute has them.
const (
	CauseUnsupportedAttribute uint32 = 401
	CauseInvalidRequest       uint32 = 404 // malformed, or more than one of what may come once
	CauseInvalidValue         uint32 = 407
)

// BadAttribute is the error of ParseChange: one attribute for which the request as a whole is refused.
type BadAttribute struct {
	Cause  uint32 // Error-Cause
	Name   string // "Filter-Id"; "attribute 92" or "vendor 9 attribute 26" where the table knows none
	Detail string // for operators; no secrets
}

// Error implements error.
func (b *BadAttribute) Error() string { return b.Name + ": " + b.Detail }

// ParseChange reads the attributes of a genuine CoA-Request or Disconnect-Request (RFC 5176 section 3.6): which session it
// means, and what it changes of it. In a Disconnect-Request a change can only be one of Class, for the Stop.
//
// Attributes that are not about sessions (Message-Authenticator, Event-Timestamp, Proxy-State, State, NAS-Identifier and
// the NAS addresses) are known and passed over, as are Reply-Message, NAS-Port-Type, Acct-Terminate-Cause and attributes
// without a value. Whatever is not in the table is Unsupported-Attribute. That an ACL or a session exists is the caller's to
// check. The results share nothing with attrs.
func ParseChange(code radius.Code, attrs radius.Attributes) (authz.Match, authz.Change, *BadAttribute) {
	in := inCoA
	if code == radius.CodeDisconnectRequest {
		in = inDisconnect
	}
	p := ordering{in: in, seen: make(map[number]bool)}
	for _, avp := range attrs {
		if avp.Type == typeVendorSpecific {
			if len(avp.Attribute) == 0 {
				continue
			}
			if bad := checkVendorSpecific(avp.Attribute); bad != nil {
				return authz.Match{}, authz.Change{}, bad
			}
		}
		open(avp.Type, avp.Attribute, p.take)
		if p.bad != nil {
			return authz.Match{}, authz.Change{}, p.bad
		}
	}
	p.change.UpBps, p.change.DownBps = p.limits.settle()
	return p.match, p.change, nil
}

// ordering gathers the attributes of one CoA- or Disconnect-Request.
type ordering struct {
	answer
	in     packets
	seen   map[number]bool
	match  authz.Match
	change authz.Change
	bad    *BadAttribute
}

// take takes over one attribute and says whether the next may follow.
func (p *ordering) take(n number, v radius.Attribute) bool {
	p.bad = p.check(n, v)
	return p.bad == nil
}

func (p *ordering) check(n number, v radius.Attribute) *BadAttribute {
	row := byNumber[n]
	if row == nil || row.in&p.in == 0 {
		return &BadAttribute{CauseUnsupportedAttribute, nameOf(n), "is not supported here"}
	}
	if len(v) == 0 {
		return nil
	}
	if p.seen[n] && !row.many {
		return &BadAttribute{CauseInvalidRequest, row.name, "comes more than once"}
	}
	p.seen[n] = true
	var err error
	switch {
	case row.match != nil:
		err = row.match(&p.match, v)
	case row.set != nil:
		err = row.set(&p.answer, v)
	}
	switch {
	case errors.Is(err, errLength):
		return &BadAttribute{CauseInvalidRequest, row.name, err.Error()}
	case err != nil:
		return &BadAttribute{CauseInvalidValue, row.name, err.Error()}
	case p.ignored != "":
		return &BadAttribute{CauseInvalidValue, row.name, clip(p.ignored, maxDetail)}
	}
	if row.change != nil {
		row.change(&p.change, &p.answer)
	}
	return nil
}

// checkVendorSpecific says whether a Vendor-Specific attribute of a vendor that is understood is of the form of RFC 2865
// section 5.26.
func checkVendorSpecific(v radius.Attribute) *BadAttribute {
	malformed := &BadAttribute{CauseInvalidRequest, "Vendor-Specific", "is malformed"}
	vendor, rest, err := radius.VendorSpecific(v)
	if err != nil {
		return malformed
	}
	if !slices.Contains(understood, vendor) {
		return nil
	}
	for len(rest) > 0 {
		if len(rest) < vsaHeader || int(rest[1]) < vsaHeader || int(rest[1]) > len(rest) {
			return malformed
		}
		rest = rest[rest[1]:]
	}
	return nil
}

// nameOf names an attribute, in the table or not.
func nameOf(n number) string {
	switch row := byNumber[n]; {
	case row != nil:
		return row.name
	case n.vendor != 0:
		return fmt.Sprintf("vendor %d attribute %d", n.vendor, n.typ)
	default:
		return fmt.Sprintf("attribute %d", n.typ)
	}
}
