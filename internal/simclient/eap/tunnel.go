package eap

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// msgLimit bounds what the server may send at once, in octets: a whole flight of TLS, and what there is inside.
const msgLimit = 64 << 10

// Key material of RFC 5216 section 2.3: MSK and EMSK, in octets.
const (
	mskLen         = 64
	keyMaterialLen = 2 * mskLen
)

// Labels of the key exporter.
const (
	labelTLS12 = "client EAP encryption"         // RFC 5216 section 2.3, and PEAPv0
	labelTLS13 = "EXPORTER_EAP_TLS_Key_Material" // RFC 9190 section 2.3, RFC 9427 section 2.1
)

var (
	// errClosed ends the handshake of a tunnel that was closed.
	errClosed = errors.New("eap: closed")
	// errTooMuch is for a server that sends more inside than anybody needs.
	errTooMuch = errors.New("eap: too much inside TLS")
)

// tunnel is a TLS connection whose octets are carried by somebody else. crypto/tls can't leave a handshake half way, so a
// goroutine runs it; step gives it the server's octets and waits until it wants more. So only one of the two ever runs,
// and needs no lock. close must follow.
type tunnel struct {
	conn *tls.Conn
	wake chan struct{} // the runner may go on; closed: it must end
	idle chan struct{} // the runner wants more of the server's octets; closed: it has ended

	in, out     []byte // the server's octets, and ours
	plain       []byte // what the server has said inside
	established bool   // the handshake is over
	err         error  // why the runner has ended
	closed      bool
}

// newTunnel prepares a handshake. The first step begins it.
func newTunnel(cfg *tls.Config) *tunnel {
	t := &tunnel{wake: make(chan struct{}), idle: make(chan struct{})}
	t.conn = tls.Client((*octets)(t), cfg)
	go t.run()
	return t
}

// run is the goroutine: the handshake, then whatever the server says.
func (t *tunnel) run() {
	defer close(t.idle)
	if _, more := <-t.wake; !more {
		return
	}
	if t.err = t.conn.Handshake(); t.err != nil {
		return
	}
	t.established = true
	b := make([]byte, 4096)
	for {
		n, err := t.conn.Read(b)
		t.plain = append(t.plain, b[:n]...)
		if err == nil && len(t.plain) > msgLimit {
			err = errTooMuch
		}
		if err != nil {
			t.err = err
			return
		}
	}
}

// step gives TLS what the server has sent and returns what we have to send. An error is TLS's; out may hold an alert then.
func (t *tunnel) step(in []byte) (out []byte, err error) {
	t.in = append(t.in, in...)
	select {
	case t.wake <- struct{}{}:
		<-t.idle
	case <-t.idle: // it has ended before
	}
	return t.take(), t.err
}

// write says something inside and returns the octets that carry it. The handshake must be over.
func (t *tunnel) write(b []byte) (out []byte, err error) {
	if _, err := t.conn.Write(b); err != nil {
		return nil, fmt.Errorf("eap: %w", err)
	}
	return t.take(), nil
}

func (t *tunnel) take() []byte {
	out := t.out
	t.out = nil
	return out
}

// said returns what the server has said inside since the last time.
func (t *tunnel) said() []byte {
	b := t.plain
	t.plain = nil
	return b
}

// export derives MSK and EMSK; typ is the method's type. The handshake must be over.
func (t *tunnel) export(typ byte) ([]byte, error) {
	st := t.conn.ConnectionState()
	var key []byte
	var err error
	if st.Version == tls.VersionTLS13 {
		key, err = st.ExportKeyingMaterial(labelTLS13, []byte{typ}, keyMaterialLen)
	} else {
		key, err = st.ExportKeyingMaterial(labelTLS12, nil, keyMaterialLen)
	}
	if err != nil {
		return nil, fmt.Errorf("eap: derive keys: %w", err)
	}
	return key, nil
}

// tls13 says whether TLS 1.3 was agreed on. The handshake must be over.
func (t *tunnel) tls13() bool { return t.conn.ConnectionState().Version == tls.VersionTLS13 }

// close ends the goroutine, and waits for it.
func (t *tunnel) close() {
	if t.closed {
		return
	}
	t.closed = true
	close(t.wake)
	for range t.idle { // until it is closed
	}
}

// octets is the connection below TLS, as its runner sees it. Nothing blocks but Read.
type octets tunnel

// Read implements net.Conn.
func (o *octets) Read(b []byte) (int, error) {
	for len(o.in) == 0 {
		o.idle <- struct{}{}
		if _, more := <-o.wake; !more {
			return 0, errClosed
		}
	}
	n := copy(b, o.in)
	o.in = o.in[n:]
	return n, nil
}

// Write implements net.Conn.
func (o *octets) Write(b []byte) (int, error) {
	o.out = append(o.out, b...)
	return len(b), nil
}

// Close implements net.Conn: who owns the tunnel does that.
func (*octets) Close() error { return nil }

// LocalAddr implements net.Conn. There are no addresses.
func (*octets) LocalAddr() net.Addr { return nil }

// RemoteAddr implements net.Conn.
func (*octets) RemoteAddr() net.Addr { return nil }

// SetDeadline implements net.Conn. There is no time.
func (*octets) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (*octets) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (*octets) SetWriteDeadline(time.Time) error { return nil }
