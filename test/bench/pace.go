package main

import (
	"context"
	"time"
)

// pacer calls for packets at an even rate, one by one where the machine lets it. It spins: a timer is not that fine.
type pacer struct {
	rate float64 // packets a second; 0: as many as go
	sent int
}

// run calls send for each packet until a time is over, or it fails. Between two packets it calls idle.
func (p *pacer) run(ctx context.Context, long time.Duration, send func(i int) error, idle func()) error {
	begin := time.Now()
	for {
		passed := time.Since(begin)
		if passed >= long || ctx.Err() != nil {
			return ctx.Err()
		}
		if p.rate != 0 && float64(p.sent) > p.rate*passed.Seconds() {
			idle()
			continue
		}
		if err := send(p.sent); err != nil {
			return err
		}
		p.sent++
	}
}
