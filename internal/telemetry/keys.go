// Package telemetry is the only place where a log key or a metric name is spelled.
//
// It starts no goroutine. Loggers are log/slog; metrics are a Prometheus registry.
package telemetry

// Log keys. A log line's message is a constant; everything that varies stands behind one of these.
const (
	Tenant   = "tenant"
	Session  = "session"
	User     = "user"
	Protocol = "protocol"
	Listener = "listener"
	Peer     = "peer"    // the client's outer address
	Local    = "local"   // our outer address
	Framed   = "framed"  // the client's inner address
	Stage    = "stage"   // of tenant.Stage
	Reason   = "reason"  // of tenant.Reason
	Outcome  = "outcome" // accepted or refused
	Detail   = "detail"
	Method   = "method"
	Cipher   = "cipher"
	Shard    = "shard"
	Call     = "call" // PPTP call ID that we gave out
	Server   = "server"
	Error    = "error"
	Address  = "address"
	Path     = "path"
	Network  = "network"
	Device   = "device"
	Pool     = "pool"
	Duration = "duration"
	Count    = "count"
	Drop     = "drop"
	Resource = "resource"
	Code     = "code"
	Protos   = "protocols"
	MTU      = "mtu"
	InBytes  = "in_bytes"
	OutBytes = "out_bytes"
	Message  = "message"     // name of a protocol message
	State    = "state"       // of a protocol machine
	Caller   = "caller"      // who calls the API
	Request  = "request"     // ID of an API call
	Print    = "fingerprint" // of a certificate
	Stack    = "stack"       // of a panic
)
