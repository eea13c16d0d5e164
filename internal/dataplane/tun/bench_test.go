package tun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/pktbuf"
)

// benchSize is the length of an inner packet in octets.
const benchSize = 1400

// oneFlow is n packets of TCP in sequence; manyFlows one packet each of n flows.
func oneFlow(n int) [][]byte { return build(tcpRun(n, benchSize-52)) }

func manyFlows(n int) [][]byte {
	ks := tcpRun(n, benchSize-52)
	for i := range ks {
		ks[i].sport += uint16(i)
	}
	return build(ks)
}

// meter measures rounds in CPU time of the thread: what else runs on the machine hardly counts.
type meter struct {
	start  int64
	rounds []int64
}

func newMeter(b *testing.B) *meter {
	runtime.LockOSThread()
	b.Cleanup(runtime.UnlockOSThread)
	return &meter{rounds: make([]int64, 0, b.N)}
}

func threadTime() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

func (m *meter) begin() { m.start = threadTime() }

func (m *meter) end() { m.rounds = append(m.rounds, threadTime()-m.start) }

// report gives the median of what each of a round's n packets took.
func (m *meter) report(b *testing.B, n int) {
	slices.Sort(m.rounds)
	b.ReportMetric(float64(m.rounds[len(m.rounds)/2])/float64(n), "ns/packet")
}

// benchRouter is a namespace with a device to write to, and if out is true one behind it that it routes to.
func benchRouter(b *testing.B, out, noOffload bool) (in, to *Device) {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("needs root to make TUN devices")
	}
	ns := fmt.Sprintf("ccbench-%d", os.Getpid())
	open := func(name string, noOffload bool, routes string) *Device {
		d, err := Open(Spec{Namespace: ns, Device: name, Queues: 1, MTU: benchSize, NoOffload: noOffload})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Configure(Config{MTU: benchSize, Routes: prefixes(routes)}); err != nil {
			b.Fatal(err)
		}
		return d
	}
	in = open("vpn0", false, "10.50.0.0/24")
	if out {
		to = open("vpn1", noOffload, "10.51.0.0/24")
	}
	b.Cleanup(func() {
		err := in.Close()
		if to != nil {
			err = errors.Join(err, to.Close())
		}
		if err = errors.Join(err, netns.Remove(ns)); err != nil {
			b.Error(err)
		}
	})
	return in, to
}

// BenchmarkWrite is the CPU time of a packet, of a batch of 44 or 64, into a device whose namespace has no route for it, and
// into /dev/null, which leaves our own work and the system call.
func BenchmarkWrite(b *testing.B) {
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(null)
	for _, tt := range []struct {
		name string
		ps   [][]byte
		join bool
	}{
		{"plain/44", oneFlow(44), false},
		{"joined/44", oneFlow(44), true},
		{"plain/64flows", manyFlows(64), false},
		{"joined/64flows", manyFlows(64), true},
	} {
		bufs := make([]pktbuf.Buf, len(tt.ps))
		run := func(b *testing.B, fd int) {
			c, q := NewCoalescer(), Queue{fd, both}
			m := newMeter(b)
			for range b.N {
				for i, p := range tt.ps { // as a batch has just been decrypted
					bufs[i].SetBytes(p)
				}
				m.begin()
				if tt.join {
					for i := range bufs {
						c.Add(q, &bufs[i])
					}
					c.Flush()
				} else {
					for i := range bufs {
						clear(bufs[i].Prepend(HeaderLen))
						write(fd, bufs[i].Bytes())
					}
				}
				m.end()
			}
			m.report(b, len(bufs))
		}
		b.Run("null/"+tt.name, func(b *testing.B) { run(b, null) })
		b.Run("tun/"+tt.name, func(b *testing.B) {
			in, _ := benchRouter(b, false, false)
			run(b, in.Queues()[0])
		})
	}
}

// BenchmarkRead is the CPU time of a packet out of a device that waits there singly or in trains of 44.
func BenchmarkRead(b *testing.B) {
	const trains, each = 16, 44
	for _, noOffload := range []bool{true, false} {
		name := "trains"
		if noOffload {
			name = "plain"
		}
		b.Run(name, func(b *testing.B) {
			in, out := benchRouter(b, true, noOffload)
			c, tr, buf := NewCoalescer(), NewTrain(), new(pktbuf.Buf)
			bufs := make([]pktbuf.Buf, each)
			ps := oneFlow(each)
			for i, p := range ps {
				copy(p[12:], []byte{10, 50, 0, 9})
				binary.BigEndian.PutUint16(p[4:], uint16(i))
				finish(p)
			}
			fd, packets, m := out.Queues()[0], 0, newMeter(b)
			for range b.N {
				for range trains {
					for i, p := range ps {
						bufs[i].SetBytes(p)
						c.Add(Queue{in.Queues()[0], in.Offloads()}, &bufs[i])
					}
					c.Flush()
				}
				m.begin()
				for {
					got, errno := tr.Read(Queue{fd, both}, buf)
					if errno != 0 {
						break
					}
					if got == Single {
						packets++
					}
					for tr.Next(buf) {
						packets++
					}
				}
				m.end()
			}
			if packets != b.N*trains*each {
				b.Fatalf("%d packets of %d", packets, b.N*trains*each)
			}
			m.report(b, trains*each)
		})
	}
}
