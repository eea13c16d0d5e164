// Package multibuf encrypts, decrypts and authenticates many packets at a time: AES-CBC (RFC 3602) and HMAC with SHA-1 or
// SHA-256 (RFC 2404, RFC 4868). ESP gives it the packets of a batch, of any SAs; it keeps nothing between calls, starts no
// goroutine and allocates nothing.
//
// Why many: each block of CBC encryption, and each round of a hash, waits for the one before, which leaves most of the
// processor idle. Kernels in assembly work on several packets in turns, their lanes: they go on until the first lane has no
// more blocks, that lane gets the next packet, and so on, so that packets of different lengths leave no lane empty for
// long. How long a kernel takes depends on lengths only, never on keys or contents.
//
// The assembly is written by tools/asm with avo and committed. It needs nothing but a Go toolchain, unlike simd/archsimd
// (GOEXPERIMENT), has no register spills, and isn't preempted in the middle. What the processor lacks, or all with the
// build tag purego and on other architectures, is done by the standard library behind the same calls.
// docs/crypto-kernels.md tells of choices, traps and how to add a kernel.
package multibuf
