package radius

import (
	"math"
	"strconv"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/tenant"
)

// accountingAttributes are what only an Accounting-Request has.
var accountingAttributes = []attribute{
	{
		typ: 40, name: "Acct-Status-Type", kind: kindInteger, in: inAccounting, // RFC 2866 section 5.1
		means: "Start, Stop, Interim-Update, Accounting-On or Accounting-Off",
		values: map[uint32]string{
			1: "Start", 2: "Stop", 3: "Interim-Update", 7: "Accounting-On", 8: "Accounting-Off",
		},
		send: func(o *outgoing) radius.Attribute { return radius.NewInteger(statusTypes[o.record.Status].value) },
	},
	{
		typ: 41, name: "Acct-Delay-Time", kind: kindInteger, in: inAccounting, // RFC 2866 section 5.2
		means: "seconds since then",
		send: func(o *outgoing) radius.Attribute {
			return radius.NewInteger(wholeSeconds(time.Since(o.record.Time)))
		},
	},
	{
		typ: 45, name: "Acct-Authentic", kind: kindInteger, in: inSession, // RFC 2866 section 5.6
		means: "RADIUS, or Local where the own user table let the user in", values: map[uint32]string{1: "RADIUS", 2: "Local"},
		send: func(o *outgoing) radius.Attribute {
			if o.record.Session.Local {
				return radius.NewInteger(2)
			}
			return radius.NewInteger(1)
		},
	},
	{
		vendor: vendorMicrosoft, typ: 23, name: "MS-Acct-Auth-Type", kind: kindInteger, in: inSession, // RFC 2548 section 2.7
		means: "PAP, CHAP, MS-CHAP-2 or EAP", values: map[uint32]string{1: "PAP", 2: "CHAP", 4: "MS-CHAP-2", 5: "EAP"},
		send: func(o *outgoing) radius.Attribute {
			n, known := authTypes[o.method]
			if !known {
				return nil
			}
			return radius.NewInteger(n)
		},
	},
	{
		typ: 68, name: "Acct-Tunnel-Connection", kind: kindText, in: inSession, // RFC 2867 section 4.1
		means: "the call ID, as text",
		send: func(o *outgoing) radius.Attribute {
			return str(strconv.FormatUint(uint64(o.NASPort), 10))
		},
	},
	{
		typ: 46, name: "Acct-Session-Time", kind: kindInteger, in: inCounted, // RFC 2866 section 5.7
		means: "seconds",
		send:  func(o *outgoing) radius.Attribute { return radius.NewInteger(wholeSeconds(o.record.Duration)) },
	},
	{
		typ: 42, name: "Acct-Input-Octets", kind: kindInteger, in: inCounted, // RFC 2866 section 5.3
		means: "octets of inner packets from the client, the low 32 bits",
		send:  func(o *outgoing) radius.Attribute { return low(o.record.Counters.InBytes) },
	},
	{
		typ: 52, name: "Acct-Input-Gigawords", kind: kindInteger, in: inCounted, // RFC 2869 section 5.1
		means: "the high 32 bits",
		send:  func(o *outgoing) radius.Attribute { return high(o.record.Counters.InBytes) },
	},
	{
		typ: 47, name: "Acct-Input-Packets", kind: kindInteger, in: inCounted, // RFC 2866 section 5.8
		means: "inner packets from the client",
		send:  func(o *outgoing) radius.Attribute { return low(o.record.Counters.InPackets) },
	},
	{
		typ: 43, name: "Acct-Output-Octets", kind: kindInteger, in: inCounted, // RFC 2866 section 5.4
		means: "octets of inner packets to the client, the low 32 bits",
		send:  func(o *outgoing) radius.Attribute { return low(o.record.Counters.OutBytes) },
	},
	{
		typ: 53, name: "Acct-Output-Gigawords", kind: kindInteger, in: inCounted, // RFC 2869 section 5.2
		means: "the high 32 bits",
		send:  func(o *outgoing) radius.Attribute { return high(o.record.Counters.OutBytes) },
	},
	{
		typ: 48, name: "Acct-Output-Packets", kind: kindInteger, in: inCounted, // RFC 2866 section 5.9
		means: "inner packets to the client",
		send:  func(o *outgoing) radius.Attribute { return low(o.record.Counters.OutPackets) },
	},
	{
		typ: 49, name: "Acct-Terminate-Cause", kind: kindInteger, in: inStop | inOrders, // RFC 2866 section 5.10
		means: "why the session ended: see below", values: causeNames,
		send: func(o *outgoing) radius.Attribute { return radius.NewInteger(uint32(terminateCause(o.record))) },
	},
}

// statusTypes are Acct-Status-Type, and the column of the table, of each kind of record.
var statusTypes = map[accounting.Status]struct {
	value  uint32
	packet packets
}{
	accounting.Start: {1, inStart}, accounting.Stop: {2, inStop}, accounting.Interim: {3, inInterim},
	accounting.On: {7, inOn}, accounting.Off: {8, inOff},
}

// authTypes are the values of MS-Acct-Auth-Type.
var authTypes = map[tenant.AuthMethod]uint32{
	tenant.AuthPAP: 1, tenant.AuthCHAP: 2, tenant.AuthMSCHAPv2: 4, tenant.AuthEAP: 5,
}

func low(n uint64) radius.Attribute { return radius.NewInteger(uint32(n & math.MaxUint32)) }

func high(n uint64) radius.Attribute { return radius.NewInteger(uint32(n >> 32)) }

// wholeSeconds rounds down, and stays within 32 bits.
func wholeSeconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), math.MaxUint32))
}
