package steer

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
)

// TestTable runs the loaded program on packets through the kernel's own test run.
func TestTable(t *testing.T) {
	needRoot(t)
	table, err := NewTable()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for prefix, queue := range map[string]int{"10.50.0.7/32": 3, "10.60.0.0/16": 2, "10.60.5.0/24": 1, "10.70.0.1/32": 9} {
		if err := table.Set(netip.MustParsePrefix(prefix), queue); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Unset(netip.MustParsePrefix("10.70.0.1/32")); err != nil {
		t.Fatal(err)
	}
	if err := table.Unset(netip.MustParsePrefix("10.70.0.1/32")); err != nil {
		t.Fatalf("a second Unset: %v", err)
	}
	if err := table.Set(netip.MustParsePrefix("2001:db8::/32"), 1); err == nil {
		t.Error("took an IPv6 prefix")
	}
	for dst, want := range map[string]uint32{
		"10.50.0.7": 3, "10.50.0.8": 0, "10.60.200.1": 2, "10.60.5.9": 1, "10.70.0.1": 0, "192.0.2.1": 0,
	} {
		// The test run wants an Ethernet header and hides it from socket filters.
		frame := make([]byte, 14+20+8)
		binary.BigEndian.PutUint16(frame[12:], 0x0800)
		frame[14] = 0x45
		a := netip.MustParseAddr(dst).As4()
		copy(frame[14+ipDestination:], a[:])
		got, err := table.prog.Run(&ebpf.RunOptions{Data: frame})
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s goes to queue %d, want %d", dst, got, want)
		}
		frame[14] = 0x65
		if got, err := table.prog.Run(&ebpf.RunOptions{Data: frame}); err != nil || got != 0 {
			t.Errorf("not IPv4: queue %d, %v", got, err)
		}
	}
}
