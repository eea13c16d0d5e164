package env

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// DefaultSocket is where the daemon's API is for root.
const DefaultSocket = "/run/concentrator/api.sock"

// Connect completes the settings and opens the connection, lazily: an API that is not there is noticed by the first call.
// Verb does it for a verb.
func (e *Env) Connect() error {
	if err := e.fill(); err != nil {
		return err
	}
	if e.Conn != nil {
		return nil
	}
	var err error
	if e.addr == "" {
		if e.socket == "" {
			e.socket = DefaultSocket
		}
		if _, serr := os.Stat(e.socket); serr != nil {
			return fmt.Errorf("no daemon at %s: %w; is it running, and is --socket or CONC_SOCKET right?", e.socket, serr)
		}
		e.own, err = grpc.NewClient("unix:"+e.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	} else {
		e.own, err = e.dialTLS()
	}
	if err != nil {
		return err
	}
	e.Conn = e.own
	return nil
}

func (e *Env) dialTLS() (*grpc.ClientConn, error) {
	if _, _, err := net.SplitHostPort(e.addr); err != nil {
		return nil, fmt.Errorf("%w: --addr %q is not host:port, as in vpn.example:9443", ErrUsage, e.addr)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.caCert != "" {
		pem, err := e.ReadFile(e.caCert)
		if err != nil {
			return nil, fmt.Errorf("read --cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--cacert %s: no PEM certificate in it", e.caCert)
		}
	}
	if e.cert != "" || e.key != "" {
		pair, err := e.keyPair()
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	token, err := e.Secret(e.token)
	if err != nil {
		return nil, fmt.Errorf("read --token: %w", err)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)), grpc.WithChainUnaryInterceptor(patient),
	}
	if token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(token)))
	}
	conn, err := grpc.NewClient(e.addr, opts...)
	if err != nil {
		return nil, fmt.Errorf("--addr %s: %w", e.addr, err)
	}
	return conn, nil
}

// keyPair reads the client certificate. The key may stand in the certificate's file.
func (e *Env) keyPair() (tls.Certificate, error) {
	if e.cert == "" {
		return tls.Certificate{}, fmt.Errorf("%w: --key needs --cert", ErrUsage)
	}
	cert, err := e.ReadFile(e.cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read --cert: %w", err)
	}
	key := cert
	if e.key != "" {
		if key, err = e.ReadFile(e.key); err != nil {
			return tls.Certificate{}, fmt.Errorf("read --key: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--cert %s and its key: %w", e.cert, err)
	}
	return pair, nil
}

// Close closes the connection, if there is one of our own.
func (e *Env) Close() {
	if e.own != nil {
		_ = e.own.Close() // nothing is under way any more
	}
}
