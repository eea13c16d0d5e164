package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/test/bench/rawio"
)

// newRelayLab makes what carries packets as plain L2TP does and does nothing with them: what there is left to pay when a
// dataplane costs nothing.
func newRelayLab(b *bench, l *lab) (t *udpLab, err error) {
	const server, client, inner = "relsrv", "relcli", "relnet"
	p, dev := paths[0], ioDevices[0]
	t = &udpLab{lab: l, hostFD: -1, inner: inner, addr: netip.MustParseAddr(dev.host)}
	fds := [2]int{-1, -1} // wire, device
	t.end = func() error { closeAll(fds[:]); return nil }
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if err := errors.Join(l.outer(server, client), l.add(inner)); err != nil {
		return t, err
	}
	from := netip.MustParseAddr(serverAddr).As4()
	if err := l.do(server, func() (err error) { fds[0], err = rawio.OpenUDP(from, portL2TP); return err }); err != nil {
		return t, err
	}
	if err := l.do(inner, func() (err error) { fds[1], err = rawio.OpenTUN(dev.name, false); return err }); err != nil {
		return t, err
	}
	if err := errors.Join(
		run("ip", "-n", l.ns(inner), "link", "set", dev.name, "up", "txqueuelen", fmt.Sprint(tunQueue)),
		run("ip", "-n", l.ns(inner), "route", "add", dev.prefix, "dev", dev.name),
		t.connect(b, "rel", client, p, firstPort),
	); err != nil {
		return t, err
	}
	work, err := newThread(b.shardCPU)
	if err != nil {
		return t, err
	}
	relay, tid, ended := &rawio.Relay{}, make(chan int, 1), make(chan error, 1)
	go func() {
		ended <- work.do(func() error {
			tid <- unix.Gettid()
			return relay.Run(rawio.NewLoop(fds[0], fds[1], false, from), rawio.Up{Inner: innerLen}, rawio.Down{
				Inner: innerLen, Wire: wireLen, To: netip.MustParseAddr(clientAddr).As4(), Ports: []int{firstPort},
			})
		})
	}()
	t.end = func() error {
		relay.Stop.Store(true)
		err := <-ended
		work.close()
		closeAll(fds[:])
		return err
	}
	packet := append(make([]byte, wireLen-innerLen), innerUDP(t.addr, netip.MustParseAddr(farHost), clientPort, insidePort)...)
	who := <-tid
	t.under = under{
		name:   "I/O alone",
		next:   func() ([]byte, error) { return packet, nil },
		passed: relay.Moved.Load,
		cpu: func() time.Duration {
			d, err := threadTime(who)
			if err != nil {
				return 0 // the thread has ended, and passed tells that nothing does
			}
			return d
		},
		drops: func() string { return "nobody counts them" },
	}
	return t, nil
}

// wireLen is the length of a packet of plain L2TP behind the UDP header.
const wireLen = 8 + 4 + innerLen
