//go:build interop

package fault

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"net"
	"testing"

	"concentrator/test/reliability/lab"
)

const radiusSecret = "lab-radius-secret-0123"

// startRadius starts a server in far that answers every Access-Request and Status-Server with an Access-Accept (RFC 2865 section
// 4.2, RFC 5997), whatever is in it. Its end is Close.
func startRadius(t testing.TB, l *lab.Lab) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	l.In(t, "far", func() (err error) {
		conn, err = net.ListenPacket("udp4", lab.FarHost+":1812")
		return err
	})
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n >= 20 {
				_, _ = conn.WriteTo(accept(buf[:n]), from)
			}
		}
	}()
	return conn
}

// accept is an Access-Accept with nothing but a Message-Authenticator (RFC 3579 section 3.2).
func accept(request []byte) []byte {
	const accessAccept, messageAuthenticator = 2, 80
	b := make([]byte, 20+18)
	b[0], b[1] = accessAccept, request[1]
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[4:20], request[4:20])
	b[20], b[21] = messageAuthenticator, 18
	mac := hmac.New(md5.New, []byte(radiusSecret))
	mac.Write(b)
	copy(b[22:], mac.Sum(nil))
	sum := md5.Sum(append(b[:len(b):len(b)], radiusSecret...))
	copy(b[4:20], sum[:])
	return b
}
