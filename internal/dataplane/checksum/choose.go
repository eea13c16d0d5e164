//go:build amd64 && !purego

package checksum

import (
	"unsafe"

	"concentrator/internal/dataplane/cpu"
)

const (
	least = 64      // octets for which a kernel is worth its call; it needs 32
	most  = 1 << 20 // octets for one call at a time, as the garbage collector waits for it; even
)

// vectors says that the kernels can run. They are called by name: through a variable the compiler would take every
// caller's octets for escaped.
var vectors = cpu.Probe().AVX2

func add(sum uint64, p []byte) uint64 {
	if !vectors || len(p) < least {
		return addPortable(sum, p)
	}
	for len(p) >= 2*most {
		sum = plus(sum, swapped(sumAVX2(unsafe.SliceData(p), most)))
		p = p[most:]
	}
	return plus(sum, swapped(sumAVX2(unsafe.SliceData(p), len(p))))
}

// copyAdd is Copy; dst is as long as src.
func copyAdd(dst, src []byte) (sum uint64) {
	if !vectors || len(src) < least {
		return copyPortable(dst, src)
	}
	for len(src) >= 2*most {
		sum = plus(sum, swapped(copyAVX2(unsafe.SliceData(dst), unsafe.SliceData(src), most)))
		dst, src = dst[most:], src[most:]
	}
	sum = plus(sum, swapped(copyAVX2(unsafe.SliceData(dst), unsafe.SliceData(src), len(src))))
	return lessen(sum)
}

// swapped exchanges the octets of the words that a kernel has added, which as a remainder by 2^16-1 is to multiply by 2^8.
// A kernel's sum of less than 2*most octets has room for that.
func swapped(sum uint64) uint64 { return sum << 8 }
