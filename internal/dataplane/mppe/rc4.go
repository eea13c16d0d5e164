package mppe

// rc4 makes a keystream. It differs from crypto/rc4 in what MPPE needs: re-keying without allocation, key
// schedules without a division per step, keystream out of place (crypto/rc4 in place, on the data, costs
// 1.4 times as much as keystream and XOR apart), and it can be copied.
type rc4 struct {
	s    table
	i, j uint8
}

// table is the permutation. Elements of 32 bits make it 1 KiB, and a third faster than octets would: a load
// waits for the stores to its neighbours too.
type table [256]uint32

// identity is the table that a key schedule starts with.
var identity = func() (s table) {
	for i := range s {
		s[i] = uint32(i)
	}
	return s
}()

// init starts a keystream with k, whose length is n octets: 16 or 8.
func (c *rc4) init(k *key, n int) {
	whole := k.repeated(n)
	c.s.schedule(&whole)
	c.i, c.j = 0, 0
}

// stream writes the next len(dst) octets of keystream.
func (c *rc4) stream(dst []byte) {
	c.i, c.j = c.s.stream(dst, c.i, c.j)
}

// schedule is the key schedule for a key of 16 octets.
//
// The next element is loaded before the swap, and mended if the swap changed it. Otherwise each step would wait until
// the processor knows that its load isn't of what the step before stores.
func (s *table) schedule(k *key) {
	*s = identity
	var j uint8
	x := s[0]
	for i := range 256 {
		j += uint8(x) + k[i&15]
		next := s[uint8(i+1)]
		y := s[j]
		s[i] = y
		s[j] = x
		if j == uint8(i+1) {
			next = x
		}
		x = next
	}
}

// stream writes keystream from indices i and j, and returns where they are then. It loads ahead as schedule does.
func (s *table) stream(dst []byte, i, j uint8) (uint8, uint8) {
	x := s[i+1]
	for n := range dst {
		i++
		j += uint8(x)
		next := s[i+1]
		y := s[j]
		s[i] = y
		s[j] = x
		if j == i+1 {
			next = x
		}
		dst[n] = uint8(s[uint8(x+y)])
		x = next
	}
	return i, j
}
