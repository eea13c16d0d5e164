//go:build !amd64 || purego

package checksum

// portable has nothing to take away.
func portable() func() { return func() {} }
