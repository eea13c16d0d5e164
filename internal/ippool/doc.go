// Package ippool gives inner addresses to sessions and takes them back.
//
// It owns which address is held by whom. Pools and addresses belong to a tenant; two tenants may lease the same address.
// The session room configures pools from the store, leases at log-in and releases at the end; the server room uses
// ParseSpec and Overlap to refuse a wrong pool, and shows Leases.
//
// Leases are held no longer than the daemon runs, as are its sessions. Who had which address last is kept longer: in a
// Storage, when there is one (Load, Keep), so that users get their addresses again after a restart. What is lost there
// costs that and nothing else.
//
// A Pools is safe for concurrent use and starts no goroutine; Keep runs in its caller's. Memory and Storage grow with
// leases and with a bounded history of released addresses, not with the size of a pool.
package ippool
