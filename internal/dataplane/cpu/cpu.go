package cpu

// Features are what kernels need of a processor. Every one also says that the processor has AVX and that the operating
// system saves the YMM registers.
type Features struct {
	AES  bool // AES-NI
	AVX2 bool
	VAES bool // with 256 bits; implies AES and AVX2
	SHA  bool
}
