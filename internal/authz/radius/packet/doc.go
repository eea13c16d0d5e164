// Package packet makes RADIUS packets genuine and tells genuine ones from others. It knows the header, the bounds of
// attributes and the two authenticators, and no attribute but Message-Authenticator: what the others mean is
// internal/authz/radius's business.
//
// It is called by internal/authz/radius and the packages below it, keeps nothing, starts no goroutine, and is safe for
// concurrent use. layeh.com/radius is used for its packet type and its encoding only: it has no Message-Authenticator and
// verifies padding as if it were packet.
//
// What makes a reply acceptable, in the order of the checks of Trim and Verify:
//
//  1. Its Length field lies between 20 and 4096 and within the datagram; what follows Length is padding and is ignored.
//  2. Its code is one that answers the request's.
//  3. Its attributes fill it exactly; at most one of them is a Message-Authenticator, 16 octets long.
//  4. Its Response Authenticator is right for one of the secrets.
//  5. Its Message-Authenticator, if there is one, is right for that secret.
//
// Whether there must be one is the caller's to say: Verify tells whether there was.
//
// RFCs: 2865 section 3 (header, Response Authenticator), 2866 section 3 (Request Authenticator of accounting), 3579 section
// 3.2 (Message-Authenticator), 5176 sections 2.3 and 3.4 (CoA and Disconnect), 5997 (Status-Server).
package packet
