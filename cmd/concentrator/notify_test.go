package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hear opens a socket as systemd has it, and sets the variable that names it.
func hear(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return c
}

// next is the next thing told.
func next(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var b [256]byte
	n, err := c.Read(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestSupervisor(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@concentrator-test-" + strconv.Itoa(os.Getpid())} {
		c := hear(t, name)
		t.Setenv("WATCHDOG_USEC", "20000")
		t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
		s := newSupervisor(slog.New(slog.DiscardHandler))
		if s.every != 10*time.Millisecond || os.Getenv("NOTIFY_SOCKET") != "" || os.Getenv("WATCHDOG_USEC") != "" {
			t.Errorf("every %v; the environment still has it: %v", s.every, os.Environ())
		}
		s.tell("READY=1")
		if got := next(t, c); got != "READY=1" {
			t.Errorf("told %q", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		asked, hang := make(chan struct{}), make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			n := 0
			s.watch(ctx, func() {
				if n++; n == 3 {
					close(asked)
					<-hang
				}
			})
		}()
		for range 2 {
			if got := next(t, c); got != "WATCHDOG=1" {
				t.Errorf("told %q", got)
			}
		}
		<-asked // a daemon that hangs says nothing
		if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 99)); err == nil {
			t.Errorf("%d octets while nothing moves", n)
		}
		close(hang)
		cancel()
		<-ended
	}
}

func TestNoSupervisor(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "20000")
	var log strings.Builder
	s := newSupervisor(slog.New(slog.NewTextHandler(&log, nil)))
	s.tell("READY=1")
	s.watch(t.Context(), func() { t.Error("asked for nobody") }) // and it ends
	if log.Len() > 0 {
		t.Error(log.String())
	}
	// One that is not there is told of in the log; the daemon goes on.
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	newSupervisor(slog.New(slog.NewTextHandler(&log, nil))).tell("READY=1")
	if !strings.Contains(log.String(), "READY=1") {
		t.Errorf("log %q", log.String())
	}
	// A watchdog of another process is not ours.
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "1")
	if s := newSupervisor(slog.Default()); s.every != 0 {
		t.Errorf("every %v", s.every)
	}
}
