//go:build interop

package flood

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	wireike "concentrator/internal/wire/ike"
	"concentrator/test/reliability/lab"
)

const (
	portIKE  = 500
	portNATT = 4500
)

// target is where floods go to.
func target(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(lab.AttackedAt), port)
}

// mainMode is the first message of a Main Mode (RFC 2409 section 5.4) with one proposal: AES-256, SHA-1, pre-shared key.
func mainMode(group wireike.GroupID) []byte {
	var none wireike.Attributes
	a := none.With(wireike.AttrEncryption, uint16(wireike.EncryptionAESCBC)).With(wireike.AttrKeyLength, 256).
		With(wireike.AttrHash, uint16(wireike.HashSHA1)).With(wireike.AttrAuthMethod, uint16(wireike.AuthPSK)).
		With(wireike.AttrGroup, uint16(group))
	b := wireike.NewBuilder(wireike.Header{Initiator: wireike.Cookie{1}, Exchange: wireike.ExchangeMain})
	b.Add(wireike.PayloadSA, wireike.AppendSA(nil, wireike.Offer{
		Number: 1, Protocol: wireike.ProtocolISAKMP,
		Transforms: []wireike.Transform{{Number: 1, ID: wireike.TransformKeyIKE, Attributes: a}},
	}))
	for _, v := range []wireike.Vendor{wireike.VendorNATTRFC3947, wireike.VendorDPD, wireike.VendorMicrosoft} {
		b.Add(wireike.PayloadVID, v.ID())
	}
	return b.Bytes()
}

// setCookie gives a packet with a first message another initiator's cookie.
func setCookie(p []byte, i int) { binary.BigEndian.PutUint64(p[ipLen+udpLen:], uint64(i)+1) }

// halfOpen begins Main Modes.
func halfOpen(from origin) func(*testing.T, *world) flooder {
	return func(t *testing.T, w *world) flooder {
		p := udp(netip.AddrPortFrom(netip.MustParseAddr(lab.Attacker), portIKE), target(portIKE), mainMode(wireike.GroupMODP2048))
		return packets(openRaw(t, w), func(i int) []byte {
			setCookie(p, from.number(i))
			if from != oneAddress {
				from.set(p, i)
			}
			return p
		})
	}
}

// exchangesPerSecond is how many Main Modes a second keyExchanges begins: more than two CPUs can do Diffie-Hellman for.
const exchangesPerSecond = 2000

// keyExchanges begins Main Modes from many addresses that do answer: each message 2 gets a message 3, for which the daemon
// has to do Diffie-Hellman in its most costly group, and then no more.
func keyExchanges(t *testing.T, w *world) flooder {
	r, reader := openRaw(t, w), openReader(t, w, unix.IPPROTO_UDP)
	first := udp(netip.AddrPortFrom(netip.MustParseAddr(lab.Attacker), portIKE), target(portIKE), mainMode(wireike.GroupMODP4096))
	network := netip.MustParsePrefix(villains)
	const publicLen, nonceLen = 512, 32
	public, nonce := make([]byte, publicLen), make([]byte, nonceLen)
	_, _ = rand.Read(public) // never fails
	public[0] &= 0x7f        // less than the prime
	return func(ctx context.Context) (n int, err error) {
		var both sync.WaitGroup
		both.Go(func() {
			_ = r.answer(ctx, reader, func(from, to netip.AddrPort, payload []byte) []byte {
				m, err := wireike.ParseMessage(payload)
				if err != nil || m.Header.Exchange != wireike.ExchangeMain {
					return nil
				}
				b := wireike.NewBuilder(wireike.Header{
					Initiator: m.Header.Initiator, Responder: m.Header.Responder, Exchange: wireike.ExchangeMain,
				})
				b.Add(wireike.PayloadKE, public)
				b.Add(wireike.PayloadNonce, nonce)
				return udp(to, from, b.Bytes())
			})
		})
		defer both.Wait()
		return steady(ctx, exchangesPerSecond, func(i int) error {
			setCookie(first, i)
			setSource(first, network, i, 0)
			return r.send(first)
		})
	}
}
