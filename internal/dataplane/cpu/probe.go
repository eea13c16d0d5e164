//go:build amd64 && !purego

package cpu

// Bits of CPUID and of XCR0 (Intel SDM volume 2A, CPUID; volume 1 section 13.3).
const (
	leaf1AES     = 1 << 25 // ECX
	leaf1OSXSAVE = 1 << 27
	leaf1AVX     = 1 << 28
	leaf7AVX2    = 1 << 5 // EBX
	leaf7SHA     = 1 << 29
	leaf7VAES    = 1 << 9 // ECX

	xcr0Vectors = 1<<1 | 1<<2 // XMM, and the upper halves of YMM
)

// Probe asks the processor, which takes microseconds on a virtual one: once at start is enough.
func Probe() (f Features) {
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return f
	}
	_, _, c1, _ := cpuid(1, 0)
	if c1&leaf1OSXSAVE == 0 || c1&leaf1AVX == 0 || xgetbv()&xcr0Vectors != xcr0Vectors {
		return f
	}
	_, b7, c7, _ := cpuid(7, 0)
	f.AES = c1&leaf1AES != 0
	f.AVX2 = b7&leaf7AVX2 != 0
	f.VAES = f.AES && f.AVX2 && c7&leaf7VAES != 0
	f.SHA = b7&leaf7SHA != 0
	return f
}
