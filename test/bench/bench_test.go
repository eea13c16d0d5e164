package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		rounds []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{3, 1, 2}, spread{1.5, 2, 2.5}},
		{[]float64{11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, spread{3.5, 6, 8.5}},
	} {
		if got := spreadOf(c.rounds); got != c.want {
			t.Errorf("%v: %v, want %v", c.rounds, got, c.want)
		}
	}
	rounds := []float64{2, 1}
	if spreadOf(rounds); rounds[0] != 2 {
		t.Error("the rounds were sorted")
	}
}

// TestReference: the known figures are looked up by machine, path, direction, offload and queue, and what is too far from
// them is strange.
func TestReference(t *testing.T) {
	const xeon = "GenuineIntel/6/207"
	l2tp, _ := findPath("L2TP")
	mppe, _ := findPath("PPTP-MPPE-128")
	for _, c := range []struct {
		model   string
		p       path
		d       direction
		offload bool
		queue   int
		want    float64
	}{
		{xeon, l2tp, up, false, hotQueue, 292 + 631},
		{xeon, l2tp, up, true, coldQueue, 394 + 87},
		{xeon, l2tp, down, true, hotQueue, 53 + 477},
		{xeon, mppe, down, true, hotQueue, 53 + 1359},
		{xeon, mppe, up, false, coldQueue, 413 + 676},
		{"AuthenticAMD/25/1", l2tp, up, false, hotQueue, 0},
	} {
		if got := expected(c.model, c.p, c.d, c.offload, c.queue); got != c.want {
			t.Errorf("%s %s %s: %v, want %v", c.model, c.p.name, c.d, got, c.want)
		}
	}
	for _, c := range []struct {
		got, want float64
		strange   bool
	}{{100, 0, false}, {115, 100, false}, {116, 100, true}, {84, 100, true}, {86, 100, false}} {
		if strange(c.got, c.want) != c.strange {
			t.Errorf("%v of %v: strange %v", c.got, c.want, !c.strange)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		model string
		void  bool
		want  string
	}{
		{"AuthenticAMD/25/1", false, "Unknown CPU"},
		{"GenuineIntel/6/207", false, "within 15 %"},
		{"GenuineIntel/6/207", true, "VOID: in 1 of 2 rows"},
	} {
		r := &Run{Model: c.model}
		r.judge([]Row{{Variants: []Row{{Void: c.void}}}})
		if r.Void != c.void || !strings.Contains(r.Verdict, c.want) {
			t.Errorf("%s: %v, %q", c.model, r.Void, r.Verdict)
		}
	}
}

// TestHeadlines: one row for each path and direction, with all others of it below.
func TestHeadlines(t *testing.T) {
	var all []Row
	for _, offload := range []bool{false, true} {
		for _, p := range []string{"L2TP", "ESP-AES-128-GCM"} {
			for _, d := range []direction{up, down} {
				for _, q := range []int{hotQueue, coldQueue} {
					all = append(all, Row{Path: p, Direction: string(d), Offload: offload, Queue: q})
				}
			}
		}
	}
	heads := headlines(all, &Run{})
	if len(heads) != 4 {
		t.Fatalf("%d headlines", len(heads))
	}
	for _, h := range heads {
		if h.Offload || h.Queue != coldQueue || len(h.Variants) != 3 || h.Run == nil {
			t.Errorf("%+v", h)
		}
	}
}

// TestFinish: medians, that of the ratios too.
func TestFinish(t *testing.T) {
	c := &cell{
		path: paths[0], row: Row{Direction: "up", Queue: hotQueue},
		ns: []float64{100, 300, 200}, ioNS: []float64{80, 90, 100}, cryptoNS: []float64{10, 10, 10}, ratio: []float64{1, 2, 3},
		stdNS: []float64{40}, read: []float64{50}, write: []float64{40},
	}
	r := c.finish("unknown")
	if r.NS != 200 || r.IONS != 90 || r.CryptoNS != 10 || r.Ratio != 2 || r.RatioQ1 != 1.5 || r.GbitPerS != 56 || r.Void {
		t.Errorf("%+v", r)
	}
}

// TestRowKeys: the names that others read.
func TestRowKeys(t *testing.T) {
	raw, err := json.Marshal([]Row{{}})
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"path", "direction", "ns", "cryptoNs", "ioNs", "ratio", "nsQ1", "nsQ3", "ratioQ1", "ratioQ3"} {
		if _, ok := rows[0][key]; !ok {
			t.Errorf("no %q in %s", key, raw)
		}
	}
}

// TestStore: parts are kept side by side, and the report shows them all.
func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := printReport(&bytes.Buffer{}, dir); err == nil {
		t.Error("a report of nothing")
	}
	for _, p := range []struct {
		part string
		v    any
	}{
		{"gc", GCRow{Packets: 1}},
		{"paths", []Row{{Path: "L2TP", Direction: "up", NS: 123, Run: &Run{CPU: "a CPU"}}}},
		{"udp", []UDPRow{{Path: "L2TP", OfferedPPS: 4711}}},
		{"gc", GCRow{Packets: 777}},
	} {
		raw, err := json.Marshal(p.v)
		if err != nil {
			t.Fatal(err)
		}
		if err := store(dir, p.part, raw); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := printReport(&out, dir); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a CPU", "| L2TP | up |", "123 [0 0]", "4711", "777"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestReplaceReport: only the last section of a page changes.
func TestReplaceReport(t *testing.T) {
	dir := t.TempDir()
	if err := store(dir, "gc", json.RawMessage(`{"packets": 777}`)); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "page.md")
	if err := os.WriteFile(page, []byte("# Page\n\n## Last figures\n\nold\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := replaceReport(page, dir); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); !strings.HasPrefix(got, "# Page\n\n## Last figures\n") || strings.Contains(got, "old") || strings.Count(got, "777") != 1 {
		t.Error(got)
	}
	if err := os.WriteFile(page, []byte("# Page\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if replaceReport(page, dir) == nil {
		t.Error("a page without the section was taken")
	}
}

// TestTable: columns are in line whatever letters they have.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	table{title: "T", head: []string{"a", "b"}, rows: [][]string{{"xyz", "1"}, {"µ", "22"}}, notes: []string{"n"}}.print(&out)
	if want := "\nT\n\na     b\nxyz   1\nµ    22\nn\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-only", "nothing"}, {"-paths", "SSTP"}, {"-queues", "warm"}, {"-modes", "both"}, {"-generator", "elsewhere"}, {"-rounds", "0"}, {"-what"},
	} {
		if os.Geteuid() != 0 && args[0] != "-what" {
			continue // that is what it says first
		}
		if err := command(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

// TestInner: what is sent through the sessions is right to the last checksum.
func TestInner(t *testing.T) {
	a, b := netip.MustParseAddr("10.50.1.2"), netip.MustParseAddr("10.99.0.2")
	p := innerUDP(a, b, 40000, 50000)
	if len(p) != innerLen || sum16(p[:ipLen], 0) != 0xffff || sum16(p[ipLen:], sumPseudo(p, len(p)-ipLen)) != 0xffff {
		t.Errorf("UDP: %d octets, % x", len(p), p[:ipLen+udpLen])
	}
	e := innerEcho(a, b)
	if sum16(e[:ipLen], 0) != 0xffff || sum16(e[ipLen:], 0) != 0xffff {
		t.Errorf("ICMP: % x", e)
	}
}

// TestFar: what the clients' half makes, alone and in batches, its counterpart opens again. The server's keys are those of
// both, so that one opener stands for it.
func TestFar(t *testing.T) {
	inner := innerUDP(netip.MustParseAddr("10.50.1.2"), netip.MustParseAddr("10.99.0.2"), 40000, 50000)
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			x := &session{path: p, far: &far{path: p, tunnel: 0x20, session: 0x30}}
			var err error
			switch {
			case p.secured():
				// What goes up here is opened with the keys of what goes down.
				back := p.espParams(0x1234, useDown)
				x.back = &back
				if x.far.sa, err = esp.NewOutbound(back); err != nil {
					t.Fatal(err)
				}
			case p.carrier == pptp:
				x.far.gre = gre.NewSession(0x30, pktbuf.NewPool(gre.Window))
				x.far.mppe, x.far.scratch = mppe.NewSender(p.mppeParams(useDown)), mppe.NewScratch()
			}
			o, err := newOpener(x)
			if err != nil {
				t.Fatal(err)
			}
			check := func(what string, wire []byte) {
				t.Helper()
				bufs := make([]pktbuf.Buf, 1)
				if p.carrier == pptp { // as a raw socket gives it
					wire = append([]byte{0x45, 19: 0}, wire...)
				}
				bufs[0].SetBytes(wire)
				got := o.open(bufs)
				if len(got) != 1 || !bytes.Equal(got[0].Bytes(), inner) {
					t.Fatalf("%s: %d packets came out", what, len(got))
				}
			}
			for range 3 {
				wire, err := x.far.data(inner)
				if err != nil {
					t.Fatal(err)
				}
				check("alone", wire)
			}
			bufs := make([]pktbuf.Buf, 5)
			for i := range bufs {
				bufs[i].SetBytes(inner)
			}
			if err := newSealer(x).seal(bufs); err != nil {
				t.Fatal(err)
			}
			for i := range bufs {
				check("in a batch", bufs[i].Bytes())
			}
		})
	}
}

// TestPacer: the rate is kept, and without one nobody waits.
func TestPacer(t *testing.T) {
	idle := 0
	p := &pacer{rate: 1000}
	if err := p.run(t.Context(), 50*time.Millisecond, func(int) error { return nil }, func() { idle++ }); err != nil {
		t.Fatal(err)
	}
	if p.sent < 2 || p.sent > 51 || idle == 0 {
		t.Errorf("%d sent in 50 ms, %d times idle", p.sent, idle)
	}
	p = &pacer{}
	if err := p.run(t.Context(), 5*time.Millisecond, func(int) error { return nil }, func() { t.Error("idle") }); err != nil {
		t.Fatal(err)
	}
	if err := p.run(t.Context(), time.Second, func(int) error { return errNoRoom }, func() {}); !errors.Is(err, errNoRoom) {
		t.Errorf("%v", err)
	}
}

func TestSumMetric(t *testing.T) {
	text := "# HELP a_b words\na_b{x=\"1\"} 2\na_b{x=\"two words\"} 3.5\na_bc 100\na 7\n"
	for metric, want := range map[string]float64{"a_b": 5.5, "a": 7, "b": 0} {
		if got, err := sumMetric(text, metric); err != nil || got != want {
			t.Errorf("%s: %v, %v", metric, got, err)
		}
	}
	if _, err := sumMetric("a x\n", "a"); err == nil {
		t.Error("a metric that is no number")
	}
}

// TestMiddle: of several runs the one with the middle throughput is shown as it was.
func TestMiddle(t *testing.T) {
	if got := middle([]TrafficRow{{PPS: 3, Lost: 3}, {PPS: 1, Lost: 1}, {PPS: 2, Lost: 2}}); got.Lost != 2 {
		t.Errorf("%+v", got)
	}
	if got := middle([]TrafficRow{{PPS: 3}, {PPS: 3}, {PPS: 1}}); got.PPS != 3 {
		t.Errorf("%+v", got)
	}
}

func TestQuantile(t *testing.T) {
	if quantile(nil, 0.5) != 0 || quantile([]float64{3, 1, 2}, 0.5) != 2 || quantile([]float64{3, 1, 2}, 1) != 3 {
		t.Error("wrong quantile")
	}
}

// TestCrypto: every crypto measurement runs, and finds what it seals and opens to be right.
func TestCrypto(t *testing.T) {
	work, err := newThread(-1)
	if err != nil {
		t.Fatal(err)
	}
	defer work.close()
	for _, p := range paths {
		for _, d := range []direction{up, down} {
			for _, sessions := range []int{1, 3} {
				c, err := cryptoBatch(p, d, sessions)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.sampler(work)()
				if err != nil || (got.cpu <= 0) != (p.carrier == plainL2TP) || got.packets <= 0 {
					t.Errorf("%s %s: %v, %v", p.name, d, got, err)
				}
			}
			s, err := stdBatch(p, d)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.sampler(work)(); err != nil || (got.cpu <= 0) != (p.carrier == plainL2TP) || got.packets <= 0 {
				t.Errorf("%s %s with the standard library: %v, %v", p.name, d, got, err)
			}
		}
	}
}

// TestHot: part "crypto" has a row for each path with crypto, both ways, and its table says so.
func TestHot(t *testing.T) {
	b := &bench{short: true, stderr: io.Discard, run: newRun()}
	for _, p := range paths {
		if p.carrier == plainL2TP || p.carrier == pptp {
			b.paths = append(b.paths, p)
		}
	}
	got, err := partCrypto(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	rows := got.([]HotRow)
	for _, r := range rows {
		if r.NS <= 0 || r.NS > r.MedianNS || r.StdNS <= 0 || r.StdNS > r.StdMedianNS || r.Batches != hotBatches/10 {
			t.Errorf("%+v", r)
		}
	}
	if len(rows) != 2*2 || len(hotTable(rows).rows) != len(rows) {
		t.Errorf("%d rows", len(rows))
	}
}

// TestWorker: the last of a chain of processes is found.
func TestWorker(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sh -c 'sleep 60; true'; true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	for range 500 {
		pid, err := worker(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "sleep" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the last process was not found within 5 s")
}

// TestOthersTable: who is not there is named, and the others are in the table.
func TestOthersTable(t *testing.T) {
	table := othersTable(Others{Rows: []OtherRow{{Server: "l2tpns", Protocol: "L2TP", Direction: "up"}}, Missing: []string{"vpnserver"}})
	if len(table.rows) != 1 || len(table.rows[0]) != len(table.head) || len(table.notes) != 1 || !strings.Contains(table.notes[0], "vpnserver") {
		t.Errorf("%+v", table)
	}
	r := &rival{needs: []string{"sh", "no-such-program"}}
	if got := r.missing(); got != "no-such-program" {
		t.Errorf("missing: %q", got)
	}
}

// TestRealPaths is a round of part "paths" for each carrier: all packets pass, by the shard and by the loops.
func TestRealPaths(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CONCENTRATOR_REAL") == "1" {
			t.Fatal("CONCENTRATOR_REAL=1, but not root: namespaces, raw sockets and TUN devices can't be made")
		}
		t.Skip("needs root for namespaces, raw sockets and TUN devices")
	}
	dir := t.TempDir()
	var out, progress bytes.Buffer
	args := []string{"-only", "paths", "-rounds", "1", "-queues", "hot", "-out", dir, "-paths", "L2TP,ESP-AES-128-GCM,PPTP-MPPE-128"}
	err := command(t.Context(), args, &out, &progress)
	for range 2 {
		// Nothing was dropped, but a shard had no turn for 20 ms: other tests have both CPUs.
		if err == nil || !strings.Contains(err.Error(), "dropped since the start: map[]") {
			break
		}
		t.Log(err)
		err = command(t.Context(), args, &out, &progress)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	var rows []Row
	if err := readJSON(filepath.Join(dir, pathsFile), &rows); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2*3 {
		t.Errorf("%d rows", len(rows))
	}
	for _, r := range rows {
		if r.NS <= 0 || r.IONS <= 0 || r.Ratio <= 0 || len(r.Variants) != 1 || r.Run == nil || r.Run.Model == "" {
			t.Errorf("%+v", r)
		}
	}
	if left, err := filepath.Glob("/run/netns/" + (&lab{}).ns("*")); err != nil || len(left) != 0 {
		t.Errorf("namespaces left: %v, %v", left, err)
	}
}
