package load

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"concentrator/internal/simclient/ipsec"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/tenant"
	wirel2tp "concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/mschap"
	wirepptp "concentrator/internal/wire/pptp"
)

// Reasons that only the generator has.
const (
	// ReasonConnectionRefused: nobody listens, or the server has closed the connection at once.
	ReasonConnectionRefused tenant.Reason = "CONNECTION_REFUSED"
	// ReasonLocalError: a socket could not be opened or used on this side.
	ReasonLocalError tenant.Reason = "LOCAL_ERROR"
	// ReasonHangUp: a goodbye was not answered. It only names an example.
	ReasonHangUp tenant.Reason = "HANG_UP"
	// ReasonRekey: new SAs could not be made. It only names an example.
	ReasonRekey tenant.Reason = "REKEY"
)

// texts are what this server says beside a code that means several things; other servers say other things, and then the
// code alone counts.
var texts = []struct {
	part   string
	reason tenant.Reason
}{
	{"no free address", tenant.ReasonPoolExhausted},
	{"The service has no free session", tenant.ReasonTenantLimit},
	{"The server has no free session", tenant.ReasonInstanceLimit},
	{"authentication service", tenant.ReasonRadiusTimeout},
	{"Unknown realm", tenant.ReasonTenantMismatch},
	{"MPPE required", tenant.ReasonMPPERequired},
	{"No common authentication method", tenant.ReasonNoCommonAuthMethod},
	{"the server shuts down", tenant.ReasonShutdown},
	{"Peer not responding", tenant.ReasonLostCarrier},
}

func byText(text string, otherwise tenant.Reason) tenant.Reason {
	for _, t := range texts {
		if strings.Contains(text, t.part) {
			return t.reason
		}
	}
	return otherwise
}

// sentinels are errors that mean one thing, in the order in which they count.
var sentinels = []struct {
	err    error
	reason tenant.Reason
}{
	{simppp.ErrNoMethod, tenant.ReasonNoCommonAuthMethod},
	{simppp.ErrNoMPPE, tenant.ReasonMPPERequired},
	{simppp.ErrTimeout, tenant.ReasonPeerTimeout},
	{simppp.ErrImpostor, tenant.ReasonProtocolError},
	{simppp.ErrNoNetwork, tenant.ReasonProtocolError},
	{simppp.ErrProtocol, tenant.ReasonProtocolError},
	{siml2tp.ErrSecret, tenant.ReasonTunnelSecretMismatch},
	{siml2tp.ErrTimeout, tenant.ReasonPeerTimeout},
	{simpptp.ErrTimeout, tenant.ReasonPeerTimeout},
	{context.DeadlineExceeded, tenant.ReasonPeerTimeout},
	{unix.ETIMEDOUT, tenant.ReasonPeerTimeout},
	{unix.ECONNREFUSED, ReasonConnectionRefused},
	{unix.ECONNRESET, ReasonConnectionRefused},
	{io.EOF, ReasonConnectionRefused},
	{ipsec.ErrDown, tenant.ReasonLostCarrier},
}

// Reason says why a login has failed, as the client sees it: in the server's words where they can be known.
func Reason(err error) tenant.Reason {
	if r := refusal(err); r != "" {
		return r
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.reason
		}
	}
	if r := untrusted(err); r != "" {
		return r
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return ReasonLocalError
	}
	return tenant.ReasonProtocolError
}

// untrusted is what was wrong with the server's certificate; empty: nothing.
func untrusted(err error) tenant.Reason {
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tenant.ReasonCertificateExpired
	case errors.As(err, &invalid), errors.As(err, &unknown), errors.As(err, &name):
		return tenant.ReasonCertificateUntrusted
	}
	return ""
}

// refusal is the reason in a server's no; empty: there is none.
func refusal(err error) tenant.Reason {
	var (
		auth  *simppp.AuthError
		ended *simppp.TerminatedError
		ike   *ipsec.RefusedError
		said  *notifyError
		l2tp  *siml2tp.ResultError
		pptp  *simpptp.ResultError
	)
	switch {
	case errors.As(err, &auth):
		switch auth.Code {
		case mschap.ErrorAccountDisabled, mschap.ErrorRestrictedLogonHours:
			return tenant.ReasonUserDisabled
		case mschap.ErrorPasswordExpired:
			return tenant.ReasonUserExpired
		case mschap.ErrorNoDialinPermission:
			return tenant.ReasonTenantSuspended
		}
		return byText(auth.Message, tenant.ReasonWrongCredentials)
	case errors.As(err, &ike):
		return ike.Refusal.Reason
	case errors.As(err, &said):
		return said.reason()
	case errors.As(err, &ended):
		return byText(ended.Text, tenant.ReasonProtocolError)
	case errors.As(err, &l2tp):
		return l2tpReason(l2tp)
	case errors.As(err, &pptp):
		return pptpReason(pptp)
	}
	return ""
}

func l2tpReason(e *siml2tp.ResultError) tenant.Reason {
	stop := e.Type == wirel2tp.TypeStopCCN
	switch c := e.Result.Code; {
	case stop && c == wirel2tp.StopResultNotAuthorized:
		return tenant.ReasonTunnelSecretMismatch
	case stop && c == wirel2tp.StopResultShutdown:
		return tenant.ReasonDraining
	case e.Result.Error == wirel2tp.ErrorNoResource,
		!stop && (c == wirel2tp.CallResultTemporary || c == wirel2tp.CallResultBusy):
		return tenant.ReasonInstanceLimit
	case !stop && c == wirel2tp.CallResultAdministrative:
		return tenant.ReasonPlaintextNotAllowed
	}
	return tenant.ReasonProtocolError
}

func pptpReason(e *simpptp.ResultError) tenant.Reason {
	switch {
	case e.Message == wirepptp.TypeOutgoingCallReply && e.Result == wirepptp.ResultBusy:
		return tenant.ReasonInstanceLimit
	case e.Message == wirepptp.TypeOutgoingCallReply && e.Result == wirepptp.ResultDoNotAccept:
		return tenant.ReasonPlaintextNotAllowed
	}
	return tenant.ReasonProtocolError
}

// EndReason says why a session has ended that nobody has hung up, as the client sees it.
func EndReason(err error) tenant.Reason {
	var ended *simppp.TerminatedError
	if errors.As(err, &ended) {
		return byText(ended.Text, tenant.ReasonAdminDisconnect)
	}
	return tenant.ReasonLostCarrier
}
