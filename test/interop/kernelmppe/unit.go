//go:build interop

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What <linux/ppp-ioctl.h> and <linux/tty.h> have and x/sys/unix hasn't.
const (
	lineSyncPPP = 14 // N_SYNC_PPP

	flagCCPOpen         = 0x00000040 // SC_CCP_OPEN: look at CCP packets
	flagCCPUp           = 0x00000080 // SC_CCP_UP: packets may be compressed
	flagCompressing     = 0x00001000 // SC_COMP_RUN, of the kernel's
	flagDecompressing   = 0x00002000 // SC_DECOMP_RUN, of the kernel's
	flagDecompressError = 0x00400000 // SC_DC_ERROR, of the kernel's

	modePass = 0 // NPMODE_PASS
	modeDrop = 1 // NPMODE_DROP
)

// Protocol numbers.
const (
	protocolIPv4 = 0x0021
	protocolIPv6 = 0x0057
	protocolMPPE = 0x00fd
	protocolCCP  = 0x80fd
)

// patience is how long the kernel may take for anything: forever, on a machine that is merely busy.
const patience = 10 * time.Second

// mru is the MRU and MTU of the unit.
const mru = 1500

// The two ends of the link, and the port of the packets that they exchange.
var (
	kernelAddress = netip.MustParseAddr("10.83.0.1")
	ourAddress    = netip.MustParseAddr("10.83.0.2")
)

const port = 7000

// unit is a PPP interface of the kernel whose line is a pty, and all that pppd would hold of it. Our end of the line is
// the pty's master.
type unit struct {
	master  int // frames: what the kernel sends comes out, what we send goes in
	slave   int
	channel int // /dev/ppp, attached to the line
	control int // /dev/ppp, attached to the unit: control packets, and what the kernel could not decompress
	socket  int // UDP over the unit
	buf     [4096]byte
}

// newUnit makes a unit that is up and has its address, before CCP.
func newUnit() (*unit, error) {
	u := &unit{master: -1, slave: -1, channel: -1, control: -1, socket: -1}
	for _, step := range []struct {
		what string
		do   func() error
	}{{"make the line", u.openLine}, {"make the unit", u.openUnit}, {"bring it up", u.bringUp}} {
		if err := step.do(); err != nil {
			u.close()
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return u, nil
}

func (u *unit) close() {
	for _, fd := range []int{u.socket, u.control, u.channel, u.slave, u.master} {
		if fd >= 0 {
			_ = unix.Close(fd) // nothing is written back
		}
	}
}

// openLine makes the pty and its slave a synchronous PPP line.
func (u *unit) openLine() (err error) {
	if u.master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(u.master, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	n, err := unix.IoctlGetInt(u.master, unix.TIOCGPTN)
	if err != nil {
		return err
	}
	if u.slave, err = unix.Open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	termios, err := unix.IoctlGetTermios(u.slave, unix.TCGETS)
	if err != nil {
		return err
	}
	termios.Iflag, termios.Oflag, termios.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(u.slave, unix.TCSETS, termios); err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(u.slave, unix.TIOCSETD, lineSyncPPP)
}

// openUnit makes the interface and connects the line to it.
func (u *unit) openUnit() (err error) {
	channel, err := unix.IoctlGetInt(u.slave, unix.PPPIOCGCHAN)
	if err != nil {
		return err
	}
	for _, fd := range []*int{&u.channel, &u.control} {
		if *fd, err = unix.Open("/dev/ppp", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
	}
	if err := unix.IoctlSetPointerInt(u.channel, unix.PPPIOCATTCHAN, channel); err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(u.control, unix.PPPIOCNEWUNIT, -1); err != nil { // any number
		return err
	}
	number, err := unix.IoctlGetInt(u.control, unix.PPPIOCGUNIT)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(u.channel, unix.PPPIOCCONNECT, number); err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(u.control, unix.PPPIOCSMRU, mru); err != nil {
		return err
	}
	for _, np := range [][2]int32{{protocolIPv4, modePass}, {protocolIPv6, modeDrop}} {
		if err := ioctl(u.control, unix.PPPIOCSNPMODE, unsafe.Pointer(&np)); err != nil {
			return err
		}
	}
	return nil
}

// bringUp gives the interface its addresses and makes a UDP socket on it.
func (u *unit) bringUp() (err error) {
	if u.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	number, err := unix.IoctlGetInt(u.control, unix.PPPIOCGUNIT)
	if err != nil {
		return err
	}
	name := "ppp" + strconv.Itoa(number)
	for _, set := range []struct {
		request uint
		address netip.Addr
	}{{unix.SIOCSIFADDR, kernelAddress}, {unix.SIOCSIFDSTADDR, ourAddress}} {
		ifreq, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := ifreq.SetInet4Addr(set.address.AsSlice()); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(u.socket, set.request, ifreq); err != nil {
			return err
		}
	}
	ifreq, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifreq.SetUint16(unix.IFF_UP | unix.IFF_POINTOPOINT)
	if err := unix.IoctlIfreq(u.socket, unix.SIOCSIFFLAGS, ifreq); err != nil {
		return err
	}
	if err := unix.Bind(u.socket, &unix.SockaddrInet4{Port: port, Addr: kernelAddress.As4()}); err != nil {
		return err
	}
	return unix.Connect(u.socket, &unix.SockaddrInet4{Port: port, Addr: ourAddress.As4()})
}

// setKey gives the kernel a key, as pppd does when it knows what CCP might agree on: the option and behind it the key.
func (u *unit) setKey(option [6]byte, key [16]byte, transmit bool) error {
	data := append(option[:], key[:]...)
	// struct ppp_option_data
	request := struct {
		data     *byte
		length   uint32
		transmit int32
	}{&data[0], uint32(len(data)), 0}
	if transmit {
		request.transmit = 1
	}
	if err := ioctl(u.control, unix.PPPIOCSCOMPRESS, unsafe.Pointer(&request)); err != nil {
		return fmt.Errorf("PPPIOCSCOMPRESS: %w", err)
	}
	return nil
}

// expectFlags checks that all these flags are set.
func (u *unit) expectFlags(want int) error {
	flags, err := unix.IoctlGetInt(u.control, unix.PPPIOCGFLAGS)
	if err == nil && flags&want != want {
		err = fmt.Errorf("the unit's flags are %#x, want %#x among them", flags, want)
	}
	return err
}

// setFlags sets pppd's.
func (u *unit) setFlags(flags int) error {
	return unix.IoctlSetPointerInt(u.control, unix.PPPIOCSFLAGS, flags)
}

// ioctl is for requests that take a structure.
func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

var (
	errSilent = errors.New("the kernel says nothing")
	errFrame  = errors.New("not a PPP frame")
)

// wait waits until one of the file descriptors can be read, and returns it.
func wait(fds ...int) (int, error) {
	polls := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		polls[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	deadline := time.Now().Add(patience)
	for {
		_, err := unix.Poll(polls, max(int(time.Until(deadline).Milliseconds()), 0))
		if err != nil && !errors.Is(err, unix.EINTR) { // the Go runtime's own signals
			return 0, fmt.Errorf("poll: %w", err)
		}
		for i := range polls {
			if polls[i].Revents != 0 {
				return fds[i], nil
			}
		}
		if time.Now().After(deadline) {
			return 0, errSilent
		}
	}
}

// frame is a PPP frame or what is left of one: its protocol and what follows. Of packets of the kernel's UDP socket, only
// the payload.
type frame struct {
	protocol uint16
	info     []byte // borrowed until the next frame is read
}

// fromWire returns the next frame that the kernel sends.
func (u *unit) fromWire() (frame, error) {
	if _, err := wait(u.master); err != nil {
		return frame{}, fmt.Errorf("read from the wire: %w", err)
	}
	n, err := unix.Read(u.master, u.buf[:])
	if err != nil {
		return frame{}, fmt.Errorf("read from the wire: %w", err)
	}
	b := u.buf[:n]
	if n < 4 || b[0] != 0xff || b[1] != 3 {
		return frame{}, fmt.Errorf("%w: %x", errFrame, b)
	}
	return frame{binary.BigEndian.Uint16(b[2:]), b[4:]}, nil
}

// toWire sends the kernel a frame, and returns what the kernel makes of it: a packet of its socket, which has protocol
// protocolIPv4, or a frame that it hands to pppd.
func (u *unit) toWire(protocol uint16, info []byte) (frame, error) {
	b := binary.BigEndian.AppendUint16([]byte{0xff, 3}, protocol)
	if _, err := unix.Write(u.master, append(b, info...)); err != nil {
		return frame{}, fmt.Errorf("write to the wire: %w", err)
	}
	fd, err := wait(u.socket, u.control)
	if err != nil {
		return frame{}, fmt.Errorf("after a frame with protocol %04x: %w", protocol, err)
	}
	n, err := unix.Read(fd, u.buf[:])
	switch {
	case err != nil:
		return frame{}, fmt.Errorf("read from the kernel: %w", err)
	case fd == u.socket:
		return frame{protocolIPv4, u.buf[:n]}, nil
	case n < 2:
		return frame{}, fmt.Errorf("%w: %x", errFrame, u.buf[:n])
	}
	return frame{binary.BigEndian.Uint16(u.buf[:]), u.buf[2:n]}, nil
}

// control packets of CCP.
const (
	codeConfigureAck = 2
	codeResetRequest = 14
	codeResetAck     = 15
)

// ccp is a CCP packet.
func ccp(code, id byte, data ...byte) []byte {
	return append([]byte{code, id, 0, byte(4 + len(data))}, data...)
}

// pppdSends sends a CCP packet from the kernel's end, and takes it from the wire at ours.
func (u *unit) pppdSends(packet []byte) error {
	b := binary.BigEndian.AppendUint16(nil, protocolCCP)
	if _, err := unix.Write(u.control, append(b, packet...)); err != nil {
		return fmt.Errorf("send a CCP packet: %w", err)
	}
	return same("from the wire", packet)(u.fromWire())
}

// weSend sends a CCP packet from our end, and sees that pppd gets it.
func (u *unit) weSend(packet []byte) error {
	return same("at pppd", packet)(u.toWire(protocolCCP, packet))
}

// same checks that a CCP packet has arrived as it was sent.
func same(where string, packet []byte) func(frame, error) error {
	return func(f frame, err error) error {
		if err == nil && (f.protocol != protocolCCP || string(f.info) != string(packet)) {
			err = fmt.Errorf("%w %s: %04x %x, want CCP %x", errUnexpected, where, f.protocol, f.info, packet)
		}
		return err
	}
}

// errUnexpected is returned when a packet isn't what it has to be.
var errUnexpected = errors.New("unexpected packet")
