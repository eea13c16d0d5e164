// Package env is what all verbs of ctl share: where the API is, how to reach it, and how to print.
package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"concentrator/internal/manifest"
)

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
	// Now, when set, is the clock.
	Now func() time.Time
	// Terminal, when set, says instead of the system how many columns the terminal has that a stream is; 0 is none.
	Terminal func(stream any) int

	socket, addr, token, caCert, cert, key string
	tenant, output, profile                string
	own                                    *grpc.ClientConn
}

// Time is the clock.
func (e *Env) Time() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// Sleep waits, and is false if ctx ended before.
func (*Env) Sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// OS is the environment of the process.
func OS() *Env {
	home, _ := os.UserHomeDir() // without one there is no configuration file to read
	return &Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, ReadFile: os.ReadFile, Home: home}
}

// Verb makes a command's RunE of a function that needs a connection.
func (e *Env) Verb(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := e.Connect(); err != nil {
			return err
		}
		return run(cmd, args)
	}
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
		// The verb's line of help says what it takes: NAME, [NAME...], ADDRESS...
		what := "NAME"
		if words := strings.Fields(cmd.Use); len(words) > 1 && words[1][0] != '-' {
			what = strings.Trim(words[1], "[].")
		}
		switch {
		case len(args) < least:
			return fmt.Errorf("%w: %s: %s is missing", ErrUsage, cmd.CommandPath(), what)
		case len(args) > most && most == 0:
			return fmt.Errorf("%w: %s takes flags only, and not %q", ErrUsage, cmd.CommandPath(), args[0])
		case len(args) > most:
			return fmt.Errorf("%w: %s takes %d %s at most, and not %q too", ErrUsage, cmd.CommandPath(), most, what, args[most])
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
