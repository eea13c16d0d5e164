package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// Config is what New needs.
type Config struct {
	Store    *store.Store
	Live     Live
	Log      *slog.Logger
	StateDir string // holds the certificate and the admin token; must exist

	Metrics *telemetry.Metrics // that calls are counted in; nil: nobody reads them
	Tracer  *telemetry.Tracer  // nil: calls are not traced
	Faults  *telemetry.Faults  // that Instance shows; nil: none

	GRPC   string // host:port of gRPC over TLS; empty: not served
	REST   string // host:port of REST over TLS; empty: not served
	Socket string // path of the unix socket; empty: not served
	TLS    TLS

	// CORSOrigins are the origins whose pages may use REST from a browser, as in https://portal.example.net.
	CORSOrigins []string

	// Backup makes a backup of what the instance keeps at path, which appears there whole or not at all, and returns its octets;
	// nil: none can be made.
	Backup func(ctx context.Context, path string, progress func(done, total int64)) (int64, error)

	// NoNamespaces says that the process can't make or enter network namespaces: resources that name a new one are refused.
	NoNamespaces bool

	// RequestsPerSecond is how often each caller but root may call; 0: 100. Twice as many may come at once.
	RequestsPerSecond int
	// WatchPatience is how long the reader of a watch may take nothing until it is cut off; 0: 20 s.
	WatchPatience time.Duration

	Build         Build
	Configuration map[string]any // the daemon's file as it is in effect
}

// TLS names PEM files. Without Cert and Key, a self-signed certificate is made in StateDir at first start.
type TLS struct {
	Cert, Key string
	ClientCA  string // a client with a certificate of it that an API token names need not send the token
}

const (
	handshakeTime   = 10 * time.Second
	shutdownTimeout = 5 * time.Second
	innerBuffer     = 256 << 10
	// maxAnswer is what the in-process connection takes; a page of few but very large resources is over gRPC's default.
	maxAnswer = 64 << 20
)

// Server is the control API. It is safe for concurrent use.
type Server struct {
	log    *slog.Logger
	grpc   *grpc.Server
	http   *http.Server
	health *health.Server

	readiness *readiness
	ops       *operations
	audit     *auditTrail

	grpcListener, restListener net.Listener // nil: not served
	socket                     *net.UnixListener
	inner                      *bufconn.Listener
	innerConn                  *grpc.ClientConn // of the gateway

	stopping context.Context //nolint:containedctx // ends when Shutdown begins
	stop     context.CancelFunc
	once     sync.Once
	stopped  chan struct{}
	cutOff   error // what Shutdown returns; written before stopped is closed
}

// New makes the certificate and the token if there are none, and opens the listeners; Serve answers on them.
func New(c Config) (*Server, error) {
	token, err := adminToken(c.StateDir)
	if err != nil {
		return nil, err
	}
	cert, err := certificate(c.StateDir, c.TLS, certHosts(c.GRPC, c.REST))
	if err != nil {
		return nil, err
	}
	tlsConf, err := tlsConfig(cert, c.TLS.ClientCA)
	if err != nil {
		return nil, err
	}
	taken, err := loadClaims(c.Store)
	if err != nil {
		return nil, fmt.Errorf("read addresses in use: %w", err)
	}

	keys, err := loadKeyring(c.Store)
	if err != nil {
		return nil, fmt.Errorf("read API tokens: %w", err)
	}

	requests, err := store.LoadRequestIDs(c.Store)
	if err != nil {
		return nil, fmt.Errorf("read request IDs: %w", err)
	}

	self, err := newAbout(c)
	if err != nil {
		return nil, err
	}

	if c.Metrics == nil {
		c.Metrics = telemetry.NewMetrics()
	}
	s := &Server{log: c.Log, inner: bufconn.Listen(innerBuffer), stopped: make(chan struct{})}
	s.stopping, s.stop = context.WithCancel(context.Background())
	if err := s.listen(c); err != nil {
		s.close()
		return nil, err
	}
	tlsConf.GetConfigForClient = newTurns(c.Metrics).next
	g := newGate(token, keys)
	s.audit = newAuditTrail(c.Store, c.Metrics, c.Log)
	b := &backend{
		store: c.Store, live: c.Live, metrics: c.Metrics, audit: s.audit,
		claims: taken, keys: keys, requests: requests,
		watches: newWatches(c.WatchPatience), quota: newQuotas(c.RequestsPerSecond), faults: c.Faults,
		about: self, makeBackup: c.Backup, noNamespaces: c.NoNamespaces, stopping: s.stopping,
	}
	s.readiness = newReadiness(c.Store, c.Live, s.publish)
	s.ops = newOperations(s.stopping, c.Store, c.StateDir, c.Metrics, c.Log, b.jobs())
	b.readiness, b.ops = s.readiness, s.ops
	if err := b.loadDraining(); err != nil {
		s.close()
		return nil, err
	}
	s.newGRPC(tlsConf, g, c.Tracer, b)
	if err := s.newHTTP(tlsConf, g, c.CORSOrigins); err != nil {
		s.close()
		return nil, err
	}
	s.log.Info("api certificate", telemetry.Print, fingerprint(cert))
	return s, nil
}

func (s *Server) newGRPC(tlsConf *tls.Config, g gate, t *telemetry.Tracer, b *backend) {
	i, o := interceptor{gate: g, audit: b.audit, quota: b.quota, log: s.log, strangers: newStrangers()}, observer{b.metrics}
	s.grpc = grpc.NewServer(append(traced(t),
		grpc.Creds(doors{credentials.NewTLS(tlsConf)}),
		grpc.InTapHandle(i.tap),
		grpc.ChainUnaryInterceptor(o.unary, i.unary),
		grpc.ChainStreamInterceptor(o.stream, i.stream),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(256),
		grpc.ConnectionTimeout(handshakeTime),
		// Idle is who has no call under way, strangers among them whatever they try: they hold a place for so long at most.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)...)
	concentratorv1.RegisterListenerServiceServer(s.grpc, listenerService{backend: b})
	concentratorv1.RegisterTenantServiceServer(s.grpc, tenantService{backend: b})
	concentratorv1.RegisterProfileServiceServer(s.grpc, profileService{backend: b})
	concentratorv1.RegisterUserServiceServer(s.grpc, userService{backend: b})
	concentratorv1.RegisterPoolServiceServer(s.grpc, poolService{backend: b})
	concentratorv1.RegisterLeaseServiceServer(s.grpc, leaseService{backend: b})
	concentratorv1.RegisterAclServiceServer(s.grpc, aclService{backend: b})
	concentratorv1.RegisterRadiusServerServiceServer(s.grpc, radiusServerService{backend: b})
	concentratorv1.RegisterSessionServiceServer(s.grpc, sessionService{backend: b})
	concentratorv1.RegisterLoginAttemptServiceServer(s.grpc, loginAttemptService{backend: b})
	concentratorv1.RegisterLockoutServiceServer(s.grpc, lockoutService{backend: b})
	concentratorv1.RegisterAccountingQueueServiceServer(s.grpc, accountingQueueService{backend: b})
	concentratorv1.RegisterApiTokenServiceServer(s.grpc, apiTokenService{backend: b})
	concentratorv1.RegisterInstanceServiceServer(s.grpc, instanceService{backend: b})
	concentratorv1.RegisterOperationServiceServer(s.grpc, operationService{backend: b})
	concentratorv1.RegisterAuditEventServiceServer(s.grpc, newAuditEventService(b))
	s.health = health.NewServer()
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.publish(false)
}

func (s *Server) newHTTP(tlsConf *tls.Config, g gate, corsOrigins []string) error {
	cors, err := newOrigins(corsOrigins)
	if err != nil {
		return err
	}
	if s.innerConn, err = s.dial(grpc.WithChainStreamInterceptor(passTrailers)); err != nil {
		return err
	}
	handler, err := newREST(s.stopping, s.innerConn, g, s.readiness.why, cors)
	if err != nil {
		return fmt.Errorf("register the gateway: %w", err)
	}
	handler.audit, handler.count = s.audit, observer{s.audit.metrics}
	s.http = &http.Server{
		Handler:           handler,
		TLSConfig:         tlsConf.Clone(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return nil
}

func asSystem(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, callerHeader, callerSystem)
}

// dial makes a connection within the process.
func (s *Server) dial(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///in-process", append(opts,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.inner.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	)...)
	if err != nil {
		return nil, fmt.Errorf("dial in process: %w", err)
	}
	return conn, nil
}

// innerListener marks the connections that it accepts as those within the process.
type innerListener struct{ *bufconn.Listener }

func (l innerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return innerConn{c}, nil
}

// Dial returns a connection to this API within the process, with all rights; the caller closes it. Its calls pass
// everything that others' do, and are answered while Serve runs.
func (s *Server) Dial() (*grpc.ClientConn, error) {
	return s.dial(
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return next(asSystem(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return next(asSystem(ctx), desc, cc, method, opts...)
		}),
	)
}

// GRPCAddr is where gRPC is served; nil if it is not.
func (s *Server) GRPCAddr() net.Addr { return addrOf(s.grpcListener) }

// RESTAddr is where REST is served; nil if it is not.
func (s *Server) RESTAddr() net.Addr { return addrOf(s.restListener) }

// SocketAddr is the unix socket; nil if there is none.
func (s *Server) SocketAddr() net.Addr {
	if s.socket == nil {
		return nil
	}
	return s.socket.Addr()
}

func addrOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// SetReady says whether the daemon has started what it serves; a new Server's has not. It is one of the conditions of being
// ready, which Instance, /readyz and the health service show.
func (s *Server) SetReady(ready bool) {
	s.readiness.started.Store(ready)
	s.readiness.look()
}

// publish says what the health service answers.
func (s *Server) publish(ready bool) {
	state := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if ready {
		state = grpc_health_v1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, state)
	}
}

// Serve answers until ctx ends or Shutdown is called, which are no errors, or until a listener fails.
func (s *Server) Serve(ctx context.Context) error {
	s.ops.start()
	go s.readiness.follow(s.stopping.Done())
	servers := []func() error{func() error { return s.grpc.Serve(innerListener{s.inner}) }}
	if s.grpcListener != nil {
		servers = append(servers, func() error { return s.grpc.Serve(s.grpcListener) })
	}
	if s.socket != nil {
		servers = append(servers, func() error { return s.grpc.Serve(s.socket) })
	}
	if s.restListener != nil {
		servers = append(servers, func() error { return s.http.ServeTLS(s.restListener, "", "") })
	}
	for _, l := range []net.Addr{s.GRPCAddr(), s.RESTAddr(), s.SocketAddr()} {
		if l != nil {
			s.log.Info("api is served", telemetry.Address, l.String())
		}
	}
	failed := make(chan error, len(servers))
	for _, serve := range servers {
		go func() { failed <- serve() }()
	}
	var err error
	left := len(servers)
	select {
	case <-ctx.Done():
	case <-s.stopping.Done():
	case err = <-failed:
		left--
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if cut := s.Shutdown(deadline); cut != nil {
		s.log.Warn("api shutdown was not clean", telemetry.Error, cut.Error())
	}
	for range left {
		s.log.Debug("api listener closed", telemetry.Detail, fmt.Sprint(<-failed))
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// Shutdown stops accepting, ends watches, lets other calls finish until ctx ends, and closes everything. It returns an
// error when calls had to be cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() {
		defer close(s.stopped)
		s.SetReady(false)
		s.health.Shutdown()
		s.stop()
		// REST first: its calls are calls of gRPC.
		if err := s.http.Shutdown(ctx); err != nil {
			s.cutOff = fmt.Errorf("calls were cut off: %w", err)
			_ = s.http.Close() // what is left are callers that do not read
		}
		done := make(chan struct{})
		go func() {
			s.grpc.GracefulStop()
			close(done)
		}()
		select {
		case <-done:
		case <-ctx.Done():
			s.cutOff = fmt.Errorf("calls were cut off: %w", ctx.Err())
			s.grpc.Stop()
			<-done
		}
		s.ops.wait(ctx)
		s.audit.close()
		s.close()
	})
	<-s.stopped
	return s.cutOff
}

// close releases what is open. Closing twice is harmless.
func (s *Server) close() {
	s.stop()
	if s.innerConn != nil {
		_ = s.innerConn.Close() // fails only when closed
	}
	_ = s.inner.Close()
	for _, l := range []net.Listener{s.grpcListener, s.restListener} {
		if l != nil {
			_ = l.Close() // fails only when closed
		}
	}
	if s.socket != nil {
		_ = s.socket.Close() // as above; removes the file
	}
}

// listen opens the listeners of c.
func (s *Server) listen(c Config) error {
	var err error
	if s.grpcListener, err = listenTCP("api.grpc", c.GRPC, c.Metrics); err != nil {
		return err
	}
	if s.restListener, err = listenTCP("api.rest", c.REST, c.Metrics); err != nil {
		return err
	}
	if c.Socket != "" {
		s.socket, err = listenSocket(c.Socket)
	}
	return err
}

// listenSocket opens the unix socket, in place of one that a dead process left.
func listenSocket(path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // what is inside is guarded by itself
		return nil, fmt.Errorf("api.socket: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("api.socket: %s exists and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close() // it was only to see whether somebody answers
			return nil, fmt.Errorf("api.socket: another process answers at %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("api.socket: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("api.socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close() // the error that counts is the other one
		return nil, fmt.Errorf("api.socket: %w", err)
	}
	return l, nil
}
