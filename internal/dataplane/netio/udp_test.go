package netio

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	serverAddress = [4]byte{127, 0, 0, 1}
	otherAddress  = [4]byte{198, 51, 100, 7}
	clientAddress = [4]byte{127, 0, 0, 9}
)

func openUDP(t *testing.T, ns string, addr netip.AddrPort, shards int) []UDPSocket {
	t.Helper()
	sockets, err := Linux{}.OpenUDP(ns, addr, shards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range sockets {
			for range 2 {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	return sockets
}

// receiver reads batches into buffers of 2000 octets.
type receiver struct {
	bufs [][]byte
	in   []Datagram
}

func newReceiver() *receiver {
	r := &receiver{in: make([]Datagram, BatchSize)}
	for range BatchSize {
		r.bufs = append(r.bufs, make([]byte, 2000))
	}
	return r
}

// payloads reads all that waits in s.
func (r *receiver) payloads(t *testing.T, s UDPSocket) []string {
	t.Helper()
	var out []string
	for {
		n, err := s.ReadBatch(r.bufs, r.in)
		if errors.Is(err, unix.EAGAIN) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			out = append(out, hex.EncodeToString(r.bufs[i][:r.in[i].Size])+hex.EncodeToString(r.in[i].Rest))
		}
	}
}

// shortLinks makes the kernel fragment what is longer than an Ethernet frame.
func shortLinks(t *testing.T, ns string) {
	t.Helper()
	if out, err := exec.Command("ip", "-n", ns, "link", "set", "lo", "mtu", "1500").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

const anyShard = -1

// TestUDPSteering sends each datagram from several ports. It must come to the shard it names, always to the same one for
// the same port where it names none, and never twice.
func TestUDPSteering(t *testing.T) {
	ns := testNamespace(t)
	shortLinks(t, ns)
	const sources = 12
	for _, c := range []struct {
		name    string
		port    uint16
		shards  int
		payload string
		want    int
	}{
		{"ESP", 4500, 4, "1234567000000001" + "00112233", 0},
		{"ESP, shard 3", 4500, 4, "1234567300000001" + "00112233", 3},
		{"ESP in fragments", 4500, 4, "1234567200000001" + strings.Repeat("00", 4000), 2},
		{"ESP, no such shard", 4500, 4, "1234567700000001" + "00112233", 0},
		{"ESP, sixteen shards", 4500, 16, "1234567f00000001" + "00112233", 15},
		{"IKE on 4500", 4500, 4, "00000000" + "0102030405060703", anyShard},
		{"keepalive", 4500, 4, "ff", anyShard},
		{"three octets", 4500, 4, "123457", anyShard},
		{"IKE", 500, 4, "0102030405060703", anyShard},
		{"L2TP data with length", 1701, 4, "4002000c" + "00010012" + "ff030021", 2},
		{"L2TP data without", 1701, 4, "0002" + "00020013" + "ff030021", 3},
		{"L2TP data, all fields", 1701, 4, "4b020010" + "00020011" + "00000000" + "0000" + "0021", 1},
		{"L2TP data, no such shard", 1701, 4, "0002" + "00020017" + "ff030021", 0},
		{"L2TP control", 1701, 4, "c802000c" + "00020001" + "00000000", 2},
		{"L2TP control, no such shard", 1701, 4, "c802000c" + "00070001" + "00000000", 0},
		{"L2TP control without length", 1701, 4, "8802" + "00030001" + "00000000", 3},
		{"L2TP control of tunnel 0x0100", 1701, 4, "c802000c" + "01000001" + "00000000", 0},
		{"L2TP SCCRQ", 1701, 4, "c802000c" + "00000000" + "00000000", anyShard},
		{"L2TPv3", 1701, 4, "c803000c" + "00000003" + "00000000", anyShard},
		{"L2F", 1701, 4, "4001000c" + "00000003" + "00000000", anyShard},
		{"L2TP cut in the IDs", 1701, 4, "400200080001", anyShard},
		{"one octet on 1701", 1701, 4, "c8", anyShard},
		{"nothing on 1701", 1701, 4, "", anyShard},
	} {
		t.Run(c.name, func(t *testing.T) {
			payload, err := hex.DecodeString(c.payload)
			if err != nil {
				t.Fatal(err)
			}
			server := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(serverAddress), c.port), c.shards)
			r := newReceiver()
			used := map[int]bool{}
			for i := range sources {
				client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), uint16(40000+i)), 1)[0]
				first := anyShard
				for range 3 {
					m := []Message{{Data: payload, From: clientAddress, To: serverAddress, Port: c.port}}
					if client.WriteBatch(m) != 1 {
						t.Fatal(m[0].Errno)
					}
					got := anyShard
					for shard, s := range server {
						for _, p := range r.payloads(t, s) {
							if p != c.payload || got != anyShard {
								t.Errorf("%s comes to shard %d, after %d", p, shard, got)
							}
							got = shard
						}
					}
					if got == anyShard || c.want != anyShard && got != c.want || first != anyShard && got != first {
						t.Fatalf("shard %d gets it, want %d; the first was for %d", got, c.want, first)
					}
					first = got
				}
				used[first] = true
			}
			if c.want == anyShard && len(used) < 2 {
				t.Errorf("all go to %v", used)
			}
		})
	}
}

// TestUDPAddresses: on a wildcard address each datagram says where it came from and was sent to, and an answer leaves from
// there.
func TestUDPAddresses(t *testing.T) {
	ns := testNamespace(t)
	server := openUDP(t, ns, netip.MustParseAddrPort("0.0.0.0:500"), 1)[0]
	client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), 0x1234), 1)[0]
	var out []Message
	for i := range BatchSize + 10 {
		to := [][4]byte{serverAddress, otherAddress}[i/BatchSize]
		out = append(out, Message{Data: fmt.Appendf(nil, "message %d", i), From: clientAddress, To: to, Port: 500})
	}
	for sent := 0; sent < len(out); {
		n := client.WriteBatch(out[sent:])
		if n != min(BatchSize, len(out)-sent) {
			t.Fatalf("sent %d", n)
		}
		sent += n
	}
	r := newReceiver()
	for got := 0; got < len(out); {
		n, err := server.ReadBatch(r.bufs, r.in)
		if err != nil || n != min(BatchSize, len(out)-got) {
			t.Fatalf("got %d, %v", n, err)
		}
		var answers []Message
		for i := range n {
			m, d := out[got+i], r.in[i]
			want := Datagram{Size: len(m.Data), From: clientAddress, FromPort: 0x1234, To: m.To}
			if d.Size != want.Size || d.From != want.From || d.FromPort != want.FromPort || d.To != want.To || d.Rest != nil || d.Cut {
				t.Fatalf("%+v, want %+v", d, want)
			}
			if !bytes.Equal(r.bufs[i][:d.Size], m.Data) {
				t.Fatalf("%q, want %q", r.bufs[i][:d.Size], m.Data)
			}
			answers = append(answers, Message{Data: r.bufs[i][:d.Size], From: d.To, To: d.From, Port: d.FromPort})
		}
		if n := server.WriteBatch(answers); n != len(answers) {
			t.Fatalf("answered %d", n)
		}
		back := newReceiver()
		if n, err := client.ReadBatch(back.bufs, back.in); n != len(answers) || err != nil {
			t.Fatalf("%d answers, %v", n, err)
		}
		for i, m := range answers {
			if d := back.in[i]; d.From != m.From || d.FromPort != 500 || d.To != clientAddress {
				t.Errorf("answer %d: %+v", i, d)
			}
		}
		got += n
	}
	if n, err := server.ReadBatch(r.bufs, r.in); n != 0 || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("got %d, %v", n, err)
	}
	foreign := []Message{{Data: []byte("x"), From: [4]byte{203, 0, 113, 1}, To: serverAddress, Port: 500}}
	if n := client.WriteBatch(foreign); n != 0 || foreign[0].Errno == 0 {
		t.Errorf("sent %d from a foreign address, %v", n, foreign[0].Errno)
	}
}

// TestLongUDP sends what needs many fragments and is longer than a buffer.
func TestLongUDP(t *testing.T) {
	ns := testNamespace(t)
	shortLinks(t, ns)
	server := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(serverAddress), 500), 1)[0]
	client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), 40000), 1)[0]
	lengths := []int{1999, 2000, 2001, 2000 + restLen, 2001 + restLen, 65507, 10}
	var msgs []Message
	for i, n := range lengths {
		data := make([]byte, n)
		for k := range data {
			data[k] = byte(k*7 + i + k>>8)
		}
		msgs = append(msgs, Message{Data: data, From: clientAddress, To: serverAddress, Port: 500})
	}
	for i := range msgs {
		if client.WriteBatch(msgs[i:i+1]) != 1 {
			t.Fatal(msgs[i].Errno)
		}
	}
	r := newReceiver()
	n, err := server.ReadBatch(r.bufs, r.in)
	if n != len(msgs) || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	for i, m := range msgs {
		d := r.in[i]
		got := append(append([]byte{}, r.bufs[i][:d.Size]...), d.Rest...)
		if whole := min(len(m.Data), 2000+restLen); !bytes.Equal(got, m.Data[:whole]) || d.Cut != (whole < len(m.Data)) {
			t.Errorf("of %d octets: %d and %d, cut %t", len(m.Data), d.Size, len(d.Rest), d.Cut)
		}
		if (d.Rest == nil) != (len(m.Data) <= 2000) {
			t.Errorf("of %d octets the rest is %d", len(m.Data), len(d.Rest))
		}
	}
}

// TestLongL2TP: where no IKE comes, what is longer than a buffer is said to be cut, and nothing else suffers.
func TestLongL2TP(t *testing.T) {
	ns := testNamespace(t)
	server := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(serverAddress), 1701), 1)[0]
	client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), 40000), 1)[0]
	lengths := []int{1999, 2001, 2000, 5000, 10}
	for i, n := range lengths {
		m := []Message{{Data: bytes.Repeat([]byte{byte(i)}, n), From: clientAddress, To: serverAddress, Port: 1701}}
		if client.WriteBatch(m) != 1 {
			t.Fatal(m[0].Errno)
		}
	}
	r := newReceiver()
	if n, err := server.ReadBatch(r.bufs, r.in); n != len(lengths) || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	for i, n := range lengths {
		d := r.in[i]
		if d.Size != min(n, 2000) || d.Cut != (n > 2000) || d.Rest != nil || !bytes.Equal(r.bufs[i][:d.Size], bytes.Repeat([]byte{byte(i)}, d.Size)) {
			t.Errorf("of %d octets: %+v", n, d)
		}
	}
}

func TestUDPBatchesDoNotAllocate(t *testing.T) {
	ns := testNamespace(t)
	server := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(serverAddress), 4500), 1)[0]
	client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), 40000), 1)[0]
	msgs := []Message{
		{Data: make([]byte, 100), From: clientAddress, To: serverAddress, Port: 4500},
		{Data: make([]byte, 3000), From: clientAddress, To: serverAddress, Port: 4500},
	}
	r := newReceiver()
	bad := 0
	if allocs := testing.AllocsPerRun(100, func() {
		if client.WriteBatch(msgs) != 2 {
			bad++
		}
		if n, err := server.ReadBatch(r.bufs, r.in); n != 2 || err != nil || len(r.in[1].Rest) != 1000 {
			bad++
		}
	}); allocs != 0 || bad != 0 {
		t.Errorf("%v allocations, %d failures", allocs, bad)
	}
}
