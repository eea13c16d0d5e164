//go:build amd64 && !purego

package multibuf

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

// features are what kernels need of a processor. All need AVX, and an operating system that saves its registers.
type features struct {
	aes, vaes, sha bool
}

func probe() (f features) {
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return f
	}
	_, _, c1, _ := cpuid(1, 0)
	if c1&leaf1OSXSAVE == 0 || c1&leaf1AVX == 0 || xgetbv()&xcr0Vectors != xcr0Vectors {
		return f
	}
	_, b7, c7, _ := cpuid(7, 0)
	f.aes = c1&leaf1AES != 0
	f.vaes = f.aes && b7&leaf7AVX2 != 0 && c7&leaf7VAES != 0
	f.sha = b7&leaf7SHA != 0
	return f
}

func detect() *kernels { return choose(probe()) }

// choose is the fastest for a processor with the features.
func choose(f features) *kernels {
	if !f.aes && !f.sha {
		return std
	}
	k := &kernels{}
	switch {
	case f.vaes:
		k.name = "vaes-12x vaes-256"
		k.encrypt = []encrypter{{4, encryptAESNI4}, {12, encryptVAES12}}
		k.decrypt = decryptVAES
	case f.aes:
		k.name = "aes-ni-8x aes-ni"
		k.encrypt = []encrypter{{4, encryptAESNI4}, {8, encryptAESNI8}}
		k.decrypt = decryptAESNI
	default:
		k.name = "std std"
	}
	if f.aes {
		k.substitute, k.invert, k.encryptOne = substitute, invertKeys, encryptAESNI1
	}
	if f.sha {
		k.name += " sha-ni-4x"
		k.hash[SHA1] = []hasher{{1, sha1NI1}, {2, sha1NI2}, {4, sha1NI4}}
		k.hash[SHA256] = []hasher{{1, sha256NI1}, {2, sha256NI2}, {4, sha256NI4}}
	} else {
		k.name += " std"
	}
	return k
}
