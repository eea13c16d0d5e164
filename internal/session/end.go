package session

import (
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// endBy carries out an order from another goroutine.
func (s *session) endBy(now time.Time, f forcedEnd) {
	e := ending{s.reached, f.reason, f.detail}
	if f.polite && !s.terminated {
		s.terminate(now, e)
		return
	}
	if s.terminated { // the goodbye under way has named the reason already
		e = s.end
	}
	s.stop(e)
}

// terminate says goodbye to the client: LCP Terminate-Request, then Finished by its acknowledgement or the timeout.
func (s *session) terminate(now time.Time, e ending) {
	if s.finished || s.terminated {
		return
	}
	s.terminated, s.end = true, e
	s.setupBy = now.Add(terminateTimeout)
	s.setState(StateClosing)
	s.link.Terminate(now, e.reason, e.detail)
}

// stop ends the run loop. The first reason that was named stands.
func (s *session) stop(e ending) {
	if s.finished {
		return
	}
	s.finished = true
	if !s.terminated {
		s.end = e
	}
}

// teardown is the way down, from whatever state, exactly once: the path of the login backwards. Where a step panics the others
// are taken even so, so that nothing that was held stays held.
func (s *session) teardown() {
	s.cancel()
	var counters dataplane.Counters
	for _, step := range []func(){
		func() { s.setState(StateClosing) },
		func() { counters = s.call.Close() }, // out of the shard, the steering map and the routes
		func() { s.count(counters) },
		func() { s.endAccount(counters) },
		func() { s.carrier.tunnel.Disconnect(s.end.reason) },
		s.closeMailbox,
		func() { s.leaveConversation(s.end.reason) },
		func() {
			if s.verdict != nil {
				s.verdict.drop()
			}
		},
		s.wipe,
		func() { s.m.slots.release(s.ticket) },
		func() { s.m.forget(s) },
		s.sayGoodbye,
		s.unlist,
	} {
		s.m.cfg.Faults.Guard(s.log, "sessions/"+s.id, step)
	}
	close(s.done)
}

// wipe clears what has come of a login and nobody has taken any more.
func (s *session) wipe() {
	s.link.Wipe()
	for _, e := range s.early {
		e.wipe()
	}
	for {
		select {
		case e := <-s.inbox:
			e.wipe()
		default:
			return
		}
	}
}

// sayGoodbye tells log and metrics of the end.
func (s *session) sayGoodbye() {
	i := s.snapshot()
	log := s.log.With(telemetry.Stage, s.end.stage, telemetry.Reason, s.end.reason, telemetry.Detail, s.end.detail)
	if s.opened {
		s.m.cfg.Metrics.Ended(i.Tenant, string(i.Protocol), string(s.end.reason))
		log.Info("session closed", telemetry.User, i.User, telemetry.Framed, i.Address,
			telemetry.InBytes, i.InBytes, telemetry.OutBytes, i.OutBytes, telemetry.Duration, time.Since(i.StartTime).Round(time.Millisecond).String())
		return
	}
	s.refuse(s.end.stage, s.end.reason, s.end.detail)
	s.traced.End(i.Tenant, string(OutcomeRefused), string(s.end.stage), string(s.end.reason))
	log.Debug("call ended")
}

// refuse records one refused attempt, once: a wrong password that also ended the call is one attempt, not two.
func (s *session) refuse(stage tenant.Stage, reason tenant.Reason, detail string) {
	if s.recorded {
		return
	}
	s.recorded = true
	s.traced.Refused(string(stage), string(reason))
	i := s.snapshot()
	s.m.recordLogin(LoginAttempt{
		Tenant: i.Tenant, Time: time.Now(), Protocol: i.Protocol, ClientAddress: i.ClientAddress, User: i.User,
		Stage: stage, Outcome: OutcomeRefused, Reason: reason, Detail: detail, Trace: s.lastTrace(),
	})
}
