package radius

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"layeh.com/radius"

	"concentrator/internal/tenant"
)

// errLength is the error of an attribute whose value has the wrong length.
var errLength = errors.New("the value has the wrong length")

const (
	// maxClass bounds the octets of all Class attributes together: they must fit into an Accounting-Request, beside the rest.
	maxClass = 2048
	// minInterim is the shortest time between interim records, RFC 2869 section 5.16.
	minInterim = time.Minute
)

func framedAddress(o *outgoing) radius.Attribute {
	a := o.record.Session.Address.Unmap()
	if !a.Is4() {
		return nil
	}
	return a.AsSlice()
}

func setFramedAddress(a *answer, v radius.Attribute) error {
	var ip netip.Addr
	if err := address(&ip, v); err != nil {
		return err
	}
	switch {
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 254}): // the NAS is to choose
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}): // the user may choose; we leave that to the pool as well
	case ip.IsUnspecified() || ip.IsLoopback() || ip.As4()[0] >= 224 || ip.As4()[0] == 0:
		a.notef("Framed-IP-Address %s is no host's address: one of the pool is given", ip)
	default:
		a.v.Address = ip
	}
	return nil
}

func setFramedNetmask(a *answer, v radius.Attribute) error {
	var mask netip.Addr
	if err := address(&mask, v); err != nil {
		return err
	}
	if mask != netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		a.notef("Framed-IP-Netmask %s is not applied: a network behind the client is a Framed-Route", mask)
	}
	return nil
}

// framedMTU is the hint of RFC 3579 section 2.4: how large the EAP packets can be that the link carries. 4 is what PPP
// puts before them.
func framedMTU(o *outgoing) radius.Attribute {
	if o.ask.MTU <= 0 {
		return nil
	}
	return radius.NewInteger(uint32(min(max(o.ask.MTU-4, 64), 65535)))
}

func setFramedMTU(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	if n < 64 || n > 65535 { // the range of the RFC
		a.ignoref("Framed-MTU %d is out of range", n)
		return nil
	}
	a.v.MTU = int(n)
	return nil
}

func setFramedRoute(a *answer, v radius.Attribute) error {
	p, err := ParseFramedRoute(string(v))
	if err != nil {
		a.ignoref("Framed-Route %q is not applied: %v", printable(v), err)
		return nil // text is for the NAS to understand or not; it is no attribute of invalid length
	}
	a.v.Routes = append(a.v.Routes, p)
	return nil
}

func classes(o *outgoing) (list []radius.Attribute) {
	for _, c := range o.record.Session.Class {
		list = append(list, c[:min(len(c), maxString)])
	}
	return list
}

func setClass(a *answer, v radius.Attribute) error {
	if a.classOctets += len(v); a.classOctets > maxClass {
		a.ignoref("Class is kept up to %d octets", maxClass)
		return nil
	}
	a.v.Class = append(a.v.Class, radius.Bytes(v))
	return nil
}

func setTerminateTime(a *answer, v radius.Attribute) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if at, err := time.Parse(layout, string(v)); err == nil {
			a.until = at
			return nil
		}
	}
	a.ignoref("WISPr-Session-Terminate-Time %q is not applied: it is no time such as 2006-01-02T15:04:05+01:00", printable(v))
	return nil
}

func setTerminationAction(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	if n == 1 {
		a.notef("Termination-Action RADIUS-Request is not applied: the session ends")
	}
	return nil
}

func setPortLimit(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	if n < 1 || n > 1<<16 {
		a.ignoref("Port-Limit %d is out of range", n)
		return nil
	}
	a.v.MaxSessions = int(n)
	return nil
}

func setInterimInterval(a *answer, v radius.Attribute) error {
	if err := seconds(&a.v.InterimInterval, v); err != nil {
		return err
	}
	if a.v.InterimInterval > 0 && a.v.InterimInterval < minInterim {
		a.notef("Acct-Interim-Interval %s is too short, %s is applied", a.v.InterimInterval, minInterim)
		a.v.InterimInterval = minInterim
	}
	return nil
}

func tunnelType(o *outgoing) radius.Attribute {
	switch o.Protocol {
	case tenant.ProtocolPPTP:
		return radius.NewInteger(1)
	case tenant.ProtocolL2TP, tenant.ProtocolL2TPIPsec:
		return radius.NewInteger(3)
	}
	return nil
}

func setMPPEPolicy(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	switch n {
	case 1:
		a.v.MPPEPolicy = tenant.MPPEOptional
	case 2:
		a.v.MPPEPolicy = tenant.MPPERequired
	default:
		a.ignoref("MS-MPPE-Encryption-Policy %d is unknown", n)
	}
	return nil
}

func setMPPETypes(a *answer, v radius.Attribute) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	for _, t := range []struct {
		bit  uint32
		bits int
	}{{0x4, 128}, {0x8, 56}, {0x2, 40}} { // 56 is not in the RFC; Windows and pppd have it
		if n&t.bit != 0 {
			a.v.MPPEKeyBits = append(a.v.MPPEKeyBits, t.bits)
		}
	}
	return nil
}

// mppeKeyLen is the longest start key of MPPE in octets. EAP's keys are 32 octets long, the halves of the MSK, of which the
// first 16 are the start key (RFC 3079 section 4.2, RFC 5216 section 2.3; pppd does the same).
const mppeKeyLen = 16

// key decrypts an MPPE key, RFC 2548 section 2.4.2.
func (a *answer) key(to *tenant.Secret, v radius.Attribute) error {
	k, _, err := radius.TunnelPassword(v, a.secret, a.authenticator[:])
	if err != nil {
		return fmt.Errorf("does not decrypt: %w", err)
	}
	if len(k) < 8 { // 40- and 56-bit start keys have 8 octets, RFC 3079 section 2
		return fmt.Errorf("the key is %d octets long, want 8, 16 or 32", len(k))
	}
	*to = bytes.Clone(k[:min(len(k), mppeKeyLen)])
	clear(k)
	return nil
}

func address(to *netip.Addr, v radius.Attribute) error {
	if len(v) != 4 {
		return errLength
	}
	*to = netip.AddrFrom4([4]byte(v))
	return nil
}

func seconds(to *time.Duration, v radius.Attribute) error {
	if len(v) != 4 {
		return errLength
	}
	*to = time.Duration(binary.BigEndian.Uint32(v)) * time.Second
	return nil
}

// must is an error unless v is the integer want.
func must(v radius.Attribute, want uint32, name string) error {
	n, err := radius.Integer(v)
	if err != nil {
		return errLength
	}
	if n != want {
		return errors.New(strconv.FormatUint(uint64(n), 10) + " is not supported, only " + name)
	}
	return nil
}
