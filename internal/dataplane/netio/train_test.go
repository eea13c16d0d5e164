package netio

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlan: what is to one address and port, in one run, has one length but for the last, and stays in order.
func TestPlan(t *testing.T) {
	peers := []Message{
		{To: [4]byte{192, 0, 2, 1}, Port: 4500},
		{To: [4]byte{192, 0, 2, 1}, Port: 4501},
		{To: [4]byte{192, 0, 2, 2}, Port: 4500},
		{To: [4]byte{192, 0, 2, 1}, Port: 4500, TOS: 0xb8},
		{To: [4]byte{192, 0, 2, 1}, Port: 4500, From: [4]byte{198, 51, 100, 1}},
	}
	for range 2000 {
		tr := trains{on: rand.IntN(8) != 0}
		if rand.IntN(4) == 0 {
			tr.tooLong = 1000
		}
		msgs := make([]Message, 1+rand.IntN(BatchSize))
		for i := range msgs {
			msgs[i] = peers[rand.IntN(1+rand.IntN(len(peers)))]
			msgs[i].Data = make([]byte, []int{1400, 1400, 1400, 100, 0, 2000, 60000}[rand.IntN(7)])
		}
		seen := make([]int, len(msgs))
		lastRun := map[string]int{}
		lastOf := map[string]int{}
		n := tr.plan(msgs)
		for r := range n {
			run := tr.runs[r]
			total, count, short := 0, 0, false
			for m := run.first; m != none; m = tr.next[m] {
				who := fmt.Sprint(msgs[m].To, msgs[m].Port, msgs[m].TOS, msgs[m].From)
				if before, any := lastOf[who]; any && before > m {
					t.Fatalf("message %d leaves after %d", before, m)
				}
				lastOf[who], lastRun[who] = m, r
				if fmt.Sprint(msgs[run.first].To, msgs[run.first].Port, msgs[run.first].TOS, msgs[run.first].From) != who {
					t.Fatalf("run of %v holds %v", msgs[run.first], who)
				}
				if short || run.n > 1 && len(msgs[m].Data) > len(msgs[run.first].Data) {
					t.Fatal("only the last may be shorter")
				}
				short = len(msgs[m].Data) < len(msgs[run.first].Data)
				seen[m]++
				count++
				total += len(msgs[m].Data)
			}
			if count != run.n || count > 1 && (total > maxTrain || !tr.on || tr.tooLong != 0 && run.size >= tr.tooLong) {
				t.Fatalf("%d messages of %d octets: %+v", count, total, run)
			}
		}
		for m, times := range seen {
			if times != 1 {
				t.Fatalf("message %d is sent %d times", m, times)
			}
		}
	}
}

// receive reads all that waits in a socket.
func receive(t *testing.T, s UDPSocket) (all [][]byte) {
	t.Helper()
	r := newReceiver()
	for {
		n, err := s.ReadBatch(r.bufs, r.in)
		if err != nil {
			return all
		}
		for i := range n {
			all = append(all, bytes.Clone(r.bufs[i][:r.in[i].Size]))
		}
	}
}

// TestTrains sends batches for three peers by one socket, as trains and where the link is too short for these one by one:
// every datagram comes whole, once and in order.
func TestTrains(t *testing.T) {
	ns := testNamespace(t)
	client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), 40000), 1)[0]
	var servers []UDPSocket
	for i := range 3 {
		servers = append(servers, openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(serverAddress), uint16(4500+i)), 1)[0])
	}
	for _, short := range []bool{false, true} {
		if short {
			shortLinks(t, ns)
		}
		for round := range 3 {
			msgs := make([]Message, BatchSize)
			want := make([][][]byte, len(servers))
			for i := range msgs {
				to := i % (i%len(servers) + 1)
				data := bytes.Repeat([]byte{byte(i), byte(round)}, 740-i%2*20)
				msgs[i] = Message{Data: data, From: clientAddress, To: serverAddress, Port: uint16(4500 + to)}
				want[to] = append(want[to], data)
			}
			if n := client.WriteBatch(msgs); n != len(msgs) {
				t.Fatalf("sent %d", n)
			}
			for i, s := range servers {
				got := receive(t, s)
				if len(got) != len(want[i]) {
					t.Fatalf("short %t, round %d: %d datagrams, want %d", short, round, len(got), len(want[i]))
				}
				for k := range got {
					if !bytes.Equal(got[k], want[i][k]) {
						t.Fatalf("datagram %d is %x, want %x", k, got[k][:2], want[i][k][:2])
					}
				}
			}
		}
	}
	if got := client.(*udpSocket).out.trains.tooLong; got == 0 || got > 1480 {
		t.Errorf("on a short link trains of %d octets are tried", got)
	}
}

// TestTOS: the outer header's Type of Service is what the message says, in trains too, and is told once it is asked for.
func TestTOS(t *testing.T) {
	ns := testNamespace(t)
	client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), 40000), 1)[0]
	server := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(serverAddress), 4500), 1)[0]
	for _, ask := range []bool{false, true} {
		if ask {
			if err := server.WantTOS(); err != nil {
				t.Fatal(err)
			}
		}
		msgs := make([]Message, 8)
		for i := range msgs {
			msgs[i] = Message{
				Data: []byte{byte(i)}, From: clientAddress, To: serverAddress, Port: 4500, TOS: []uint8{0, 0xb8}[i/2%2],
			}
		}
		if n := client.WriteBatch(msgs); n != len(msgs) {
			t.Fatalf("sent %d", n)
		}
		r := newReceiver()
		n, err := server.ReadBatch(r.bufs, r.in)
		if n != len(msgs) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		for i := range n {
			want := uint8(0)
			if ask {
				want = msgs[r.bufs[i][0]].TOS
			}
			if r.in[i].TOS != want || r.in[i].To != serverAddress {
				t.Errorf("asked %t: %+v, want %#x", ask, r.in[i], want)
			}
		}
	}
}

// TestFullSendBuffer: what doesn't fit says EAGAIN, and nothing else is said to be sent.
func TestFullSendBuffer(t *testing.T) {
	o := &outgoing{}
	o.init()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	for i := range o.msgs { // a pair has no addresses
		o.msgs[i].hdr.Name, o.msgs[i].hdr.Namelen = nil, 0
	}
	sent, refused := 0, 0
	for refused == 0 && sent < 1_000_000 {
		msgs := make([]Message, BatchSize)
		for i := range msgs {
			msgs[i].Data = make([]byte, 1000)
		}
		n := o.write(p[0], msgs)
		sent += n
		for i := range msgs {
			if msgs[i].Errno == unix.EAGAIN {
				refused++
			} else if msgs[i].Errno != 0 || refused > 0 {
				t.Fatalf("message %d: %v", i, msgs[i].Errno)
			}
		}
		if refused != len(msgs)-n {
			t.Fatalf("%d sent and %d refused of %d", n, refused, len(msgs))
		}
	}
}

// TestBacklogged fills a socket's receive buffer until the kernel drops: it is told before, and no longer once it is empty.
func TestBacklogged(t *testing.T) {
	ns := testNamespace(t)
	client := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(clientAddress), 40000), 1)[0]
	server := openUDP(t, ns, netip.AddrPortFrom(netip.AddrFrom4(serverAddress), 4500), 1)[0]
	sent, told := 0, 0
	for ; sent < 100_000; sent += BatchSize {
		if told == 0 && server.Backlogged() {
			told = sent
		}
		msgs := make([]Message, BatchSize)
		for i := range msgs {
			msgs[i] = Message{Data: make([]byte, 1000), From: clientAddress, To: serverAddress, Port: 4500}
		}
		client.WriteBatch(msgs)
	}
	got := len(receive(t, server))
	if told == 0 || told < got/8 || told > got/2 {
		t.Errorf("told after %d packets, %d fitted", told, got)
	}
	if server.Backlogged() {
		t.Error("an empty socket has a backlog")
	}
}
