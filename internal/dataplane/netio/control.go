package netio

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetInfo is the control message IP_PKTINFO of ip(7): the outer source that is chosen on sending, and the
// destination that a datagram came to.
type packetInfo struct {
	hdr  unix.Cmsghdr
	info unix.Inet4Pktinfo
}

// option is a control message with a value of at most four octets. The compiler pads it as C does.
type option struct {
	hdr   unix.Cmsghdr
	value [4]byte
}

// sendControl is what may go with one call of sendmsg(2): the source address always, and up to two options.
type sendControl struct {
	source  packetInfo
	options [2]option
	n       int // of options
}

// Lengths of control messages in a buffer, octets, computed once.
var (
	infoSpace   = unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	optionSpace = unix.CmsgSpace(len(option{}.value))
)

func (c *sendControl) init() {
	c.source.hdr.Level = unix.IPPROTO_IP
	c.source.hdr.Type = unix.IP_PKTINFO
	c.source.hdr.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
}

// start forgets the options and sets the source address.
func (c *sendControl) start(from [4]byte) {
	c.source.info.Spec_dst = from
	c.n = 0
}

// serviceType sets the Type of Service octet of the outer header.
func (c *sendControl) serviceType(tos uint8) {
	o := c.add(unix.IPPROTO_IP, unix.IP_TOS, int(unsafe.Sizeof(int32(0))))
	*(*int32)(unsafe.Pointer(&o.value)) = int32(tos)
}

// segment asks for payloads of n octets, cut out of one message (UDP_SEGMENT of udp(7)).
func (c *sendControl) segment(n int) {
	o := c.add(unix.SOL_UDP, unix.UDP_SEGMENT, int(unsafe.Sizeof(uint16(0))))
	*(*uint16)(unsafe.Pointer(&o.value)) = uint16(n)
}

func (c *sendControl) add(level, kind int32, size int) *option {
	o := &c.options[c.n]
	c.n++
	o.hdr.Level, o.hdr.Type = level, kind
	o.hdr.SetLen(unix.CmsgLen(size))
	return o
}

// space is how long the buffer at source is.
func (c *sendControl) space() int { return infoSpace + c.n*optionSpace }

// receiveControl is what comes with a datagram: where it was sent to, and its Type of Service if the socket asks.
type receiveControl struct {
	target  packetInfo
	service option
}

// receiveSpace is the length of a receiveControl.
const receiveSpace = int(unsafe.Sizeof(receiveControl{}))

// tos is the outer header's Type of Service octet; length is what the kernel has written.
func (c *receiveControl) tos(length int) uint8 {
	if length <= infoSpace || c.service.hdr.Level != unix.IPPROTO_IP || c.service.hdr.Type != unix.IP_TOS {
		return 0
	}
	return c.service.value[0]
}
