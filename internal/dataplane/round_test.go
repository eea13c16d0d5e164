package dataplane

import (
	"bytes"
	"fmt"
	"testing"

	wiregre "concentrator/internal/wire/gre"
	"concentrator/internal/wire/ppp"
)

// TestManyNetworks: what many tenants' queues and one socket bring at once is carried together, each packet to where it
// belongs.
func TestManyNetworks(t *testing.T) {
	const tenants = 100
	l := newLab(t, 1)
	sessions := make([]*session, tenants)
	for i := range sessions {
		spec := acme
		spec.Tenant = fmt.Sprintf("tenant%d", i)
		spec.Namespace = spec.Tenant // all have the same addresses
		n, dev := l.network(spec)
		sessions[i] = l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
		sessions[i].sync()
	}
	resume := make(chan struct{})
	l.d.shards[0].inbox.push(func(*shard) { <-resume }) // nothing is served until all of it is there
	up := make([][]byte, tenants)
	down := map[string]bool{}
	for i, s := range sessions {
		p := echo("192.0.2.9", "10.50.0.7", uint16(i), 100+i, true)
		down[string(p)] = true
		up[i] = echo("10.50.0.7", "192.0.2.9", uint16(i), 100+i, true)
		write(t, s.far, append(make([]byte, 10), p...))
		write(t, s.wire, outer(clientIP, serverIP, s.client.data(up[i])))
	}
	close(resume)
	for i, s := range sessions {
		if got := s.inside(); !bytes.Equal(got, up[i]) {
			t.Fatalf("tenant %d gets % x from its client", i, got)
		}
	}
	for len(down) > 0 {
		h, payload, err := wiregre.ParseHeader(receive(t, sessions[0].wire)[8:])
		if err != nil {
			t.Fatal(err)
		}
		if !h.HasSeq {
			continue // a bare acknowledgement
		}
		_, info, err := ppp.ParseFrame(payload)
		if err != nil || !down[string(info)] {
			t.Fatalf("% x, %v: for nobody, or not for the first time", info, err)
		}
		delete(down, string(info))
	}
}
