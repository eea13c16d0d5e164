// Package pktbuf is the memory that one packet lives in on its way through a shard.
//
// A Buf is a window on one fixed array, with room before it for the headers that are put in front on the way
// out, and behind it for trailers. Layers move the window's ends; they never move the payload and never grow
// the array. A Pool is a free list of Bufs.
//
// Both belong to one shard: no lock, no goroutine, and no allocation after the pool was made. Every package
// below internal/dataplane works on Bufs, and so does the simulated client.
package pktbuf
