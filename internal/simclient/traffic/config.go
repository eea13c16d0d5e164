package traffic

import (
	"errors"
	"fmt"
	"time"
)

// Direction says which way packets go.
type Direction uint8

// The directions.
const (
	// Up is from the clients to the responder.
	Up Direction = 1 << iota
	// Down is from the responder to the clients.
	Down
	// Both is each of them by itself.
	Both = Up | Down
	// Echo is up, and the responder sends back what it gets.
	Echo Direction = 4
)

// String is what ParseDirection reads.
func (d Direction) String() string {
	switch d {
	case Up:
		return "up"
	case Down:
		return "down"
	case Both:
		return "both"
	case Echo:
		return "echo"
	default:
		return "none"
	}
}

// ErrConfig is returned by Run for a Config that makes no sense.
var ErrConfig = errors.New("traffic: bad configuration")

// ParseDirection reads "up", "down", "both" or "echo". ErrConfig.
func ParseDirection(s string) (Direction, error) {
	for _, d := range []Direction{Up, Down, Both, Echo} {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%w: direction %q", ErrConfig, s)
}

// Defaults of Config.
const (
	DefaultTrain      = 8
	DefaultUpWindow   = 768
	DefaultDownWindow = 256
	DefaultQuiet      = time.Second
)

// Config is one run. Paths, Responder, Direction, Size and one of Duration and Packets are required.
type Config struct {
	Paths     []Path // their order is that in which they have their turns
	Responder *Responder
	Direction Direction
	Size      Size
	// PPS is the rate of inner packets in each direction, of all sessions together. 0: as many as go through without loss,
	// by a window that bounds what is under way.
	PPS float64
	// UpWindow and DownWindow are how large these windows may become, in packets. What waits for a client is in the queue of
	// the server's TUN device, which takes 500 packets.
	UpWindow, DownWindow int
	// Train is how many packets of a session are sent in a row when it is its turn. Default: 1 with a rate, DefaultTrain
	// without.
	Train int
	// Duration is how long is sent, Packets how many packets in each direction; 0: no such bound.
	Duration time.Duration
	Packets  uint64
	// Quiet is for how long nothing may arrive, after all is sent, before the rest counts as lost.
	Quiet time.Duration
	// Progress is called about every second while it runs, from Run's goroutine. nil: not.
	Progress func(Progress)
}

// Progress is how far a run is, in packets since its beginning.
type Progress struct {
	Elapsed                                  time.Duration
	UpSent, UpArrived, DownSent, DownArrived uint64
}

// check completes c and says what is wrong with it.
func (c *Config) check() error {
	switch {
	case len(c.Paths) == 0, c.Responder == nil:
		return fmt.Errorf("%w: no paths, or no responder", ErrConfig)
	case c.Direction != Echo && (c.Direction == 0 || c.Direction&^Both != 0):
		return fmt.Errorf("%w: direction %d", ErrConfig, c.Direction)
	case c.Duration <= 0 && c.Packets == 0:
		return fmt.Errorf("%w: it would never end", ErrConfig)
	case c.PPS < 0, c.Train < 0, c.Train > batch, c.UpWindow < 0, c.DownWindow < 0:
		return fmt.Errorf("%w: rate, train or window", ErrConfig)
	}
	for i := range c.Paths {
		p := &c.Paths[i]
		if p.Link == nil || p.Gate == nil || p.Receive == nil || !p.Address.Is4() || !p.Socket.Remote.Addr().Is4() ||
			p.Socket.Kind != SocketUDP && !p.Socket.Local.Is4() {
			return fmt.Errorf("%w: path %d is not complete", ErrConfig, i)
		}
		if err := c.Size.check(p.MTU); err != nil {
			return fmt.Errorf("path %d: %w", i, err)
		}
	}
	if c.Train == 0 {
		c.Train = 1
		if c.PPS == 0 {
			c.Train = DefaultTrain
		}
	}
	if c.UpWindow == 0 {
		c.UpWindow = DefaultUpWindow
	}
	if c.DownWindow == 0 {
		c.DownWindow = DefaultDownWindow
	}
	if c.Quiet == 0 {
		c.Quiet = DefaultQuiet
	}
	return nil
}
