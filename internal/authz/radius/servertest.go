package radius

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
)

// TestRequest is what a server is to be tested with.
type TestRequest struct {
	Server   string            // its name in the configuration
	User     string            // empty: without a user
	Password tenant.Secret     // of User
	Method   tenant.AuthMethod // PAP (also empty), CHAP or MSCHAPV2
}

// Values of TestResult.MessageAuthenticator.
const (
	Signed        = "SIGNED"   // its answers have a Message-Authenticator that is right
	Unsigned      = "UNSIGNED" // they have none
	WronglySigned = "WRONG"    // they have a wrong one, or several
)

// TestResult is what a test has shown.
type TestResult struct {
	Reachable            bool          // something came back, genuine or not
	SecretOK             *bool         // nil: can't be told; a server that knows another secret may keep silent
	MessageAuthenticator string        // Signed, Unsigned or WronglySigned; empty: can't be told
	RTT                  time.Duration // of the last answer
	StatusServer         bool          // it answers Status-Server, RFC 5997
	Accepted             *bool         // nil: no user was given, or no answer came
	Reason               tenant.Reason // why the user was refused, or why there was no answer; empty: neither
	Detail               string        // for operators
	Message              string        // for the user
	Received             []authz.Attribute
}

// testUser is who is asked for where no user is given: any answer will do. Answers to Status-Server are not enough, since
// servers that sign all others may not sign those.
const testUser = "concentrator-test"

// ErrTest is wrapped by the errors of Test: there was nothing that could be tested.
var ErrTest = errors.New("radius: the test is not possible")

// Test asks one server, over sockets of its own: the server's health and the logins under way are not touched. It sends a
// Status-Server to each of the server's ports, and an Access-Request, without a user for one that should not exist. Answers
// without a Message-Authenticator are taken, whatever the server's mode, and said to have none. It takes at most
// (Tries + 2) × Timeout, and ctx bounds it.
func (c *Client) Test(ctx context.Context, t TestRequest) (TestResult, error) {
	c.mu.Lock()
	cfg := c.cfg
	c.mu.Unlock()
	i := slices.IndexFunc(cfg.Servers, func(s transport.ServerConfig) bool { return s.Name == t.Server })
	if i < 0 {
		return TestResult{}, fmt.Errorf("%w: no RADIUS server %s is in use", ErrTest, t.Server)
	}
	r, err := t.request()
	if err != nil {
		return TestResult{}, err
	}
	server := cfg.Servers[i]
	server.MessageAuthenticator = transport.ModeOff
	group, err := transport.New(transport.Config{Servers: []transport.ServerConfig{server}, Dial: cfg.Dial, Log: cfg.Log})
	if err != nil {
		return TestResult{}, fmt.Errorf("%w: %w", ErrTest, err)
	}
	defer group.Close()

	p := &servertest{group: group, server: server.Name}
	for _, purpose := range []transport.Purpose{transport.Access, transport.Accounting} {
		if len(server.Purposes) > 0 && !slices.Contains(server.Purposes, purpose) {
			continue
		}
		p.status(ctx, purpose)
		if purpose == transport.Access {
			p.login(ctx, r, t)
		}
	}
	p.conclude()
	return p.result, nil
}

// request is the login of a test, or an error if there can't be one.
func (t *TestRequest) request() (*authz.Request, error) {
	r := &authz.Request{
		Caller: authz.Caller{SessionID: "test-" + hex.EncodeToString(random(4))},
		User:   t.User, PeerName: t.User, Method: t.Method,
	}
	password := t.Password
	if t.User == "" {
		r.User, r.PeerName, r.Method = testUser, testUser, tenant.AuthPAP
		password = tenant.Secret(hex.EncodeToString(random(16)))
	}
	switch r.Method {
	case "", tenant.AuthPAP:
		r.Method, r.Password = tenant.AuthPAP, password
	case tenant.AuthCHAP:
		r.ID, r.Challenge = 1, random(mschap.ChallengeLen)
		sum := chap.MD5Response(r.ID, password, r.Challenge)
		r.Response = sum[:]
	case tenant.AuthMSCHAPv2:
		r.ID, r.Challenge = 1, random(mschap.ChallengeLen)
		peer := [mschap.ChallengeLen]byte(random(mschap.ChallengeLen))
		var err error
		r.Response, err = mschap.ClientResponse([mschap.ChallengeLen]byte(r.Challenge), peer, r.PeerName, string(password)).AppendBinary(nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTest, err)
		}
	default:
		return nil, fmt.Errorf("%w: the method %s needs a client; PAP, CHAP and MSCHAPV2 can be tested", ErrTest, r.Method)
	}
	if v, ok := askable(r); !ok {
		return nil, fmt.Errorf("%w: %s", ErrTest, v.Detail)
	}
	return r, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// servertest is one test under way.
type servertest struct {
	group   *transport.Group
	server  string
	result  TestResult
	details []string
}

func (p *servertest) sayf(format string, args ...any) {
	p.details = append(p.details, fmt.Sprintf(format, args...))
}

// status sends a Status-Server once.
func (p *servertest) status(ctx context.Context, purpose transport.Purpose) {
	o := &outgoing{packet: inStatus, at: time.Now()}
	reply, err := p.group.Exchange(ctx, transport.Request{
		Purpose: purpose, Code: radius.CodeStatusServer, Build: o.build, Server: p.server, Tries: 1,
	})
	if err != nil {
		p.sayf("no answer to Status-Server for %s, which not every server has", purpose)
		return
	}
	p.sayf("Status-Server for %s is answered", purpose)
	p.answered(&reply)
	if purpose == transport.Access {
		p.result.StatusServer = true
	}
}

// login sends an Access-Request.
func (p *servertest) login(ctx context.Context, r *authz.Request, t TestRequest) {
	o := &outgoing{
		packet: inRequest, Caller: r.Caller, user: userName(r), method: r.Method, ask: r, at: time.Now(),
	}
	reply, err := p.group.Exchange(ctx, transport.Request{
		Purpose: transport.Access, Code: radius.CodeAccessRequest, Build: o.build, Server: p.server,
	})
	if err != nil {
		v, _ := noAnswer(err) // the verdict has it all
		if t.User != "" || !p.result.StatusServer {
			p.result.Reason = v.Deny
		}
		p.sayf("%s", v.Detail)
		return
	}
	p.answered(&reply)
	p.result.MessageAuthenticator = Unsigned
	if reply.Signed {
		p.result.MessageAuthenticator = Signed
	}
	v, _ := interpret(reply.Packet, answering{
		server: reply.Server, method: r.Method, id: r.ID, authenticator: reply.Authenticator, secret: reply.Secret,
	})
	if t.User == "" {
		p.sayf("a user that does not exist is answered with %s", radius.Code(reply.Packet[0]))
		return
	}
	accepted := v.Deny == ""
	if accepted && r.Method == tenant.AuthMSCHAPv2 && !p.proven(r, v, t) {
		p.sayf("its MS-CHAP2-Success is wrong, so that no client would believe it: does it know another user name?")
	}
	p.result.Accepted = &accepted
	p.result.Reason, p.result.Message, p.result.Received = v.Deny, v.Message, describe(reply.Packet)
	if v.Detail != "" {
		p.sayf("%s", v.Detail)
	}
}

// proven says whether a client would take the server's proof.
func (p *servertest) proven(r *authz.Request, v authz.Verdict, t TestRequest) bool {
	response, err := mschap.ParseResponse(r.Response)
	return err == nil && mschap.CheckAuthenticatorResponse(
		v.Success, response, [mschap.ChallengeLen]byte(r.Challenge), r.PeerName, string(t.Password))
}

// answered notes a genuine answer.
func (p *servertest) answered(reply *transport.Reply) {
	p.result.RTT = reply.RTT
	p.result.SecretOK = new(true)
}

// conclude adds what answers show that were not genuine.
func (p *servertest) conclude() {
	var drops [packet.NumDrops]uint64
	var came, unreachable uint64
	for _, h := range p.group.Health() {
		for _, port := range h.Ports {
			unreachable += port.Stats.Unreachable
			for d, n := range port.Stats.Drops {
				drops[d] += n
				came += n
			}
		}
	}
	genuine := p.result.SecretOK != nil
	p.result.Reachable = genuine || came > 0
	if !genuine && drops[packet.DropResponseAuthenticator] > 0 {
		p.result.SecretOK = new(false)
	}
	if drops[packet.DropMessageAuthenticator]+drops[packet.DropManyAuthenticators]+drops[packet.DropAuthenticatorLength] > 0 {
		p.result.MessageAuthenticator = WronglySigned
	}
	if unreachable > 0 {
		p.sayf("the host says that a port is unreachable")
	}
	p.result.Detail = clip(strings.Join(p.details, "; "), maxDetail)
}
