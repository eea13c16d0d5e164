//go:build amd64 && !purego

package multibuf

import "concentrator/internal/dataplane/cpu"

func detect() *kernels { return choose(cpu.Probe()) }

// choose is the fastest for a processor with the features.
func choose(f cpu.Features) *kernels {
	if !f.AES && !f.SHA {
		return std
	}
	k := &kernels{}
	switch {
	case f.VAES:
		k.name = "vaes-12x vaes-256"
		k.encrypt = []encrypter{{4, encryptAESNI4}, {12, encryptVAES12}}
		k.decrypt = decryptVAES
	case f.AES:
		k.name = "aes-ni-8x aes-ni"
		k.encrypt = []encrypter{{4, encryptAESNI4}, {8, encryptAESNI8}}
		k.decrypt = decryptAESNI
	default:
		k.name = "std std"
	}
	if f.AES {
		k.substitute, k.invert, k.encryptOne = substitute, invertKeys, encryptAESNI1
	}
	if f.SHA {
		k.name += " sha-ni-4x"
		k.hash[SHA1] = []hasher{{1, sha1NI1}, {2, sha1NI2}, {4, sha1NI4}}
		k.hash[SHA256] = []hasher{{1, sha256NI1}, {2, sha256NI2}, {4, sha256NI4}}
	} else {
		k.name += " std"
	}
	return k
}
