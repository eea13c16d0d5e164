package radius

import (
	"fmt"
	"strconv"
	"strings"

	"layeh.com/radius"

	"concentrator/internal/tenant"
)

// rates are the limits that one vendor's attributes give; nil: none.
type rates struct{ up, down *uint64 }

// limits gathers the rate limits of a reply.
type limits struct {
	mikrotik, ascend, wispr rates
	ascendData              []*uint64 // Ascend-Data-Rate, whose meaning depends on what else there is
}

// settle makes one limit of all: for each direction Mikrotik's if there is one, else Ascend's, else WISPr's.
func (l *limits) settle() (up, down *uint64) {
	switch data := l.ascendData; {
	case len(data) == 0:
	case l.ascend.down != nil: // beside Ascend-Xmit-Rate it is the other direction
		l.ascend.up = data[0]
	case len(data) == 1:
		l.ascend.down, l.ascend.up = data[0], data[0]
	default:
		l.ascend.down, l.ascend.up = data[0], data[1]
	}
	for _, r := range []rates{l.wispr, l.ascend, l.mikrotik} {
		if r.up != nil {
			up = r.up
		}
		if r.down != nil {
			down = r.down
		}
	}
	return up, down
}

// rate reads an attribute in bits a second; 0 is no limit.
func (a *answer) rate(to **uint64, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	*to = a.bounded(uint64(n))
	return nil
}

// bounded brings a limit into the range that there is.
func (a *answer) bounded(bps uint64) *uint64 {
	if bps == 0 {
		return &bps
	}
	within := min(max(bps, tenant.MinRateBps), tenant.MaxRateBps)
	if within != bps {
		a.notef("a rate limit of %d bits a second is out of range, %d is applied", bps, within)
	}
	return &within
}

func setMikrotikRate(a *answer, v radius.Attribute) error {
	up, down, rest, err := parseRateLimit(string(v))
	if err != nil {
		a.ignoref("Mikrotik-Rate-Limit %q is not applied: %v", printable(v), err)
		return nil // text is for the NAS to understand or not; it is no attribute of invalid length
	}
	if rest != "" {
		a.notef("of Mikrotik-Rate-Limit only the rate is applied, not %q", printable([]byte(rest)))
	}
	a.limits.mikrotik = rates{a.bounded(up), a.bounded(down)}
	return nil
}

// parseRateLimit reads a Mikrotik-Rate-Limit: "rx[/tx]" in bits a second with k, M or G for thousands, millions and thousands
// of millions, and perhaps more behind a space (bursts, priority). One value is for both directions. rx is up.
func parseRateLimit(s string) (up, down uint64, rest string, err error) {
	first, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	rx, tx, both := strings.Cut(first, "/")
	if up, err = parseRate(rx); err != nil {
		return 0, 0, "", err
	}
	down = up
	if both {
		if down, err = parseRate(tx); err != nil {
			return 0, 0, "", err
		}
	}
	return up, down, strings.TrimSpace(rest), nil
}

func parseRate(s string) (uint64, error) {
	digits, unit := s, uint64(1)
	if s != "" {
		switch s[len(s)-1] {
		case 'k', 'K':
			unit = 1_000
		case 'M':
			unit = 1_000_000
		case 'G':
			unit = 1_000_000_000
		}
	}
	if unit > 1 {
		digits = s[:len(s)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no rate, such as 512k or 10M", clip(printable([]byte(s)), 32))
	}
	return n * unit, nil
}
