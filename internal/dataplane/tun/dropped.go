package tun

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// statistics reads how many packets a device has dropped, without an allocation: it is asked while packets are dropped.
type statistics struct {
	fd     int // of the namespace's /proc/net/dev, which remembers whose it is; -1: not open
	buffer []byte
}

// errNoStatistics is returned for a device that /proc/net/dev does not have.
var errNoStatistics = errors.New("tun: no statistics of this device")

// droppedColumn is the number of "drop" of what is sent in /proc/net/dev, from 0.
const droppedColumn = 11

// openStatistics runs inside the namespace.
func openStatistics() (statistics, error) {
	fd, err := unix.Open("/proc/thread-self/net/dev", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return statistics{fd: -1}, fmt.Errorf("open the devices' statistics: %w", err)
	}
	return statistics{fd: fd, buffer: make([]byte, 4096)}, nil
}

// dropped finds the counter of a device.
func (s *statistics) dropped(name string) (uint64, error) {
	for {
		n, err := s.read()
		if err != nil {
			return 0, err
		}
		if n < len(s.buffer) {
			return findDropped(s.buffer[:n], name)
		}
		s.buffer = make([]byte, 2*len(s.buffer)) // there are more devices than before
	}
}

// read reads the file from its beginning. The kernel gives a page at a time.
func (s *statistics) read() (n int, err error) {
	for n < len(s.buffer) {
		more, err := unix.Pread(s.fd, s.buffer[n:], int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read the devices' statistics: %w", err)
		}
		if more == 0 {
			break
		}
		n += more
	}
	return n, nil
}

// findDropped finds a device's counter in what /proc/net/dev holds.
func findDropped(text []byte, name string) (uint64, error) {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		text = rest
		head, fields, found := bytes.Cut(line, []byte{':'})
		if !found || string(bytes.TrimLeft(head, " ")) != name {
			continue
		}
		return column(fields, droppedColumn)
	}
	return 0, errNoStatistics
}

// column is the number in a column of numbers between blanks, counted from 0.
func column(fields []byte, which int) (v uint64, err error) {
	for i := 0; ; i++ {
		fields = bytes.TrimLeft(fields, " ")
		word, rest, _ := bytes.Cut(fields, []byte{' '})
		if len(word) == 0 {
			return 0, errNoStatistics
		}
		fields = rest
		if i < which {
			continue
		}
		for _, c := range word {
			if c < '0' || c > '9' {
				return 0, errNoStatistics
			}
			v = v*10 + uint64(c-'0')
		}
		return v, nil
	}
}
