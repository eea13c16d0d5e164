package multibuf

import "unsafe"

// CBC is one packet to be encrypted or decrypted in place. The octets behind the last whole block of Data stay as they are.
type CBC struct {
	Key  *AES
	IV   [blockLen]byte
	Data []byte
}

// EncryptCBC encrypts the packets, which have nothing to do with each other: any keys, any lengths.
func EncryptCBC(ops []CBC, x *Scratch) {
	k := inUse()
	if k.encrypt == nil {
		for i := range ops {
			ops[i].Key.portable().encrypt(&ops[i].IV, ops[i].Data)
		}
		return
	}
	for len(ops) > 0 {
		n := min(len(ops), maxQueued)
		x.encrypt(k, ops[:n])
		ops = ops[n:]
	}
}

// DecryptCBC decrypts the packets, one after the other: a packet's blocks can be decrypted at once.
func DecryptCBC(ops []CBC, _ *Scratch) {
	k := inUse()
	for i := range ops {
		op := &ops[i]
		switch blocks := len(op.Data) / blockLen; {
		case blocks == 0:
		case k.decrypt == nil:
			op.Key.portable().decrypt(&op.IV, op.Data)
		default:
			k.decrypt(&op.Key.dec[0], &op.IV[0], unsafe.SliceData(op.Data), op.Key.rounds, blocks)
		}
	}
}
