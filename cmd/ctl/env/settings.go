package env

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"concentrator/internal/manifest"
)

// Outputs are the values of --output.
var Outputs = []string{"table", "wide", "json", "yaml", "name"}

// setting is one that a flag, the environment (in capitals behind CONC_) and the file may give.
type setting struct {
	name, usage string
	where       bool // says where the API is and who calls: not taken from outside a profile that is used
	value       func(*Env) *string
}

var settings = []setting{
	{"socket", "the daemon's unix socket (for root)", true, func(e *Env) *string { return &e.socket }},
	{"addr", "host:port of the gRPC API, instead of the socket", true, func(e *Env) *string { return &e.addr }},
	{"token", "API token, with --addr; @FILE reads it from a file", true, func(e *Env) *string { return &e.token }},
	{"cacert", "PEM file of the API's CA, with --addr", true, func(e *Env) *string { return &e.caCert }},
	{"cert", "PEM file of a client certificate, instead of a token", true, func(e *Env) *string { return &e.cert }},
	{"key", "PEM file of the certificate's private key", true, func(e *Env) *string { return &e.key }},
	{"tenant", "the tenant, where a name does not say it", false, func(e *Env) *string { return &e.tenant }},
	{"output", strings.Join(Outputs, ", "), false, func(e *Env) *string { return &e.output }},
}

// Flags adds the flags that every verb has.
func (e *Env) Flags(f *pflag.FlagSet) {
	for _, s := range settings {
		short := ""
		if s.name == "output" {
			short = "o"
		}
		f.StringVarP(s.value(e), s.name, short, "", s.usage)
	}
	f.StringVar(&e.profile, "profile", "",
		"which profile of the configuration file; before the noun, where a verb has a flag of this name")
}

// source is a place that settings come from.
type source struct {
	get     func(name string) string
	general bool // says only what has nothing to do with where the API is
}

// fill completes what no flag gave. What is said first counts: a flag, a profile that a flag names, the environment, a
// profile that the environment or the file names, the file itself.
func (e *Env) fill() error {
	file, err := e.readConfig()
	if err != nil {
		return err
	}
	flag := make(map[string]string)
	for _, s := range settings {
		flag[s.name], *s.value(e) = *s.value(e), ""
	}
	environment := source{get: func(name string) string { return e.Getenv("CONC_" + strings.ToUpper(name)) }}
	sources := []source{{get: func(name string) string { return flag[name] }}, environment}
	name, byFlag := e.profile, e.profile != ""
	for _, n := range []string{e.Getenv("CONC_PROFILE"), file.profile} {
		if name == "" {
			name = n
		}
	}
	if name != "" {
		p, ok := file.profiles[name]
		if !ok {
			return fmt.Errorf("%w: there is no profile %q in %s%s", ErrUsage, name, file.path, file.names())
		}
		of := source{get: func(name string) string { return p[name] }}
		if byFlag {
			sources = slices.Insert(sources, 1, of)
		} else {
			sources = append(sources, of)
		}
	}
	sources = append(sources, source{get: func(name string) string { return file.values[name] }, general: name != ""})
	e.take(sources)
	if e.output == "" {
		e.output = "table"
	}
	if !slices.Contains(Outputs, e.output) {
		return fmt.Errorf("%w: --output %q is not one of %s", ErrUsage, e.output, strings.Join(Outputs, ", "))
	}
	return nil
}

// take sets each setting by the first source that has it. The first one that says where the API is says so alone: neither
// --socket nor a profile must be led astray by an address that stands elsewhere.
func (e *Env) take(sources []source) {
	placed := false
	for _, from := range sources {
		at := false
		for _, s := range settings {
			v := s.value(e)
			given := from.get(s.name)
			if *v != "" || given == "" || from.general && s.where {
				continue
			}
			if s.name == "socket" || s.name == "addr" {
				if placed {
					continue
				}
				at = true
			}
			*v = given
		}
		placed = placed || at
	}
}

// configFile is ~/.config/concentrator/config.yaml.
type configFile struct {
	path     string
	values   map[string]string            // those of no profile
	profile  string                       // the one that is used where nothing else is said
	profiles map[string]map[string]string // by name
}

// names lists the profiles for an error.
func (c configFile) names() string {
	if len(c.profiles) == 0 {
		return ""
	}
	return "; there are " + strings.Join(c.sorted(), ", ")
}

func (c configFile) sorted() []string {
	var names []string
	for name := range c.profiles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (e *Env) readConfig() (configFile, error) {
	c := configFile{
		path: "~/.config/concentrator/config.yaml", values: make(map[string]string), profiles: make(map[string]map[string]string),
	}
	if e.Home == "" {
		return c, nil
	}
	c.path = filepath.Join(e.Home, ".config", "concentrator", "config.yaml")
	data, err := e.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	var keys map[string]any
	if err := manifest.Strict(data, &keys); err != nil {
		return c, fmt.Errorf("%s: %w", c.path, err)
	}
	profiles, some := keys["profiles"].(map[string]any)
	if _, given := keys["profiles"]; given && !some {
		return c, fmt.Errorf("%s: profiles: no map of names", c.path)
	}
	delete(keys, "profiles")
	if name, given := keys["profile"]; given {
		if c.profile, some = name.(string); !some {
			return c, fmt.Errorf("%s: profile: no text", c.path)
		}
		delete(keys, "profile")
	}
	if c.values, err = texts(keys, "profile, profiles, "); err != nil {
		return c, fmt.Errorf("%s: %w", c.path, err)
	}
	for name, p := range profiles {
		keys, ok := p.(map[string]any)
		if !ok {
			return c, fmt.Errorf("%s: profiles: %s: no map of keys", c.path, name)
		}
		if c.profiles[name], err = texts(keys, ""); err != nil {
			return c, fmt.Errorf("%s: profiles: %s: %w", c.path, name, err)
		}
	}
	return c, nil
}

// texts makes settings of what a file has. more names what else there may be, for an error.
func texts(keys map[string]any, more string) (map[string]string, error) {
	var names []string
	for _, s := range settings {
		names = append(names, s.name)
	}
	values := make(map[string]string, len(keys))
	for key, v := range keys {
		if !slices.Contains(names, key) {
			return nil, fmt.Errorf("no key %q; there are %s%s", key, more, strings.Join(names, ", "))
		}
		text, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s: no text; put it in quotes", key)
		}
		values[key] = text
	}
	return values, nil
}

// Profiles are the names of the configuration file's profiles.
func (e *Env) Profiles() []string {
	c, err := e.readConfig()
	if err != nil {
		return nil // completion has nothing to offer then
	}
	return c.sorted()
}
