package radius

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

func TestChallengesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs challenges
		who := asked{"alice", netip.MustParseAddr("198.51.100.7")}
		put := func(state byte, wait time.Duration) {
			cs.put(who, &challenge{conversation{server: "one", state: []byte{state}}, wait})
		}
		put(1, time.Minute)
		put(2, time.Minute)
		time.Sleep(time.Minute)
		if at, ok := cs.take(who); !ok || at.server != "one" || at.state[0] != 2 {
			t.Errorf("%+v, %t: want the second, until its time is over", at, ok)
		}
		if _, ok := cs.take(who); ok {
			t.Error("answered twice")
		}
		put(3, time.Minute)
		time.Sleep(time.Minute + 1)
		if _, ok := cs.take(who); ok {
			t.Error("answered too late")
		}
		for _, o := range []asked{{"bob", who.client}, {who.user, netip.MustParseAddr("198.51.100.8")}} {
			put(4, time.Minute)
			if _, ok := cs.take(o); ok {
				t.Errorf("%v answers for %v", o, who)
			}
		}
	})
}

func TestChallengesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs challenges
		name := func(i int) asked { return asked{user: fmt.Sprint(i)} }
		for i := range maxChallenges {
			cs.put(name(i), &challenge{time: time.Minute + time.Duration(i)})
		}
		cs.put(name(-1), &challenge{time: time.Hour})
		if _, ok := cs.take(name(0)); ok || len(cs.wait) != maxChallenges {
			t.Errorf("%d wait; the one that ends first is there: %t", len(cs.wait), ok)
		}
		if _, ok := cs.take(name(1)); !ok {
			t.Error("another one went")
		}
		time.Sleep(2 * time.Minute)
		cs.put(name(-2), &challenge{time: time.Hour})
		cs.put(name(-3), &challenge{time: time.Hour})
		if len(cs.wait) != 3 {
			t.Errorf("%d wait, want the three that are not over", len(cs.wait))
		}
	})
}

func TestOneTimePassword(t *testing.T) {
	f := startFake(t, func(q query) {
		password, err := radius.UserPassword(q.p.Get(2), []byte(secret), q.raw[4:20])
		if err != nil {
			t.Error(err)
		}
		switch state := q.p.Get(24); {
		case state == nil && string(password) == "wonder-1":
			q.send(answerOf{code: radius.CodeAccessChallenge, attrs: join(words(18, "Code?"), attr(24, 7), attr(27, 0, 0, 0, 90))}.to(q))
		case len(state) == 1 && state[0] == 7 && string(password) == "more":
			q.send(answerOf{code: radius.CodeAccessChallenge, attrs: join(words(18, "Once more?"), attr(24, 8))}.to(q))
		case len(state) == 1 && state[0] == 8 && string(password) == "123456":
			q.send(accept.to(q))
		default:
			q.send(answerOf{code: radius.CodeAccessReject}.to(q))
		}
	})
	c := start(t, f, nil)
	login := func(password string, change func(*authz.Request)) authz.Verdict {
		t.Helper()
		r := papRequest()
		r.Password = tenant.Secret(password)
		if change != nil {
			change(&r)
		}
		v, err := ask(t, c, r)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	retry := func(v authz.Verdict, message string) {
		t.Helper()
		if v.Deny != tenant.ReasonRadiusReject || !v.Retry || v.Message != message {
			t.Errorf("%+v, want a retry with %q", v, message)
		}
	}
	retry(login("wonder-1", nil), "Code?")
	// Neither another user nor the same from elsewhere answers it.
	retry(login("wonder-1", func(r *authz.Request) { r.ClientAddress = netip.MustParseAddr("198.51.100.8") }), "Code?")
	if v := login("more", func(r *authz.Request) { r.User = "bob" }); v.Deny == "" || v.Retry {
		t.Errorf("%+v", v)
	}
	retry(login("more", nil), "Once more?")
	if v := login("123456", nil); v.Deny != "" {
		t.Errorf("%+v", v)
	}
	// A wrong answer ends it: the next password begins anew.
	retry(login("wonder-1", nil), "Code?")
	if v := login("wrong", nil); v.Deny == "" || v.Retry {
		t.Errorf("%+v", v)
	}
	retry(login("wonder-1", nil), "Code?")
}
