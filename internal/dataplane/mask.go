package dataplane

import (
	"bytes"
	"encoding/binary"

	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/eap"
	wirel2tp "concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/mschap"
	"concentrator/internal/wire/pap"
	"concentrator/internal/wire/ppp"
)

// A capture is read by people who may see a session's packets, and not its password. So what logs a client in is zeros in
// captures: whatever the octets were, the lengths are as they came.

// maskFrame returns packet as a capture may have it, of which n octets from at on are a PPP frame: itself, or a copy.
func maskFrame(packet []byte, at, n int) []byte {
	frame := packet[at : at+n]
	protocol, info, err := ppp.ParseFrame(frame)
	if err != nil {
		return packet
	}
	from, to := proof(protocol, info)
	if from >= to {
		return packet
	}
	packet = bytes.Clone(packet)
	info = packet[at+n-len(info) : at+n]
	clear(info[from:to])
	return packet
}

// Header of what logs in: code, identifier, length (RFC 1661 section 5), and where EAP has its type.
const (
	loginHeader = 4
	eapTypeAt   = 4
)

// proof says where in a control packet of PPP there is what proves who the client is; from is to where there is nothing. What
// can't be read is all taken for proof.
func proof(protocol uint16, info []byte) (from, to int) {
	if len(info) <= loginHeader {
		return 0, 0
	}
	code, rest := info[0], info[loginHeader:]
	switch {
	case protocol == ppp.ProtocolPAP && code == pap.CodeAuthenticateRequest:
		from = loginHeader + 1 + int(rest[0]) + 1 // length, name, length of the password (RFC 1334 section 2.2.1)
		if from > len(info) {
			from = loginHeader
		}
		return from, len(info)
	case protocol == ppp.ProtocolCHAP && code == chap.CodeResponse: // length and value, then the name (RFC 1994 section 4.1)
		return loginHeader + 1, min(loginHeader+1+int(rest[0]), len(info))
	case protocol == ppp.ProtocolCHAP && code == mschap.CodeChangePassword:
		return loginHeader, len(info)
	case protocol == ppp.ProtocolEAP && code == eap.CodeResponse:
		switch info[eapTypeAt] {
		case eap.TypeIdentity, eap.TypeNotification, eap.TypeNak, eap.TypeTLS, eap.TypeTTLS, eap.TypePEAP:
			return 0, 0 // no proof, or TLS protects it
		default:
			return eapTypeAt + 1, len(info)
		}
	}
	return 0, 0
}

// maskL2TP is maskFrame for an L2TP message outside IPsec. In a control message it is the proof that a LAC passes on.
func maskL2TP(msg []byte) []byte {
	h, body, err := wirel2tp.ParseHeader(msg)
	if err != nil {
		return msg
	}
	if !h.Control {
		return maskFrame(msg, h.Len(), len(body))
	}
	return maskAVPs(msg, h.Len(), len(body))
}

// Header of an AVP, RFC 2661 section 4.1: flags and length, vendor, attribute.
const (
	avpHeader     = 6
	avpVendorAt   = 2
	avpTypeAt     = 4
	avpLengthMask = 1<<10 - 1
)

// maskAVPs is maskFrame for n octets of AVPs.
func maskAVPs(msg []byte, at, n int) []byte {
	masked := msg
	for end := at + n; at+avpHeader <= end; {
		avp := msg[at:end]
		length := int(binary.BigEndian.Uint16(avp)) & avpLengthMask
		if length < avpHeader || length > len(avp) {
			break
		}
		attribute := wirel2tp.Attribute(binary.BigEndian.Uint16(avp[avpTypeAt:]))
		if binary.BigEndian.Uint16(avp[avpVendorAt:]) == 0 && attribute == wirel2tp.AttributeProxyAuthenResponse {
			masked = bytes.Clone(masked) // there is one, or the message is none that counts
			clear(masked[at+avpHeader : at+length])
		}
		at += length
	}
	return masked
}
