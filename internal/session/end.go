package session

import (
	"time"

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

// teardown is the way down, from whatever state, exactly once: the path of the login backwards.
func (s *session) teardown() {
	s.cancel()
	s.setState(StateClosing)
	counters := s.call.Close() // out of the shard, the steering map and the routes
	s.count(counters)
	s.endAccount(counters)
	s.carrier.tunnel.Disconnect(s.end.reason)
	s.closeMailbox()
	s.leaveConversation(s.end.reason)
	if s.verdict != nil {
		s.verdict.release()
	}
	s.m.slots.release(s.ticket)
	s.m.forget(s)

	i := s.snapshot()
	log := s.log.With(telemetry.Stage, s.end.stage, telemetry.Reason, s.end.reason, telemetry.Detail, s.end.detail)
	if s.opened {
		s.m.cfg.Metrics.Ended(i.Tenant, string(i.Protocol), string(s.end.reason))
		log.Info("session closed", telemetry.User, i.User, telemetry.Framed, i.Address,
			telemetry.InBytes, i.InBytes, telemetry.OutBytes, i.OutBytes, telemetry.Duration, time.Since(i.StartTime).Round(time.Millisecond).String())
	} else {
		s.refuse(s.end.stage, s.end.reason, s.end.detail)
		s.traced.End(i.Tenant, string(OutcomeRefused), string(s.end.stage), string(s.end.reason))
		log.Debug("call ended")
	}
	s.unlist()
	close(s.done)
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
