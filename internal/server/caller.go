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

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// Callers that are not named by a certificate.
const (
	callerRoot   = "root"   // on the unix socket
	callerAdmin  = "admin"  // with the admin token
	callerSystem = "system" // the daemon itself
)

// Metadata that carries a REST caller over the in-process connection. Only there is it believed.
const (
	callerHeader  = "x-concentrator-caller"
	addressHeader = "x-concentrator-address"
)

// caller says who is behind a call. All callers may do everything.
type caller struct {
	name    string
	address string // of TCP callers
}

type callerKey struct{}

// callerOf returns the caller that authenticate put into ctx.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// gate decides who may call. It is safe for concurrent use.
type gate struct {
	token [sha256.Size]byte // hash of the admin token
}

func newGate(token string) gate { return gate{sha256.Sum256([]byte(token))} }

// bearer returns the caller that an Authorization header names. Hashes are compared, so the time says nothing.
func (g gate) bearer(header string) (name string, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return callerAdmin, subtle.ConstantTimeCompare(hash[:], g.token[:]) == 1
}

// byCertificate returns the caller that a verified client certificate names.
func byCertificate(state tls.ConnectionState) (name string, ok bool) {
	if len(state.VerifiedChains) == 0 {
		return "", false
	}
	return "certificate " + state.VerifiedChains[0][0].Subject.String(), true
}

// errUnauthenticated is what a TCP caller without token and certificate gets.
var errUnauthenticated = newStatus(codes.Unauthenticated, reasonUnauthenticated,
	"send a token (Authorization: Bearer TOKEN) or a client certificate; root needs neither on the unix socket", nil).Err()

// authenticate finds out who calls by gRPC.
func (g gate) authenticate(ctx context.Context) (caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, errUnauthenticated
	}
	md, _ := metadata.FromIncomingContext(ctx)
	switch info := p.AuthInfo.(type) {
	case socketInfo:
		return caller{name: callerRoot}, nil
	case innerInfo:
		if names := md.Get(callerHeader); len(names) == 1 {
			return caller{name: names[0], address: strings.Join(md.Get(addressHeader), "")}, nil
		}
	case credentials.TLSInfo:
		if name, ok := byCertificate(info.State); ok {
			return caller{name: name, address: p.Addr.String()}, nil
		}
		for _, header := range md.Get("authorization") {
			if name, ok := g.bearer(header); ok {
				return caller{name: name, address: p.Addr.String()}, nil
			}
		}
	}
	return caller{}, errUnauthenticated
}

// authenticateHTTP finds out who calls by REST.
func (g gate) authenticateHTTP(r *http.Request) (name string, ok bool) {
	if r.TLS != nil {
		if name, ok := byCertificate(*r.TLS); ok {
			return name, true
		}
	}
	return g.bearer(r.Header.Get("Authorization"))
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
