// Command loadgen logs simulated VPN clients in, holds them, and sends traffic through them, against this concentrator or
// any other server: `loadgen login|hold|traffic [flags]`. The engine is internal/simclient/load.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"concentrator/internal/simclient/load"
	"concentrator/internal/simclient/traffic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // the second one ends it at once
	os.Exit(run(ctx, os.Args[1:], env{out: os.Stdout, err: os.Stderr, terminal: terminal(os.Stderr)}))
}

// env is the process around a run.
type env struct {
	out, err io.Writer
	terminal bool // err is one
}

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

var (
	// errUsage says that the command line was wrong.
	errUsage = errors.New("wrong usage")
	// errFailed says that something failed that the report has told.
	errFailed = errors.New("not all went well")
)

// run is main without the process: 0 all went well, 1 something failed, 2 wrong usage.
func run(ctx context.Context, args []string, e env) int {
	cmd := root(e)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFailed):
		return 1
	}
	fmt.Fprintln(e.err, "loadgen:", err)
	if usage(err) {
		fmt.Fprintln(e.err, "loadgen: see loadgen --help")
		return 2
	}
	return 1
}

// usage says whether the command line was wrong; cobra has no error types for commands and flags that there are not.
func usage(err error) bool {
	return errors.Is(err, errUsage) || errors.Is(err, load.ErrConfig) || errors.Is(err, traffic.ErrConfig) ||
		strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag")
}

func root(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "loadgen <login|hold|traffic>",
		Short: "Simulate VPN clients against a server",
		Long: `loadgen logs simulated PPTP, L2TP and L2TP/IPsec clients in, over real sockets, and says how it went: one JSON
object on stdout with -o json, lines for people without, progress on stderr. It needs root, or CAP_NET_RAW, for PPTP and
for raw ESP.

  loadgen login --server 192.0.2.1 --protocol L2TP_IPSEC --nat-t --count 100 --user 'u%d' --password 'pw%d' --psk KEY
  loadgen login --server 192.0.2.1 --protocol PPTP --count 500 --password secret --server-pid $(pidof concentrator)
  loadgen hold  --server 192.0.2.1 --protocol MIX --nat-t --count 1000 --password secret --psk KEY --duration 8h --churn 2

Exit codes: 0 all went well, 1 something failed, 2 wrong usage. Ctrl-C hangs up and reports; a second one ends it at once.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetOut(e.out)
	cmd.SetErr(e.err)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	cmd.AddCommand(loginCommand(e), holdCommand(e), trafficCommand(e))
	return cmd
}
