package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"concentrator/internal/telemetry"
)

// supervisor is systemd, or whoever else has started the daemon with a NOTIFY_SOCKET and wants to hear how it is (sd_notify(3)).
// The zero value is nobody.
type supervisor struct {
	socket string
	every  time.Duration // how often it wants to hear that we live; 0: never
	log    *slog.Logger
}

// newSupervisor reads who has started us, and takes that out of the environment.
func newSupervisor(log *slog.Logger) supervisor {
	s := supervisor{socket: os.Getenv("NOTIFY_SOCKET"), log: log}
	usec, err := strconv.ParseUint(os.Getenv("WATCHDOG_USEC"), 10, 48)
	if pid := os.Getenv("WATCHDOG_PID"); err == nil && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.every = time.Duration(usec) * time.Microsecond / 2
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name) // only a name that can't be one fails
	}
	return s
}

// tell sends a state, such as READY=1.
func (s supervisor) tell(state string) {
	if s.socket == "" {
		return
	}
	// A name that begins with @ is in the abstract namespace, for systemd as for Go.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // only a closed one has none
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		s.log.Warn("supervisor not told", telemetry.Detail, state, telemetry.Error, err)
	}
}

// watch says that the daemon lives, as often as is wanted, until ctx ends: each time that alive has come back. A daemon that
// hangs is so ended, and started anew.
func (s supervisor) watch(ctx context.Context, alive func()) {
	if s.socket == "" || s.every <= 0 {
		return
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		alive()
		s.tell("WATCHDOG=1")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
