// Command ctl is the operator's tool: `ctl <noun> <verb> [NAME] [flags]`. It speaks gRPC only, and shows what the API
// shows.
//
// The verbs that every noun has are made in resource, from a table of nouns; those that only one has stand in a package of the
// noun's name. apply is for documents, top the live screen. env holds what all share: connection, output, usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"concentrator/cmd/ctl/accounting"
	"concentrator/cmd/ctl/apply"
	"concentrator/cmd/ctl/audit"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/instance"
	"concentrator/cmd/ctl/lease"
	"concentrator/cmd/ctl/lockout"
	"concentrator/cmd/ctl/login"
	"concentrator/cmd/ctl/operation"
	"concentrator/cmd/ctl/resource"
	"concentrator/cmd/ctl/session"
	"concentrator/cmd/ctl/token"
	"concentrator/cmd/ctl/top"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], env.OS()))
}

// run is main without the process around it: 0 done, 1 refused or failed, 2 wrong usage.
func run(ctx context.Context, args []string, e *env.Env) int {
	cmd := root(e)
	cmd.SetArgs(args)
	ran, err := cmd.ExecuteContextC(ctx)
	e.Close()
	if err == nil || errors.Is(err, context.Canceled) {
		return 0
	}
	fmt.Fprintln(e.Err, "ctl: "+env.Describe(err))
	if usage(err) {
		fmt.Fprintln(e.Err, "ctl: see "+ran.CommandPath()+" --help")
		return 2
	}
	return 1
}

// usage says whether the command line was wrong; cobra has no error type for a command that there is not.
func usage(err error) bool {
	return errors.Is(err, env.ErrUsage) || strings.HasPrefix(err.Error(), "unknown command")
}

// flagError says of a flag's value what it is not, where the flag package tells of its own calls.
func flagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	what := map[string]string{
		"int": "whole number", "int32": "whole number", "duration": "duration such as 90s, 10m or 1h30m", "bool": "true or false",
	}[bad.GetFlag().Value.Type()]
	if what == "" {
		return err
	}
	return fmt.Errorf("--%s: %q is no %s", bad.GetFlag().Name, bad.GetValue(), what)
}

func root(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ctl <noun> <verb> [NAME]",
		Short: "Look at and change a concentrator",
		Long: `ctl looks at and changes a concentrator, over its API.

As root on the same machine it needs nothing more: it uses the daemon's unix socket. From elsewhere give the address,
the CA and a token, by flags, by the environment or in ~/.config/concentrator/config.yaml.

  ctl session list                     who is connected
  ctl session watch                    who comes and goes
  ctl top                              the same and more, live on the whole terminal
  ctl user describe alice              all about one: sessions, addresses, last log-ins, lockouts
  ctl login list --outcome REFUSED     why did a login fail
  ctl login explain alice              what RADIUS was asked, and what it said
  ctl lockout list                     who failed to log in too often
  ctl lease list --tenant acme         who has which address, and who had it last
  ctl accounting status                do records arrive
  ctl audit list --filter code!=OK     who was refused, and what for
  ctl tenant rotate-psk acme           a new pre-shared key, beside the old one
  ctl instance reencrypt               a new key for the secrets at rest
  ctl instance drain --deadline 10m    out of service, before an update
  ctl operation wait NAME              how far long work is
  ctl apply -f acme.yaml               bring resources to what a file says
  ctl api-token create portal --tenant acme --role OPERATOR
  ctl user create alice --tenant acme --password @-

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.CompletionOptions.DisableDefaultCmd = true // completion is a noun of ours
	cmd.TraverseChildren = true                    // a flag before the noun is ours, even where a verb has one of that name
	cmd.SetOut(e.Out)
	cmd.SetErr(e.Err)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", env.ErrUsage, flagError(err)) })
	e.Flags(cmd.PersistentFlags())
	cmd.AddCommand(resource.Commands(e)...)
	cmd.AddCommand(lease.Command(e))
	cmd.AddCommand(token.Command(e))
	cmd.AddCommand(session.Command(e), login.Command(e), lockout.Command(e), accounting.Command(e), instance.Command(e), apply.Command(e))
	cmd.AddCommand(operation.Command(e), audit.Command(e))
	cmd.AddCommand(top.Command(e), completion(e))
	resource.CompleteFlags(cmd, e)
	return cmd
}
