// Command bench measures the dataplane on this machine and prints one table: `make bench`, or `go run ./test/bench -only
// paths,tcp`. docs/performance.md explains the columns.
//
//	paths.go     shard CPU time of a packet against its crypto and its I/O alone, for each protocol and direction
//	tcp.go       TCP between two kernels through a session        udp.go       single packets, and a flood
//	sessions.go  the built daemon with loadgen as its clients     shards.go    one shard and two
//	others.go    the daemon beside other servers                  hot.go       crypto with nothing else in between
//	fairness.go  a session beside one that floods                 gc.go        the garbage collector at full speed
//
//	server.go    a dataplane with sessions made by hand, without a login
//	far.go       the clients' half of these sessions, made of the dataplane's codecs; client.go gives it a TUN device
//	phase.go     a shard that is held up while its queue is filled, and then drains it; shard.go fills it
//	rawio, io.go the I/O alone: loops that share no code with the dataplane; reference.go: what they should need
//	crypto.go    the crypto alone: the batch calls of esp and mppe; stdcrypto.go: the standard library for comparison
//	lab.go       network namespaces, which are removed at the end; those of a run that was killed, by the next one
//	table.go, store.go: the tables and the JSON files; machine.go: what is said about the machine
//
// It needs root. Nothing outside its own namespaces is touched, but that GOMAXPROCS of its own process grows.
package main
