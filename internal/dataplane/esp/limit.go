package esp

import "math"

// rekeyAt is the sequence number at which an SA without extended numbers should be replaced, three quarters of them: what
// is left lasts for minutes at any rate.
const rekeyAt = 3 << 30

// limits counts an SA's use.
type limits struct {
	// bytes have been encrypted or decrypted, packets have been counted by sequence number, the highest.
	bytes, packets                                 uint64
	softPackets, hardPackets, softBytes, hardBytes uint64
}

func newLimits(p *Params) limits {
	l := limits{softPackets: p.SoftPackets, hardPackets: p.HardPackets, softBytes: p.SoftBytes, hardBytes: p.HardBytes}
	for _, v := range []*uint64{&l.softPackets, &l.hardPackets, &l.softBytes, &l.hardBytes} {
		if *v == 0 {
			*v = math.MaxUint64
		}
	}
	if !p.ESN {
		l.softPackets = min(l.softPackets, rekeyAt)
		l.hardPackets = min(l.hardPackets, math.MaxUint32)
	}
	return l
}

// Bytes is how many octets have been encrypted or decrypted, padding and trailers included.
func (l *limits) Bytes() uint64 { return l.bytes }

// Packets is the highest sequence number used so far.
func (l *limits) Packets() uint64 { return l.packets }

// PastSoft reports whether the SA should be replaced: a soft limit is reached, or most sequence numbers are used. Once
// true it stays so.
func (l *limits) PastSoft() bool { return l.packets >= l.softPackets || l.bytes >= l.softBytes }

// PastHard reports whether the SA can't be used any more: a hard limit is reached, the sequence numbers are used up
// (they never start again), or it is closed.
func (l *limits) PastHard() bool { return l.packets >= l.hardPackets || l.bytes >= l.hardBytes }

// exhaust reaches every limit at once.
func (l *limits) exhaust() { l.softBytes, l.hardBytes = 0, 0 }
