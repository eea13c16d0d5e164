package esp

import (
	"sync"

	"concentrator/internal/dataplane/multibuf"
	"concentrator/internal/wire/esphdr"
)

// stage is how many packets go through the phases together. A longer batch is worked on in parts: these fit into a core's
// second-level cache, and they fill all lanes of multibuf's.
const stage = 64

// Scratch is what batches are worked on with, of both directions and any SAs. It belongs to one goroutine at a time.
type Scratch struct {
	multi *multibuf.Scratch
	jobs  [stage]job
	macs  []multibuf.MAC // of the part of the batch that is being worked on
	cbcs  []multibuf.CBC
	again [1]multibuf.MAC // for a packet that the phase of the check values didn't know how to take
}

// NewScratch makes a Scratch.
func NewScratch() *Scratch {
	return &Scratch{
		multi: multibuf.NewScratch(), macs: make([]multibuf.MAC, 0, stage), cbcs: make([]multibuf.CBC, 0, stage),
	}
}

// job is a packet between two phases.
type job struct {
	packet []byte // from the ESP header to the end of the ICV
	end    int    // of the ciphertext in it, where the ICV begins
	seq    uint64 // the whole of its sequence number
	sum    *multibuf.MAC
	high   [highLen]byte // what HMAC takes besides the packet, if the SA has extended numbers (RFC 4303 section 2.2.1)
}

// highLen is the length of the half of an extended sequence number that isn't sent, in octets.
const highLen = 4

// cipherText is the packet's, behind the IV.
func (j *job) cipherText(c *crypto) []byte { return j.packet[esphdr.HeaderLen+c.iv : j.end] }

// queueCBC has the phase of AES-CBC work on data, which is whole blocks.
func (x *Scratch) queueCBC(c *crypto, iv, data []byte) {
	n := len(x.cbcs)
	x.cbcs = x.cbcs[:n+1]
	op := &x.cbcs[n]
	op.Key, op.Data = c.aes, data
	copy(op.IV[:], iv)
}

// queueSum has the phase of HMAC compute the check value of j, if it knows how.
func (x *Scratch) queueSum(c *crypto, j *job) {
	if c.hmac == nil {
		return
	}
	n := len(x.macs)
	x.macs = x.macs[:n+1]
	j.sum = &x.macs[n]
	j.sum.Key, j.sum.Message, j.sum.Tail = c.hmac, j.packet[:j.end], c.tail(j)
}

// sum is the HMAC of j: what its phase has computed, otherwise it is computed now. It is borrowed until the next.
func (x *Scratch) sum(c *crypto, j *job) []byte {
	switch {
	case j.sum != nil:
		return j.sum.Sum[:]
	case c.hmac != nil:
		op := &x.again[0]
		op.Key, op.Message, op.Tail = c.hmac, j.packet[:j.end], c.tail(j)
		multibuf.SumHMAC(x.again[:], x.multi)
		return op.Sum[:]
	default:
		return c.mac.compute(j.packet[:j.end], c.tail(j))
	}
}

// release forgets n packets and the keys of their SAs.
func (x *Scratch) release(n int) {
	clear(x.jobs[:n])
	clear(x.macs)
	clear(x.cbcs)
	clear(x.again[:])
	x.macs, x.cbcs = x.macs[:0], x.cbcs[:0]
}

// spare are the Scratches of Seal and Open, which are given none.
var spare = sync.Pool{New: func() any { return NewScratch() }}
