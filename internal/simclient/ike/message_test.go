package ike

import (
	"bytes"
	"encoding/binary"

	"concentrator/internal/ike/keymat"
	wireike "concentrator/internal/wire/ike"
)

// encrypt finishes an encrypted message and moves the chain.
func (h *hand) encrypt(b *wireike.Builder, iv *keymat.IV) []byte {
	clear := b.Bytes()
	head, _ := wireike.ParseHeader(clear) // the Builder's own
	body, next := h.keys.Encrypt(*iv, clear[wireike.HeaderLen:])
	*iv = next
	head.Flags |= wireike.FlagEncryption
	head.Length = uint32(wireike.HeaderLen + len(body))
	msg, _ := head.AppendBinary(nil) // it never fails
	return append(msg, body...)
}

// decrypt reads an encrypted message and moves the chain.
func (h *hand) decrypt(msg []byte, iv *keymat.IV) wireike.Payloads {
	h.t.Helper()
	head, err := wireike.ParseHeader(msg)
	if err != nil || !head.Encrypted() {
		h.t.Fatalf("%s: a message in the clear: %+v %v", h.c.Name, head, err)
	}
	plain, next, err := h.keys.Decrypt(*iv, msg[wireike.HeaderLen:])
	if err != nil {
		h.t.Fatal(err)
	}
	m, err := wireike.ParsePayloads(head.Next, plain, true)
	if err != nil {
		h.t.Fatalf("%s: can't read %v %d: %v", h.c.Name, head.Exchange, head.MessageID, err)
	}
	*iv = next
	return m
}

// payload is a payload to be sent.
type payload struct {
	t    wireike.PayloadType
	body []byte
}

// hashed builds a message of phase 2: HASH first, over what follows.
func (h *hand) hashed(
	x wireike.ExchangeType, id uint32, iv *keymat.IV, hash func(rest []byte) []byte, ps ...payload,
) []byte {
	head := wireike.Header{Initiator: h.id[0], Responder: h.id[1], Exchange: x, MessageID: id}
	rest := wireike.NewBuilder(head)
	for _, p := range ps {
		rest.Add(p.t, p.body)
	}
	b := wireike.NewBuilder(head)
	b.Add(wireike.PayloadHASH, hash(rest.Payloads(wireike.HeaderLen)))
	for _, p := range ps {
		b.Add(p.t, p.body)
	}
	return h.encrypt(b, iv)
}

// inform sends an Informational and returns the answers.
func (h *hand) inform(ps ...payload) []sent {
	id := binary.BigEndian.Uint32(nonce(4))
	return h.r.ask(h.path(), h.information(id, ps...))
}

func (h *hand) information(id uint32, ps ...payload) []byte {
	iv := h.keys.ExchangeIV(h.iv, id)
	return h.hashed(wireike.ExchangeInformational, id, &iv, func(rest []byte) []byte { return h.keys.Hash1(id, rest) }, ps...)
}

// informed reads an Informational of the server and checks its hash.
func (h *hand) informed(msg []byte) wireike.Payloads {
	h.t.Helper()
	head, err := wireike.ParseHeader(msg)
	if err != nil || head.Exchange != wireike.ExchangeInformational {
		h.t.Fatalf("%s: %+v %v is no Informational", h.c.Name, head, err)
	}
	iv := h.keys.ExchangeIV(h.iv, head.MessageID)
	m := h.decrypt(msg, &iv)
	hash, _ := m.Get(wireike.PayloadHASH)
	if !bytes.Equal(hash, h.keys.Hash1(head.MessageID, m.AfterFirst())) {
		h.t.Fatalf("%s: the hash of an Informational is wrong", h.c.Name)
	}
	return m
}
