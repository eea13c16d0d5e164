package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxFile bounds the file, octets.
const maxFile = 1 << 20

// Bounds of accounting.max_bytes.
const (
	minAccountingBytes = 1 << 20
	maxAccountingBytes = 1 << 40
)

// Bounds of audit.max_bytes. The trail is read whole to verify it, in one call.
const (
	minAuditBytes = 1 << 20
	maxAuditBytes = 256 << 20
)

// notGiven stands for a path that the file does not name, where an empty one means something. It is not absolute, so no
// file can name it.
const notGiven = "(not given)"

// Error is one wrong key of a file.
type Error struct {
	File    string
	Line    int    // from 1; 0: not known
	Key     string // "api.tls.cert"; empty: the file as a whole
	Value   string // as written, quoted where that helps; empty: none
	Problem string // what is wrong and what is allowed
}

func (e *Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s += fmt.Sprintf(":%d", e.Line)
	}
	if e.Key != "" {
		s += ": " + e.Key
	}
	if e.Value != "" {
		s += ": " + e.Value
	}
	return s + ": " + e.Problem
}

// Load reads and checks the file at path; an empty path gives Default. Its error joins one *Error for each wrong key,
// unless the file can't be read at all.
func Load(path string) (Config, error) {
	if path == "" {
		return Default(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("open configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, b)
}

// parse turns the octets of a file into a Config.
func parse(file string, b []byte) (Config, error) {
	if len(b) > maxFile {
		return Config{}, &Error{File: file, Problem: fmt.Sprintf("is larger than %d octets", maxFile)}
	}
	root, err := decode(file, b)
	if err != nil {
		return Config{}, err
	}
	c := Default()
	c.KeyFile, c.Accounting.File = "", notGiven
	r := &reader{file: file, lines: keyLines(string(b))}
	r.section("", root, keys{
		"state_dir":    r.path(&c.StateDir),
		"key_file":     r.path(&c.KeyFile),
		"instance":     r.instance(&c.Instance),
		"shards":       r.number(&c.Shards, 0, MaxShards, "a number from 0 (one for each CPU) to 16"),
		"max_sessions": r.number(&c.MaxSessions, 1, MaxSessions, "a number from 1 to 1000"),
		"api": r.sub(keys{
			"grpc":         r.address(&c.API.GRPC),
			"rest":         r.address(&c.API.REST),
			"metrics":      r.address(&c.API.Metrics),
			"socket":       r.optionalPath(&c.API.Socket),
			"cors_origins": r.origins(&c.API.CORSOrigins),
			"requests_per_second": r.number(&c.API.RequestsPerSecond, 1, MaxRequestsPerSecond,
				"a number from 1 to 100000"),
			"tls": r.sub(keys{
				"cert":      r.path(&c.API.TLS.Cert),
				"key":       r.path(&c.API.TLS.Key),
				"client_ca": r.path(&c.API.TLS.ClientCA),
			}),
		}),
		"radius": r.sub(keys{"coa": r.address(&c.Radius.CoA)}),
		"accounting": r.sub(keys{
			"file":   r.optionalPath(&c.Accounting.File),
			"syslog": r.flag(&c.Accounting.Syslog),
			"max_bytes": r.long(&c.Accounting.MaxBytes, minAccountingBytes, maxAccountingBytes,
				"a number of octets from 1048576 to 1099511627776"),
		}),
		"audit": r.sub(keys{
			"max_bytes": r.long(&c.Audit.MaxBytes, minAuditBytes, maxAuditBytes, "a number of octets from 1048576 to 268435456"),
		}),
		"log": r.sub(keys{
			"level":  oneOf(r, &c.Log.Level, logLevels),
			"format": oneOf(r, &c.Log.Format, logFormats),
		}),
		"tracing": r.sub(keys{
			"endpoint":     r.address(&c.Tracing.Endpoint),
			"insecure":     r.flag(&c.Tracing.Insecure),
			"sample_ratio": r.share(&c.Tracing.SampleRatio),
		}),
		"privileges": r.sub(keys{
			"namespaces": oneOf(r, &c.Privileges.Namespaces, namespaceChoices),
			"debug":      r.flag(&c.Privileges.Debug),
		}),
	})
	if c.KeyFile == "" {
		c.KeyFile = defaultKeyFile(c.StateDir)
	}
	if c.Accounting.File == notGiven {
		c.Accounting.File = defaultAccountingFile(c.StateDir)
	}
	r.checkTogether(c)
	if err := r.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// decode reads the one YAML document of a file. An empty file has no keys.
func decode(file string, b []byte) (map[string]any, error) {
	if line := secondDocument(string(b)); line > 0 {
		return nil, &Error{File: file, Line: line, Problem: "a second YAML document begins, only one is allowed"}
	}
	text, err := yaml.YAMLToJSONStrict(b)
	if err != nil {
		return nil, yamlError(file, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, &Error{File: file, Problem: err.Error()}
	}
	if v == nil {
		return nil, nil
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, &Error{File: file, Problem: "must be keys and values, such as \"state_dir: /var/lib/concentrator\""}
	}
	return root, nil
}

// secondDocument returns the line on which a second document begins, or 0. The library reads the first and is silent on
// the rest, which would then be a part of the file that does nothing.
func secondDocument(text string) int {
	n, begun := 0, false
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		switch marker := line == "---" || strings.HasPrefix(line, "--- "); {
		case marker && begun:
			return n
		case marker, line != "" && line[0] != '#' && line[0] != '%':
			begun = true
		}
	}
	return 0
}

// yamlError turns the library's error, "yaml: line 3: …" or lines of those, into ours.
func yamlError(file string, err error) error {
	var errs []error
	for text := range strings.Lines(strings.TrimPrefix(err.Error(), "yaml: ")) {
		text = strings.TrimSpace(text)
		if text == "unmarshal errors:" {
			continue
		}
		e := &Error{File: file, Problem: text}
		if _, err := fmt.Sscanf(text, "line %d:", &e.Line); err == nil {
			_, e.Problem, _ = strings.Cut(text, ": ")
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}
