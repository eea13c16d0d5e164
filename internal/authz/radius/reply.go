package radius

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
)

// maxDetail bounds a Detail in octets: a server chooses how much there is to note.
const maxDetail = 1024

// answering is what a reply answers.
type answering struct {
	server        string // name, for details
	method        tenant.AuthMethod
	id            byte // identifier of the CHAP exchange
	mppeWanted    bool
	authenticator [16]byte      // of the request
	secret        tenant.Secret // that the reply is signed with
}

// answer gathers the attributes of one packet from a server.
type answer struct {
	answering
	v           authz.Verdict
	messages    []string
	notes       []string
	ignored     string           // the first of the notes that says that a value is not applied; empty: all are
	success     radius.Attribute // MS-CHAP2-Success as received
	failure     radius.Attribute // MS-CHAP-Error as received
	eap         []byte           // EAP-Message, joined
	state       []byte
	kept        *challenge
	until       time.Time // WISPr-Session-Terminate-Time
	classOctets int
	dns, wins   [2]netip.Addr
	limits      limits
}

func (a *answer) notef(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

// ignoref is notef for a value that is not applied at all.
func (a *answer) ignoref(format string, args ...any) {
	a.notef(format, args...)
	if a.ignored == "" {
		a.ignored = a.notes[len(a.notes)-1]
	}
}

// askable says whether RADIUS can carry r. If not, the verdict is a refusal.
func askable(r *authz.Request) (authz.Verdict, bool) {
	refuse := func(reason tenant.Reason, detail string) (authz.Verdict, bool) {
		return authz.Verdict{Deny: reason, Detail: detail}, false
	}
	if name := userName(r); name == "" || len(name) > tenant.MaxUser {
		return refuse(tenant.ReasonWrongCredentials, fmt.Sprintf("the user name is %d octets long, RADIUS carries 1 to %d",
			len(name), tenant.MaxUser))
	}
	switch r.Method {
	case tenant.AuthPAP:
		if len(r.Password) > maxPassword {
			return refuse(tenant.ReasonWrongCredentials, fmt.Sprintf("the password is %d octets long, RADIUS carries %d",
				len(r.Password), maxPassword))
		}
	case tenant.AuthCHAP:
		if len(r.Response) != chap.MD5Len || len(r.Challenge) == 0 || len(r.Challenge) > maxString {
			return refuse(tenant.ReasonProtocolError, "the CHAP challenge or response has the wrong length")
		}
	case tenant.AuthMSCHAPv2:
		if len(r.Response) != mschap.ResponseLen || len(r.Challenge) != mschap.ChallengeLen {
			return refuse(tenant.ReasonProtocolError, "the MS-CHAPv2 challenge or response has the wrong length")
		}
		if r.NewPassword != nil && len(r.NewPassword) != newPasswordLen {
			return refuse(tenant.ReasonProtocolError, "the new password of the Change-Password packet has the wrong length")
		}
	case tenant.AuthEAP:
		if !wellFormed(r.EAP) || len(r.EAP) > maxEAP {
			return refuse(tenant.ReasonProtocolError, fmt.Sprintf("the EAP packet is malformed or longer than %d octets", maxEAP))
		}
	default:
		return refuse(tenant.ReasonNoCommonAuthMethod, fmt.Sprintf("%s can't be asked for by RADIUS here", r.Method))
	}
	return authz.Verdict{}, true
}

// interpret turns a verified packet into a verdict. kept is not nil if the user's next PAP password answers it.
func interpret(b []byte, about answering) (v authz.Verdict, kept *challenge) {
	a := &answer{answering: about}
	code := radius.Code(b[0])
	bad := a.read(b, code)
	a.v.Message = strings.Join(a.messages, " ")
	switch code {
	case radius.CodeAccessAccept:
		if bad == nil {
			bad = a.accepted()
		}
		if bad != nil {
			// Nothing of the accept may survive in the refusal.
			a.v = authz.Verdict{Deny: tenant.ReasonRadiusReject}
			a.say("%s accepted, but: %v", a.server, bad)
		}
	case radius.CodeAccessChallenge:
		if bad == nil {
			bad = a.challenged()
		}
		if bad != nil {
			a.v = authz.Verdict{Deny: tenant.ReasonRadiusReject, Message: a.v.Message}
			a.say("%s asks for a further step: %v", a.server, bad)
		}
	default:
		a.rejected()
		if len(a.messages) > 0 {
			a.v.Detail += fmt.Sprintf(", saying %q", strings.Join(a.messages, " "))
		}
	}
	if len(a.notes) > 0 {
		a.v.Detail = strings.TrimPrefix(a.v.Detail+"; "+strings.Join(a.notes, "; "), "; ")
	}
	a.v.Detail = clip(a.v.Detail, maxDetail)
	return a.v, a.kept
}

func (a *answer) say(format string, args ...any) { a.v.Detail = fmt.Sprintf(format, args...) }

// read goes through the attributes of b, whose lengths the transport has checked, and returns the first one's error.
// Attributes without a value are ignored: they should not have been sent.
func (a *answer) read(b []byte, code radius.Code) error {
	in := inReject
	switch code {
	case radius.CodeAccessAccept:
		in = inAccept
	case radius.CodeAccessChallenge:
		in = inChallenge
	default: // an Access-Reject
	}
	seen := make(map[number]bool)
	for n, v := range walk(b) {
		row := byNumber[n]
		if len(v) == 0 || row == nil || row.in&in == 0 || row.set == nil || seen[n] && !row.many {
			continue
		}
		seen[n] = true
		if err := row.set(a, v); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	return nil
}

// accepted completes the verdict of an Access-Accept, or says why it can't stand.
func (a *answer) accepted() error {
	a.v.DNS, a.v.WINS = valid(a.dns), valid(a.wins)
	a.v.UpBps, a.v.DownBps = a.limits.settle()
	if !a.until.IsZero() {
		left := time.Until(a.until).Truncate(time.Second)
		if left <= 0 {
			return fmt.Errorf("its WISPr-Session-Terminate-Time %s is past", a.until.Format(time.RFC3339))
		}
		if a.v.SessionTimeout == 0 || left < a.v.SessionTimeout {
			a.v.SessionTimeout = left
		}
	}
	if (len(a.v.Keys.Send) == 0) != (len(a.v.Keys.Recv) == 0) {
		a.v.Keys = tenant.KeyPair{}
		a.notef("one MPPE key came without the other, both are ignored")
	}
	if a.mppeWanted && len(a.v.Keys.Send) == 0 {
		a.notef("%s sent no MS-MPPE-Send-Key and MS-MPPE-Recv-Key, so MPPE is not possible", a.server)
	}
	switch a.method {
	case tenant.AuthMSCHAPv2:
		return a.proven()
	case tenant.AuthEAP:
		return a.acceptedEAP()
	default:
		return nil
	}
}

// proven takes over the server's proof for the peer. Without one, that it knows the password too, every MS-CHAPv2 peer hangs
// up (RFC 2759 section 5): better to say here why.
func (a *answer) proven() error {
	if len(a.success) == 0 {
		return errors.New("it sent no MS-CHAP2-Success, which an MS-CHAPv2 peer needs")
	}
	if a.success[0] != a.id {
		return fmt.Errorf("its MS-CHAP2-Success is for exchange %d, this is %d", a.success[0], a.id)
	}
	success, message, err := parseSuccess(string(a.success[1:]))
	if err != nil {
		return fmt.Errorf("MS-CHAP2-Success: %w", err)
	}
	a.v.Success = success
	if a.v.Message == "" {
		a.v.Message = message
	}
	return nil
}

// challenged completes the verdict of an Access-Challenge, or says why it can't stand.
func (a *answer) challenged() error {
	switch a.method {
	case tenant.AuthEAP:
		return a.challengedEAP()
	case tenant.AuthPAP:
		a.challengedPAP()
		return nil
	default:
		return fmt.Errorf("an Access-Challenge, as for a one-time password, which %s has no place for", a.method)
	}
}

// rejected completes the verdict of an Access-Reject.
func (a *answer) rejected() {
	a.v.Deny = tenant.ReasonRadiusReject
	a.say("%s rejected the login", a.server)
	if a.method == tenant.AuthEAP {
		a.rejectedEAP()
	}
	if a.method != tenant.AuthMSCHAPv2 || len(a.failure) == 0 {
		return
	}
	// RFC 2548 section 2.1.5 has the identifier in front; some servers leave it out.
	s := string(a.failure)
	if !strings.HasPrefix(s, "E=") {
		if a.failure[0] != a.id {
			a.notef("its MS-CHAP-Error is for exchange %d, this is %d", a.failure[0], a.id)
			return
		}
		s = s[1:]
	}
	f, err := mschap.ParseFailure(s)
	if err != nil {
		a.notef("MS-CHAP-Error %q: %v", printable([]byte(s)), err)
		return
	}
	a.say("%s rejected the login with E=%d (%s)", a.server, f.Code, meaning(f.Code))
	switch f.Code {
	case mschap.ErrorAccountDisabled:
		a.v.Deny = tenant.ReasonUserDisabled
	case mschap.ErrorPasswordExpired:
		a.v.Deny, a.v.ChangePassword = tenant.ReasonUserExpired, true
	case mschap.ErrorChangingPassword:
		a.v.Deny = tenant.ReasonUserExpired // and stays so
	case mschap.ErrorAuthentication:
		a.v.Retry = f.Retry // the challenge in the text is not used, the next one is our own
	}
	if a.v.Message == "" {
		a.v.Message = printable([]byte(f.Text))
	}
}

func valid(list [2]netip.Addr) (out []netip.Addr) {
	for _, a := range list {
		if a.IsValid() && !a.IsUnspecified() {
			out = append(out, a)
		}
	}
	return out
}

// printable makes text from a server safe for logs, terminals and PPP messages: valid UTF-8, nothing but graphic
// characters and single spaces for the rest.
func printable(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, string(b)))
}

// clip shortens s to at most n octets without breaking a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
