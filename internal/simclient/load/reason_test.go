package load

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/simclient/ipsec"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/tenant"
	wirel2tp "concentrator/internal/wire/l2tp"
	wirepptp "concentrator/internal/wire/pptp"
)

func TestReason(t *testing.T) {
	auth := func(code int, text string) error { return &simppp.AuthError{Code: code, Message: text} }
	l2tp := func(m wirel2tp.Type, code, detail uint16) error {
		return &siml2tp.ResultError{Type: m, Result: wirel2tp.Result{Code: code, Error: detail}}
	}
	pptp := func(m wirepptp.Type, result uint8) error { return &simpptp.ResultError{Message: m, Result: result} }
	for _, c := range []struct {
		err  error
		want tenant.Reason
	}{
		{auth(691, "Wrong user name or password"), tenant.ReasonWrongCredentials},
		{auth(0, ""), tenant.ReasonWrongCredentials},
		{errors.Join(ipsec.ErrDown, auth(691, "")), tenant.ReasonWrongCredentials},
		{auth(646, ""), tenant.ReasonUserDisabled},
		{auth(647, ""), tenant.ReasonUserDisabled},
		{auth(648, ""), tenant.ReasonUserExpired},
		{auth(649, ""), tenant.ReasonTenantSuspended},
		{auth(691, "The server has no free address, try again later"), tenant.ReasonPoolExhausted},
		{auth(691, "The service has no free session, try again later"), tenant.ReasonTenantLimit},
		{auth(691, "The server has no free session, try again later"), tenant.ReasonInstanceLimit},
		{auth(691, "The authentication service does not answer"), tenant.ReasonRadiusTimeout},
		{auth(691, "Unknown realm"), tenant.ReasonTenantMismatch},
		{&simppp.TerminatedError{Text: "MPPE required but not agreed on"}, tenant.ReasonMPPERequired},
		{&simppp.TerminatedError{Text: "No common authentication method"}, tenant.ReasonNoCommonAuthMethod},
		{&simppp.TerminatedError{Text: "what else"}, tenant.ReasonProtocolError},
		{simppp.ErrNoMethod, tenant.ReasonNoCommonAuthMethod},
		{simppp.ErrNoMPPE, tenant.ReasonMPPERequired},
		{simppp.ErrTimeout, tenant.ReasonPeerTimeout},
		{simppp.ErrImpostor, tenant.ReasonProtocolError},
		{fmt.Errorf("EAP: %w", x509.UnknownAuthorityError{}), tenant.ReasonCertificateUntrusted},
		{fmt.Errorf("EAP: %w", x509.HostnameError{Certificate: &x509.Certificate{}}), tenant.ReasonCertificateUntrusted},
		{fmt.Errorf("EAP: %w", x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}), tenant.ReasonCertificateUntrusted},
		{fmt.Errorf("EAP: %w", x509.CertificateInvalidError{Reason: x509.Expired}), tenant.ReasonCertificateExpired},
		{&ipsec.RefusedError{Refusal: ikev1.Refusal{Reason: tenant.ReasonNoCommonProposal}}, tenant.ReasonNoCommonProposal},
		{fmt.Errorf("IKE: %w", context.DeadlineExceeded), tenant.ReasonPeerTimeout},
		{l2tp(wirel2tp.TypeStopCCN, 4, 0), tenant.ReasonTunnelSecretMismatch},
		{l2tp(wirel2tp.TypeStopCCN, 6, 0), tenant.ReasonDraining},
		{l2tp(wirel2tp.TypeStopCCN, 2, 4), tenant.ReasonInstanceLimit},
		{l2tp(wirel2tp.TypeStopCCN, 2, 3), tenant.ReasonProtocolError},
		{l2tp(wirel2tp.TypeCDN, 4, 0), tenant.ReasonInstanceLimit},
		{l2tp(wirel2tp.TypeCDN, 3, 0), tenant.ReasonPlaintextNotAllowed},
		{siml2tp.ErrSecret, tenant.ReasonTunnelSecretMismatch},
		{siml2tp.ErrTimeout, tenant.ReasonPeerTimeout},
		{pptp(wirepptp.TypeOutgoingCallReply, 4), tenant.ReasonInstanceLimit},
		{pptp(wirepptp.TypeOutgoingCallReply, 7), tenant.ReasonPlaintextNotAllowed},
		{pptp(wirepptp.TypeStartControlConnectionReply, 4), tenant.ReasonProtocolError},
		{simpptp.ErrTimeout, tenant.ReasonPeerTimeout},
		{fmt.Errorf("connect: %w", unix.ECONNREFUSED), ReasonConnectionRefused},
		{fmt.Errorf("read: %w", io.EOF), ReasonConnectionRefused},
		{fmt.Errorf("connect: %w", unix.ETIMEDOUT), tenant.ReasonPeerTimeout},
		{fmt.Errorf("bind: %w", unix.EADDRINUSE), ReasonLocalError},
		{errors.New("what else"), tenant.ReasonProtocolError},
	} {
		if got := Reason(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
		if !slices.Contains(tenant.RefusedReasons, c.want) && c.want != ReasonConnectionRefused && c.want != ReasonLocalError {
			t.Errorf("%s is no reason of a refused login", c.want)
		}
	}
}

func TestEndReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want tenant.Reason
	}{
		{&simppp.TerminatedError{Text: "the server shuts down"}, tenant.ReasonShutdown},
		{&simppp.TerminatedError{Text: "Peer not responding"}, tenant.ReasonLostCarrier},
		{&simppp.TerminatedError{Text: "Administrator"}, tenant.ReasonAdminDisconnect},
		{siml2tp.ErrTimeout, tenant.ReasonLostCarrier},
		{ipsec.ErrDown, tenant.ReasonLostCarrier},
	} {
		if got := EndReason(c.err); got != c.want || !slices.Contains(tenant.EndedReasons, got) {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}
