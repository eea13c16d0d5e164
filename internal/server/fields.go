package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"concentrator/internal/store"
)

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// at makes the path of a list's element.
func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

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
func (f *fieldErrors) hosts(path string, list []string) []netip.Addr {
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
func word[E enum](e E) string {
	if e == 0 {
		return ""
	}
	if v := e.Descriptor().Values().ByNumber(protoreflect.EnumNumber(e)); v != nil {
		return string(v.Name())
	}
	return "" // the rules of the proto files let none through that is not defined
}

// optionalInt is for a number whose 0 says something else than that it is unset.
func optionalInt(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
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
