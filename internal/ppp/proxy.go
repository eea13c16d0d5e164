package ppp

import (
	"bytes"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	wirelcp "concentrator/internal/wire/lcp"
	"concentrator/internal/wire/mschap"
	"concentrator/internal/wire/pap"
	wire "concentrator/internal/wire/ppp"
)

// Proxy is what a LAC has settled with the peer before the call came to us, RFC 2661 section 4.4.5. The zero value says
// that it has settled nothing.
type Proxy struct {
	// LastSent and LastReceived are the options of the LCP Configure-Requests that the peer and the LAC have acknowledged;
	// nil if the LAC has not said.
	LastSent, LastReceived []byte
	// Auth is the login that the LAC has taken, unanswered yet; nil if it has taken none. It counts only with LastSent,
	// whose Authentication-Protocol says which method it is.
	Auth *ProxyAuth
}

// ProxyAuth is a login that a LAC has taken. Whoever calls must trust the LAC: it names the challenge, so it could repeat
// a response that it has overheard. All fields own their memory.
type ProxyAuth struct {
	PAP       bool // else CHAP or MS-CHAPv2
	Name      string
	ID        byte          // of the CHAP exchange or of the Authenticate-Request
	Challenge []byte        // CHAP
	Response  []byte        // CHAP
	Password  tenant.Secret // PAP
}

// StartProxied is Start for a peer with which a LAC has spoken already. If we can live with what the two agreed on, LCP is
// open at once and the login that the LAC has taken goes to Handler.Authenticate; the peer gets its answer from us.
// Otherwise LCP starts anew, which a peer must always put up with, and so does the login.
func (l *Link) StartProxied(now time.Time, p Proxy) {
	if l.started || l.finished || !l.adopt(now, p) {
		l.Start(now)
		return
	}
	l.started = true
	l.auth.proxied = p.Auth
	l.settle()
}

// adopt opens LCP with what the LAC has negotiated, and returns false with nothing changed if that won't do.
func (l *Link) adopt(now time.Time, p Proxy) bool {
	sent, err := wire.ParseOptions(p.LastSent)
	if err != nil || len(p.LastSent) == 0 || p.LastReceived == nil {
		return false
	}
	received, err := wire.ParseOptions(p.LastReceived)
	if err != nil {
		return false
	}
	l.now = now
	before := l.lcp
	if l.lcp.adopt(sent) && l.lcp.m.Judged(received) && l.lcp.m.Adopt(now, p.LastSent, p.LastReceived) {
		return true
	}
	l.lcp = before
	return false
}

// adopt takes over what a LAC has asked of the peer, and says whether we can live with it: with a method of the profile,
// packets of at most the default MRU, and none of what we would not have asked for.
func (c *lcpLayer) adopt(sent wire.Options) bool {
	c.mru, c.askMRU, c.askACCM, c.askMagic, c.askPFC, c.askACFC = wirelcp.DefaultMRU, false, false, false, false, false
	method := tenant.AuthMethod("")
	for o := range sent.All() {
		var err error
		switch o.Type {
		case wirelcp.OptionMRU:
			var mru uint16
			mru, err = wirelcp.ParseMRU(o.Value)
			c.mru, c.askMRU = int(mru), true
		case wirelcp.OptionACCM:
			_, err = wirelcp.ParseACCM(o.Value)
			c.askACCM = true
		case wirelcp.OptionAuth:
			var a wirelcp.Auth
			a, err = wirelcp.ParseAuth(o.Value)
			method = c.methodOf(a)
		case wirelcp.OptionMagic:
			c.magic, err = wirelcp.ParseMagic(o.Value)
			c.askMagic = true
		case wirelcp.OptionPFC:
			err = wirelcp.ParseFlag(o.Value)
			c.askPFC = true
		case wirelcp.OptionACFC:
			err = wirelcp.ParseFlag(o.Value)
			c.askACFC = true
		default:
			return false
		}
		if err != nil {
			return false
		}
	}
	c.method = method
	return method != "" && c.mru <= wirelcp.DefaultMRU
}

// methodOf finds the method of the profile that a is; empty if it has none.
func (c *lcpLayer) methodOf(a wirelcp.Auth) tenant.AuthMethod {
	for _, m := range c.methods {
		if w, ok := wireAuth(m); ok && w == a {
			return m
		}
	}
	return ""
}

// takeOver asks about the login that a LAC has taken. It returns false if that does not fit the method that the LAC has
// agreed on with the peer. EAP never fits: RFC 2661 has no way to pass on a conversation, so it begins with us.
func (a *auth) takeOver(p *ProxyAuth) bool {
	if p.PAP != (a.method == tenant.AuthPAP) || a.method == tenant.AuthEAP {
		return false
	}
	var data []byte
	var err error
	r := AuthRequest{Name: p.Name}
	if p.PAP {
		data, err = pap.Request{Name: []byte(p.Name), Password: p.Password}.AppendBinary(nil)
		r.Password = tenant.Secret(bytes.Clone(p.Password))
	} else {
		if !a.fits(p) {
			return false
		}
		data, err = chap.Value{Value: p.Response, Name: []byte(p.Name)}.AppendBinary(nil)
		r.Challenge, r.Response = bytes.Clone(p.Challenge), bytes.Clone(p.Response)
	}
	if err != nil {
		return false
	}
	a.id, a.challenge, a.replaced = p.ID, bytes.Clone(p.Challenge), 0
	a.attempt++
	a.ask(p.ID, data, r)
	clear(data)
	return true
}

// fits says whether challenge and response have the lengths of the method. Which of the two CHAPs it is shows only there:
// RFC 2661 has no number for MS-CHAPv2.
func (a *auth) fits(p *ProxyAuth) bool {
	if a.method == tenant.AuthMSCHAPv2 {
		return len(p.Challenge) == mschap.ChallengeLen && len(p.Response) == mschap.ResponseLen
	}
	return len(p.Challenge) > 0 && len(p.Response) == chap.MD5Len
}
