package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// testSPI is the SPI of the suites' parameters.
const testSPI = 0x12345678

// suite is one combination of algorithms with keys.
type suite struct {
	name string
	Params
}

// suites are all that there are, with keys made from their place in the list.
func suites() []suite {
	var all []suite
	rng := rand.New(rand.NewPCG(1, 2))
	octets := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for e := esphdr.AESCBC; e <= esphdr.TripleDES; e++ {
		for _, keyLen := range []int{16, 24, 32} {
			for i := esphdr.IntegrityUnset; i <= esphdr.HMACMD5_96; i++ {
				if !esphdr.Valid(e, keyLen, i) {
					continue
				}
				all = append(all, suite{esphdr.Name(e, keyLen, i), Params{
					SPI: testSPI, Encryption: e, Key: octets(keyLen + e.SaltLen()), Integrity: i, AuthKey: octets(i.KeyLen()),
				}})
			}
		}
	}
	return all
}

// suiteOf is the suite with that name.
func suiteOf(tb testing.TB, name string) Params {
	tb.Helper()
	for _, s := range suites() {
		if s.name == name {
			return s.Params
		}
	}
	tb.Fatalf("no suite %s", name)
	return Params{}
}

// eachSuite runs f for every suite, with and without extended sequence numbers.
func eachSuite(t *testing.T, f func(t *testing.T, p Params)) {
	t.Helper()
	for _, s := range suites() {
		for _, esn := range []bool{false, true} {
			name := s.name
			if esn {
				name += "-ESN"
			}
			p := s.Params
			p.ESN = esn
			t.Run(name, func(t *testing.T) { f(t, p) })
		}
	}
}

func inbound(tb testing.TB, p Params) *Inbound {
	tb.Helper()
	sa, err := NewInbound(p)
	if err != nil {
		tb.Fatal(err)
	}
	return sa
}

func outbound(tb testing.TB, p Params) *Outbound {
	tb.Helper()
	sa, err := NewOutbound(p)
	if err != nil {
		tb.Fatal(err)
	}
	return sa
}

// bufOf is a buffer that holds b.
func bufOf(b []byte) *pktbuf.Buf {
	var buf pktbuf.Buf
	if !buf.SetBytes(b) {
		panic("too long for a buffer")
	}
	return &buf
}

// payloadOf is a payload of n octets that tells its number and length.
func payloadOf(n int, number uint64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(number) ^ byte(n>>3)
	}
	return b
}

// unhex ignores blanks.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	var digits []byte
	for _, c := range []byte(s) {
		if c > ' ' {
			digits = append(digits, c)
		}
	}
	b, err := hex.DecodeString(string(digits))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// What follows is ESP once more, as plainly as it can be written: the other end of the differential tests.

// frame says what a packet is to be.
type frame struct {
	seq     uint64
	iv      []byte
	payload []byte
	next    uint8
	trailer []byte // what stands in place of padding, pad length and next header; nil: what RFC 4303 says
	icvLen  int    // 0: the algorithm's
}

func plainHash(i esphdr.Integrity) func() hash.Hash {
	switch i {
	case esphdr.HMACSHA1_96:
		return sha1.New
	case esphdr.HMACSHA256_128:
		return sha256.New
	case esphdr.HMACSHA384_192:
		return sha512.New384
	case esphdr.HMACSHA512_256:
		return sha512.New
	default:
		return md5.New
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func plainBlock(p Params) cipher.Block {
	if p.Encryption == esphdr.TripleDES {
		return must(des.NewTripleDESCipher(p.Key))
	}
	return must(aes.NewCipher(p.Key[:len(p.Key)-p.Encryption.SaltLen()]))
}

func (f frame) aad(p Params) []byte {
	b := binary.BigEndian.AppendUint32(nil, p.SPI)
	if p.ESN {
		b = binary.BigEndian.AppendUint32(b, uint32(f.seq>>32))
	}
	return binary.BigEndian.AppendUint32(b, uint32(f.seq))
}

func (f frame) icv(p Params, packet []byte) []byte {
	m := hmac.New(plainHash(p.Integrity), p.AuthKey)
	m.Write(packet)
	if p.ESN {
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(f.seq>>32)))
	}
	n := f.icvLen
	if n == 0 {
		n = p.Integrity.ICVLen()
	}
	return m.Sum(nil)[:n]
}

// seal makes the packet.
func (f frame) seal(p Params) []byte {
	out := binary.BigEndian.AppendUint32(nil, p.SPI)
	out = binary.BigEndian.AppendUint32(out, uint32(f.seq))
	out = append(out, f.iv...)
	body := append([]byte{}, f.payload...)
	if f.trailer != nil {
		body = append(body, f.trailer...)
	} else {
		pad := 0
		for (len(body)+2)%p.Encryption.Align() != 0 {
			pad++
			body = append(body, byte(pad))
		}
		body = append(body, byte(pad), f.next)
	}
	block := plainBlock(p)
	if p.Encryption.AEAD() {
		nonce := append(append([]byte{}, p.Key[len(p.Key)-4:]...), f.iv...)
		return append(out, must(cipher.NewGCM(block)).Seal(nil, nonce, body, f.aad(p))...)
	}
	cipher.NewCBCEncrypter(block, f.iv).CryptBlocks(body, body)
	out = append(out, body...)
	return append(out, f.icv(p, out)...)
}

// openPlain reads a packet whose whole sequence number is known. ok is false when the ICV is wrong.
func openPlain(p Params, seq uint64, packet []byte) (payload []byte, next uint8, ok bool) {
	body, ok := frame{seq: seq}.open(p, packet)
	if !ok {
		return nil, 0, false
	}
	n := len(body)
	return body[:n-2-int(body[n-2])], body[n-1], true
}

// open is the plaintext of a packet with f's sequence number and length of the ICV, with its trailer.
func (f frame) open(p Params, packet []byte) (body []byte, ok bool) {
	ivEnd := 8 + p.Encryption.IVLen()
	iv, rest := packet[8:ivEnd], packet[ivEnd:]
	block := plainBlock(p)
	if p.Encryption.AEAD() {
		nonce := append(append([]byte{}, p.Key[len(p.Key)-4:]...), iv...)
		body, err := must(cipher.NewGCM(block)).Open(nil, nonce, rest, f.aad(p))
		return body, err == nil
	}
	n := f.icvLen
	if n == 0 {
		n = p.Integrity.ICVLen()
	}
	end := len(packet) - n
	if !hmac.Equal(f.icv(p, packet[:end]), packet[end:]) {
		return nil, false
	}
	body = make([]byte, end-ivEnd)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(body, packet[ivEnd:end])
	return body, true
}
