package local

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/mschap"
)

// UserSource looks users up. It must be safe for concurrent use.
type UserSource interface {
	// User returns the user with the login user, which may be any octets, of the tenant with the ID tenant. false means
	// that there is none; an error, that nobody knows. The password is the caller's, who clears it.
	User(tenant, user string) (User, bool, error)
}

// User is what a UserSource knows of one user.
type User struct {
	Password    tenant.Secret // clear text, UTF-8; empty: the user can't log in
	Profile     string        // empty: the tenant's default
	Address     netip.Addr    // zero: from the pool
	Routes      []netip.Prefix
	Disabled    bool
	Expire      time.Time // zero: never
	MaxSessions int       // 0: the tenant decides
}

// Authenticator decides logins from a UserSource. It is safe for concurrent use.
type Authenticator struct {
	src UserSource
	now func() time.Time
}

var _ authz.Authenticator = (*Authenticator)(nil)

// New returns an Authenticator for the users of src.
func New(src UserSource) *Authenticator { return &Authenticator{src: src, now: time.Now} }

// Authenticate implements authz.Authenticator. It does not block longer than the UserSource does.
func (a *Authenticator) Authenticate(ctx context.Context, r authz.Request) (authz.Verdict, error) {
	if err := context.Cause(ctx); err != nil {
		return authz.NoAnswer(tenant.ReasonPeerTimeout, "the login ended before it was decided", err)
	}
	u, found, err := a.src.User(r.Tenant, r.User)
	if err != nil {
		// No reason of the API says "our own table is broken"; the detail does.
		return authz.NoAnswer(tenant.ReasonWrongCredentials, "the user table could not be read: "+err.Error(), err)
	}
	defer clear(u.Password)
	if !found {
		u = User{} // whatever the source has returned with false
	}
	// From here on an unknown user is one without a password, so that the time taken says nothing about who exists.
	v, right, ok := check(r, u.Password)
	switch {
	case !ok:
		return v, nil
	case !right:
		return authz.Verdict{
			Deny: tenant.ReasonWrongCredentials, Detail: wrongDetail(found, u, r),
			Message: "Wrong user name or password",
			// Of the three methods only MS-CHAPv2 has a way to tell the peer, RFC 2759 section 6.
			Retry: r.Method == tenant.AuthMSCHAPv2,
		}, nil
	case u.Disabled:
		// Only who knows the password learns this.
		return authz.Verdict{
			Deny:    tenant.ReasonUserDisabled,
			Detail:  fmt.Sprintf("user %q is disabled", r.User),
			Message: "This account is disabled",
		}, nil
	case !u.Expire.IsZero() && !a.now().Before(u.Expire):
		return authz.Verdict{
			Deny:    tenant.ReasonUserExpired,
			Detail:  fmt.Sprintf("user %q expired at %s", r.User, u.Expire.UTC().Format(time.RFC3339)),
			Message: "This account has expired",
		}, nil
	}
	v.Profile, v.Address, v.Routes, v.MaxSessions = u.Profile, u.Address, u.Routes, u.MaxSessions
	return v, nil
}

// wrongDetail tells operators, never the peer, what was wrong.
func wrongDetail(found bool, u User, r authz.Request) string {
	switch {
	case !found:
		return fmt.Sprintf("there is no user %q", r.User)
	case len(u.Password) == 0:
		return fmt.Sprintf("user %q has no password", r.User)
	}
	return fmt.Sprintf("the password of user %q is wrong", r.User)
}

// check compares what the peer sent with password. right says that it fits, and then v has what MS-CHAPv2 adds; ok is
// false if r can't be checked at all, and then v is the refusal. An empty password fits nothing, at the same cost.
func check(r authz.Request, password tenant.Secret) (v authz.Verdict, right, ok bool) {
	switch r.Method {
	case tenant.AuthPAP:
		// Hashed first, so that neither length shows in the time.
		got, want := sha256.Sum256(r.Password), sha256.Sum256(password)
		right = subtle.ConstantTimeCompare(got[:], want[:]) == 1
	case tenant.AuthCHAP:
		if len(r.Challenge) == 0 || len(r.Response) != chap.MD5Len {
			return refuse("the CHAP challenge or response has the wrong length")
		}
		want := chap.MD5Response(r.ID, password, r.Challenge)
		right = subtle.ConstantTimeCompare(r.Response, want[:]) == 1
	case tenant.AuthMSCHAPv2:
		p, err := mschap.ParseResponse(r.Response)
		if err != nil || len(r.Challenge) != mschap.ChallengeLen {
			return refuse("the MS-CHAPv2 challenge or response has the wrong length")
		}
		challenge := [mschap.ChallengeLen]byte(r.Challenge)
		hash := mschap.NTPasswordHash(password)
		want := mschap.NTResponse(mschap.ChallengeHash(p.PeerChallenge, challenge, r.PeerName), hash)
		right = subtle.ConstantTimeCompare(p.NTResponse[:], want[:]) == 1
		// Derived for a wrong password as well, for the same time.
		hashHash := mschap.HashNTPasswordHash(hash)
		send, recv := mschap.StartKeys(hashHash, p.NTResponse)
		success := mschap.AuthenticatorResponse(hashHash, p.NTResponse, p.PeerChallenge, challenge, r.PeerName)
		if right && len(password) > 0 {
			v.Success = success
			v.Keys = tenant.KeyPair{Send: send[:], Recv: recv[:]}
		}
	default:
		return authz.Verdict{
			Deny: tenant.ReasonNoCommonAuthMethod, Detail: fmt.Sprintf("%s can't be checked here", r.Method),
		}, false, false
	}
	return v, right && len(password) > 0, true
}

func refuse(detail string) (v authz.Verdict, right, ok bool) {
	return authz.Verdict{Deny: tenant.ReasonProtocolError, Detail: detail}, false, false
}
