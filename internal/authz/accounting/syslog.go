package accounting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	defaultSyslog = "/dev/log"
	// syslogTimeout bounds the wait for a syslog daemon that reads nothing.
	syslogTimeout = 5 * time.Second
	// syslogPriority is facility daemon (3), severity informational (6), RFC 5424 section 6.2.1.
	syslogPriority = 3<<3 | 6
	// syslogTime is RFC 5424 section 6.2.3: no more than microseconds.
	syslogTime = "2006-01-02T15:04:05.000000Z07:00"
)

// Syslog is a Sink that gives records to the local syslog daemon, one RFC 5424 message each: MSGID is ACCOUNTING, the time
// is when it happened, and the text is the JSON object that File writes.
//
// It acknowledges when the daemon's socket has taken the datagram. What the daemon does with it then nobody says: who bills
// from these records should use a File.
type Syslog struct {
	socket, host string

	mu   sync.Mutex // a write may take syslogTimeout
	conn net.Conn   // nil: to be dialled
}

var _ Sink = (*Syslog)(nil)

// NewSyslog returns a Syslog for the Unix datagram socket at the path socket; empty: /dev/log. It dials when the first record
// comes, and anew when the daemon has gone.
func NewSyslog(socket string) *Syslog {
	host, err := os.Hostname()
	if err != nil || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) {
		host = "-"
	}
	return &Syslog{socket: cmp.Or(socket, defaultSyslog), host: host}
}

// Account implements Sink.
func (s *Syslog) Account(ctx context.Context, r Record) error {
	message := fmt.Appendf(nil, "<%d>1 %s %s concentrator %d ACCOUNTING - ",
		syslogPriority, r.Time.UTC().Format(syslogTime), s.host, os.Getpid())
	message, err := appendLine(message, &r)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(syslogTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.conn != nil
	if err = s.send(ctx, message, deadline); err != nil && old && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = s.send(ctx, message, deadline) // the daemon may have been started anew
	}
	return err
}

// send writes one message. The caller holds mu.
func (s *Syslog) send(ctx context.Context, message []byte, deadline time.Time) error {
	if s.conn == nil {
		conn, err := (&net.Dialer{Deadline: deadline}).DialContext(ctx, "unixgram", s.socket)
		if err != nil {
			return fmt.Errorf("syslog: %w", err)
		}
		s.conn = conn
	}
	err := s.conn.SetWriteDeadline(deadline)
	if err == nil {
		_, err = s.conn.Write(message)
	}
	if err != nil {
		_ = s.conn.Close()
		s.conn = nil
		return fmt.Errorf("syslog: %w", err)
	}
	return nil
}

// Close closes the connection. A later Account dials anew.
func (s *Syslog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}
