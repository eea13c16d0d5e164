package dataplane

import (
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/steer"
)

// fuzzShards is enough to have packets at the wrong one.
const fuzzShards = 2

// fuzzWorld is a dataplane whose shards have no goroutines: the test makes their rounds, in a time of its own, so that a
// program of octets always does the same. What the control side does goes through the real methods, on a goroutine beside.
type fuzzWorld struct {
	t   testing.TB
	d   *Dataplane
	o   *fuzzOpener
	now int64

	calls, tunnels idQueue // as they are at the start of each program, of shard 0
	spis           spiQueue
	caps           [fuzzShards]fuzzCaps

	pool       *pktbuf.Pool // of the clients' ends
	scratch    *mppe.Scratch
	espScratch *esp.Scratch
	sealing    [1]esp.SealOp
	opening    [1]esp.OpenOp

	packet [70000]byte // from a device

	// Of one program.
	written  uint64 // packets that have entered networks
	running  bool   // from begin to the end of end
	program  fuzzProgram
	g        *Datagrams // nil: closed
	gre      bool       // is open
	nets     [2]*fuzzNet
	sessions []*fuzzSession
	peers    []*fuzzPeer
	past     []pastPacket
	taps     int
	keys     byte   // of MPPE and ESP that were made
	events   uint64 // packets that sinks were given
	silent   uint64 // packets on their way that may vanish by right
	again    bool   // a packet that has passed is sent again
	inflight int    // packets that wait to be read
	control  int    // messages of the control side that wait to be sent
}

func newFuzzWorld(f testing.TB) *fuzzWorld {
	w := &fuzzWorld{
		t: f, o: &fuzzOpener{}, now: int64(time.Hour), pool: pktbuf.NewPool(8), scratch: mppe.NewScratch(),
		espScratch: esp.NewScratch(),
	}
	w.o.w = w
	w.d = &Dataplane{
		opener: w.o, log: slog.New(slog.DiscardHandler), maxSessions: fuzzShards * idsPerShard,
		raw: map[rawKey]*rawFaces{}, datagrams: map[*Datagrams]struct{}{}, spaces: map[string]*space{},
		networks: map[*Network]struct{}{}, load: make([]int, fuzzShards), someBusy: make(chan struct{}, 1),
		refused: map[faceKind][]refused{
			faceGRE: make([]refused, fuzzShards), faceESP: make([]refused, fuzzShards),
		},
	}
	for i := range fuzzShards {
		s, err := newShard(i, time.Now(), w.d.log)
		if err != nil {
			f.Fatal(err)
		}
		runtime.SetFinalizer(s, (*shard).release)
		s.cpu = -1
		w.d.shards = append(w.d.shards, s)
		w.d.ids = append(w.d.ids, newIDQueue(i))
		w.d.tunnelIDs = append(w.d.tunnelIDs, newIDQueue(i))
		w.d.spis = append(w.d.spis, newSPIQueue(i))
		w.caps[i] = capsOf(s)
	}
	for _, s := range w.d.shards {
		s.peers = w.d.shards
	}
	for i := range idsPerShard {
		if i > 0 {
			w.calls.put(uint16(i) << steer.ShardBits)
		}
	}
	w.tunnels, w.spis = w.calls, *w.d.spis[0]
	for i := range w.spis.free {
		w.spis.free[i] = uint16(i)
	}
	return w
}

// begin makes everything as it was before the first program, and opens what a listener and two tenants open.
func (w *fuzzWorld) begin(t testing.TB, program []byte) {
	w.t, w.running = t, true
	w.program = program
	w.sessions, w.peers, w.past, w.taps, w.keys, w.again = nil, nil, nil, 0, 0, false
	w.events, w.silent, w.written, w.inflight, w.control = 0, 0, 0, 0, 0
	w.o.begin()
	for i, s := range w.d.shards {
		*w.d.ids[i], *w.d.tunnelIDs[i], *w.d.spis[i] = w.calls, w.tunnels, w.spis
		for _, q := range []*idQueue{w.d.ids[i], w.d.tunnelIDs[i]} {
			for at := range q.n {
				q.free[at] |= uint16(i)
			}
		}
		w.d.spis[i].shard = i
		s.stats = ShardStats{}
	}
	w.wait(10 * time.Second)
	w.do(func() {
		if err := w.d.OpenGRE(""); err != nil {
			w.t.Error(err)
		}
		w.openDatagrams(true)
		for i := range w.nets {
			w.openNet(i)
		}
	})
	w.gre = true
}

func (w *fuzzWorld) openDatagrams(plain bool) {
	g, err := w.d.OpenDatagrams(DatagramSpec{Address: addr(serverIP), IPsec: true, Plain: plain, Sink: fuzzOutside{w}})
	if err != nil {
		w.t.Error(err)
		return
	}
	w.g = g
}

func (w *fuzzWorld) openNet(i int) {
	n := &fuzzNet{w: w, at: i}
	opened, err := w.d.OpenNetwork(fuzzNetSpec(i, i == 1))
	if err != nil {
		w.t.Error(err)
		return
	}
	n.Network, n.dev = opened, w.o.device
	w.nets[i] = n
}

// fuzzNetSpec is a tenant's network. Both have the same addresses, in namespaces of their own.
func fuzzNetSpec(i int, clientToClient bool) NetworkSpec {
	name := []string{"acme", "beta"}[i]
	return NetworkSpec{
		Tenant: name, Namespace: name, Device: "vpn0", Gateways: []netip.Addr{addr("10.50.0.1")},
		Routes: []netip.Prefix{prefix("10.50.0.0/16")}, ClientToClient: clientToClient,
	}
}

// do runs what the control side does, and the shards' commands meanwhile.
func (w *fuzzWorld) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		w.commands()
		select {
		case <-done:
			w.commands()
			return
		default:
			runtime.Gosched()
		}
	}
}

// commands is the part of a shard's round that concerns the control side.
func (w *fuzzWorld) commands() {
	for _, s := range w.d.shards {
		s.now = w.now
		s.runCommands()
		s.flush()
	}
}

// round is what shards do until nothing is left to do: what shard.run does, but for waiting.
func (w *fuzzWorld) round() {
	for again, n := true, 0; again; n++ {
		if n == 1000 {
			w.t.Fatal("shards find no end")
		}
		again = false
		for _, s := range w.d.shards {
			s.now = w.now
			s.runCommands()
			s.runRing()
			s.runTimers()
			s.runShapers()
			s.flush()
			for slot := range s.sources {
				again = w.serve(s, slot) || again
			}
			s.flush()
			again = again || s.called()
		}
		again = again || w.d.shards[0].called() // by what another has done
	}
}

// serve reads a batch from a source that has something, and says whether it had.
func (w *fuzzWorld) serve(s *shard, slot int) bool {
	e := event32(slot)
	switch src := s.sources[slot]; {
	case src.face != nil:
		if w.o.waiting(src.face) == 0 {
			return false
		}
	case src.net != nil:
		dev := w.nets[netAt(src.net.owner)].dev
		if dev.hangUp {
			e = hangUp32(slot)
		} else if dev.waiting[s.id] == 0 {
			return false
		}
		dev.waiting[s.id] = max(0, dev.waiting[s.id]-batchSize)
	default:
		return false
	}
	s.serve(&e)
	return true
}

// netAt is a network's place in fuzzWorld.nets.
func netAt(n *Network) int {
	if n.spec.Namespace == "beta" {
		return 1
	}
	return 0
}

// wait lets time pass.
func (w *fuzzWorld) wait(d time.Duration) {
	w.now += int64(d)
	for _, s := range w.d.shards {
		s.now = w.now
	}
}
