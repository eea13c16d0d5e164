// Package multibuf encrypts, decrypts and authenticates many packets at a time: AES-CBC (RFC 3602) and HMAC with SHA-1 or
// SHA-256 (RFC 2404, RFC 4868).
package multibuf
