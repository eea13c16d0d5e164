// Package l2tp is the codec of L2TP version 2, RFC 2661: the header of control and data messages, the fourteen control
// messages with their Attribute Value Pairs, hidden ones too, and the responses of tunnel authentication.
//
// It owns no state, does no I/O and starts no goroutine. internal/tunnel/l2tp (the LNS) and internal/simclient/l2tp (the
// LAC) call it for control messages, dataplane/l2tpdata for the data header, which is read and written without an
// allocation.
//
// It is strict in what it writes and follows RFC 2661 section 4.1 in what it reads: an AVP that it does not know is ignored
// unless its M bit is set. The M bit of an AVP that it knows is not looked at, since clients disagree about it. Parsed
// messages share no memory with the input. An AVP is never longer than 1023 octets, nor a message than 65535, so nothing
// is allocated by a size that the sender merely claims.
package l2tp
