package radius

import (
	"net/netip"
	"sync"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

const (
	// challengeTime is how long a user may take to answer a challenge, where its Session-Timeout does not say.
	challengeTime    = time.Minute
	maxChallengeTime = 10 * time.Minute
	// maxChallenges bounds the challenges that wait for an answer. Beyond that, the one that ends first goes.
	maxChallenges = 4096
)

// challenge is an Access-Challenge for a PAP login: what the user is to enter is the next PAP password (RFC 2865 section 4.4).
type challenge struct {
	conversation
	time time.Duration // to answer it in
}

// challengedPAP refuses the password with the server's question, and keeps the question.
func (a *answer) challengedPAP() {
	wait := challengeTime
	if a.v.SessionTimeout > 0 {
		wait = min(a.v.SessionTimeout, maxChallengeTime)
	}
	a.kept = &challenge{conversation: conversation{server: a.server, state: a.state}, time: wait}
	a.v = authz.Verdict{Deny: tenant.ReasonRadiusReject, Message: a.v.Message, Retry: true}
	a.say("%s asks for a further step (Access-Challenge, as for a one-time password): the user's next password within %s answers it",
		a.server, wait)
}

// asked is who a challenge was for: PAP has no place for a State, so the next password of the same user from the same
// address is taken for the answer.
type asked struct {
	user   string
	client netip.Addr
}

// challenges are those that wait for an answer. It is safe for concurrent use; the zero value is empty.
type challenges struct {
	mu   sync.Mutex
	wait map[asked]waiting
}

type waiting struct {
	conversation
	until time.Time
}

// put keeps c for who, in the place of an older one.
func (cs *challenges) put(who asked, c *challenge) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.wait == nil {
		cs.wait = make(map[asked]waiting)
	}
	if len(cs.wait) >= maxChallenges {
		cs.makeRoom()
	}
	cs.wait[who] = waiting{c.conversation, time.Now().Add(c.time)}
}

// makeRoom takes out all that are over, or else the one that ends first. cs.mu is held.
func (cs *challenges) makeRoom() {
	var first asked
	now, end := time.Now(), time.Time{}
	for who, w := range cs.wait {
		if now.After(w.until) {
			delete(cs.wait, who)
		} else if end.IsZero() || w.until.Before(end) {
			first, end = who, w.until
		}
	}
	if len(cs.wait) >= maxChallenges {
		delete(cs.wait, first)
	}
}

// take returns the conversation that a password of who's answers, if there is one. It can be answered once.
func (cs *challenges) take(who asked) (conversation, bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	w, found := cs.wait[who]
	delete(cs.wait, who)
	return w.conversation, found && !time.Now().After(w.until)
}
