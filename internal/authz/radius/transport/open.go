package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/telemetry"
)

const (
	// openTimeout bounds looking a name up, connecting and the TLS handshake.
	openTimeout = 5 * time.Second
	// lookupTimeout bounds the first of them alone.
	lookupTimeout = 3 * time.Second
)

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// dial sees to it that a goroutine opens one more socket, as soon as the pause after a failure allows. p.mu is held.
func (p *port) dial() {
	if p.dialing || p.closed {
		return
	}
	p.dialing = true
	p.running.Go(func() {
		p.mu.Lock()
		wait := time.Until(p.nextDial)
		p.mu.Unlock()
		if wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-p.s.ended.Done():
			}
		}
		k, err := p.open()
		p.opened(k, err)
	})
}

// opened is told what became of an attempt.
func (p *port) opened(k *conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing = false
	switch {
	case p.closed:
		if err == nil {
			p.closeConn(k)
		}
	case err != nil:
		p.stats.dialErrors.Add(1)
		p.dialFailed(err)
		if p.keepUp() {
			p.dial()
		}
	default:
		p.dialErr = nil
		p.conns = append(p.conns, k)
		p.running.Go(func() { p.read(k) })
		if k.queue != nil {
			p.running.Go(func() { p.write(k) })
		}
	}
	p.broadcast()
}

// dialFailed follows a socket that could not be opened, or broke before anything came in. p.mu is held.
func (p *port) dialFailed(err error) {
	p.dialErr, p.rotate = err, true
	p.pause = backoff(p.pause)
	p.nextDial = time.Now().Add(shorten(p.pause, random()))
	if slices.ContainsFunc(p.conns, func(k *conn) bool { return !k.retired }) {
		p.failure(err.Error()) // another one works
		return
	}
	p.die(err.Error())
}

// open opens a socket to the server, whose name it looks up.
func (p *port) open() (*conn, error) {
	cfg := p.s.cfg.Load()
	ctx, cancel := context.WithTimeout(p.s.ended, openTimeout)
	defer cancel()
	addr, err := p.resolve(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p.stats.dials.Add(1)
	d := Dial{
		Network: "udp", Remote: netip.AddrPortFrom(addr, uint16(p.number)),
		Source: cfg.SourceAddress, Interface: cfg.SourceInterface, Namespace: cfg.Namespace,
	}
	if cfg.tls == nil {
		c, err := p.s.group.dialer()(ctx, d) // connects only, no packet is sent
		if err != nil {
			return nil, fmt.Errorf("open socket to %s: %w", d.Remote, err)
		}
		return newConn(p, c, d.Remote), nil
	}
	d.Network = "tcp"
	c, err := p.s.group.dialer()(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", d.Remote, err)
	}
	t := tls.Client(c, cfg.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("TLS with %s: %w", d.Remote, err)
	}
	k := newConn(p, t, d.Remote)
	k.queue = make(chan []byte, queueLen)
	k.calls = make(chan struct{}, maxCalls)
	p.s.log().Debug("radius connection open", telemetry.Address, d.Remote)
	return k, nil
}

// resolve returns the address to connect to; if the name can't be looked up now it is the last one. All sockets lead to the same one as long as it answers: a conversation must
// not change servers. Where there is a choice, the next one is taken after a failure.
func (p *port) resolve(ctx context.Context, cfg *settings) (netip.Addr, error) {
	found := make([]netip.Addr, 1)
	var err error
	if found[0], err = netip.ParseAddr(cfg.Address); err != nil {
		p.stats.lookups.Add(1)
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		found, err = p.s.group.lookup(ctx, cfg.Address)
		if err != nil {
			return p.known(fmt.Errorf("look up %s: %w", cfg.Address, err))
		}
		found = slices.Clone(found)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	found = slices.DeleteFunc(found, func(a netip.Addr) bool {
		return !a.IsValid() || cfg.SourceAddress.IsValid() && a.Is4() != cfg.SourceAddress.Is4()
	})
	if len(found) == 0 {
		return p.known(fmt.Errorf("look up %s: no usable address", cfg.Address))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookupErr = ""
	i := max(slices.Index(found, p.last), 0)
	if p.rotate && found[i] == p.last {
		i = (i + 1) % len(found)
	}
	p.rotate, p.last = false, found[i]
	return p.last, nil
}

// known returns the address that was used last, or err if there is none.
func (p *port) known(err error) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookupErr = err.Error()
	if !p.last.IsValid() {
		return netip.Addr{}, err
	}
	p.failure(err.Error())
	return p.last, nil
}
