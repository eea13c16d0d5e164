package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"concentrator/api/gen"
	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

// dialTLS connects as a stranger does, trusting the certificate in the state directory.
func (f *fixture) dialTLS(t testing.TB, certs ...tls.Certificate) *grpc.ClientConn {
	t.Helper()
	pool := x509.NewCertPool()
	b, err := os.ReadFile(filepath.Join(f.dir, certFile))
	must(t)(b, err)
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate")
	}
	conn, err := grpc.NewClient(f.GRPCAddr().String(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, Certificates: certs})))
	must(t)(conn, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func ask(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := concentratorv1.NewTenantServiceClient(conn).ListTenants(ctx, &concentratorv1.ListTenantsRequest{})
	return err
}

func TestTokenGRPC(t *testing.T) {
	f := start(t)
	conn := f.dialTLS(t)
	bearer := func(header ...string) error {
		ctx := t.Context()
		for _, h := range header {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", h)
		}
		return ask(ctx, conn)
	}
	if err := bearer("Bearer " + f.token); err != nil {
		t.Errorf("the token: %v", err)
	}
	if err := bearer("bearer  " + f.token); err != nil {
		t.Errorf("the token, spelled otherwise: %v", err)
	}
	want := failure{code: codes.Unauthenticated, reason: "UNAUTHENTICATED"}
	for name, err := range map[string]error{
		"nothing":          bearer(),
		"wrong token":      bearer("Bearer " + f.token[:len(f.token)-1]),
		"empty token":      bearer("Bearer "),
		"another scheme":   bearer("Basic " + f.token),
		"token alone":      bearer(f.token),
		"a name one gives": ask(metadata.AppendToOutgoingContext(t.Context(), callerHeader, "system"), conn),
	} {
		if !failureOf(err).equal(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("health without a token: %v", err)
	}
	stream, err := concentratorv1.NewSessionServiceClient(conn).WatchSessions(t.Context(), &concentratorv1.WatchSessionsRequest{Parent: "tenants/-"})
	must(t)(stream, err)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("watch without a token: %v", err)
	}
	if !strings.Contains(f.log.String(), "code=Unauthenticated") || strings.Contains(f.log.String(), f.token) {
		t.Error("the log does not show the refusal, or shows the token")
	}
}

func TestTokenREST(t *testing.T) {
	f := start(t)
	if code, body := f.rest(t, "GET", "/v1/tenants", ""); code != 200 {
		t.Errorf("the token: %d %s", code, body)
	}
	for name, header := range map[string][]string{
		"nothing":        {"Authorization", ""},
		"wrong token":    {"Authorization", "Bearer " + f.token + "x"},
		"another scheme": {"Authorization", "Basic " + f.token},
		"a name one gives": {
			"Authorization", "", "Grpc-Metadata-" + callerHeader, "system", callerHeader, "system",
		},
	} {
		code, body := f.rest(t, "GET", "/v1/tenants", "", header...)
		if code != 401 || !strings.Contains(body, `"UNAUTHENTICATED"`) {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.RESTAddr().String()+"/v1/tenants", nil)
	must(t)(req, err)
	resp, err := f.http.Do(req)
	must(t)(resp, err)
	_ = resp.Body.Close()
	if h := resp.Header.Values("WWW-Authenticate"); len(h) != 1 || h[0] != "Bearer" {
		t.Errorf("WWW-Authenticate: %q", h)
	}
	// Each try of a stranger needs a connection of its own.
	again := false
	resp, err = f.http.Do(req.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { again = c.Reused },
	})))
	must(t)(resp, err)
	_ = resp.Body.Close()
	if again {
		t.Error("a stranger's connection is open for his next try")
	}
	// Nothing that a REST caller sends changes who it is.
	f.rest(t, "PATCH", "/v1/tenants/none", "{}", "Grpc-Metadata-"+callerHeader, "mallory", callerHeader, "mallory")
	if log := f.log.String(); !strings.Contains(log, "caller=admin peer=127.0.0.1:") || strings.Contains(log, "mallory") {
		t.Errorf("log: %s", log)
	}
}

func TestOpenPaths(t *testing.T) {
	f := start(t)
	get := func(method, path string) (int, string, http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+f.RESTAddr().String()+path, nil)
		must(t)(req, err)
		resp, err := f.http.Do(req)
		must(t)(resp, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(t)(b, err)
		return resp.StatusCode, string(b), resp.Header
	}
	if code, body, _ := get("GET", "/livez"); code != 200 || body != "live\n" {
		t.Errorf("livez: %d %s", code, body)
	}
	if code, body, _ := get("GET", "/readyz"); code != 503 || !strings.HasPrefix(body, "not ready\nSTARTED: ") {
		t.Errorf("readyz before: %d %s", code, body)
	}
	f.SetReady(true)
	if code, body, _ := get("GET", "/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("readyz: %d %s", code, body)
	}
	code, body, header := get("GET", "/openapi.json")
	if code != 200 || body != string(gen.OpenAPI) || decodeJSON(t, body)["openapi"] != "3.1.0" || header.Get("Content-Type") != "application/json" {
		t.Errorf("openapi.json: %d, %d octets", code, len(body))
	}
	if code, _, _ := get("POST", "/livez"); code != 405 {
		t.Errorf("POST livez: %d", code)
	}
	if code, _, _ := get("GET", "/livez/"); code != 401 {
		t.Errorf("another path: %d", code)
	}
	if code, body := f.rest(t, "GET", "/v2/tenants", ""); code != 404 || !strings.Contains(body, "INVALID_REQUEST") {
		t.Errorf("no such path: %d %s", code, body)
	}
	if code, body := f.rest(t, "PUT", "/v1/tenants/acme", "{}"); code != 405 {
		t.Errorf("no such method: %d %s", code, body)
	}
}

func TestHealthAndReflection(t *testing.T) {
	f := start(t)
	check := func(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
		r, err := grpc_health_v1.NewHealthClient(f.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		must(t)(r, err)
		return r.GetStatus()
	}
	if s := check(""); s != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("a new server is %v", s)
	}
	f.SetReady(true)
	for _, service := range []string{"", "concentrator.v1.SessionService"} {
		if s := check(service); s != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q is %v", service, s)
		}
	}
	stream, err := grpc_reflection_v1.NewServerReflectionClient(f.conn).ServerReflectionInfo(t.Context())
	must(t)(stream, err)
	must(t)(nil, stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}))
	r, err := stream.Recv()
	if err != nil || !strings.Contains(r.String(), "concentrator.v1.UserService") {
		t.Errorf("reflection: %v, %v", r, err)
	}
	must(t)(nil, stream.CloseSend())
}

// authority is a CA that signs client certificates.
func authority(t *testing.T, dir, name string) (caFile string, client tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t)(key, err)
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	must(t)(caDER, err)
	clientKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t)(clientKey, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "billing"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &clientKey.PublicKey, key)
	must(t)(leafDER, err)
	caFile = filepath.Join(dir, name+".pem")
	must(t)(nil, os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	return caFile, tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: clientKey}
}

func dialSocket(t *testing.T, path string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t)(conn, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "api.sock")
	f := start(t, func(c *Config) { c.Socket = path })
	if err := ask(t.Context(), dialSocket(t, path)); err != nil {
		t.Errorf("root on the socket: %v", err)
	}
	if !strings.Contains(f.log.String(), "caller=root") {
		t.Errorf("log: %s", f.log)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	if _, err := listenSocket(path); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("a second listener: %v", err)
	}
	must(t)(nil, f.Shutdown(t.Context()))
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSocketReplacesADeadOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t)(dead, err)
	dead.SetUnlinkOnClose(false)
	must(t)(nil, dead.Close())
	l, err := listenSocket(path)
	must(t)(l, err)
	must(t)(nil, l.Close())

	must(t)(nil, os.WriteFile(path, []byte("precious"), 0o600))
	if _, err := listenSocket(path); err == nil {
		t.Error("a file that is no socket was replaced")
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file holds %q", b)
	}
}

const (
	socketEnv = "SERVER_TEST_SOCKET" // tells the child of TestSocketOfAnotherUser where to ask
	nobody    = 65534
)

// A user who is neither root nor ours is refused even if the file's mode lets him in. Needs root, to become one.
func TestSocketOfAnotherUser(t *testing.T) {
	if path := os.Getenv(socketEnv); path != "" {
		fmt.Println("answer:", status.Code(ask(t.Context(), dialSocket(t, path))))
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "server-test") //nolint:usetesting // t.TempDir is below folders that others can't enter
	must(t)(dir, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "api.sock")
	start(t, func(c *Config) { c.Socket = path })
	must(t)(nil, os.Chmod(dir, 0o755))
	must(t)(nil, os.Chmod(path, 0o666))
	self, err := os.ReadFile(os.Args[0])
	must(t)(self, err)
	binary := filepath.Join(dir, "child")
	must(t)(nil, os.WriteFile(binary, self, 0o755))
	run := func(uid uint32) string {
		cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestSocketOfAnotherUser$", "-test.v")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), socketEnv+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := run(0); !strings.Contains(out, "answer: OK") {
		t.Errorf("root: %s", out)
	}
	if out := run(nobody); !strings.Contains(out, "answer: Unavailable") {
		t.Errorf("another user: %s", out)
	}
}

// A caller that dawdles over its request loses the connection.
func TestSlowCallersAreCutOff(t *testing.T) {
	f := startSlowly(t)
	for name, text := range map[string]string{
		"header": "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"body":   "POST /v1/tenants?tenantId=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + f.token + "\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", f.RESTAddr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
			must(t)(conn, err)
			defer conn.Close()
			must(t)(conn.Write([]byte(text)))
			must(t)(nil, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
			b, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
			if strings.Contains(string(b), "200 OK") {
				t.Errorf("an answer to half a request: %s", b)
			}
		})
	}
}

func TestRequestsAreBounded(t *testing.T) {
	f := start(t)
	big := strings.Repeat("x", maxRequest+1)
	if code, body := f.rest(t, "POST", "/v1/tenants?tenantId=x", `{"displayName":"`+big+`"}`); code != 400 {
		t.Errorf("REST: %d %.200s", code, body)
	}
	_, err := concentratorv1.NewTenantServiceClient(f.conn).CreateTenant(t.Context(), &concentratorv1.CreateTenantRequest{
		TenantId: "x", Tenant: &concentratorv1.Tenant{DisplayName: big},
	})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("gRPC: %.200v", err)
	}
}
