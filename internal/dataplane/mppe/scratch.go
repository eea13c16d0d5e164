package mppe

// Scratch is the working memory of one shard, shared by all its sessions: about 36 KiB.
type Scratch struct {
	// KeyChanges counts key changes (a SHA-1, an RC4 key schedule, RFC 3079 section 3.4) and KeySetups the key
	// schedules that packets were tried with: what forged packets cost can be read from them.
	KeyChanges, KeySetups uint64

	// For one packet.
	rc4    rc4
	rekey  rc4
	hashed hashed
	head   [HeadLen]byte

	// rows is keystream: of a single packet in the first of them.
	rows rows

	// For a group of packets. Lane by lane the quads belong to the packets of x.order.
	slots [groupLen]slot
	order []uint8 // indices of slots, the longest packets first
	runs  []run
	keys  [groupLen]key // of the packets to encrypt
	quads [groupLen / lanes]quad
	spare quad
}

// NewScratch returns a Scratch.
func NewScratch() *Scratch {
	return &Scratch{hashed: *newHashed(), order: make([]uint8, 0, groupLen), runs: make([]run, 0, groupLen)}
}
