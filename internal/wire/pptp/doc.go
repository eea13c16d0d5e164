// Package pptp holds the control messages of the Point-to-Point Tunneling Protocol, RFC 2637 section 2.
//
// It parses and builds all fifteen of them, for both ends of a control connection, and cuts a TCP byte stream into
// messages. It owns no state, does no I/O and starts no goroutine. internal/tunnel/pptp (the server) and
// internal/simclient/pptp (the client) call it. The enhanced GRE that carries the data is in internal/wire/gre.
//
// Every message has one fixed size, so a length that does not fit its type is an error. Parsed messages are plain values
// that share no memory with the input. Reserved fields are ignored when read, as some routers use them, and zero when
// written.
package pptp
