package traffic

// turns deals the packets of one direction out to the sessions: each sends train packets in a row when it is its turn, and
// lengths go round.
type turns struct {
	flows []source
	size  Size
	train int
	at    int // whose turn it is
	left  int // of its train
}

// source is the sending end of one session in one direction.
type source struct {
	flow uint32 // index of the session
	seq  uint64 // of the next packet
	step int    // in Size
}

func newTurns(flows []uint32, size Size, train int) *turns {
	t := &turns{size: size, train: train, left: train}
	for i, f := range flows {
		t.flows = append(t.flows, source{flow: f, step: i % len(size)})
	}
	return t
}

// next says whose packet is the next one, its number and length.
func (t *turns) next() (flow uint32, seq uint64, size int) {
	if t.left == 0 {
		t.at++
		if t.at == len(t.flows) {
			t.at = 0
		}
		t.left = t.train
	}
	t.left--
	s := &t.flows[t.at]
	flow, seq, size = s.flow, s.seq, t.size[s.step]
	s.seq++
	s.step++
	if s.step == len(t.size) {
		s.step = 0
	}
	return flow, seq, size
}
