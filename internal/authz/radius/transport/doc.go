// Package transport carries requests to a tenant's RADIUS servers and genuine answers back. It knows no attribute but what
// package packet knows, and what a Status-Server says.
//
// It owns the sockets, the identifiers on them, retransmission, the order in which servers are asked, and the judgement
// whether a server is alive. internal/authz/radius calls it for logins and accounting; through Config.Incoming it passes on
// what servers ask us over TLS.
//
// A server has one port for each purpose, or one for all with TLS. A port has as many sockets as its requests need, with 256
// identifiers each; a reply is looked up by socket and identifier, so none can be taken for the answer to a request that is
// under way elsewhere. What makes a reply acceptable is in package packet, but for its source, which the kernel checks since
// the sockets are connected, and for the demand for a Message-Authenticator (CVE-2024-3596, "BlastRADIUS"), which is
// ServerConfig.MessageAuthenticator's. A packet that fails is counted and dropped, and the request goes on waiting: a forger
// must not be able to end a login.
//
// When a server is dead, and how it comes back, is in health.go.
//
// RADIUS over TLS: one connection serves all purposes until its identifiers are used up. Nothing is sent twice on one
// connection; a request whose connection breaks goes on on the next one, with a new identifier. A silent connection is asked
// for life with a Status-Server.
//
// Goroutines: one reader for each socket, with TLS also a writer; one that opens a socket while one is wanted; one for each
// dead port, which probes it; one for each call of Incoming. Group.Close ends them all, and waits. Exchange runs, and
// retransmits, on its caller's goroutine.
//
// Locks: Group.mu before port.mu; gate.mu alone. No lock is held while anything blocks.
//
// RFCs: 2865 and 2866 (RADIUS), 5080 section 2.2 (retransmission), 5997 (Status-Server), 6613 and 6614 (TCP and TLS), 3539
// section 3.4 (failover) as far as it fits.
package transport
