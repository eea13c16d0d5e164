// Package telemetry is the only place where a log key or a metric name is spelled.
//
// It starts no goroutine. Loggers are log/slog; metrics are a Prometheus registry.
package telemetry

// Log keys. A log line's message is a constant; everything that varies stands behind one of these.
const (
	Tenant    = "tenant"   // resource name: tenants/{tenant}
	Session   = "session"  // session ID, the last part of its resource name
	User      = "user"     // login name
	Protocol  = "protocol" // PPTP and so on
	Listener  = "listener" // resource name
	Peer      = "peer"     // the client's outer address
	Local     = "local"    // our outer address
	Framed    = "framed"   // the client's inner address
	Stage     = "stage"    // of tenant.Stage
	Reason    = "reason"   // of tenant.Reason
	Outcome   = "outcome"  // accepted or refused
	Detail    = "detail"
	Method    = "method"      // authentication method, or method of the API
	Cipher    = "cipher"      // what protects the session
	Shard     = "shard"       // number of a shard, from 0
	Shards    = "shards"      // how many shards there are
	Kernels   = "kernels"     // of cryptography, that suit the CPU
	Call      = "call"        // PPTP call ID that we gave out
	Server    = "server"      // resource name of a RADIUS server
	Error     = "error"       // what went wrong
	Address   = "address"     // address that is listened on, or that something is at
	Device    = "device"      // name of a TUN device
	Namespace = "namespace"   // network namespace; empty: the daemon's own
	Duration  = "duration"    // how long it took
	Count     = "count"       // how many
	Drop      = "drop"        // why packets were dropped
	Resource  = "resource"    // resource name
	Code      = "code"        // result code of a protocol or of the API
	MTU       = "mtu"         // largest inner packet, octets
	InBytes   = "in_bytes"    // octets of inner packets from the client
	OutBytes  = "out_bytes"   // octets of inner packets to the client
	Message   = "message"     // name of a protocol message
	State     = "state"       // of a protocol machine
	Caller    = "caller"      // who calls the API
	Request   = "request"     // ID of an API call
	Print     = "fingerprint" // of a certificate
	Identity  = "identity"    // who a peer has proved to be by IKE
	Tunnel    = "tunnel"      // L2TP tunnel ID that we gave out
	Stack     = "stack"       // of a panic
	FaultName = "fault"       // name of a fault

	Capabilities = "capabilities" // of the process, that it has kept or lacks
)
