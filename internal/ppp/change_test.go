package ppp

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
	wire "concentrator/internal/wire/ppp"
)

// expiring is a server whose user alice must change the password clientPass before anything else.
type expiring struct {
	t        *testing.T
	grant    Grant
	password string // empty: not changed yet
}

func (e *expiring) decide(r AuthRequest) Decision {
	if e.password == "" && r.NewPassword == nil {
		if d := check(r, e.grant); d.Reason != "" {
			return d
		}
		return Decision{Serial: r.Serial, Reason: tenant.ReasonUserExpired, Message: "choose a new one", ChangePassword: true}
	}
	oldHash := mschap.NTPasswordHash("clientPass")
	if len(r.NewPassword) != mschap.EncryptedPasswordLen+mschap.EncryptedHashLen {
		e.t.Errorf("%d octets of new password", len(r.NewPassword))
		return Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials}
	}
	c := mschap.ChangePassword{
		EncryptedPassword: [mschap.EncryptedPasswordLen]byte(r.NewPassword),
		EncryptedHash:     [mschap.EncryptedHashLen]byte(r.NewPassword[mschap.EncryptedPasswordLen:]),
	}
	password, err := mschap.DecryptNewPassword(c.EncryptedPassword, oldHash)
	if err != nil || !c.CheckOldHash(oldHash, mschap.NTPasswordHash(password)) {
		return Decision{Serial: r.Serial, Reason: tenant.ReasonWrongCredentials}
	}
	resp, err := mschap.ParseResponse(r.Response)
	auth := [16]byte(r.Challenge)
	if want := mschap.ClientResponse(auth, resp.PeerChallenge, r.Name, password); err != nil || resp != want {
		e.t.Errorf("the response of %q is not made with the new password %q", r.Name, password)
	}
	e.password = password
	hashHash := mschap.HashNTPasswordHash(mschap.NTPasswordHash(password))
	return Decision{
		Serial: r.Serial, Grant: e.grant,
		Success: mschap.AuthenticatorResponse(hashHash, resp.NTResponse, resp.PeerChallenge, auth, r.Name),
	}
}

// TestChangePassword is a login that sets a new password on its way.
func TestChangePassword(t *testing.T) {
	k := windows10()
	k.newPassword = "fresh \u00e4"
	g := grant(tenant.MPPERequired, 128)
	w := newWorld(t, k, config(), g)
	e := &expiring{t: t, grant: g}
	w.host.verdict = e.decide
	w.start(2 * time.Second)
	w.wantOpen()
	f, err := mschap.ParseFailure(w.peer.failure)
	if err != nil || f.Code != mschap.ErrorPasswordExpired || f.Retry || f.Challenge == [16]byte{} || f.Text != "choose a new one" ||
		!strings.Contains(w.peer.failure, "V=3") {
		t.Errorf("the Failure says %q", w.peer.failure)
	}
	if e.password != "fresh \u00e4" || len(w.host.requests) != 2 {
		t.Fatalf("password %q after %d requests", e.password, len(w.host.requests))
	}
	first, change := w.host.requests[0], w.host.requests[1]
	if change.Attempt != 2 || change.Name != first.Name || change.ID != first.ID+1 || !bytes.Equal(change.Challenge, f.Challenge[:]) ||
		bytes.Equal(change.Challenge, first.Challenge) || first.NewPassword != nil {
		t.Errorf("requests %+v %+v", first, change)
	}
}

// TestChangePasswordOnBadLines: a lost Failure is repeated, a repeated change is asked about once.
func TestChangePasswordOnBadLines(t *testing.T) {
	for seed := range uint64(40) {
		k := windows10()
		k.newPassword = "fresh"
		g := grant(tenant.MPPERequired, 128)
		w := newWorld(t, k, config(), g)
		e := &expiring{t: t, grant: g}
		w.host.verdict = e.decide
		w.rng.Uint64N(seed + 1)
		w.dup, w.reorder = 20, 20
		w.start(time.Minute)
		if w.mutualFailures == 0 {
			w.wantOpen()
		}
	}
}

// changed is a Change-Password packet that nobody could have made.
func changed(id, fill byte) []byte {
	return wire.AppendPacket(nil, mschap.CodeChangePassword, id, bytes.Repeat([]byte{fill}, mschap.ChangePasswordLen))
}

// TestChangePasswordRules: it counts as the answer to E=648 and to nothing else, and nothing else answers that.
func TestChangePasswordRules(t *testing.T) {
	d := Decision{Reason: tenant.ReasonUserExpired, ChangePassword: true}
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.host.verdict = func(r AuthRequest) Decision { d.Serial = r.Serial; return d }
	requests := func(want int, what string) {
		t.Helper()
		w.run(time.Millisecond)
		if n := len(w.host.requests); n != want {
			t.Fatalf("%d requests, want %d, after %s", n, want, what)
		}
	}
	receive := func(packet []byte) { w.link.Receive(w.now, wire.ProtocolCHAP, packet) }

	receive(changed(1, 0))
	requests(0, "a change that nobody asked for")
	receive(response(1, 0))
	requests(1, "a Response")
	receive(response(2, 0))
	requests(1, "a Response where a change is due")
	if n := w.frames("c223", "04"); n != 1 {
		t.Errorf("%d Failures", n)
	}
	receive(response(1, 0))
	requests(1, "the refused Response again")
	if n := w.frames("c223", "0401"); n != 2 {
		t.Errorf("%d Failures", n)
	}
	receive(changed(2, 0)[:500])
	receive(wire.AppendPacket(nil, mschap.CodeChangePassword, 2, make([]byte, mschap.ChangePasswordLen-1)))
	requests(1, "broken changes")

	w.host.think = time.Second
	d = Decision{Reason: tenant.ReasonUserExpired, ChangePassword: true, Message: "too short"}
	receive(changed(2, 1))
	receive(changed(2, 1))
	receive(changed(2, 2))
	receive(response(2, 2))
	requests(2, "a change, its copy and others")
	if r := w.host.requests[1]; r.Name != "alice" || r.NewPassword[0] != 1 || len(r.Response) != 49 || r.Response[24] != 1 {
		t.Errorf("request %+v", r)
	}
	w.run(2 * time.Second)
	if got := w.last("c223"); !strings.HasPrefix(got, "0402") || !strings.Contains(got, hexOf("E=648 R=0")) {
		t.Errorf("a new password that the server does not like: %s", got)
	}
	receive(changed(2, 1))
	requests(2, "the refused change again")

	d = Decision{Reason: tenant.ReasonRadiusReject}
	receive(changed(3, 1))
	requests(3, "the second change")
	w.run(2 * time.Second)
	if got := w.last("c223"); !strings.HasPrefix(got, "0403") || !strings.Contains(got, hexOf("E=709 R=0")) {
		t.Errorf("the change failed: %s", got)
	}
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonRadiusReject)
}

// TestChangePasswordInsteadOfRetry: a wrong password may be tried again, but not changed.
func TestChangePasswordInsteadOfRetry(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
	w.run(time.Millisecond)
	if got := w.last("c223"); !strings.Contains(got, hexOf("E=691 R=1")) {
		t.Fatalf("the Failure is %s", got)
	}
	w.link.Receive(w.now, wire.ProtocolCHAP, changed(2, 0))
	if n := len(w.host.requests); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestChangePasswordAllowed: a copy of an accepted change gets the same Success.
func TestChangePasswordAllowed(t *testing.T) {
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.host.verdict = func(r AuthRequest) Decision {
		if r.NewPassword == nil {
			return Decision{Serial: r.Serial, Reason: tenant.ReasonUserExpired, ChangePassword: true}
		}
		return Decision{Serial: r.Serial, Success: "S=", Grant: grant(tenant.MPPERequired, 128)}
	}
	w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
	w.run(time.Millisecond)
	w.link.Receive(w.now, wire.ProtocolCHAP, changed(2, 0))
	w.run(time.Millisecond)
	w.link.Receive(w.now, wire.ProtocolCHAP, changed(2, 0))
	if n := w.frames("c223", "0302"); n != 2 || len(w.host.requests) != 2 {
		t.Errorf("%d Successes, %d requests", n, len(w.host.requests))
	}
}

// TestChangePasswordRunsOut: after a minute the link ends with the reason, and three refusals end it anyway.
func TestChangePasswordRunsOut(t *testing.T) {
	offer := func(r AuthRequest) Decision {
		return Decision{Serial: r.Serial, Reason: tenant.ReasonUserExpired, ChangePassword: true, Retry: true}
	}
	w := toAuth(t, tenant.AuthMSCHAPv2)
	w.host.verdict = offer
	w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
	w.run(time.Millisecond)
	if got := w.last("c223"); !strings.Contains(got, hexOf("E=648 R=0")) { // there is nothing to try again
		t.Errorf("the Failure is %s", got)
	}
	w.run(58 * time.Second)
	if w.host.finished != 0 || w.frames("c223", "04") != 1+maxFailures {
		t.Fatalf("finished %d times, %d Failures", w.host.finished, w.frames("c223", "04"))
	}
	w.run(10 * time.Second)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonUserExpired)
	if !strings.Contains(w.host.detail, "did not change") {
		t.Errorf("detail %q", w.host.detail)
	}

	w = toAuth(t, tenant.AuthMSCHAPv2)
	w.host.verdict = offer
	w.link.Receive(w.now, wire.ProtocolCHAP, response(1, 0))
	for id := byte(2); id < 10; id++ {
		w.run(time.Millisecond)
		w.link.Receive(w.now, wire.ProtocolCHAP, changed(id, id))
	}
	w.run(time.Minute)
	w.wantFinished(tenant.StageAuthentication, tenant.ReasonUserExpired)
	if n := len(w.host.requests); n != defaultMaxAuthFailures {
		t.Errorf("%d requests", n)
	}
}

// TestChangePasswordElsewhere: PAP and CHAP have no change.
func TestChangePasswordElsewhere(t *testing.T) {
	for _, c := range []struct {
		method   tenant.AuthMethod
		protocol uint16
		packet   []byte
	}{
		{tenant.AuthPAP, wire.ProtocolPAP, []byte{1, 1, 0, 8, 1, 'a', 1, 'b'}},
		{tenant.AuthCHAP, wire.ProtocolCHAP, append([]byte{2, 1, 0, 22, 16}, make([]byte, 17)...)},
	} {
		w := toAuth(t, c.method)
		w.host.verdict = func(r AuthRequest) Decision {
			return Decision{Serial: r.Serial, Reason: tenant.ReasonUserExpired, ChangePassword: true}
		}
		w.link.Receive(w.now, c.protocol, c.packet)
		w.run(time.Millisecond)
		w.link.Receive(w.now, wire.ProtocolCHAP, changed(2, 0))
		w.run(time.Minute)
		w.wantFinished(tenant.StageAuthentication, tenant.ReasonUserExpired)
		if len(w.host.requests) != 1 {
			t.Errorf("%s: %d requests", c.method, len(w.host.requests))
		}
	}
}

// TestPAPOneTimePassword: a Nak that leaves another try carries the server's question, and the next Request on the same
// link is the answer.
func TestPAPOneTimePassword(t *testing.T) {
	w := toAuth(t, tenant.AuthPAP)
	w.host.verdict = func(r AuthRequest) Decision {
		if string(r.Password) == "123456" {
			return Decision{Serial: r.Serial, Grant: grant(tenant.MPPERequired, 128)}
		}
		return Decision{Serial: r.Serial, Reason: tenant.ReasonRadiusReject, Message: "Enter your code", Retry: true}
	}
	request := func(id byte, password string) []byte {
		return wire.AppendPacket(nil, 1, id, append([]byte{5, 'a', 'l', 'i', 'c', 'e', byte(len(password))}, password...))
	}
	w.link.Receive(w.now, wire.ProtocolPAP, request(1, "secret"))
	w.run(time.Millisecond)
	if got := w.last("c023"); got != "03010014"+"0f"+hexOf("Enter your code") {
		t.Errorf("the Nak is %s", got)
	}
	w.run(25 * time.Second) // the user types
	w.link.Receive(w.now, wire.ProtocolPAP, request(2, "123456"))
	w.run(time.Millisecond)
	if w.frames("c023", "0202") != 1 || len(w.host.requests) != 2 || w.host.requests[1].Attempt != 2 || w.host.finished != 0 {
		t.Errorf("%d requests\n%s", len(w.host.requests), w.dump())
	}
}
