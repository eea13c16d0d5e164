package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Callers that have no API token. They may do everything.
const (
	callerRoot   = "root"   // on the unix socket
	callerAdmin  = "admin"  // with the admin token
	callerSystem = "system" // the daemon itself
)

// Metadata that carries a REST caller over the in-process connection. Only there is it believed.
const (
	callerHeader  = "x-concentrator-caller"
	addressHeader = "x-concentrator-address"
	tokenHeader   = "x-concentrator-token" // resource name of the API token, for a caller who has one
	grantHeader   = "x-concentrator-grant" // which of that token's grants, as it may be another one by then
)

// caller says who is behind a call. The zero caller may do nothing.
type caller struct {
	name    string
	address string // of TCP callers
	tenant  string // the one it is bound to: it sees and touches nothing else; "" for none
	role    tenant.Role
	grant   *grant // nil without a stored token
}

// almighty is a caller who needs no stored token.
func almighty(name, address string) caller {
	return caller{name: name, address: address, role: tenant.RoleAdmin}
}

type callerKey struct{}

// callerOf returns the caller that authenticate put into ctx.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// gate decides who may call. It is safe for concurrent use.
type gate struct {
	token store.Fingerprint // hash of the admin token
	keys  *keyring
}

func newGate(token string, keys *keyring) gate { return gate{hashOf(token), keys} }

// bearer returns the caller that an Authorization header names. Hashes are compared, so the time says nothing.
func (g gate) bearer(header, address string) (caller, bool) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return caller{}, false
	}
	token = strings.TrimSpace(token)
	hash := hashOf(token)
	if subtle.ConstantTimeCompare(hash[:], g.token[:]) == 1 {
		return almighty(callerAdmin, address), true
	}
	return g.keys.byToken(token, address)
}

// certificate returns the caller that a client certificate names. It takes both: an authority of ours, and an API token with
// the certificate's fingerprint. So a certificate is worth nothing once its token is gone.
func (g gate) certificate(state tls.ConnectionState, address string) (caller, bool) {
	if len(state.VerifiedChains) == 0 || time.Now().After(state.VerifiedChains[0][0].NotAfter) {
		return caller{}, false // it was valid when the connection began, which may be long ago
	}
	return g.keys.byFingerprint(sha256.Sum256(state.VerifiedChains[0][0].Raw), address)
}

// inner returns the caller that the REST side has let in, or the daemon itself.
func (g gate) inner(md metadata.MD) (caller, bool) {
	names, address := md.Get(callerHeader), strings.Join(md.Get(addressHeader), "")
	if token := md.Get(tokenHeader); len(token) > 0 {
		return g.keys.granted(token[0], strings.Join(md.Get(grantHeader), ""), address)
	}
	if len(names) != 1 {
		return caller{}, false
	}
	return almighty(names[0], address), true
}

// errUnauthenticated is what a TCP caller without token and certificate gets.
var errUnauthenticated = newStatus(codes.Unauthenticated, reasonUnauthenticated,
	"send a token (Authorization: Bearer TOKEN) or show a client certificate that an API token names; root needs neither "+
		"on the unix socket", nil).Err()

// authenticate finds out who calls by gRPC.
func (g gate) authenticate(ctx context.Context) (caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, errUnauthenticated
	}
	md, _ := metadata.FromIncomingContext(ctx)
	switch info := p.AuthInfo.(type) {
	case socketInfo:
		return almighty(callerRoot, ""), nil
	case innerInfo:
		if who, ok := g.inner(md); ok {
			return who, nil
		}
	case credentials.TLSInfo:
		if who, ok := g.certificate(info.State, p.Addr.String()); ok {
			return who, nil
		}
		for _, header := range md.Get("authorization") {
			if who, ok := g.bearer(header, p.Addr.String()); ok {
				return who, nil
			}
		}
	}
	return caller{}, errUnauthenticated
}

// addressOf is where a call comes from, whoever it is.
func addressOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	switch p.AuthInfo.(type) {
	case socketInfo:
		return ""
	case innerInfo:
		md, _ := metadata.FromIncomingContext(ctx)
		return strings.Join(md.Get(addressHeader), "")
	}
	return p.Addr.String()
}

// authenticateHTTP finds out who calls by REST.
func (g gate) authenticateHTTP(r *http.Request) (caller, bool) {
	if r.TLS != nil {
		if who, ok := g.certificate(*r.TLS, r.RemoteAddr); ok {
			return who, true
		}
	}
	return g.bearer(r.Header.Get("Authorization"), r.RemoteAddr)
}

// doors is the transport security of the one gRPC server: TLS for TCP, the kernel's word for the unix socket, nothing
// for the connections within the process.
type doors struct {
	credentials.TransportCredentials // TLS
}

type socketInfo struct{ credentials.CommonAuthInfo }

func (socketInfo) AuthType() string { return "unix" }

type innerInfo struct{ credentials.CommonAuthInfo }

func (innerInfo) AuthType() string { return "in-process" }

// innerConn marks a connection within the process.
type innerConn struct{ net.Conn }

// secure is the common part of the two infos: nobody else can read along.
var secure = credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}

func (d doors) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	switch c := c.(type) {
	case innerConn:
		return c, innerInfo{secure}, nil
	case *net.UnixConn:
		if err := checkPeer(c); err != nil {
			return nil, nil, err
		}
		return c, socketInfo{secure}, nil
	}
	return d.TransportCredentials.ServerHandshake(c)
}

func (d doors) Clone() credentials.TransportCredentials {
	return doors{d.TransportCredentials.Clone()}
}

// errNotRoot is returned for a unix socket's peer that is neither root nor the daemon's own user.
var errNotRoot = errors.New("only root may use the socket")

// checkPeer asks the kernel who opened the other end of a unix socket.
func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("peer of the socket: %w", err)
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return fmt.Errorf("peer of the socket: %w", err)
	}
	if credErr != nil {
		return fmt.Errorf("peer of the socket: %w", credErr)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d: %w", cred.Uid, errNotRoot)
	}
	return nil
}
