package ppp

import (
	"errors"
	"fmt"

	"concentrator/internal/simclient/eap"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/ppp"
)

// eapConfig fills in what the link knows.
func (c *Machine) eapConfig() eap.Config {
	cfg := c.cfg.EAP
	cfg.Name, cfg.Passwords, cfg.NewPassword = c.cfg.Name, c.cfg.Passwords[c.auth.attempt:], c.cfg.NewPassword
	if c.auth.changed {
		cfg.Passwords = []string{c.cfg.NewPassword}
	}
	cfg.Rand = c.cfg.Rand
	if cfg.MTU == 0 || cfg.MTU > c.peer.mru {
		cfg.MTU = c.peer.mru
	}
	return cfg
}

// receiveEAP hands a packet to the EAP peer, which begins with the first one after LCP is open.
func (c *Machine) receiveEAP(packet []byte) {
	if c.peer.method != tenant.AuthEAP || c.auth.passed {
		return
	}
	if c.auth.eap == nil {
		c.auth.eap = eap.New(c.eapConfig())
	}
	r := c.auth.eap.Receive(packet)
	if r.Again {
		c.auth.attempt++
	}
	c.auth.changed = c.auth.changed || r.Changed
	if r.Refused != nil {
		c.ev.Refused(refusal(r.Refused))
	}
	if r.Reply != nil {
		c.ev.SendFrame(wire.ProtocolEAP, r.Reply)
	}
	switch {
	case r.Err != nil:
		c.eapFailed(r.Err)
	case r.Done:
		c.eapPassed()
	}
}

func refusal(r *eap.Refusal) *AuthError {
	return &AuthError{Method: tenant.AuthEAP, Code: r.Code, Retry: r.Retry, Message: r.Message}
}

func (c *Machine) eapFailed(err error) {
	var no *eap.Refusal
	switch {
	case errors.As(err, &no):
		c.fail(refusal(no), "Failed to authenticate ourselves to peer")
	case errors.Is(err, eap.ErrImpostor):
		c.fail(fmt.Errorf("%w: %w", ErrImpostor, err), "EAP mutual authentication failed")
	default:
		c.fail(fmt.Errorf("EAP: %w", err), "EAP authentication failed")
	}
}

func (c *Machine) eapPassed() {
	keys, err := c.auth.eap.Keys()
	message := c.auth.eap.Message()
	c.auth.eap.Close()
	if err != nil {
		c.fail(err, "Internal error")
		return
	}
	if keys != nil {
		c.mppe.keyed, c.mppe.send, c.mppe.recv = true, keys.Send, keys.Recv
	}
	c.pass(message)
}

// Close drops what a login that is under way holds; nothing is sent, and the link must not be used any more. Who has heard
// Finished need not call it.
func (c *Machine) Close() {
	if c.auth.eap != nil {
		c.auth.eap.Close()
	}
}
