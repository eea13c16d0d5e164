package mppe

// lanes is how many RC4 streams run interleaved. One alone leaves most of the processor idle, since each octet depends
// on the one before; four fill it.
const lanes = 4

// fewest is how many of the lanes must be used for all four together to be faster than the used ones one by one.
const fewest = 3

// rows is keystream, a row for each lane.
type rows [lanes][streamLen]byte

// quad is four RC4 streams of independent keys, which are always equally far: the index i is the number of octets that
// were made. It may be copied lane by lane.
type quad struct {
	s [lanes]table
	j [lanes]uint8
	// keys has the first octets of the four keys, then the second ones, and so on.
	keys [16][lanes]byte
}

// setKey gives a lane its key of n octets: 16 or 8.
func (q *quad) setKey(lane int, k *key, n int) {
	whole := k.repeated(n)
	for i, o := range whole {
		q.keys[i][lane] = o
	}
}

// start does the key schedules of the first used lanes. What the others hold then is of no use.
func (q *quad) start(used int) {
	if used >= fewest {
		q.schedule()
		return
	}
	for lane := range used {
		var k key
		for i := range k {
			k[i] = q.keys[i][lane]
		}
		q.s[lane].schedule(&k)
		q.j[lane] = 0
	}
}

// run writes keystream into the first len(ends) rows: octets from to ends[lane]. ends must descend, and what is before from
// must have been made. The rows are overwritten up to the longest, the unused ones too.
func (q *quad) run(dst *rows, from int, ends []int) {
	together := from
	if len(ends) >= fewest {
		together = max(from, ends[fewest-1])
		q.stream(dst, from, together)
		ends = ends[:fewest-1]
	}
	for lane, end := range ends {
		if end > together {
			_, q.j[lane] = q.s[lane].stream(dst[lane][together:end], uint8(together), q.j[lane])
		}
	}
}

// schedule does four key schedules.
func (q *quad) schedule() {
	s := &q.s
	for lane := range s {
		s[lane] = identity
	}
	q.j = [lanes]uint8{}
	var j0, j1, j2, j3 uint8
	for i := range 256 {
		k := &q.keys[i&15]
		x := s[0][i]
		j0 += uint8(x) + k[0]
		s[0][i] = s[0][j0]
		s[0][j0] = x
		x = s[1][i]
		j1 += uint8(x) + k[1]
		s[1][i] = s[1][j1]
		s[1][j1] = x
		x = s[2][i]
		j2 += uint8(x) + k[2]
		s[2][i] = s[2][j2]
		s[2][j2] = x
		x = s[3][i]
		j3 += uint8(x) + k[3]
		s[3][i] = s[3][j3]
		s[3][j3] = x
	}
}

// stream writes octets from to end of all four rows.
func (q *quad) stream(dst *rows, from, end int) {
	s := &q.s
	j0, j1, j2, j3 := q.j[0], q.j[1], q.j[2], q.j[3]
	end = min(end, streamLen)
	i := uint8(from)
	for n := max(from, 0); n < end; n++ {
		i++
		x := s[0][i]
		j0 += uint8(x)
		y := s[0][j0]
		s[0][i], s[0][j0] = y, x
		dst[0][n] = uint8(s[0][uint8(x+y)])
		x = s[1][i]
		j1 += uint8(x)
		y = s[1][j1]
		s[1][i], s[1][j1] = y, x
		dst[1][n] = uint8(s[1][uint8(x+y)])
		x = s[2][i]
		j2 += uint8(x)
		y = s[2][j2]
		s[2][i], s[2][j2] = y, x
		dst[2][n] = uint8(s[2][uint8(x+y)])
		x = s[3][i]
		j3 += uint8(x)
		y = s[3][j3]
		s[3][i], s[3][j3] = y, x
		dst[3][n] = uint8(s[3][uint8(x+y)])
	}
	q.j = [lanes]uint8{j0, j1, j2, j3}
}
