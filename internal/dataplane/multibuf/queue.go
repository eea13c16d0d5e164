package multibuf

// Packets of a batch that are sorted at once, and of how many classes of length. More packets than that are several batches.
const (
	maxQueued = 256
	classes   = 8
)

// queue has the packets of a batch by group, long ones first: what is left for the last lanes is short then, so that the
// lanes finish at about the same time.
type queue struct {
	heads [3][classes]int16 // of lists: a packet's index plus 1; 0: none
	next  [maxQueued]int16
	count [3]int
}

func (q *queue) reset() {
	q.heads = [3][classes]int16{}
	q.count = [3]int{}
}

// add puts packet i before the others of its class; a class above the highest is the highest.
func (q *queue) add(i, group, class int) {
	head := &q.heads[group][min(class, classes-1)]
	q.next[i], *head = *head, int16(i+1)
	q.count[group]++
}

// take takes a packet out of a group, -1 if there is none.
func (q *queue) take(group int) int {
	if q.count[group] == 0 {
		return -1
	}
	q.count[group]--
	heads := &q.heads[group]
	class := classes - 1
	for heads[class] == 0 {
		class--
	}
	i := int(heads[class]) - 1
	heads[class] = q.next[i]
	return i
}
