package env

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	pb "concentrator/api/gen/concentrator/v1"
)

// who answers GetInstance with who the caller is, as its name.
type who struct {
	pb.UnimplementedInstanceServiceServer
}

func (who) GetInstance(ctx context.Context, _ *pb.GetInstanceRequest) (*pb.Instance, error) {
	name := ""
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			name = "certificate of " + info.State.PeerCertificates[0].Subject.CommonName
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return &pb.Instance{Name: strings.TrimSpace(name + " " + strings.Join(md.Get("authorization"), " "))}, nil
}

// pair makes a certificate that signs itself and its key, as PEM.
func pair(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// TestTLS calls over TLS by a token and by a certificate, and goes wrong in each way that there is.
func TestTLS(t *testing.T) {
	cert, key := pair(t, "daemon")
	own, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequestClientCert,
	})))
	pb.RegisterInstanceServiceServer(s, who{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }() // it ends when it is stopped
	t.Cleanup(s.Stop)
	files := map[string]string{"ca.pem": cert, "token": "conc_secret\n", "junk": "no PEM"}
	files["me.pem"], files["me.key"] = pair(t, "me")
	files["both.pem"] = files["me.pem"] + files["me.key"]

	for _, c := range []struct {
		name        string
		e           Env
		want, fails string
	}{
		{"a token", Env{caCert: "ca.pem", token: "@token"}, "Bearer conc_secret", ""},
		{"a certificate", Env{caCert: "ca.pem", cert: "me.pem", key: "me.key"}, "certificate of me", ""},
		{"both in one file", Env{caCert: "ca.pem", cert: "both.pem"}, "certificate of me", ""},
		{"no CA", Env{}, "", "give the API's CA with --cacert"},
		{"no such CA", Env{caCert: "gone.pem"}, "", "read --cacert"},
		{"no CA in it", Env{caCert: "junk"}, "", "no PEM certificate in it"},
		{"a key alone", Env{caCert: "ca.pem", key: "me.key"}, "", "--key needs --cert"},
		{"another's key", Env{caCert: "ca.pem", cert: "ca.pem", key: "me.key"}, "", "--cert ca.pem and its key"},
		{"no such certificate", Env{caCert: "ca.pem", cert: "gone.pem"}, "", "read --cert"},
		{"no such key", Env{caCert: "ca.pem", cert: "me.pem", key: "gone.key"}, "", "read --key"},
		{"no such token", Env{caCert: "ca.pem", token: "@gone"}, "", "read --token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := c.e
			e.addr = l.Addr().String()
			e.Getenv = func(string) string { return "" }
			e.ReadFile = func(name string) ([]byte, error) {
				if text, ok := files[name]; ok {
					return []byte(text), nil
				}
				return nil, os.ErrNotExist
			}
			defer e.Close()
			var got *pb.Instance
			err := e.Connect()
			if err == nil {
				got, err = pb.NewInstanceServiceClient(e.Conn).GetInstance(t.Context(), &pb.GetInstanceRequest{})
			}
			if c.fails != "" {
				if err == nil || !strings.Contains(Describe(err), c.fails) {
					t.Errorf("%v, want %s", err, c.fails)
				}
				return
			}
			if err != nil || got.GetName() != c.want {
				t.Errorf("%q, %v; want %q", got.GetName(), err, c.want)
			}
		})
	}
}
