package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"concentrator/internal/simclient/traffic"
)

// threads is how many things of a traffic run may be busy at once, beside the rest of the program: without spare ones the
// scheduler would take a thread away from a loop that never waits.
const threads = 6

// trafficFlags are the flags of a traffic run.
type trafficFlags struct {
	responder   string
	responderNS string
	direction   string
	size        string
	pps         float64
	train       int
	upWindow    int
	downWindow  int
	duration    time.Duration
	packets     uint64
	maxLoss     float64
}

func trafficCommand(e env) *cobra.Command {
	var o options
	var t trafficFlags
	cmd := &cobra.Command{
		Use:   "traffic",
		Short: "Log clients in and send traffic through them",
		Long: `traffic logs clients in, sends inner UDP packets through their sessions, at a rate or as many as go through, and
reports what arrived, what was lost or overtaken, and how long it took. The other end is a responder of its own:
--responder is its address and port, which is this machine's, in the namespace --responder-ns, and which the server can
reach from its inside. CPU times are those of the traffic alone.

  loadgen traffic --server 192.0.2.1 --protocol PPTP --count 100 --password secret \
    --responder 10.99.0.2:5001 --responder-ns inside --direction up --size imix --duration 10s -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context(), e, &o) },
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&t.responder, "responder", "", "address:port inside, on this machine, where the traffic goes to and comes from")
	f.StringVar(&t.responderNS, "responder-ns", "", "network namespace of the responder (default: ours)")
	f.StringVar(&t.direction, "direction", "both", "up, down, both, or echo: up, and the responder sends it back")
	f.StringVar(&t.size, "size", "1400", "length of the inner packets in octets, or imix")
	f.Float64Var(&t.pps, "pps", 0, "packets a second in each direction, of all sessions together; 0: as many as go through")
	f.IntVar(&t.train, "train", 0, "packets of a session in a row (default 1 with --pps, else 8)")
	f.IntVar(&t.upWindow, "up-window", 0, "packets on their way up at most, without --pps (default 1024)")
	f.IntVar(&t.downWindow, "down-window", 0, "packets on their way down at most, without --pps (default 256)")
	f.DurationVar(&t.duration, "duration", 10*time.Second, "how long is sent")
	f.Uint64Var(&t.packets, "packets", 0, "packets in each direction at most; 0: no such limit")
	f.Float64Var(&t.maxLoss, "max-loss", 0, "share of packets that may be lost, 0 to 1, before the exit code is 1")
	_ = cmd.MarkFlagRequired("responder") // it is there
	return cmd
}

// config is what the flags say, without the paths.
func (t *trafficFlags) config() (c traffic.Config, responder netip.AddrPort, err error) {
	if responder, err = netip.ParseAddrPort(t.responder); err != nil {
		return c, responder, fmt.Errorf("%w: --responder: %w", errUsage, err)
	}
	if c.Direction, err = traffic.ParseDirection(t.direction); err != nil {
		return c, responder, fmt.Errorf("%w: --direction: %w", errUsage, err)
	}
	if c.Size, err = traffic.ParseSize(t.size); err != nil {
		return c, responder, fmt.Errorf("%w: --size: %w", errUsage, err)
	}
	if t.pps < 0 || t.train < 0 || t.upWindow < 0 || t.downWindow < 0 || t.duration <= 0 || t.maxLoss < 0 || t.maxLoss > 1 {
		return c, responder, fmt.Errorf("%w: numbers must be positive, and --max-loss at most 1", errUsage)
	}
	c.PPS, c.Train, c.UpWindow, c.DownWindow = t.pps, t.train, t.upWindow, t.downWindow
	c.Duration, c.Packets = t.duration, t.packets
	return c, responder, nil
}

func (t *trafficFlags) run(ctx context.Context, e env, o *options) error {
	cfg, at, err := t.config()
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(max(runtime.NumCPU(), threads))
	if cfg.Responder, err = traffic.NewResponder(t.responderNS, at); err != nil {
		return err
	}
	j, err := o.start(ctx, e, "traffic")
	if err != nil {
		return errors.Join(err, cfg.Responder.Close())
	}
	j.load.Login(ctx)
	err = t.send(ctx, j, cfg)
	err = errors.Join(err, j.end(), cfg.Responder.Close())
	return errors.Join(err, j.report(ctx))
}

// send lends the sessions that stand to package traffic.
func (t *trafficFlags) send(ctx context.Context, j *job, cfg traffic.Config) error {
	sessions := j.load.Sessions()
	if len(sessions) == 0 || ctx.Err() != nil {
		return nil // the report says why there is none
	}
	for _, s := range sessions {
		p, back, err := s.Lend()
		if err != nil {
			return err
		}
		defer back()
		cfg.Paths = append(cfg.Paths, p)
	}
	cfg.Progress = func(p traffic.Progress) {
		j.watch.say(fmt.Sprintf("; %s of traffic: up %d of %d arrived, down %d of %d",
			p.Elapsed.Round(time.Second), p.UpArrived, p.UpSent, p.DownArrived, p.DownSent))
	}
	j.load.Phase("traffic")
	j.clock()
	r, err := traffic.Run(ctx, cfg)
	j.stop()
	j.watch.say("")
	if err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	j.traffic = r
	j.lossy = r.Up.LossRatio() > t.maxLoss || r.Down.LossRatio() > t.maxLoss
	return nil
}
