// Package line puts a bad line between a daemon and its clients: one that loses, repeats, delays and reorders packets, or takes
// only so many. It is made in user space, of two TUN devices, since not every kernel has netem.
//
//	way.go   what one direction does to packets, as a pure machine
//	line.go  the two devices and the goroutines between them
//
// The tests log clients in over it and hold them. docs/reliability.md says what was seen.
package line
