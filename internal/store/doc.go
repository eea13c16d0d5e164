// Package store keeps what must outlive the daemon: typed records over a small key-value contract.
//
// It owns the contract (KV), the records and how they are laid out: one key a record, versioned JSON, each secret field
// sealed and bound to its resource name. The engines are below it (store/bolt now), and storetest holds the test that
// every engine must pass. The API's services write through it; session and server read it and follow Watch.
//
// A Store is safe for concurrent use and starts no goroutine. Records that it returns are the caller's own copies.
//
// Layout of the keys:
//
//	r/{collection}/{resource name}   a record, for example r/users/tenants/acme/users/alice
//	c/{tenant name}                  touched when something is made under the tenant, so that its deletion notices
//	q/{hash}                         a request ID that made a resource within the last hour (request_id.go)
//	meta/schema                      the version of this layout, a decimal number
//	meta/keyset                      the wrapped keyset of package secret; guards each commit that puts a ciphertext
package store
