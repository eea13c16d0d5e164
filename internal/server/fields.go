package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// maxText is the longest display name, in characters.
const maxText = 200

// maxSecret is the longest password, key or shared secret, in octets.
const maxSecret = 256

// maxList is the longest list of names, addresses or routes in one resource.
const maxList = 1000

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// at makes the path of a list's element.
func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// short checks the length of a list and says whether to go on with it.
func (f *fieldErrors) short(path string, n, most int) bool {
	if n > most {
		f.add(path, "has %d entries, at most %d are allowed", n, most)
	}
	return n <= most
}

// text checks a text for people.
func (f *fieldErrors) text(path, s string) string {
	switch {
	case utf8.RuneCountInString(s) > maxText:
		f.add(path, "has %d characters, at most %d are allowed", utf8.RuneCountInString(s), maxText)
	case strings.ContainsFunc(s, unicode.IsControl):
		f.add(path, "may not hold control characters")
	}
	return s
}

// secret checks the length of a secret. The value itself never goes into an error.
func (f *fieldErrors) secret(path, s string) tenant.Secret {
	if len(s) == 0 || len(s) > maxSecret {
		f.add(path, "has %d octets, must have 1 to %d", len(s), maxSecret)
	}
	return tenant.Secret(s)
}

// number checks a number that is unset when 0.
func (f *fieldErrors) number(path string, n int32, least, most int) int {
	if n != 0 && (int(n) < least || int(n) > most) {
		f.add(path, "is %d, must be %d to %d", n, least, most)
	}
	return int(n)
}

// rate checks a rate in bits a second that is unset when 0.
func (f *fieldErrors) rate(path string, bps int64) uint64 {
	if bps != 0 && (bps < int64(tenant.MinRateBps) || bps > int64(tenant.MaxRateBps)) {
		f.add(path, "is %d bits a second, must be %d to %d, or 0 for no limit", bps, tenant.MinRateBps, tenant.MaxRateBps)
		return 0
	}
	return uint64(bps)
}

// count checks a number of things.
func (f *fieldErrors) count(path string, n int32) int {
	if n < 0 {
		f.add(path, "is %d, must not be negative", n)
	}
	return int(n)
}

// optionalCount is count for a number whose 0 says something else than that it is unset.
func (f *fieldErrors) optionalCount(path string, n *int32) *int {
	if n == nil {
		return nil
	}
	c := f.count(path, *n)
	return &c
}

// duration checks a duration that is unset when 0.
func (f *fieldErrors) duration(path string, d *durationpb.Duration, least, most time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	v := d.AsDuration()
	switch {
	case d.CheckValid() != nil:
		f.add(path, "is no duration, write it as in %q", seconds(least))
	case v != 0 && (v < least || v > most):
		f.add(path, "is %s, must be %s to %s", seconds(v), seconds(least), seconds(most))
	}
	return v
}

// seconds spells a duration as the API does.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// time checks a point in time.
func (f *fieldErrors) time(path string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if t.CheckValid() != nil {
		f.add(path, "is no time, write it as in %q", "2030-01-31T00:00:00Z")
	}
	return t.AsTime()
}

// ipv4 checks an IPv4 address; "" is unset.
func (f *fieldErrors) ipv4(path, s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		f.add(path, "%q is not an IPv4 address", s)
		return netip.Addr{}
	}
	return a
}

// host checks an IPv4 address that a single host can have; "" is unset.
func (f *fieldErrors) host(path, s string) netip.Addr {
	a := f.ipv4(path, s)
	if a.IsValid() && !isHost(a) {
		f.add(path, "%s is not an address that a host can have", a)
	}
	return a
}

// isHost leaves out 0.0.0.0/8, loopback, multicast and 240.0.0.0/4.
func isHost(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}

// hosts checks a list of addresses.
func (f *fieldErrors) hosts(path string, list []string, most int) []netip.Addr {
	if !f.short(path, len(list), most) {
		return nil
	}
	var all []netip.Addr
	for i, s := range list {
		if s == "" {
			f.add(at(path, i), "is empty, must be an IPv4 address")
			continue
		}
		all = append(all, f.host(at(path, i), s))
	}
	return all
}

// prefixes checks a list of networks, each only once. Bits behind the prefix length are refused rather than dropped.
func (f *fieldErrors) prefixes(path string, list []string) []netip.Prefix {
	if !f.short(path, len(list), maxList) {
		return nil
	}
	var all []netip.Prefix
	seen := map[netip.Prefix]int{}
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || !p.Addr().Is4():
			f.add(at(path, i), "%q is not an IPv4 network such as 192.0.2.0/24", s)
			continue
		case p != p.Masked():
			f.add(at(path, i), "%q has bits set behind its prefix, write %s", s, p.Masked())
			continue
		}
		if j, twice := seen[p]; twice {
			f.add(at(path, i), "%s stands at %s already", p, at(path, j))
		}
		seen[p] = i
		all = append(all, p)
	}
	return all
}

// namespace checks the name of a network namespace below /run/netns; "" is unset.
func (f *fieldErrors) namespace(path, s string) string {
	if s != "" && (len(s) > 64 || s == "." || s == ".." || strings.ContainsFunc(s, notInName)) {
		f.add(path, "%q is not the name of a namespace: 1 to 64 of letters, digits, '.', '_' and '-'", s)
	}
	return s
}

// maxDevice is IFNAMSIZ less its closing zero.
const maxDevice = 15

// device checks the name of a network device; "" is unset.
func (f *fieldErrors) device(path, s string) string {
	if s != "" && (len(s) > maxDevice || s == "." || s == ".." || s == "lo" || strings.ContainsFunc(s, notInName)) {
		f.add(path, "%q can't name a device: 1 to %d of letters, digits, '.', '_' and '-', and not lo", s, maxDevice)
	}
	return s
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
}

// reference checks the form of a reference to a resource of kind k under the tenant of the resource called name, or
// anywhere if name is "". An empty reference is unset.
func (f *fieldErrors) reference(path, ref string, k store.Kind) string {
	if ref == "" {
		return ""
	}
	if err := store.CheckName(k, ref); err != nil {
		collection, inTenant := store.CollectionOf(k)
		form := collection + "/{id}"
		if inTenant {
			form = "tenants/{tenant}/" + form
		}
		f.add(path, "%q is not the full name of a %s: %s", ref, k, form)
	}
	return ref
}

// enum is a generated enum type.
type enum interface {
	~int32
	protoreflect.Enum
}

// word turns an enum's value into the word that the rest of the program uses; unset is "".
func word[E enum](f *fieldErrors, path string, e E) string {
	if e == 0 {
		return ""
	}
	values := e.Descriptor().Values()
	v := values.ByNumber(protoreflect.EnumNumber(e))
	if v == nil {
		f.add(path, "%d is none of %s", e, words(values))
		return ""
	}
	return string(v.Name())
}

// words lists the values of an enum but the unset one.
func words(values protoreflect.EnumValueDescriptors) string {
	var names []string
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return strings.Join(names, ", ")
}

// number makes the enum value of a word; a word that the enum does not know is unset.
func toEnum[E enum, S ~string](w S) E {
	var e E
	if v := e.Descriptor().Values().ByName(protoreflect.Name(w)); v != nil {
		return E(v.Number())
	}
	return 0
}

// toDuration makes the message of a duration; 0 is unset.
func toDuration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// texts spells a list of addresses or networks.
func texts[S fmt.Stringer](list []S) []string {
	var all []string
	for _, s := range list {
		all = append(all, s.String())
	}
	return all
}

// textOf spells an address; "" for the zero one.
func textOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// textOfPort spells an address and port, without a port that is 0; "" for the zero one.
func textOfPort(a netip.AddrPort) string {
	if a.Port() == 0 {
		return textOf(a.Addr())
	}
	return a.String()
}
