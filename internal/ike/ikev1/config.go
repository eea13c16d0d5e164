package ikev1

import (
	"crypto/rand"
	"io"
	"log/slog"
	"runtime"
	"time"

	"concentrator/internal/telemetry"
)

// Config is what an Engine may be told. The zero Config is usable: every zero field means its default.
type Config struct {
	// Workers is how many messages are worked on at once: at least 4, by default one for each CPU that Go uses. Diffie-Hellman
	// and signatures run on them.
	Workers int
	// MaxHalfOpen bounds the exchanges of which only message 1 has come, in the whole Engine; 2000. The oldest goes first.
	MaxHalfOpen int
	// MaxHandshakes bounds the exchanges in phase 1 behind message 3 that are not authenticated yet; 1000.
	MaxHandshakes int
	// HalfOpenPerSource bounds the exchanges in phase 1 of one address (IPv6: one /64); 5, and below 0 no limit. A source
	// that somebody has authenticated from has ten times as much.
	HalfOpenPerSource int
	// HalfOpenLifetime is how long an exchange in phase 1 may take until message 3; 60 s, since on a bad line strongSwan sends that at
	// last 47 s after the first time.
	HalfOpenLifetime time.Duration
	// HandshakeLifetime is how long phase 1 may take from message 3 on, and Aggressive Mode in all; 60 s likewise.
	HandshakeLifetime time.Duration
	// MainModesPerSecond and MainModeBurst bound the first messages of one source that are looked at; 20 and 40. A source
	// that somebody has authenticated from has ten times as much.
	MainModesPerSecond, MainModeBurst int
	// MaxPeers bounds the peers; 4000. Each call needs one.
	MaxPeers int
	// Log gets the steps of the protocol at level Debug; nil: nothing. Refusals go to the Host instead.
	Log *slog.Logger
	// Faults is told of panics; nil: only Log is.
	Faults *telemetry.Faults
	// Rand is where cookies, nonces and private values come from, safe for concurrent use; crypto/rand by default.
	Rand io.Reader
}

func (c Config) withDefaults() Config {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&c.Workers, max(4, runtime.GOMAXPROCS(0)))
	set(&c.MaxHalfOpen, 2000)
	set(&c.MaxHandshakes, 1000)
	set(&c.HalfOpenPerSource, 5)
	set(&c.MainModesPerSecond, 20)
	set(&c.MainModeBurst, 40)
	set(&c.MaxPeers, 4000)
	if c.HalfOpenLifetime == 0 {
		c.HalfOpenLifetime = time.Minute
	}
	if c.HandshakeLifetime == 0 {
		c.HandshakeLifetime = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c
}

// Times and bounds of the protocol that nobody needs to change.
const (
	// Retransmission as initiator: at 4, 11.2, 24.16, 47.49 and 89.48 s, given up at 165 s; strongSwan's schedule.
	firstResend  = 4 * time.Second
	resendFactor = 1.8
	maxResends   = 5

	maxReplies      = 5 // how often one duplicate is answered with the cached reply
	maxPendingQuick = 3 // Quick Modes under way in one ISAKMP SA
	maxSAs          = 2 // ISAKMP SAs of one peer; the newest win
	maxChildren     = 8 // children of one peer; the newest win
	maxCandidates   = 256
	maxQueue        = 16  // messages that wait for one SA
	maxDoorQueue    = 512 // first messages that wait

	quickLifetime  = time.Minute      // of a Quick Mode that is not finished
	replyLifetime  = time.Minute      // of a finished exchange's cached reply
	oldChildLinger = 30 * time.Second // of an old child after the new one is in use
	childlessSA    = 5 * time.Minute  // how long an ISAKMP SA may be without any child
	orphanIdle     = 5 * time.Minute  // how long children without an ISAKMP SA may be silent

	dpdIdle  = 30 * time.Second // silence before the first R-U-THERE
	dpdRetry = 5 * time.Second
	dpdTries = 5

	minNonce, maxNonce = 8, 256
	ownNonce           = 32
)
