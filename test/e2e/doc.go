// Package e2e runs the whole of the inside in one process, without root: the real session manager over a real store, a
// real data plane on sockets made of memory, real IKE and L2TP, and whole simulated clients behind NATs that are made of
// memory too. What only a kernel or somebody else's client can show is tested in test/interop.
//
// It is all tests: nothing imports it and it starts nothing by itself.
package e2e
