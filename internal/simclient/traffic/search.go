package traffic

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoRate is returned by Search if even the lowest rate has lost too much.
var ErrNoRate = errors.New("traffic: no rate goes through")

// Trial is one run of a Search.
type Trial struct {
	PPS  float64 `json:"pps"`  // that was asked for, in each direction
	Loss float64 `json:"loss"` // the greater share of both directions
	// Offered is how much of PPS the generator could send, 0 to 1. Below 0.95 the trial counts as failed: the generator is
	// what was found then.
	Offered float64 `json:"offered"`
	OK      bool    `json:"ok"`
}

const (
	leastOffered = 0.95
	// closeEnough is the ratio of the lowest failed rate to the highest good one at which a search ends.
	closeEnough = 1.02
	maxTrials   = 16
)

// Search finds the highest rate at which no greater share than target is lost in any direction, by runs of cfg.Duration
// each. cfg.PPS is where it begins; 0: what a window lets through. The report is that of the best run, with all trials.
// ErrNoRate.
func Search(ctx context.Context, cfg Config, target float64) (*Report, error) {
	if cfg.Duration <= 0 || target < 0 {
		return nil, fmt.Errorf("%w: a search needs a duration, and a loss of 0 or more", ErrConfig)
	}
	return search(ctx, cfg, target, Run)
}

func search(
	ctx context.Context, cfg Config, target float64, run func(context.Context, Config) (*Report, error),
) (*Report, error) {
	if cfg.PPS == 0 {
		r, err := run(ctx, cfg)
		if err != nil {
			return nil, err
		}
		for _, s := range []*Stream{r.Up, r.Down} {
			if s != nil {
				cfg.PPS = max(cfg.PPS, s.PPS)
			}
		}
		if cfg.PPS == 0 {
			return nil, fmt.Errorf("%w: nothing has arrived", ErrNoRate)
		}
	}
	var best *Report
	var trials []Trial
	good, bad := 0.0, 0.0
	for range maxTrials {
		r, err := run(ctx, cfg)
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			break // the run was cut short
		}
		t := judge(r, cfg.PPS, target)
		trials = append(trials, t)
		if t.OK {
			best, good = r, cfg.PPS
		} else {
			bad = cfg.PPS
		}
		switch {
		case bad == 0:
			cfg.PPS = good * 1.5
		case good == 0:
			cfg.PPS = bad / 2
		default:
			cfg.PPS = (good + bad) / 2
		}
		if good > 0 && bad > 0 && bad/good < closeEnough {
			break
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: %d trials, down to %.0f packets a second", ErrNoRate, len(trials), bad)
	}
	best.Trials = trials
	return best, nil
}

// judge says whether a run at a rate was good enough.
func judge(r *Report, pps, target float64) Trial {
	t := Trial{PPS: pps, Offered: 1}
	for _, s := range []*Stream{r.Up, r.Down} {
		if s == nil {
			continue
		}
		t.Loss = max(t.Loss, s.LossRatio())
		t.Offered = min(t.Offered, float64(s.Sent)/(pps*r.DurationS))
	}
	t.OK = t.Loss <= target && t.Offered >= leastOffered
	return t
}
