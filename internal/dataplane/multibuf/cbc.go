package multibuf

// CBC is one packet to be encrypted or decrypted in place. The octets behind the last whole block of Data stay as they are.
type CBC struct {
	Key  *AES
	IV   [blockLen]byte
	Data []byte
}

// EncryptCBC encrypts the packets, which have nothing to do with each other: any keys, any lengths.
func EncryptCBC(ops []CBC, x *Scratch) {
	for i := range ops {
		ops[i].Key.std.encrypt(&ops[i].IV, ops[i].Data)
	}
}

// DecryptCBC decrypts the packets.
func DecryptCBC(ops []CBC, x *Scratch) {
	for i := range ops {
		ops[i].Key.std.decrypt(&ops[i].IV, ops[i].Data)
	}
}
