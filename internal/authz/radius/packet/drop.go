package packet

// Drop says why a packet from the network is not used. Its value is the index of a counter.
type Drop uint8

// Why a packet is dropped.
const (
	// DropNone is the zero Drop: the packet is good.
	DropNone                   Drop = iota
	DropTruncated                   // shorter than its header or its Length field says, or Length out of range
	DropLate                        // no request waits under its identifier: late, repeated, or never asked for
	DropCode                        // a code that does not answer the request, or is no request that we take
	DropAttributes                  // an attribute's length is below 2 or beyond the end
	DropManyAuthenticators          // more than one Message-Authenticator
	DropAuthenticatorLength         // a Message-Authenticator that is not 16 octets long
	DropResponseAuthenticator       // Response or Request Authenticator wrong: other secret, other request, or forged
	DropMessageAuthenticator        // Message-Authenticator wrong
	DropNoMessageAuthenticator      // none, and the mode demands one
	DropDuplicate                   // right, but the request had its answer already
	DropOverload                    // a request to us while too many are under way

	// NumDrops is how many Drops there are, DropNone included.
	NumDrops = int(iota)
)

var dropNames = [NumDrops]string{
	"none", "truncated", "late", "code", "attributes", "many_message_authenticators", "message_authenticator_length",
	"response_authenticator", "message_authenticator", "no_message_authenticator", "duplicate", "overload",
}

// String returns the name that logs and metrics use, for example "no_message_authenticator".
func (d Drop) String() string {
	if int(d) < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}
