package mppe

// rc4 makes a keystream. It differs from crypto/rc4 in what MPPE needs: re-keying without allocation, key
// schedules without a division per step, keystream out of place (crypto/rc4 in place, on the data, costs
// 1.4 times as much as keystream and XOR apart), and it can be copied.
type rc4 struct {
	s    [256]uint32
	i, j uint8
}

// identity is the table that a key schedule starts with.
var identity = func() (s [256]uint32) {
	for i := range s {
		s[i] = uint32(i)
	}
	return s
}()

// init starts a keystream with k, whose length is n octets: 16 or 8. The step's index into the key is a mask,
// which is why n must be a power of two.
func (c *rc4) init(k *key, n int) {
	c.s = identity
	c.i, c.j = 0, 0
	mask := n - 1
	var j uint8
	for i := range 256 {
		t := c.s[i]
		j += uint8(t) + k[i&mask&15]
		c.s[i], c.s[j] = c.s[j], t
	}
}

// stream writes the next len(dst) octets of keystream.
func (c *rc4) stream(dst []byte) {
	i, j := c.i, c.j
	for n := range dst {
		i++
		x := c.s[i]
		j += uint8(x)
		y := c.s[j]
		c.s[i], c.s[j] = y, x
		dst[n] = uint8(c.s[uint8(x+y)])
	}
	c.i, c.j = i, j
}
