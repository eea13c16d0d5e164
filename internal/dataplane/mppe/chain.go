package mppe

// run is the part of one session's key chain that a group of packets needs: left key changes, one after the other. The
// chains of different sessions go on side by side.
type run struct {
	schedule *schedule // says whose chain it is, too
	key      key       // the last one that is known
	left     int
	// keys gets each new key: the next one at index next & mask.
	keys       []key
	next, mask uint64
}

// runOf is the run of a session in the group, a new one if there is none yet: then it has no key.
func (x *Scratch) runOf(s *schedule) (r *run, added bool) {
	for i := range x.runs {
		if x.runs[i].schedule == s {
			return &x.runs[i], false
		}
	}
	x.runs = append(x.runs, run{schedule: s})
	return &x.runs[len(x.runs)-1], true
}

// derive does the key changes of all runs, up to four at a time.
func (x *Scratch) derive() {
	var in [lanes]*run
	used, at := 0, 0
	for {
		for ; used < lanes && at < len(x.runs); at++ {
			if x.runs[at].left > 0 {
				in[used] = &x.runs[at]
				used++
			}
		}
		if used == 0 {
			return
		}
		x.changeAll(in[:used])
		kept := 0
		for _, r := range in[:used] {
			if r.left > 0 {
				in[kept] = r
				kept++
			}
		}
		used = kept
	}
}

// changeAll does one key change in each of up to four runs.
func (x *Scratch) changeAll(in []*run) {
	if len(in) >= fewest {
		x.changeLanes(in)
	} else {
		for _, r := range in {
			r.schedule.change(&r.key, x)
		}
	}
	for _, r := range in {
		r.keys[r.next&r.mask] = r.key
		r.next++
		r.left--
	}
}

// changeLanes is schedule.change, a run in each lane.
func (x *Scratch) changeLanes(in []*run) {
	x.KeyChanges += uint64(len(in))
	q := &x.quads[0]
	for lane, r := range in {
		r.key = r.schedule.interim(&r.key, &x.hashed)
		q.setKey(lane, &r.key, r.schedule.n)
	}
	q.schedule()
	q.stream(&x.rows, 0, len(key{}))
	for lane, r := range in {
		r.schedule.encrypt(&r.key, x.rows[lane][:])
	}
}
