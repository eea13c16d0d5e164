// Package secret encrypts secrets at rest.
//
// It owns the key file, the keyset and the form of a ciphertext. The key file holds 32 random octets and never goes
// into the store; it wraps a Tink keyset of AES-256-GCM keys, which lies in the store beside the data. Each ciphertext
// is bound to the resource name and field that it was made for: moved elsewhere it does not open. It names its key of
// the keyset, so a key added later does not close what older keys sealed.
//
// A new key comes in by AddKey, and the old ones go by DropOldKeys when the store has sealed everything anew.
//
// The store calls it for each secret field of a record. It starts no goroutine. AES-GCM is NIST SP 800-38D.
package secret
