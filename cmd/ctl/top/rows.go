package top

import (
	"fmt"
	"strings"
	"time"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func sessionRows(p pair, now time.Time) (rows []row) {
	for _, t := range p.traffic() {
		address := t.GetAddress()
		if t.GetState() != pb.Session_OPEN || address == "" {
			address = t.GetState().String()
		}
		var drops int64
		for _, n := range t.GetDrops() {
			drops += n
		}
		total := t.GetInBytes() + t.GetOutBytes()
		r := row{
			key: t.GetName(),
			cells: []string{
				t.GetUser(), segment(t.GetName(), 1), t.GetProtocol().String(), address, bits(t.in), bits(t.out),
				age(now, t.GetStartTime().AsTime()), env.Octets(float64(total)), t.GetClientAddress(), t.GetCipher(), fmt.Sprint(drops), segment(t.GetName(), 3),
			},
			order: []any{t.in + t.out, total, t.GetUser(), segment(t.GetName(), 1), t.GetStartTime().AsTime().UnixNano(), drops},
		}
		if t.in+t.out > 0 {
			r.mood = good
		}
		rows = append(rows, r)
	}
	return rows
}

func shardRows(p pair, _ time.Time) (rows []row) {
	for _, s := range p.shards() {
		r := row{
			key: fmt.Sprint(s.GetShard()),
			cells: []string{
				fmt.Sprint(s.GetShard()), fmt.Sprint(s.GetSessions()), fmt.Sprintf("%.0f %%", 100*s.cpu), number(s.in),
				number(s.out), number(s.drops), fmt.Sprint(s.dropped), fmt.Sprint(s.GetWrongShard()),
			},
			order: []any{int64(s.GetShard()), s.cpu, s.in + s.out, s.drops},
		}
		if s.cpu > 0.9 {
			r.mood = bad
		}
		rows = append(rows, r)
	}
	return rows
}

func dropRows(p pair, _ time.Time) (rows []row) {
	for _, d := range p.drops() {
		r := row{
			key: d.reason, cells: []string{d.reason, number(d.rate), fmt.Sprint(d.total), strings.Trim(fmt.Sprint(d.shards), "[]")},
			order: []any{d.rate, d.total, d.reason},
		}
		if d.rate > 0 {
			r.mood = bad
		}
		rows = append(rows, r)
	}
	return rows
}

var healthMoods = map[pb.RadiusServer_Health_State]mood{
	pb.RadiusServer_Health_ALIVE: good, pb.RadiusServer_Health_DEAD: bad,
}

func serverRows(p pair, _ time.Time) (rows []row) {
	if p.last == nil {
		return nil
	}
	for _, s := range p.last.servers {
		var old *pb.RadiusServer
		if p.before != nil {
			old = before(p.before.servers, s.GetName())
		}
		h := s.GetHealth()
		r := row{
			key: s.GetName(),
			cells: []string{
				segment(s.GetName(), 1), segment(s.GetName(), 3), state(s),
				h.GetRoundTripTime().AsDuration().Round(100 * time.Microsecond).String(),
				number(p.rate(h.GetRequests(), old.GetHealth().GetRequests())),
				number(p.rate(h.GetTimeouts(), old.GetHealth().GetTimeouts())), s.GetAddress(), h.GetLastError(),
			},
			order: []any{-int64(h.GetState()), s.GetName(), h.GetRequests(), int64(h.GetRoundTripTime().AsDuration())},
		}
		r.mood = healthMoods[h.GetState()]
		rows = append(rows, r)
	}
	return rows
}

// state is a server's, as people say it; one that was never asked has none.
func state(s *pb.RadiusServer) string {
	if st := s.GetHealth().GetState(); st != pb.RadiusServer_Health_STATE_UNSPECIFIED {
		return st.String()
	}
	return "-"
}

func queueRows(p pair, now time.Time) (rows []row) {
	if p.last == nil {
		return nil
	}
	for _, q := range p.last.queues {
		var old *pb.AccountingQueue
		if p.before != nil {
			old = before(p.before.queues, q.GetName())
		}
		oldest := "-"
		if q.GetOldestTime() != nil {
			oldest = age(now, q.GetOldestTime().AsTime())
		}
		r := row{
			key: q.GetName(),
			cells: []string{
				segment(q.GetName(), 1), fmt.Sprint(q.GetUnsent()), oldest, fmt.Sprint(q.GetLiveSessions()),
				number(p.rate(q.GetSent(), old.GetSent())), fmt.Sprint(q.GetFailures()), fmt.Sprint(q.GetDropped()), q.GetLastError(),
			},
			order: []any{q.GetUnsent(), q.GetName(), q.GetFailures()},
		}
		if old != nil && q.GetFailures() > old.GetFailures() {
			r.mood = bad
		}
		rows = append(rows, r)
	}
	return rows
}

func loginRows(p pair, _ time.Time) (rows []row) {
	if p.last == nil {
		return nil
	}
	for _, l := range p.last.logins {
		tenant, reason := "-", "-"
		if strings.HasPrefix(l.GetName(), "tenants/") {
			tenant = segment(l.GetName(), 1)
		}
		if l.GetReason() != pb.LoginAttempt_REASON_UNSPECIFIED {
			reason = l.GetReason().String()
		}
		r := row{
			key: l.GetName(),
			cells: []string{
				l.GetTime().AsTime().Local().Format(time.TimeOnly), tenant, l.GetUser(), l.GetOutcome().String(), reason,
				l.GetStage().String(), l.GetClientAddress(), l.GetDetail(),
			},
			order: []any{l.GetTime().AsTime().UnixNano(), l.GetUser(), tenant, int64(l.GetOutcome())},
		}
		if l.GetOutcome() == pb.LoginAttempt_REFUSED {
			r.mood = bad
		}
		rows = append(rows, r)
	}
	return rows
}
