//go:build amd64 && !purego

package multibuf

import (
	"slices"
	"testing"
	"unsafe"

	"concentrator/internal/dataplane/cpu"
)

// available are the kernels of this processor and of lesser ones: together, every kernel that can run here.
func available() []*kernels {
	has := cpu.Probe()
	sets := []*kernels{std}
	if has.SHA {
		sets = append(sets, choose(cpu.Features{SHA: true}))
	}
	if has.AES {
		sets = append(sets, choose(cpu.Features{AES: true}))
	}
	if has.VAES || has.AES && has.SHA {
		sets = append(sets, choose(has))
	}
	return sets
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		has  cpu.Features
		name string
	}{
		{cpu.Features{}, "std"},
		{cpu.Features{AES: true}, "aes-ni-8x aes-ni std"},
		{cpu.Features{SHA: true}, "std std sha-ni-4x"},
		{cpu.Features{AES: true, VAES: true}, "vaes-12x vaes-256 std"},
		{cpu.Features{AES: true, VAES: true, SHA: true}, "vaes-12x vaes-256 sha-ni-4x"},
	} {
		k := choose(test.has)
		if k.name != test.name {
			t.Errorf("%+v: kernels %q, want %q", test.has, k.name, test.name)
		}
		if has := k.encrypt != nil; has != test.has.AES || (k.decrypt != nil) != has || (k.substitute != nil) != has {
			t.Errorf("%+v: AES by kernels: %v", test.has, has)
		}
		for h := SHA1; h <= SHA256; h++ {
			if has := k.hasher(h, 1) != nil; has != test.has.SHA {
				t.Errorf("%+v: hash %d by kernels: %v", test.has, h, has)
			}
		}
		for _, e := range k.encrypt {
			if e.lanes > maxLanes {
				t.Errorf("%d lanes of encryption, want at most %d", e.lanes, maxLanes)
			}
		}
	}
}

// TestLanes looks for the narrowest kernel that takes all packets at once, or the widest.
func TestLanes(t *testing.T) {
	k := choose(cpu.Features{AES: true, VAES: true, SHA: true})
	var got []int
	for _, n := range []int{1, 4, 5, 12, 64} {
		got = append(got, k.encrypter(n).lanes)
	}
	if want := []int{4, 4, 12, 12, 12}; !slices.Equal(got, want) {
		t.Errorf("lanes of encryption %v, want %v", got, want)
	}
	got = nil
	for _, n := range []int{1, 2, 3, 4, 64} {
		got = append(got, k.hasher(SHA1, n).lanes)
	}
	if want := []int{1, 2, 4, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("lanes of SHA-1 %v, want %v", got, want)
	}
}

// TestAligned: the SHA instructions fault at memory that isn't, and wide loads across lines cost double.
func TestAligned(t *testing.T) {
	for range 50 {
		v := newVectors()
		for name, at := range map[string]unsafe.Pointer{
			"keys": unsafe.Pointer(&v.keys), "iv": unsafe.Pointer(&v.iv), "work": unsafe.Pointer(&v.work),
		} {
			if uintptr(at)%32 != 0 {
				t.Fatalf("%s at %p", name, at)
			}
		}
	}
}

// TestIdleLanes: what lanes without a packet write must stay within their room, however long the others' packets are.
func TestIdleLanes(t *testing.T) {
	if !cpu.Probe().AES {
		t.Skip("no kernel has lanes")
	}
	x := NewScratch()
	k := *choose(cpu.Features{AES: true})
	calls, idle := 0, 0
	k.encrypt = []encrypter{{4, func(keys, iv *byte, data **byte, rounds, size int) {
		calls++
		if slices.Contains(unsafe.Slice(data, 4), &x.vectors.idle[0]) {
			idle++
			if size > len(x.vectors.idle) {
				t.Errorf("%d octets of an idle lane, want at most %d", size, len(x.vectors.idle))
			}
		}
		encryptAESNI4(keys, iv, data, rounds, size)
	}}}
	defer replace(&k)()
	for packets := 2; packets <= 6; packets++ {
		ops, _ := load(t, packets, 16, SHA1, 2048, 1600, 1360, 2192, 2032)
		EncryptCBC(ops, x)
	}
	if idle == 0 || idle == calls {
		t.Errorf("%d calls, %d with idle lanes", calls, idle)
	}
}
