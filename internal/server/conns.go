package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"

	"golang.org/x/time/rate"

	"concentrator/internal/telemetry"
)

const (
	maxConns = 512 // of each TCP listener; more are closed at once
	// A handshake costs half a millisecond, and whoever asks for one needs not even finish it. More of them than this wait.
	handshakesPerSecond = 200
	handshakeBurst      = 400
)

func listenTCP(field, address string, metrics *telemetry.Metrics) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &limited{Listener: l, slots: make(chan struct{}, maxConns), metrics: metrics}, nil
}

// limited is a listener with a bounded number of open connections.
type limited struct {
	net.Listener
	slots   chan struct{}
	metrics *telemetry.Metrics
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &limitedConn{Conn: c, slots: l.slots}, nil
		default:
			l.metrics.APIConnectionDropped("connections")
			_ = c.Close() // it may try again
		}
	}
}

type limitedConn struct {
	net.Conn
	once  sync.Once
	slots chan struct{}
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}

// turns has handshakes wait, between the client's first message and all that costs something, for as long as there are too many.
type turns struct {
	limit   *rate.Limiter
	metrics *telemetry.Metrics
}

func newTurns(metrics *telemetry.Metrics) *turns {
	return &turns{limit: rate.NewLimiter(handshakesPerSecond, handshakeBurst), metrics: metrics}
}

// wait returns when a handshake may go on, or with an error when ctx ends before.
func (t *turns) wait(ctx context.Context) error {
	if err := t.limit.Wait(ctx); err != nil {
		t.metrics.APIConnectionDropped("handshakes")
		return fmt.Errorf("too many handshakes: %w", err)
	}
	return nil
}

// next is for tls.Config.GetConfigForClient.
func (t *turns) next(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	return nil, t.wait(hello.Context())
}
