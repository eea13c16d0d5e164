package top

import (
	"time"

	pb "concentrator/api/gen/concentrator/v1"
)

// pair is the last sample and the one before it; before is nil at first and after a gap.
type pair struct {
	last, before *sample
}

// seconds is the time between the two; 0 if there is only one.
func (p pair) seconds() float64 {
	if p.last == nil || p.before == nil {
		return 0
	}
	return p.last.at.Sub(p.before.at).Seconds()
}

// rate is how much a counter grew in a second. One that went back began anew.
func (p pair) rate(now, then int64) float64 {
	s := p.seconds()
	if s <= 0 || now < then {
		return 0
	}
	return float64(now-then) / s
}

// traffic is a session with its rates, in bits a second.
type traffic struct {
	*pb.Session
	in, out float64
}

// traffic pairs the sessions of both samples by name. A session that is new has its whole counters as growth.
func (p pair) traffic() []traffic {
	if p.last == nil {
		return nil
	}
	then := make(map[string]*pb.Session)
	if p.before != nil {
		for _, s := range p.before.sessions {
			then[s.GetName()] = s
		}
	}
	all := make([]traffic, len(p.last.sessions))
	for i, s := range p.last.sessions {
		old := then[s.GetName()]
		all[i] = traffic{
			Session: s, in: 8 * p.rate(s.GetInBytes(), old.GetInBytes()), out: 8 * p.rate(s.GetOutBytes(), old.GetOutBytes()),
		}
	}
	return all
}

// logins is how many log-ins were accepted and refused in a second. For a caller that may not see the instance they are
// counted in the list of attempts, which ends at mostLogins.
func (p pair) logins() (accepted, refused float64) {
	if p.last == nil || p.before == nil {
		return 0, 0
	}
	if now, then := p.last.instance, p.before.instance; now != nil && then != nil {
		return p.rate(now.GetLoginsAccepted(), then.GetLoginsAccepted()), p.rate(now.GetLoginsRefused(), then.GetLoginsRefused())
	}
	var yes, no int64
	seen := make(map[string]bool)
	for _, l := range p.before.logins {
		seen[l.GetName()] = true
	}
	for _, l := range p.last.logins {
		switch {
		case seen[l.GetName()]:
		case l.GetOutcome() == pb.LoginAttempt_ACCEPTED:
			yes++
		default:
			no++
		}
	}
	return p.rate(yes, 0), p.rate(no, 0)
}

// drop is one reason for which packets are dropped.
type drop struct {
	reason string
	total  int64
	rate   float64
	shards []int64 // total by shard; none for a caller that may not see the instance
}

// drops sums them by reason: over the shards, or over the sessions where the caller may see only these.
func (p pair) drops() []drop {
	now, then := p.last.drops(), p.before.drops()
	var all []drop
	for reason, total := range now {
		d := drop{reason: reason, total: total, rate: p.rate(total, then[reason])}
		for _, s := range p.last.instance.GetShards() {
			d.shards = append(d.shards, s.GetDrops()[reason])
		}
		all = append(all, d)
	}
	return all
}

func (s *sample) drops() map[string]int64 {
	sum := make(map[string]int64)
	if s == nil {
		return sum
	}
	add := func(of map[string]int64) {
		for reason, n := range of {
			sum[reason] += n
		}
	}
	if s.instance != nil {
		for _, shard := range s.instance.GetShards() {
			add(shard.GetDrops())
		}
		return sum
	}
	for _, session := range s.sessions {
		add(session.GetDrops())
	}
	return sum
}

// shard is a shard with its rates.
type shard struct {
	*pb.Instance_Shard
	in, out, drops, cpu float64 // packets a second; cpu as a share of a core
	dropped             int64
}

func (p pair) shards() []shard {
	if p.last == nil {
		return nil
	}
	then := make(map[int32]*pb.Instance_Shard)
	if p.before != nil {
		for _, s := range p.before.instance.GetShards() {
			then[s.GetShard()] = s
		}
	}
	sum := func(of map[string]int64) (n int64) {
		for _, v := range of {
			n += v
		}
		return n
	}
	var all []shard
	for _, s := range p.last.instance.GetShards() {
		old := then[s.GetShard()]
		all = append(all, shard{
			Instance_Shard: s, in: p.rate(s.GetInPackets(), old.GetInPackets()), out: p.rate(s.GetOutPackets(), old.GetOutPackets()),
			drops: p.rate(sum(s.GetDrops()), sum(old.GetDrops())), dropped: sum(s.GetDrops()),
			cpu: p.rate(int64(s.GetCpuTime().AsDuration()), int64(old.GetCpuTime().AsDuration())) / float64(time.Second),
		})
	}
	return all
}

// before finds the counterpart of something in the sample before, by name.
func before[T interface{ GetName() string }](list []T, name string) (found T) {
	for _, x := range list {
		if x.GetName() == name {
			return x
		}
	}
	return found
}
