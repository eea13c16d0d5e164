// Package env is what all verbs of ctl share: where the API is, how to reach it, and how to print.
package env

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"concentrator/internal/manifest"
)

// DefaultSocket is where the daemon's API is for root.
const DefaultSocket = "/run/concentrator/api.sock"

// ErrUsage marks a wrong command line: exit code 2.
var ErrUsage = errors.New("wrong usage")

// Env is what a verb works with. Tests bring their own.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	ReadFile func(string) ([]byte, error)
	Home     string
	// Conn, when set, is used instead of a connection of its own.
	Conn grpc.ClientConnInterface

	socket, addr, token, caCert, tenant, output string
	own                                         *grpc.ClientConn
}

// OS is the environment of the process.
func OS() *Env {
	home, _ := os.UserHomeDir() // without one there is no configuration file to read
	return &Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, ReadFile: os.ReadFile, Home: home}
}

// settings are the keys of the file, the flags and, in capitals behind CONC_, the environment.
var settings = []struct {
	name, usage string
	value       func(*Env) *string
}{
	{"socket", "the daemon's unix socket (for root)", func(e *Env) *string { return &e.socket }},
	{"addr", "host:port of the gRPC API, instead of the socket", func(e *Env) *string { return &e.addr }},
	{"token", "API token, with --addr; @FILE reads it from a file", func(e *Env) *string { return &e.token }},
	{"cacert", "PEM file of the API's CA, with --addr", func(e *Env) *string { return &e.caCert }},
	{"tenant", "the tenant, where a name does not say it", func(e *Env) *string { return &e.tenant }},
	{"output", "table, wide, json, yaml or name", func(e *Env) *string { return &e.output }},
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
}

// fill completes what no flag gave: from the environment, then from the file.
func (e *Env) fill() error {
	var file map[string]string
	for _, s := range settings {
		v := s.value(e)
		if *v == "" {
			*v = e.Getenv("CONC_" + strings.ToUpper(s.name))
		}
		if *v != "" {
			continue
		}
		if file == nil {
			var err error
			if file, err = e.readConfig(); err != nil {
				return err
			}
		}
		*v = file[s.name]
	}
	if e.output == "" {
		e.output = "table"
	}
	switch e.output {
	case "table", "wide", "json", "yaml", "name":
		return nil
	}
	return fmt.Errorf("%w: --output %q is not one of table, wide, json, yaml, name", ErrUsage, e.output)
}

func (e *Env) readConfig() (map[string]string, error) {
	values := make(map[string]string)
	if e.Home == "" {
		return values, nil
	}
	path := filepath.Join(e.Home, ".config", "concentrator", "config.yaml")
	data, err := e.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return values, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if err := manifest.Strict(data, &values); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for key := range values {
		known := false
		for _, s := range settings {
			known = known || s.name == key
		}
		if !known {
			return nil, fmt.Errorf("%s: no key %q; there are socket, addr, token, cacert, tenant, output", path, key)
		}
	}
	return values, nil
}

// Verb makes a command's RunE of a function that needs a connection.
func (e *Env) Verb(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := e.fill(); err != nil {
			return err
		}
		if err := e.connect(); err != nil {
			return err
		}
		return run(cmd, args)
	}
}

// connect opens the connection lazily: an API that is not there is noticed by the first call.
func (e *Env) connect() error {
	if e.Conn != nil {
		return nil
	}
	var err error
	if e.addr == "" {
		if e.socket == "" {
			e.socket = DefaultSocket
		}
		if _, serr := os.Stat(e.socket); serr != nil {
			return fmt.Errorf("no daemon at %s: %w; is it running, and is --socket or CONC_SOCKET right?", e.socket, serr)
		}
		e.own, err = grpc.NewClient("unix:"+e.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	} else {
		e.own, err = e.dialTLS()
	}
	if err != nil {
		return err
	}
	e.Conn = e.own
	return nil
}

func (e *Env) dialTLS() (*grpc.ClientConn, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.caCert != "" {
		pem, err := e.ReadFile(e.caCert)
		if err != nil {
			return nil, fmt.Errorf("read --cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--cacert %s: no PEM certificate in it", e.caCert)
		}
	}
	token, err := e.Secret(e.token)
	if err != nil {
		return nil, fmt.Errorf("read --token: %w", err)
	}
	opts := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(cfg))}
	if token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(token)))
	}
	conn, err := grpc.NewClient(e.addr, opts...)
	if err != nil {
		return nil, fmt.Errorf("--addr %s: %w", e.addr, err)
	}
	return conn, nil
}

// maxInput bounds what is read of a file or the standard input, octets: as much as documents may be long.
const maxInput = 64 << 20

// Read returns what the file called name holds; "-" is the standard input. What is longer than 64 MiB is refused whole.
func (e *Env) Read(name string) ([]byte, error) {
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(io.LimitReader(e.In, maxInput+1))
	} else {
		data, err = e.ReadFile(name)
	}
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("longer than %d octets", maxInput)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// Secret returns a value as it is, or what Read gives for the name behind an "@". One line end at the end does not count.
func (e *Env) Secret(value string) (string, error) {
	name, ok := strings.CutPrefix(value, "@")
	if !ok {
		return value, nil
	}
	data, err := e.Read(name)
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), err
}

// Close closes the connection, if there is one of our own.
func (e *Env) Close() {
	if e.own != nil {
		_ = e.own.Close() // nothing is under way any more
	}
}

// Tenant is the tenant that the operator named, "tenants/acme", or "".
func (e *Env) Tenant() string {
	if e.tenant == "" || strings.HasPrefix(e.tenant, "tenants/") {
		return e.tenant
	}
	return "tenants/" + e.tenant
}

// Parent is Tenant, or all tenants.
func (e *Env) Parent() string {
	if t := e.Tenant(); t != "" {
		return t
	}
	return "tenants/-"
}

// Client calls the standard methods.
func (e *Env) Client() manifest.Client { return manifest.Client{Conn: e.Conn} }

// Args makes a cobra argument check of a range, with our exit code.
func Args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.RangeArgs(least, most)(cmd, args); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrUsage, cmd.CommandPath(), err)
		}
		return nil
	}
}

// Noun makes the command that holds a noun's verbs. Without a verb, or with one that there is not, it is wrong usage.
func Noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			var have []string
			for _, v := range cmd.Commands() {
				if !v.Hidden && v.Name() != "help" {
					have = append(have, v.Name())
				}
			}
			if len(args) > 0 {
				return fmt.Errorf("%w: %s has no verb %q; it has %s", ErrUsage, name, args[0], strings.Join(have, ", "))
			}
			return fmt.Errorf("%w: %s needs a verb: %s", ErrUsage, name, strings.Join(have, ", "))
		},
	}
	cmd.AddCommand(verbs...)
	return cmd
}
