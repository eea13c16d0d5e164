// Package cpu says which instructions the dataplane's assembly may use on this processor. It knows what our kernels need
// and nothing more. Called by multibuf and checksum. The package starts no goroutine.
package cpu
