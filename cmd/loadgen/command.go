package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"concentrator/internal/simclient/load"
	"concentrator/internal/simclient/traffic"
)

// job is a load that runs, with what is around it.
type job struct {
	options
	env
	command string
	dialer  *load.Dialer
	keys    *keyLog // nil: none
	load    *load.Load
	watch   *watch

	own, server time.Duration // CPU times when the clock was started
	ownCPU      time.Duration
	serverCPU   *time.Duration
	traffic     *traffic.Report
	lossy       bool // more of the traffic was lost than may be
}

// start reads the flags and makes the clients; end must follow.
func (o *options) start(ctx context.Context, e env, command string) (*job, error) {
	if err := o.read(ctx); err != nil {
		return nil, err
	}
	if o.notice != "" {
		fmt.Fprintln(e.err, "loadgen:", o.notice)
	}
	j := &job{options: *o, env: e, command: command}
	if j.serverPID != 0 {
		if _, err := load.ProcessCPU(j.serverPID); err != nil {
			return nil, err
		}
	}
	if j.keyLog != "" {
		var err error
		if j.keys, err = openKeyLog(j.keyLog); err != nil {
			return nil, err
		}
		j.config.KeyLog = j.keys.write
	}
	d, err := load.NewDialer(j.config, j.count)
	if err != nil {
		return nil, errors.Join(err, j.keys.close())
	}
	j.dialer = d
	j.load = load.New(load.Plan{
		Dial: d.Dial, Count: j.count, Parallel: j.parallel, Rate: j.rate, Timeout: j.timeout, Goodbye: goodbye,
		Together: len(j.config.Sources) >= j.count,
	})
	if !j.quiet {
		j.watch = startWatch(e, j.load)
	}
	return j, nil
}

// clock begins to measure CPU time, and stop ends it.
func (j *job) clock() {
	j.own = load.OwnCPU()
	if j.serverPID != 0 {
		j.server, _ = load.ProcessCPU(j.serverPID) // looked at before
	}
}

func (j *job) stop() {
	j.ownCPU = load.OwnCPU() - j.own
	if j.serverPID == 0 {
		return
	}
	if now, err := load.ProcessCPU(j.serverPID); err == nil {
		took := now - j.server
		j.serverCPU = &took
	}
}

// end hangs up and closes everything.
func (j *job) end() error {
	j.load.HangUp()
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	err := j.dialer.Close(ctx)
	j.watch.stop()
	if err != nil {
		err = fmt.Errorf("end IKE: %w", err)
	}
	return errors.Join(err, j.keys.close())
}

// report prints what came of it and says whether all went well.
func (j *job) report(ctx context.Context) error {
	r := j.load.Report()
	r.Interrupted = r.Interrupted || ctx.Err() != nil
	r.OwnCPUS = j.ownCPU.Seconds()
	if j.serverCPU != nil {
		s := j.serverCPU.Seconds()
		r.ServerCPUS = &s
	}
	if ike, esp := j.dialer.SAs(); ike > 0 {
		r.SAs = &load.SAs{IKE: ike, ESP: esp}
	}
	if r.Pings != nil {
		r.Pings.Answered = j.dialer.Answered()
	}
	out := output{
		Command: j.command, Server: j.config.Server.String(), Protocol: j.protocol, Count: j.count, Report: r, Traffic: j.traffic,
	}
	if err := out.print(j.out, j.output); err != nil {
		return err
	}
	if !r.Fine() || j.lossy {
		return errFailed
	}
	return nil
}

func loginCommand(e env) *cobra.Command {
	var o options
	var keep time.Duration
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log clients in and hang up",
		Long: `login logs clients in, all at once or at a rate, and hangs up. It reports logins a second, latencies, and why
logins have failed. CPU times are those of the logins alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			j, err := o.start(ctx, e, "login")
			if err != nil {
				return err
			}
			j.clock()
			j.load.Login(ctx)
			j.stop()
			if keep > 0 && ctx.Err() == nil {
				j.load.Watch(ctx, keep)
			}
			return errors.Join(j.end(), j.report(ctx))
		},
	}
	o.flags(cmd)
	cmd.Flags().DurationVar(&keep, "keep", 0, "how long the sessions stay before they hang up")
	return cmd
}

func holdCommand(e env) *cobra.Command {
	var o options
	var st load.Standing
	var pingTo string
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Log clients in and keep them",
		Long: `hold logs clients in and keeps them for a time. Each second it may hang some up and log them in again, give some
another port of the NAT that they are behind, and send pings through all. A session that ends by itself is counted as lost,
with the reason, and logged in again. CPU times are those until hanging up begins.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := readStanding(&st, pingTo); err != nil {
				return err
			}
			j, err := o.start(ctx, e, "hold")
			if err != nil {
				return err
			}
			j.clock()
			j.load.Login(ctx)
			if ctx.Err() == nil {
				j.load.Hold(ctx, st)
			}
			j.stop()
			return errors.Join(j.end(), j.report(ctx))
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&st.Duration, "duration", time.Minute, "how long")
	f.Float64Var(&st.Churn, "churn", 0, "sessions a second that hang up and log in again")
	f.Float64Var(&st.Rebind, "rebind", 0, "IPsec sessions a second whose NAT gives them another port; with --nat-t")
	f.Float64Var(&st.Rekey, "rekey", 0, "IPsec sessions a second that make new SAs, of ESP and of IKE in turn")
	f.Float64Var(&st.Ping, "ping", 0, "echo requests a second through each session")
	f.StringVar(&pingTo, "ping-to", "", "where these go (default the server's inner address)")
	return cmd
}

func readStanding(st *load.Standing, pingTo string) error {
	if st.Churn < 0 || st.Rebind < 0 || st.Rekey < 0 || st.Ping < 0 || st.Duration <= 0 {
		return fmt.Errorf("%w: --churn, --rebind, --rekey, --ping and --duration must be positive", errUsage)
	}
	if pingTo == "" {
		return nil
	}
	var err error
	if st.PingTo, err = netip.ParseAddr(pingTo); err != nil || !st.PingTo.Is4() {
		return fmt.Errorf("%w: --ping-to %s is no IPv4 address", errUsage, pingTo)
	}
	return nil
}
