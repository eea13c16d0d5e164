package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"concentrator/internal/wire/esphdr"
)

// seedFor is the seed with which sa, of AES-CBC, gives its next packet this IV.
func seedFor(p Params, sa *Outbound, iv []byte) (seed [maxIVLen]byte) {
	plainBlock(p).Decrypt(seed[:], iv)
	for i, octet := range binary.BigEndian.AppendUint64(nil, sa.packets+1) {
		seed[i] ^= octet
	}
	return seed
}

// TestRFC3602Case5 is the packet of RFC 3602 section 4, case 5: an ICMP echo in transport mode. The RFC has no ICV; ours is
// checked by the other tests.
func TestRFC3602Case5(t *testing.T) {
	p := suiteOf(t, "AES-128-CBC-SHA1")
	p.SPI, p.Key = 0x4321, unhex(t, "90d382b410eeba7ad938c46cec1a82bf")
	iv := unhex(t, "e96e8c08ab465763fd098d45dd3ff893")
	plain := unhex(t, `08000ebda70a00008e9c083db95b0700 08090a0b0c0d0e0f1011121314151617
		18191a1b1c1d1e1f2021222324252627 28292a2b2c2d2e2f3031323334353637`)
	want := unhex(t, `00004321 00000001 e96e8c08ab465763fd098d45dd3ff893
		f663c25d325c18c6a9453e194e120849 a4870b66cc6b9965330013b4898dc856
		a4699e523a55db080b59ec3a8e4b7e52 775b07d1db34ed9c538ab50c551b874a
		a269add047ad2d5913ac19b7cfbad4a6`)
	sa := outbound(t, p)
	sa.seed = seedFor(p, sa, iv)
	b := bufOf(plain)
	if v := sa.Seal(b, 1); v != OK {
		t.Fatal(v)
	}
	got := b.Bytes()
	if !bytes.Equal(got[:len(got)-12], want) {
		t.Errorf("sealed\n%x, want\n%x", got[:len(got)-12], want)
	}
	if next, v := inbound(t, p).Open(b); v != OK || next != 1 || !bytes.Equal(b.Bytes(), plain) {
		t.Errorf("opened %v, next header %d\n%x", v, next, b.Bytes())
	}
}

// TestGCMVectors opens the packets of draft-mcgrew-gcm-test-01, section 4, which have the trailers of ESP in them; the
// first has an extended sequence number. With the same sequence number and IV they are sealed again.
func TestGCMVectors(t *testing.T) {
	for _, tt := range []struct {
		name, key, salt, spi, aadSeq, iv, plain, sealed string
		seq                                             uint64
		esn                                             bool
	}{
		{
			name: "128 bits, ESN", key: "4c80cdefbb5d10da906ac73c3613a634", salt: "2e443b68", spi: "00004321",
			seq: 0x87654321_00000000, esn: true, iv: "4956ed7e3b244cfe",
			plain: `45000048699a000080114db7c0a80102 c0a801010a9bf15638d3010000010000
				00000000045f736970045f7564700373 69700963796265726369747902646b00 0021000101020201`,
			sealed: `fecf537e729d5b07dc30df528dd22b76 8d1b98736696a6fd348509fa13ceac34 cfa2436f14a3f3cf65925bf1f4a13c5d
				15b21e1884f5ff6247aeabb786b93bce 61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4`,
		},
		{
			name: "128 bits", key: "feffe9928665731c6d6a8f9467308308", salt: "cafebabe", spi: "0000a5f8",
			seq: 10, iv: "facedbaddecaf888",
			plain: `4500003e698f000080114dccc0a80102 c0a801010a980035002a2343b2d00100
				00010000000000000373697009637962 65726369747902646b00000100010001`,
			sealed: `deb22cd9b07c72c16e3a65beeb8df304 a5a5897d33ae530f1ba76d5d114d2a5c 3de81827c10e9a4f51330d0eec416642
				cfbb85a5b47e48a4ec3b9ba95d918bd1 83b70d3aa8bc6ee4c309e9d85a41ad4a`,
		},
		{
			name: "192 bits", key: "feffe9928665731c6d6a8f9467308308feffe9928665731c", salt: "cafebabe", spi: "0000a5f8",
			seq: 10, iv: "facedbaddecaf888",
			plain: `45000028a4ad4000400678800a01038f 0a010612802306b8cb712602dd6bb03e 501016d075680001`,
			sealed: `a5b1f8066029aea40e598b8122de0242 0938b3ab33f828e687b8858b5bfbdbd0 315b27452144cc77
				95457b9652037f5318027b5b4cd7a636`,
		},
		{
			name: "256 bits", key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab", salt: "11223344",
			spi: "4a2cbfe3", seq: 2, iv: "0102030405060708",
			plain: `4500003069a6400080062690c0a80102 9389155e0a9e008b2dc57ee000000000 7002400020bf0000020405b401010402
				01020201`,
			sealed: `ff425c9b724599df7a3bcd510194e00d 6a78107f1b0b1cbf06efae9d65a5d763 748a637985771d347f0545659f14e99d
				ef842d8eb335f4eecfdbf831824b4c49 15956c96`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spi := unhex(t, tt.spi)
			p := Params{
				SPI: uint32(spi[0])<<24 | uint32(spi[1])<<16 | uint32(spi[2])<<8 | uint32(spi[3]), Encryption: esphdr.AESGCM16,
				Key: unhex(t, tt.key+tt.salt), ESN: tt.esn,
			}
			iv, plain := unhex(t, tt.iv), unhex(t, tt.plain)
			wire := append([]byte{}, spi...)
			wire = append(wire, byte(tt.seq>>24), byte(tt.seq>>16), byte(tt.seq>>8), byte(tt.seq))
			wire = append(append(wire, iv...), unhex(t, tt.sealed)...)

			sa := inbound(t, p)
			sa.window.top = tt.seq - 1
			b := bufOf(wire)
			pad := int(plain[len(plain)-2])
			next, v := sa.Open(b)
			if v != OK || next != 1 || !bytes.Equal(b.Bytes(), plain[:len(plain)-2-pad]) {
				t.Errorf("opened %v, next header %d\n%x", v, next, b.Bytes())
			}
			if got := (frame{seq: tt.seq, iv: iv, payload: plain[:len(plain)-2-pad], next: 1}).seal(p); !bytes.Equal(got, wire) {
				t.Errorf("the other implementation seals\n%x, want\n%x", got, wire)
			}
		})
	}
}

// TestHMACVectors is test case 1 of RFC 2202 sections 2 and 3, and of RFC 4868 section 2.7.2.
func TestHMACVectors(t *testing.T) {
	for _, tt := range []struct {
		integrity esphdr.Integrity
		want      string
	}{
		{esphdr.HMACMD5_96, "9294727a3638bb1c13f48ef8158bfc9d"},
		{esphdr.HMACSHA1_96, "b617318655057264e28bc0b6fb378c8ef146be00"},
		{esphdr.HMACSHA256_128, "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"},
		{
			esphdr.HMACSHA384_192,
			"b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee9737a959796489bddbc4c5df61d5b3297b4fb68dab9f1b582c2",
		},
		{
			esphdr.HMACSHA512_256,
			"637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8ac2878ebd5803f6f0b61dbce5e251ff8789a4722c1be65aea45fd464e89f8f5b",
		},
	} {
		sa := inbound(t, Params{
			SPI: testSPI, Encryption: esphdr.AESCBC, Key: make([]byte, 16),
			Integrity: tt.integrity, AuthKey: bytes.Repeat([]byte{0x0b}, tt.integrity.KeyLen()),
		})
		j := &job{packet: []byte("Hi There, and an ICV"), end: len("Hi There")}
		x := NewScratch()
		for range 2 { // the second time from the kept states
			if got := hex.EncodeToString(x.sum(&sa.crypto, j)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%v: %s, want %s", tt.integrity, got, tt.want)
			}
		}
	}
}
