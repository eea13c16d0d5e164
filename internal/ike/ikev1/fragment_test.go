package ikev1

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	wireike "concentrator/internal/wire/ike"
)

func TestFragments(t *testing.T) {
	h := wireike.Header{Initiator: wireike.Cookie{1}, Responder: wireike.Cookie{2}, Exchange: wireike.ExchangeMain}
	b := wireike.NewBuilder(h)
	b.Add(wireike.PayloadVID, bytes.Repeat([]byte{7}, 5000))
	msg := b.Bytes()
	p := Path{Remote: netip.MustParseAddrPort("192.0.2.7:500")}
	now := time.Unix(1000, 0)

	cut := func(narrow bool) [][]byte {
		f := fragmenter{able: true, narrow: narrow}
		return f.cut(p, msg)
	}
	feed := func(r *reassembler, at time.Time, pieces ...[]byte) []byte {
		for _, m := range pieces {
			got, err := wireike.ParseHeader(m)
			if err != nil {
				t.Fatal(err)
			}
			if whole := r.add(at, got, m); whole != nil {
				return whole
			}
		}
		return nil
	}
	for _, narrow := range []bool{false, true} {
		pieces := cut(narrow)
		limit, want := maxWhole, 5
		if narrow {
			limit, want = maxNarrow, 11
		}
		if len(pieces) != want {
			t.Errorf("%d pieces instead of %d", len(pieces), want)
		}
		for _, m := range pieces {
			if len(m) > limit-28-markerLen {
				t.Errorf("a piece of %d octets", len(m))
			}
		}
		back := append([][]byte(nil), pieces...)
		for i := range back {
			back[i] = pieces[len(pieces)-1-i]
		}
		for _, order := range [][][]byte{pieces, back} {
			if got := feed(&reassembler{}, now, order...); !bytes.Equal(got, msg) {
				t.Errorf("narrow %v: %d octets instead of %d", narrow, len(got), len(msg))
			}
		}
	}
	pieces := cut(false)
	for name, bad := range map[string]func(r *reassembler) []byte{
		"one is missing": func(r *reassembler) []byte { return feed(r, now, pieces[1:]...) },
		"twice the same": func(r *reassembler) []byte { return feed(r, now, pieces[0], pieces[0], pieces[1], pieces[2]) },
		"too late": func(r *reassembler) []byte {
			feed(r, now, pieces[0])
			return feed(r, now.Add(reassemblyTime), pieces[1:]...)
		},
		"two are the last": func(r *reassembler) []byte {
			last := wireike.AppendFragment(nil, h, wireike.Fragment{ID: 1, Number: 9, Last: true, Data: []byte{1}})
			return feed(r, now, append([][]byte{last}, pieces...)...)
		},
		"beyond the last": func(r *reassembler) []byte {
			more := wireike.AppendFragment(nil, h, wireike.Fragment{ID: 1, Number: 9, Data: []byte{1}})
			return feed(r, now, append([][]byte{more}, pieces...)...)
		},
		"pushed out by others": func(r *reassembler) []byte {
			feed(r, now, pieces[0])
			for id := range uint16(maxReassemblies) {
				feed(r, now, wireike.AppendFragment(nil, h, wireike.Fragment{ID: 100 + id, Number: 1, Data: []byte{1}}))
			}
			return feed(r, now, pieces[1:]...)
		},
		"of another SA": func(r *reassembler) []byte {
			for _, m := range pieces {
				m = bytes.Clone(m)
				m[0] ^= 1
				if got := feed(r, now, m); got != nil {
					return got
				}
			}
			return nil
		},
		"fragments in fragments": func(r *reassembler) []byte {
			inner := wireike.AppendFragment(nil, h, wireike.Fragment{ID: 1, Number: 1, Last: true, Data: make([]byte, 40)})
			return feed(r, now, wireike.AppendFragment(nil, h, wireike.Fragment{ID: 1, Number: 1, Last: true, Data: inner}))
		},
	} {
		if got := bad(&reassembler{}); got != nil {
			t.Errorf("%s: %d octets came out", name, len(got))
		}
	}
	big := &reassembler{}
	for n := range 255 {
		feed(big, now, wireike.AppendFragment(nil, h, wireike.Fragment{ID: 5, Number: uint8(n + 1), Data: make([]byte, 1000)}))
		if len(big.open) > 0 && big.open[0].size > maxReassembly {
			t.Fatalf("%d octets are kept", big.open[0].size)
		}
	}
}

// A certificate chain makes messages 5 and 6 longer than a fragment; both sides cut.
func TestFragmentedMainMode(t *testing.T) {
	ours := newAuthority(t, "Acme CA")
	run(t, func(t *testing.T, w *world) {
		p := &TenantPolicy{Name: "tenants/a", Trust: ours.trust(t)}
		long := string(bytes.Repeat([]byte("x"), 60))
		until := certTime.Add(time.Hour)
		s := w.host(serverAddr, &Policy{
			Tenants: []*TenantPolicy{p}, Certificate: ours.issue(t, "vpn"+long, 2, until, rsaKey()),
		}, Config{})
		cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(), Config{})
		own := ours.issue(t, "ann"+long, 7, until, rsaKey())
		c := linux("10.0.0.2", "")
		c.Certificate, c.Trust, c.Proposals[0].Auth = own, ours.trust(t), wireike.AuthRSASignature
		c.Identity = wireike.ID{Type: wireike.IDDERASN1DN, Data: own.Subject()}
		var longest, fragments [2]int
		w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
			side := 0
			if from.Addr() == s.addr {
				side = 1
			}
			longest[side] = max(longest[side], len(msg))
			if wireike.PayloadType(msg[16]) == wireike.PayloadFragment {
				fragments[side]++
			}
			return true
		}
		// Make the client cut to small pieces, as Windows does; the server follows.
		cl.initiate(c)
		settle(5 * time.Millisecond)
		cl.e.mu.Lock()
		for _, st := range cl.e.ours {
			if hs, ok := st.m.(*handshake); ok {
				hs.out.narrow = true
			}
		}
		cl.e.mu.Unlock()
		settle(2 * time.Second)
		mustCarry(t, s.only(), cl.only())
		if fragments[0] < 2 || fragments[1] < 2 || longest[0] > maxNarrow-28 || longest[1] > maxNarrow-28 {
			t.Errorf("fragments %v, longest %v", fragments, longest)
		}
		w.shutdown(cl, s)
	})
}
