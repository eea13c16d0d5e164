//go:build !amd64 || purego

package cpu

// Probe finds nothing: there is no assembly here.
func Probe() Features { return Features{} }
