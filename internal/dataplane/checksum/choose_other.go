//go:build !amd64 || purego

package checksum

func add(sum uint64, p []byte) uint64 { return addPortable(sum, p) }

func copyAdd(dst, src []byte) uint64 { return copyPortable(dst, src) }
