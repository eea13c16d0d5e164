package tenant

// Stage is how far a login has come. The same words stand in log lines, metric labels and the API.
type Stage string

// The stages in the order in which a login passes them.
const (
	StageIKEMainMode    Stage = "IKE_MAIN_MODE"
	StageIKEQuickMode   Stage = "IKE_QUICK_MODE"
	StageL2TPTunnel     Stage = "L2TP_TUNNEL"
	StageCall           Stage = "CALL"
	StageLCP            Stage = "LCP"
	StageAuthentication Stage = "AUTHENTICATION"
	StageCCP            Stage = "CCP"
	StageAddress        Stage = "ADDRESS"
	StageOpen           Stage = "OPEN"
)

// Stages lists every Stage.
var Stages = []Stage{
	StageIKEMainMode, StageIKEQuickMode, StageL2TPTunnel, StageCall, StageLCP,
	StageAuthentication, StageCCP, StageAddress, StageOpen,
}

// Reason says why a login was refused or a session ended. The zero value means "not refused, not ended".
type Reason string

// Why a login was refused.
const (
	ReasonNoCommonProposal             Reason = "NO_COMMON_PROPOSAL"
	ReasonLegacyNotAllowed             Reason = "LEGACY_NOT_ALLOWED"
	ReasonPSKMismatch                  Reason = "PSK_MISMATCH"
	ReasonCertificateUntrusted         Reason = "CERTIFICATE_UNTRUSTED"
	ReasonCertificateExpired           Reason = "CERTIFICATE_EXPIRED"
	ReasonCertificateRevoked           Reason = "CERTIFICATE_REVOKED"
	ReasonTunnelSecretMismatch         Reason = "TUNNEL_SECRET_MISMATCH"
	ReasonPeerTimeout                  Reason = "PEER_TIMEOUT"
	ReasonProtocolError                Reason = "PROTOCOL_ERROR"
	ReasonInstanceLimit                Reason = "INSTANCE_LIMIT"
	ReasonTenantLimit                  Reason = "TENANT_LIMIT"
	ReasonUserLimit                    Reason = "USER_LIMIT"
	ReasonListenerLimit                Reason = "LISTENER_LIMIT"
	ReasonPoolExhausted                Reason = "POOL_EXHAUSTED"
	ReasonLockedOut                    Reason = "LOCKED_OUT"
	ReasonDraining                     Reason = "DRAINING"
	ReasonNoCommonAuthMethod           Reason = "NO_COMMON_AUTH_METHOD"
	ReasonWrongCredentials             Reason = "WRONG_CREDENTIALS"
	ReasonUserDisabled                 Reason = "USER_DISABLED"
	ReasonUserExpired                  Reason = "USER_EXPIRED"
	ReasonTenantSuspended              Reason = "TENANT_SUSPENDED"
	ReasonTenantMismatch               Reason = "TENANT_MISMATCH"
	ReasonMPPERequired                 Reason = "MPPE_REQUIRED"
	ReasonPlaintextNotAllowed          Reason = "PLAINTEXT_NOT_ALLOWED"
	ReasonRadiusReject                 Reason = "RADIUS_REJECT"
	ReasonRadiusTimeout                Reason = "RADIUS_TIMEOUT"
	ReasonRadiusNoMessageAuthenticator Reason = "RADIUS_NO_MESSAGE_AUTHENTICATOR"
)

// Why a session ended.
const (
	ReasonUserRequest     Reason = "USER_REQUEST"
	ReasonLostCarrier     Reason = "LOST_CARRIER"
	ReasonIdleTimeout     Reason = "IDLE_TIMEOUT"
	ReasonSessionTimeout  Reason = "SESSION_TIMEOUT"
	ReasonAdminDisconnect Reason = "ADMIN_DISCONNECT"
	ReasonCoADisconnect   Reason = "COA_DISCONNECT"
	ReasonReplaced        Reason = "REPLACED"
	ReasonShutdown        Reason = "SHUTDOWN"
)

// RefusedReasons lists every reason for a refused login.
var RefusedReasons = []Reason{
	ReasonNoCommonProposal, ReasonLegacyNotAllowed, ReasonPSKMismatch, ReasonCertificateUntrusted,
	ReasonCertificateExpired, ReasonCertificateRevoked, ReasonTunnelSecretMismatch, ReasonPeerTimeout,
	ReasonProtocolError, ReasonInstanceLimit, ReasonTenantLimit, ReasonUserLimit, ReasonListenerLimit,
	ReasonPoolExhausted, ReasonLockedOut, ReasonDraining, ReasonNoCommonAuthMethod, ReasonWrongCredentials,
	ReasonUserDisabled, ReasonUserExpired, ReasonTenantSuspended, ReasonTenantMismatch, ReasonMPPERequired,
	ReasonPlaintextNotAllowed, ReasonRadiusReject, ReasonRadiusTimeout, ReasonRadiusNoMessageAuthenticator,
}

// EndedReasons lists every reason for the end of a session.
var EndedReasons = []Reason{
	ReasonUserRequest, ReasonLostCarrier, ReasonIdleTimeout, ReasonSessionTimeout,
	ReasonAdminDisconnect, ReasonCoADisconnect, ReasonReplaced, ReasonShutdown,
}
