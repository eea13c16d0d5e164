// Package rawio moves packets between a socket and a TUN device as the dataplane does, and does nothing else with them: what
// it costs is the part of a packet's time that no dataplane can save.
//
// It shares no code with the dataplane and imports none of this module, so that a fault there can't hide here. The options
// of the sockets and the device, the batches and the sizes on the wire are the same. Every loop runs on the thread that
// calls it, which the caller pins, and counts that thread's CPU time (CLOCK_THREAD_CPUTIME_ID).
package rawio
