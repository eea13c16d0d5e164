package server

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"concentrator/internal/telemetry"
)

// Calls of strangers over gRPC that are refused at once, a second and in a burst. Each one more makes its connection wait.
const (
	strangersPerSecond = 100
	strangersBurst     = 200
	strangerPause      = 50 * time.Millisecond
)

func newStrangers() *rate.Limiter { return rate.NewLimiter(strangersPerSecond, strangersBurst) }

// tap refuses strangers as soon as the headers of a call are there. The interceptor is asked only when a request has come in
// whole, and until then each of the many calls of a connection may hold one in memory for as long as it likes.
func (i interceptor) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if _, err := i.gate.authenticate(ctx); err != nil {
		method := info.FullMethodName
		if _, ok := permissions[method]; !ok {
			method = "" // of the stranger's own making
		}
		observer{i.audit.metrics}.stranger()
		i.refuse(caller{address: addressOf(ctx)}, method, status.Convert(err))
		if !i.strangers.Allow() {
			time.Sleep(strangerPause) // nothing more is read from this connection meanwhile
		}
		return ctx, err
	}
	return ctx, nil
}

// refuse records a call that did not come as far as to be one.
func (i interceptor) refuse(who caller, method string, st *status.Status) {
	a := i.audit.of(who, method, "")
	level := slog.LevelInfo
	if i.audit.end(a, nil, st) {
		level = slog.LevelDebug // else strangers fill the disk
	}
	i.log.Log(context.Background(), level, "api call", telemetry.Method, method, telemetry.Peer, who.address,
		telemetry.Code, st.Code().String())
}
