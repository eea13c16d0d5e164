package resource

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/pflag"

	"concentrator/cmd/ctl/env"
)

// variable says whether a segment of a pattern is one, and its name.
func variable(segment string) (name string, ok bool) {
	if !strings.HasPrefix(segment, "{") {
		return "", false
	}
	return strings.Trim(segment, "{}"), true
}

// matches says whether a name has the shape of a pattern; the server checks the rest.
func matches(pattern, name string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if _, ok := variable(want[i]); have[i] == "" || !ok && want[i] != have[i] {
			return false
		}
	}
	return true
}

// pattern is the one that names are completed by: with a tenant if one is named.
func (n *Noun) pattern(e *env.Env) string {
	patterns := apiOf(n.Kind).patterns
	for _, p := range patterns {
		if strings.HasPrefix(p, "tenants/{tenant}/") == (e.Tenant() != "") {
			return p
		}
	}
	return patterns[0]
}

// between are the variables of a pattern that neither --tenant nor the argument gives, as pool of a lease's.
func between(pattern string) []string {
	var names []string
	segments := strings.Split(pattern, "/")
	for _, s := range segments[:len(segments)-1] {
		if v, ok := variable(s); ok && v != "tenant" {
			names = append(names, v)
		}
	}
	return names
}

// addBetween adds a flag for each of them.
func (n *Noun) addBetween(flags *pflag.FlagSet, usage string) {
	for _, v := range between(apiOf(n.Kind).patterns[0]) {
		flags.String(v, "", usage+" of this "+v)
	}
}

// FullName makes the resource name of an argument: a full name, or its last part with --tenant and the flags that stand
// between. flags may be nil where there are none such.
func (n *Noun) FullName(e *env.Env, flags *pflag.FlagSet, arg string) (string, error) {
	for _, p := range apiOf(n.Kind).patterns {
		if matches(p, arg) {
			return arg, nil
		}
	}
	pattern := n.pattern(e)
	if n.Kind == userKind {
		arg = url.PathEscape(arg) // a short name is the login as it is typed
	}
	name, missing := n.fill(e, flags, pattern, arg, "")
	switch {
	case arg == "":
		return "", fmt.Errorf("%w: an empty name", env.ErrUsage)
	case len(missing) > 0:
		return "", fmt.Errorf("%w: name the %s in full, %s, or give %s", env.ErrUsage, n.Name, pattern,
			strings.Join(missing, " and "))
	case !matches(pattern, name):
		return "", fmt.Errorf("%w: %q is no name of %s: those are like %s", env.ErrUsage, arg, n.one(), pattern)
	}
	return name, nil
}

// fill puts values in the place of a pattern's variables: last for the last one, rest for what no flag gives. missing are
// the flags that would be needed for what has neither.
func (n *Noun) fill(e *env.Env, flags *pflag.FlagSet, pattern, last, rest string) (name string, missing []string) {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		v, ok := variable(s)
		if !ok {
			continue
		}
		value := last
		if i < len(segments)-1 {
			value = strings.TrimPrefix(e.Tenant(), "tenants/")
			if v != "tenant" {
				value = given(flags, v)
				// A full name says all that stands before it too.
				if parts := strings.Split(value, "/"); len(parts) == i+1 {
					copy(segments, parts)
					continue
				}
			}
			if value == "" {
				value = rest
			}
		}
		if segments[i] = value; value == "" {
			missing = append(missing, "--"+v)
		}
	}
	// What a full name said in between need not be said by a flag.
	if !strings.Contains(strings.Join(segments, "/"), "//") && segments[len(segments)-1] != "" {
		missing = nil
	}
	return strings.Join(segments, "/"), missing
}

// given is the value of a flag; "" if there is none such.
func given(flags *pflag.FlagSet, name string) string {
	if flags == nil {
		return ""
	}
	value, err := flags.GetString(name)
	if err != nil {
		return ""
	}
	return value
}

// parents are below what is listed: one parent, or none and all tenants where the API keeps these apart. A list of one that
// takes no parent has the one "".
func (n *Noun) parents(e *env.Env, flags *pflag.FlagSet) ([]string, error) {
	a := apiOf(n.Kind)
	pattern := a.patterns[0]
	if !strings.HasPrefix(pattern, "tenants/{tenant}/") {
		return []string{""}, nil
	}
	if e.Tenant() == "" && n.Trail {
		return []string{""}, nil
	}
	parent, _ := n.fill(e, flags, pattern, "x", "-")
	segments := strings.Split(parent, "/")
	if _, ok := variable(pattern[strings.LastIndexByte(pattern, '/')+1:]); ok {
		segments = segments[:len(segments)-1]
	}
	parent = strings.Join(segments[:len(segments)-1], "/")
	for _, v := range between(pattern) {
		if value := given(flags, v); value != "" && value != "-" && strings.HasPrefix(parent, "tenants/-/") {
			return nil, fmt.Errorf("%w: --%s %s needs --tenant, or its full name", env.ErrUsage, v, value)
		}
	}
	if e.Tenant() == "" && len(a.patterns) > 1 {
		return []string{"", parent}, nil
	}
	return []string{parent}, nil
}
