// Package ippool gives inner addresses to sessions and takes them back.
//
// It owns which address is held by whom, in memory: leases last no longer than the daemon, as do its sessions. Pools
// and addresses belong to a tenant; two tenants may lease the same address. The session room configures pools from the
// store, leases at log-in and releases at the end; the server room uses ParseSpec and Overlap to refuse a wrong pool.
//
// A Pools is safe for concurrent use and starts no goroutine. Memory grows with leases and with a bounded history of
// released addresses, not with the size of a pool.
package ippool
