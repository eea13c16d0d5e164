// Package radius decides logins by asking a RADIUS server.
//
// It owns the sockets to the server, the identifiers on them, retransmission, and the table that maps RADIUS attributes
// to the fields of authz (mapping.go, the only file that knows attribute numbers). Session calls it through
// authz.Authenticator. layeh.com/radius is used for bytes only: its client has no Message-Authenticator, opens a socket
// for each request and verifies padding as if it were packet.
//
// What makes a reply acceptable, in the order of the checks:
//
//  1. It comes from the server's address and port: the sockets are connected, the kernel drops the rest.
//  2. Its Length field lies between 20 and 4096 and within the datagram; what follows Length is padding and is ignored.
//  3. It is an Access-Accept, -Reject or -Challenge for an identifier that waits for one.
//  4. Its attributes fill it exactly; at most one of them is a Message-Authenticator, 16 octets long.
//  5. Its Response Authenticator is right for one of the server's secrets (RFC 2865 section 3).
//  6. Its Message-Authenticator, if there is one, is right for that secret (RFC 3579 section 3.2).
//  7. There is a Message-Authenticator, where the mode demands it (CVE-2024-3596, "BlastRADIUS").
//
// A packet that fails is counted and dropped, and the request goes on waiting: a forger must not be able to end a login.
//
// Goroutines: one reader for each open socket, and one that looks the server's name up at first and after a failure. Close ends
// them. Authenticate runs, and retransmits, on its caller's goroutine.
//
// RFCs: 2865 (RADIUS), 2548 (Microsoft attributes), 2868 (tunnel attributes), 2869 (Framed-Pool), 3162 (NAS-IPv6-Address),
// 3579 section 3.2 (Message-Authenticator), 5080 (retransmission).
package radius
