package traffic

import (
	"errors"
	"fmt"
	"strconv"
)

// Lengths of inner packets in octets.
const (
	MinSize = headLen
	MaxSize = 1500
)

// ErrSize is returned by ParseSize.
var ErrSize = errors.New("not a packet size")

// Size says how long inner packets are: the lengths are used in turn.
type Size []int

// imix is the simple Internet mix, 7:4:1, spread evenly.
var imix = Size{64, 576, 64, 64, 576, 64, 1400, 64, 576, 64, 64, 576}

// ParseSize reads "imix", or the length of the inner IP packets in octets. ErrSize.
func ParseSize(s string) (Size, error) {
	if s == "imix" {
		return imix, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < MinSize || n > MaxSize {
		return nil, fmt.Errorf("%w: %q is neither imix nor %d to %d", ErrSize, s, MinSize, MaxSize)
	}
	return Size{n}, nil
}

// check says whether all lengths are possible through an MTU.
func (s Size) check(mtu int) error {
	if len(s) == 0 {
		return fmt.Errorf("%w: none given", ErrSize)
	}
	for _, n := range s {
		if n < MinSize || n > min(mtu, MaxSize) {
			return fmt.Errorf("%w: %d octets through an MTU of %d", ErrSize, n, mtu)
		}
	}
	return nil
}
