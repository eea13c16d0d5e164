package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"concentrator/internal/tenant"
)

// maxOrigins is how many origins may use the API.
const maxOrigins = 32

// keys is the keys of a section, each with what takes its value.
type keys map[string]func(key string, v any)

// reader goes through the decoded file and collects what is wrong with it.
type reader struct {
	file  string
	lines map[string]int // of keys, by their dotted path
	errs  []*Error
}

// err joins the errors in the order of their lines; nil when there are none.
func (r *reader) err() error {
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
	errs := make([]error, len(r.errs))
	for i, e := range r.errs {
		errs[i] = e
	}
	return errors.Join(errs...)
}

func (r *reader) fail(key string, v any, problem string) {
	value := ""
	switch v := v.(type) {
	case nil:
		value = "(empty)"
	case string:
		value = strconv.Quote(v)
	case map[string]any, []any:
	default:
		value = fmt.Sprint(v)
	}
	r.errs = append(r.errs, &Error{File: r.file, Line: r.line(key), Key: key, Value: value, Problem: problem})
}

// line finds where a key stands, or the section that it is in when that is written in one line.
func (r *reader) line(key string) int {
	for {
		if n := r.lines[key]; n > 0 {
			return n
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return 0
		}
		key = key[:i]
	}
}

// section gives each value to the function of its key. A section without keys is as one that is not there.
func (r *reader) section(path string, values map[string]any, known keys) {
	for name, v := range values {
		key := name
		if path != "" {
			key = path + "." + name
		}
		if set, ok := known[name]; ok {
			set(key, v)
			continue
		}
		r.errs = append(r.errs, &Error{
			File: r.file, Line: r.line(key), Key: key,
			Problem: "unknown key, allowed here: " + strings.Join(slices.Sorted(maps.Keys(known)), ", "),
		})
	}
}

func (r *reader) sub(known keys) func(string, any) {
	return func(key string, v any) {
		if v == nil {
			return
		}
		values, ok := v.(map[string]any)
		if !ok {
			r.fail(key, v, "must be a section with the keys "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			return
		}
		r.section(key, values, known)
	}
}

// text takes a text that check, which says what is allowed, finds good.
func (r *reader) text(to *string, allowed string, check func(string) bool) func(string, any) {
	return func(key string, v any) {
		s, ok := v.(string)
		if !ok || !check(s) {
			r.fail(key, v, "must be "+allowed)
			return
		}
		*to = s
	}
}

func (r *reader) path(to *string) func(string, any) {
	return r.text(to, "an absolute path", filepath.IsAbs)
}

func (r *reader) optionalPath(to *string) func(string, any) {
	return r.text(to, `an absolute path, or "" for none`, func(s string) bool { return s == "" || filepath.IsAbs(s) })
}

func (r *reader) instance(to *string) func(string, any) {
	return r.text(to, fmt.Sprintf("a name of 1 to %d of a-z, 0-9 and '-', beginning and ending with a letter or digit (a number in quotes)", tenant.MaxID),
		func(s string) bool { return tenant.CheckID(s) == nil })
}

func (r *reader) address(to *string) func(string, any) {
	return r.text(to, `an address and port such as 127.0.0.1:9443, or "" for none`, func(s string) bool {
		if s == "" {
			return true
		}
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return false
		}
		_, err = strconv.ParseUint(port, 10, 16)
		return err == nil
	})
}

// origins takes a list of origins as a browser spells them (RFC 6454): scheme, host, and a port unless it is the scheme's own.
func (r *reader) origins(to *[]string) func(string, any) {
	return func(key string, v any) {
		all, ok := v.([]any)
		if !ok || len(all) > maxOrigins {
			r.fail(key, v, fmt.Sprintf("must be a list of at most %d origins such as [https://portal.example.net]", maxOrigins))
			return
		}
		var origins []string
		for i, v := range all {
			text, ok := v.(string)
			if !ok || !isOrigin(text) {
				r.fail(fmt.Sprintf("%s[%d]", key, i), v, "must be an origin such as https://portal.example.net, without a path, in small letters")
				return
			}
			origins = append(origins, text)
		}
		*to = origins
	}
}

// isOrigin says whether a text is an origin as a browser sends it.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != text || text != strings.ToLower(text) {
		return false
	}
	return u.Scheme == "https" && u.Port() != "443" || u.Scheme == "http" && u.Port() != "80"
}

func (r *reader) number(to *int, least, most int, allowed string) func(string, any) {
	return func(key string, v any) {
		text, _ := v.(json.Number)
		n, err := strconv.Atoi(text.String())
		if err != nil || n < least || n > most {
			r.fail(key, v, "must be "+allowed)
			return
		}
		*to = n
	}
}

func (r *reader) long(to *int64, least, most int64, allowed string) func(string, any) {
	return func(key string, v any) {
		text, _ := v.(json.Number)
		n, err := strconv.ParseInt(text.String(), 10, 64)
		if err != nil || n < least || n > most {
			r.fail(key, v, "must be "+allowed)
			return
		}
		*to = n
	}
}

// share takes a part of one.
func (r *reader) share(to *float64) func(string, any) {
	return func(key string, v any) {
		text, _ := v.(json.Number)
		f, err := text.Float64()
		if err != nil || !(f >= 0 && f <= 1) {
			r.fail(key, v, "must be a number from 0 (none) to 1 (all)")
			return
		}
		*to = f
	}
}

func (r *reader) flag(to *bool) func(string, any) {
	return func(key string, v any) {
		b, ok := v.(bool)
		if !ok {
			r.fail(key, v, "must be true or false")
			return
		}
		*to = b
	}
}

var (
	logLevels = []choice[slog.Level]{
		{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError},
	}
	logFormats = []choice[LogFormat]{{"text", LogText}, {"json", LogJSON}}

	namespaceChoices = []choice[Namespaces]{
		{"auto", NamespacesAuto}, {"always", NamespacesAlways}, {"never", NamespacesNever},
	}
)

// choice is one word that a key may have.
type choice[T any] struct {
	word  string
	value T
}

func oneOf[T any](r *reader, to *T, choices []choice[T]) func(string, any) {
	return func(key string, v any) {
		words := make([]string, len(choices))
		for i, c := range choices {
			if v == c.word {
				*to = c.value
				return
			}
			words[i] = c.word
		}
		r.fail(key, v, "must be one of "+strings.Join(words, ", "))
	}
}

// checkTogether checks what concerns several keys.
func (r *reader) checkTogether(c Config) {
	switch tls := c.API.TLS; {
	case tls.Cert != "" && tls.Key == "":
		r.fail("api.tls.cert", tls.Cert, "needs api.tls.key beside it")
	case tls.Key != "" && tls.Cert == "":
		r.fail("api.tls.key", tls.Key, "needs api.tls.cert beside it")
	}
	used := make(map[string]string)
	for _, a := range []struct{ key, address string }{
		{"api.grpc", c.API.GRPC}, {"api.rest", c.API.REST}, {"api.metrics", c.API.Metrics},
	} {
		if a.address == "" || strings.HasSuffix(a.address, ":0") {
			continue
		}
		if other, ok := used[a.address]; ok {
			r.fail(a.key, a.address, "is the address of "+other+" too, each needs its own")
		}
		used[a.address] = a.key
	}
}

// keyLines finds the line of each key that begins a line. It reads only as much YAML as that takes: the file was
// decoded before, and a key that it misses costs no more than the number in an error.
func keyLines(text string) map[string]int {
	type level struct {
		indent int
		path   string
	}
	lines := make(map[string]int)
	var stack []level
	n := 0
	for line := range strings.Lines(text) {
		n++
		name, _, ok := strings.Cut(line, ":")
		bare := strings.TrimLeft(name, " ")
		if !ok || bare == "" || strings.HasPrefix(bare, "#") {
			continue
		}
		indent := len(name) - len(bare)
		for len(stack) > 0 && stack[len(stack)-1].indent >= indent {
			stack = stack[:len(stack)-1]
		}
		path := strings.Trim(strings.TrimSpace(bare), `"'`)
		if len(stack) > 0 {
			path = stack[len(stack)-1].path + "." + path
		}
		stack = append(stack, level{indent, path})
		lines[path] = n
	}
	return lines
}
