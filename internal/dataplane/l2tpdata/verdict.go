package l2tpdata

// Verdict is what became of a packet.
type Verdict uint8

// The verdicts. After any but OK and Control the packet is to be dropped; the buffer is as it was.
const (
	_ Verdict = iota
	// OK: the window of the buffer has moved past the header.
	OK
	// Control: a control message; the buffer still holds its header.
	Control
	// Malformed: short, or lengths that disagree.
	Malformed
	// Port: UDP to another port than L2TP's.
	Port
	// Checksum: UDP with a checksum that is wrong.
	Checksum
	// Late: an Ns that was delivered or passed over.
	Late
	// Far: an Ns so far away that the next one must confirm it.
	Far
)

// String is the verdict in lower case.
func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case Control:
		return "control"
	case Malformed:
		return "malformed"
	case Port:
		return "port"
	case Checksum:
		return "checksum"
	case Late:
		return "late"
	case Far:
		return "far"
	default:
		return "unset"
	}
}
