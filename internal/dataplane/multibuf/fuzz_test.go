package multibuf

import (
	"math/rand/v2"
	"testing"

	"concentrator/internal/corpus"
)

// FuzzCBC makes a batch of packets: two octets of input are one packet's length and what else is chosen.
func FuzzCBC(f *testing.F) {
	corpus.Add(f)
	f.Add(uint64(1), []byte{0, 0, 1, 2, 255, 255, 7, 7})
	f.Add(uint64(2), []byte("one packet after the other, of all lengths"))
	f.Fuzz(func(t *testing.T, seed uint64, choices []byte) {
		if len(choices) > 1200 {
			return
		}
		for _, w := range ways {
			underAll(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				var packets []packet
				var ops []CBC
				for c := choices; len(c) >= 2; c = c[2:] {
					key := random(r, 16+8*(int(c[1]>>4)%3))
					p, op := newPacket(t, r, w, key, newAES(t, key), int(c[0])+int(c[1]&15)*256)
					packets, ops = append(packets, p), append(ops, op)
				}
				w.run(ops, NewScratch())
				for i := range packets {
					packets[i].check(t)
				}
			})
		}
	})
}

// FuzzSumHMAC makes a batch of messages: three octets of input are one message's length, its tail's and its hash.
func FuzzSumHMAC(f *testing.F) {
	corpus.Add(f)
	f.Add(uint64(1), []byte{0, 0, 0, 1, 2, 3, 255, 255, 255, 64, 0, 1, 63, 1, 0})
	f.Add(uint64(2), []byte("one message after the other, of all lengths"))
	f.Fuzz(func(t *testing.T, seed uint64, choices []byte) {
		if len(choices) > 1200 {
			return
		}
		underAll(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var messages []message
			var ops []MAC
			for c := choices; len(c) >= 3; c = c[3:] {
				h := SHA1 + Hash(c[2]&1)
				key := random(r, h.Size())
				m, op := newMessage(r, h, key, newHMAC(t, h, key), int(c[0])+int(c[2]>>4)*256, int(c[1]))
				messages, ops = append(messages, m), append(ops, op)
			}
			SumHMAC(ops, NewScratch())
			for i := range messages {
				messages[i].check(t, &ops[i])
			}
		})
	})
}
