package radius

import (
	"concentrator/internal/authz/accounting"
	"concentrator/internal/tenant"
)

// cause is a value of Acct-Terminate-Cause, RFC 2866 section 5.10.
type cause uint32

const (
	causeUserRequest        cause = 1
	causeLostCarrier        cause = 2
	causeIdleTimeout        cause = 4
	causeSessionTimeout     cause = 5
	causeAdminReset         cause = 6
	causeAdminReboot        cause = 7
	causeNASError           cause = 9
	causeNASRequest         cause = 10
	causeNASReboot          cause = 11
	causePortPreempted      cause = 13
	causeServiceUnavailable cause = 15
	causeUserError          cause = 17
)

var causeNames = map[uint32]string{
	1: "User-Request", 2: "Lost-Carrier", 3: "Lost-Service", 4: "Idle-Timeout", 5: "Session-Timeout", 6: "Admin-Reset",
	7: "Admin-Reboot", 8: "Port-Error", 9: "NAS-Error", 10: "NAS-Request", 11: "NAS-Reboot", 12: "Port-Unneeded",
	13: "Port-Preempted", 14: "Port-Suspended", 15: "Service-Unavailable", 16: "Callback", 17: "User-Error",
	18: "Host-Request",
}

// causes are the Acct-Terminate-Cause of each tenant.Reason. A session that has had its Start can end for a reason that
// otherwise refuses a login: a setup that fails behind the authentication.
var causes = map[tenant.Reason]cause{
	tenant.ReasonUserRequest:     causeUserRequest,
	tenant.ReasonLostCarrier:     causeLostCarrier,
	tenant.ReasonIdleTimeout:     causeIdleTimeout,
	tenant.ReasonSessionTimeout:  causeSessionTimeout,
	tenant.ReasonAdminDisconnect: causeAdminReset,
	tenant.ReasonCoADisconnect:   causeAdminReset,
	tenant.ReasonReplaced:        causePortPreempted,
	tenant.ReasonShutdown:        causeAdminReboot,

	tenant.ReasonNoCommonProposal:             causeUserError,
	tenant.ReasonLegacyNotAllowed:             causeUserError,
	tenant.ReasonPSKMismatch:                  causeUserError,
	tenant.ReasonCertificateUntrusted:         causeUserError,
	tenant.ReasonCertificateExpired:           causeUserError,
	tenant.ReasonCertificateRevoked:           causeUserError,
	tenant.ReasonTunnelSecretMismatch:         causeUserError,
	tenant.ReasonPeerTimeout:                  causeLostCarrier,
	tenant.ReasonProtocolError:                causeUserError,
	tenant.ReasonInstanceLimit:                causeServiceUnavailable,
	tenant.ReasonTenantLimit:                  causeServiceUnavailable,
	tenant.ReasonUserLimit:                    causeServiceUnavailable,
	tenant.ReasonListenerLimit:                causeServiceUnavailable,
	tenant.ReasonPoolExhausted:                causeServiceUnavailable,
	tenant.ReasonLockedOut:                    causeServiceUnavailable,
	tenant.ReasonDraining:                     causeAdminReboot,
	tenant.ReasonNoCommonAuthMethod:           causeUserError,
	tenant.ReasonWrongCredentials:             causeUserError,
	tenant.ReasonUserDisabled:                 causeAdminReset,
	tenant.ReasonUserExpired:                  causeAdminReset,
	tenant.ReasonTenantSuspended:              causeAdminReset,
	tenant.ReasonTenantMismatch:               causeUserError,
	tenant.ReasonMPPERequired:                 causeUserError,
	tenant.ReasonPlaintextNotAllowed:          causeUserError,
	tenant.ReasonRadiusReject:                 causeNASRequest,
	tenant.ReasonRadiusTimeout:                causeNASError,
	tenant.ReasonRadiusNoMessageAuthenticator: causeNASError,
}

// terminateCause is the Acct-Terminate-Cause of a Stop.
func terminateCause(r *accounting.Record) cause {
	if r.Crash {
		return causeNASReboot
	}
	if c, known := causes[r.Cause]; known {
		return c
	}
	return causeNASError
}
