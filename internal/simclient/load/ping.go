package load

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	// pingTick is how often pings that are due are sent.
	pingTick = 10 * time.Millisecond
	// pingData is what an echo request carries, in octets.
	pingData = 56

	icmpProtocol    = 1
	icmpHeaderLen   = 8
	icmpEchoRequest = 8
	icmpEchoReply   = 0
)

// ping sends echo requests through all sessions that stand, one after the other, until quit is closed.
func (l *Load) ping(quit <-chan struct{}, st Standing) {
	ticker := time.NewTicker(pingTick)
	defer ticker.Stop()
	began, turns := time.Now(), 0
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		due := int(time.Since(began).Seconds() * st.Ping * float64(len(l.slots)))
		for ; turns < due; turns++ {
			l.pingSlot(turns%len(l.slots), uint16(turns/len(l.slots)), st.PingTo)
		}
	}
}

// pingSlot sends an echo request through a session, if there is one and it stands.
func (l *Load) pingSlot(i int, seq uint16, to netip.Addr) {
	l.mu.Lock()
	s := l.slots[i].session
	l.mu.Unlock()
	if s == nil {
		return
	}
	n := s.Network()
	if !to.IsValid() {
		to = n.Server
	}
	if !n.Address.Is4() || !to.Is4() || s.Send(appendEcho(nil, n.Address, to, uint16(i), seq)) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Pings.Sent++
}

// appendEcho appends an IPv4 packet with an echo request.
func appendEcho(b []byte, src, dst netip.Addr, id, seq uint16) []byte {
	start := len(b)
	b = appendIPv4(b, src, dst, icmpProtocol, icmpHeaderLen+pingData)
	binary.BigEndian.PutUint16(b[start+10:], internetChecksum(b[start:]))
	start = len(b)
	b = append(b, icmpEchoRequest, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, seq)
	for i := range pingData {
		b = append(b, byte(i))
	}
	binary.BigEndian.PutUint16(b[start+2:], internetChecksum(b[start:]))
	return b
}

// isEchoReply says whether an inner packet answers a ping.
func isEchoReply(packet []byte) bool {
	_, _, icmp, ok := parseIPv4(packet)
	return ok && packet[9] == icmpProtocol && len(icmp) == icmpHeaderLen+pingData && icmp[0] == icmpEchoReply
}

// internetChecksum is that of RFC 1071, of an even number of octets whose checksum field is zero.
func internetChecksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
