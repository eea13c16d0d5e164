package policy

const (
	// fairWindow is over what time a shard's load and its sessions' demands are measured, ns.
	fairWindow = 2_000_000
	// longestStep bounds how long one crowded read counts as work, ns.
	longestStep = 500_000
	// alone is how long a session has to be the only one until it is taken to be alone, ns.
	alone = 1_000_000_000
	// maxDemand is the largest number of packets a window that is told from a larger one.
	maxDemand = 4096
	// onePacket is what a packet counts in levels and debts, which have fractions.
	onePacket = 1 << 16
	// burstAllowed is what a session may send at once over its level, besides the level of a quarter of a window: several
	// trains of segments, or sessions that ask for the same in the long run would be refused for what they ask at once.
	burstAllowed = 256 * onePacket
	// calmWindows is after how many windows without overload nothing is limited any more; one in which nothing was refused
	// counts as three.
	calmWindows = 10

	unlimited = 0
)

// Fair shares an overloaded shard among its sessions: it refuses packets before they are decrypted or encrypted, while that
// still saves something. It has no queues: the sockets' buffers are the queue, and they must not stay full.
//
// A shard is overloaded when it has spent at least half of a window of 2 ms on the packets of crowded reads, and sessions have
// sent most of them. Then it lets pass fewer packets in the next window, and fewer again until reads don't come back
// crowded. A session's level is its max-min fair share of that number, among the demands of the last window:
// who asks for most loses its excess, who asks for less than the level loses nothing. The level is never less than 5/4 of an
// equal share of what the shard has done in a window since the overload began, so where all ask for the same nobody is
// refused, and the sockets lose what is too much. Without overload the number grows, and after ten windows, or four without
// a refusal, there is no limit.
//
// A session that has been the only one for a second is not limited. Packets are counted, not octets, and by what they claim
// to be: who forges a session's outer addresses and IDs takes that session's share, but no other's.
//
// A Fair belongs to one shard and one direction. The zero value is ready. A packet costs the same however many sessions
// there are, and nothing allocates. Times are nanoseconds of a monotonic clock that doesn't begin below 0.
type Fair struct {
	window  uint32 // number of the window, from 1
	started int64  // when it began
	ends    int64
	busy    int64 // how much of it went into packets of crowded reads, ns
	read    int   // packets read in it
	asked   int   // packets asked about in it
	passed  int   // packets let pass in it

	last        int64 // when the last read came back
	lastCrowded bool

	// reached[k] is how many sessions have asked for more than k packets in this window, so that the sum of the first L is
	// what a level of L packets would let pass.
	reached [maxDemand]uint16
	most    int // how many of reached are in use

	previous   uint32 // the last window in which somebody asked
	previousAt int64  // when it ended
	together   int64  // until when nobody is alone

	limiting bool
	began    int   // the most packets that passed in a window since the overload was found
	target   int   // packets that shall pass in this window
	calm     int   // windows since the overload ended
	level    int64 // what a session may send in a window, packets times onePacket; unlimited
}

// Share is one session's, or one peer's, in one direction of its shard. The zero value is ready. It belongs to one Fair.
type Share struct {
	window uint32 // the last one in which it asked
	asked  uint16 // packets in that window, up to maxDemand
	debt   int64  // what was let pass less the level's worth of the time, packets times onePacket
	at     int64  // when debt was right
}

// Batch tells that a read came back now with n packets. crowded says that so much more waits where it came from that packets
// may soon be lost there. A full read alone doesn't say that: peers that wait for answers before they go on (TCP) can keep a
// shard busy, its reads full, for ever, and lose nothing by it. What passes until the next read is taken for the work on
// those packets. Reads at the same time are one: crowded if one of them was.
func (f *Fair) Batch(n int, crowded bool, now int64) {
	if f.lastCrowded {
		f.busy += min(max(now-f.last, 0), longestStep)
		crowded = crowded || now == f.last
	}
	f.last, f.lastCrowded = now, crowded
	if now >= f.ends {
		f.next(now)
	}
	f.read += n
}

// Admit reports whether a packet of s that has come now may go on. It is to be asked about every packet that has found its
// session, before anything costly is done to it.
func (f *Fair) Admit(s *Share, now int64) bool {
	if now >= f.ends {
		f.next(now)
	}
	if s.window != f.window {
		if f.reached[0] > 0 || s.window != f.previous && now-f.previousAt < alone {
			f.together = now + alone
		}
		s.window, s.asked = f.window, 0
	}
	if s.asked < maxDemand {
		f.reached[s.asked]++
		s.asked++
		f.most = max(f.most, int(s.asked))
	}
	f.asked++
	if f.level == unlimited {
		s.debt = 0
	} else if !s.charge(f.level, now) {
		return false
	}
	f.passed++
	return true
}

// charge takes one packet off what a level leaves s; false if nothing is left.
func (s *Share) charge(level, now int64) bool {
	if s.at != now {
		s.debt = max(0, s.debt-level*min(max(now-s.at, 0), alone)/fairWindow)
		s.at = now
	}
	if s.debt >= level/4+burstAllowed {
		return false
	}
	s.debt += onePacket
	return true
}

// next ends the window and begins one.
func (f *Fair) next(now int64) {
	took := now - f.started
	overloaded := f.busy > 0 && f.busy >= took/2 && f.asked >= f.read/2
	f.judge(overloaded, took)
	f.level = unlimited
	if f.limiting && now < f.together {
		f.level = f.fairLevel()
	}
	if f.most > 0 {
		f.previous, f.previousAt = f.window, now
	}
	clear(f.reached[:f.most])
	f.most, f.busy, f.read, f.asked, f.passed = 0, 0, 0, 0, 0
	f.window++
	f.started, f.ends = now, now+fairWindow
}

// judge sets the target of the next window by whether the last one, which took so many ns, was overloaded.
func (f *Fair) judge(overloaded bool, took int64) {
	switch {
	case overloaded && !f.limiting:
		f.limiting, f.calm = true, 0
		f.began = f.passed
		f.target = f.passed - f.passed/8
	case overloaded:
		f.calm = 0
		f.began = max(f.began, f.passed)
		f.target = max(f.target-f.target/8, f.began/2)
	case f.limiting:
		f.target = min(f.target+f.target/16, 2*f.began)
		f.calm++
		if f.passed == f.asked {
			f.calm += 2
		}
		f.limiting = f.calm < calmWindows && took < calmWindows*fairWindow
	}
}

// fairLevel is the max-min fair share of the target among the demands of the last window; unlimited if all fit.
func (f *Fair) fairLevel() int64 {
	left := f.target
	for k, sessions := range f.reached[:f.most] {
		if int(sessions) > left {
			return max(int64(k)*onePacket+int64(left)*onePacket/int64(sessions), f.leastLevel())
		}
		left -= int(sessions)
	}
	if f.most == maxDemand {
		return maxDemand * onePacket
	}
	return unlimited
}

// leastLevel is 5/4 of an equal share of what has passed in a window since the overload began, at least one packet; two
// sessions share even if one has been silent for a window.
func (f *Fair) leastLevel() int64 {
	return max(onePacket, int64(f.began)*onePacket*5/4/int64(max(f.reached[0], 2)))
}
