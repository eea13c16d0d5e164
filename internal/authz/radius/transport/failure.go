package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// failure is why one server gave no usable answer.
type failure struct {
	server string
	signed bool   // the reply had to be, in every mode
	mode   string // messageAuthenticator, as it was when the last reply was refused

	sent        int // datagrams
	first       time.Time
	took        time.Duration
	remote      netip.AddrPort // where the last one went
	drops       uint32         // bit set of packet.Drop
	unreachable bool
	broken      bool // a socket of its was closed meanwhile
	sendErr     error
	full        int // not 0: it never got a place among so many

	cause error
	final bool // no other server is to be asked
}

// sends notes that x was sent once.
func (f *failure) sends(x *exchange) {
	if f.sent == 0 {
		f.first = time.Now()
	}
	f.sent++
	f.remote = x.conn.remote
}

// saw notes what came back for x.
func (f *failure) saw(x *exchange) {
	f.drops |= x.saw.Load()
	f.unreachable = f.unreachable || x.unreachable.Load()
	f.signed = x.signed
	f.mode = x.conn.port.s.cfg.Load().MessageAuthenticator
}

func (f *failure) noted(d packet.Drop) bool { return f.drops&(1<<d) != 0 }

// reason is what to refuse a login with.
func (f *failure) reason() tenant.Reason {
	if f.noted(packet.DropNoMessageAuthenticator) {
		return tenant.ReasonRadiusNoMessageAuthenticator
	}
	return tenant.ReasonRadiusTimeout
}

// detail is one sentence for operators.
func (f *failure) detail() string {
	switch {
	case f.full != 0:
		return fmt.Sprintf("nothing could be sent to %s: all of its maxOutstanding %d are in use: %v", f.server, f.full, f.cause)
	case f.sent == 0:
		return fmt.Sprintf("nothing could be sent to %s: %v", f.server, orElse(f.cause, f.sendErr))
	case f.noted(packet.DropNoMessageAuthenticator):
		return f.unsigned()
	}
	took := f.took
	if took == 0 {
		took = time.Since(f.first)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no usable answer from %s to %d requests in %s", f.where(), f.sent, took.Round(10*time.Millisecond))
	for _, h := range []struct {
		is   bool
		text string
	}{
		{
			f.drops == 0 && !f.unreachable && !f.broken,
			"nothing came back, which is also what servers do that don't know this client or have another secret for it",
		},
		{f.noted(packet.DropResponseAuthenticator), "answers came with a wrong Response Authenticator: the secrets probably differ"},
		{f.noted(packet.DropMessageAuthenticator), "answers came with a wrong Message-Authenticator"},
		{f.noted(packet.DropManyAuthenticators), "answers came with several Message-Authenticators"},
		{f.noted(packet.DropAttributes) || f.noted(packet.DropAuthenticatorLength), "answers came malformed"},
		{f.noted(packet.DropCode), "answers came with a code that does not answer such a request"},
		{f.unreachable, "the host says that the port is unreachable: the server may not be running"},
	} {
		if h.is {
			b.WriteString("; " + h.text)
		}
	}
	if f.sendErr != nil {
		fmt.Fprintf(&b, "; %v", f.sendErr)
	}
	if f.cause != nil && !errors.Is(f.cause, errSilent) && !errors.Is(f.cause, f.sendErr) {
		fmt.Fprintf(&b, "; %v", f.cause)
	}
	return b.String()
}

func (f *failure) where() string { return fmt.Sprintf("%s (%s)", f.server, f.remote) }

// unsigned is the detail where replies lacked a Message-Authenticator.
func (f *failure) unsigned() string {
	text := f.where() + " answers without a Message-Authenticator, and messageAuthenticator " + f.mode +
		" of this RADIUS server refuses such answers (CVE-2024-3596): "
	if f.signed {
		return f.where() + " answers EAP without a Message-Authenticator, which RFC 3579 demands of every answer to EAP"
	}
	if f.mode == ModeAuto {
		return text + "it has sent them before, so their absence may be an attack; " +
			"set messageAuthenticator to OFF if the server was really changed to send none"
	}
	return text + "make the server sign its answers (FreeRADIUS: 3.2.5 or later, or add Message-Authenticator " +
		"to the reply in post-auth), or set messageAuthenticator to AUTO"
}

// noAnswer is the error of a request that came to all of fails, which is not empty.
func noAnswer(fails []*failure) *NoAnswer {
	n := &NoAnswer{Reason: tenant.ReasonRadiusTimeout}
	details := make([]string, len(fails))
	for i, f := range fails {
		details[i] = f.detail()
		if f.reason() == tenant.ReasonRadiusNoMessageAuthenticator {
			n.Reason = f.reason() // the one of two reasons that an operator can do something about
		}
		n.Err = f.cause
	}
	n.Detail = strings.Join(details, "; then ")
	return n
}
