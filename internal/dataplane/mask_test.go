package dataplane

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	wirel2tp "concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/ppp"
)

// logins are packets of PPP in which SECRET stands for what must not be in a capture; the rest must be.
var logins = []struct {
	name     string
	protocol uint16
	info     string
}{
	{"PAP", ppp.ProtocolPAP, "\x01\x01\x00\x11\x05alice\x06SECRET"},
	{"PAP, padded", ppp.ProtocolPAP, "\x01\x01\x00\x11\x05alice\x06SECRETSECRET"},
	{"PAP, a name without an end", ppp.ProtocolPAP, "\x01\x01\x00\x0cSECRETSECRET"},
	{"PAP, nothing", ppp.ProtocolPAP, "\x01\x01\x00\x04"},
	{"PAP, the answer", ppp.ProtocolPAP, "\x02\x01\x00\x0a\x05hello"},
	{"CHAP", ppp.ProtocolCHAP, "\x02\x01\x00\x10\x06SECRETalice"},
	{"CHAP, a value without an end", ppp.ProtocolCHAP, "\x02\x01\x00\x10\xffSECRETSECRET"},
	{"CHAP, the challenge", ppp.ProtocolCHAP, "\x01\x01\x00\x10\x06openlyserver"},
	{"MS-CHAPv2, another password", ppp.ProtocolCHAP, "\x07\x01\x00\x10SECRETSECRET"},
	{"EAP, the identity", ppp.ProtocolEAP, "\x02\x01\x00\x0a\x01alice"},
	{"EAP, MD5", ppp.ProtocolEAP, "\x02\x01\x00\x0b\x04SECRET"},
	{"EAP, a token card", ppp.ProtocolEAP, "\x02\x01\x00\x0b\x06SECRET"},
	{"EAP, MS-CHAPv2", ppp.ProtocolEAP, "\x02\x01\x00\x0b\x1aSECRET"},
	{"EAP, TLS", ppp.ProtocolEAP, "\x02\x01\x00\x0b\x0dopenly"},
	{"EAP, the question", ppp.ProtocolEAP, "\x01\x01\x00\x0b\x1aopenly"},
	{"IP", ppp.ProtocolIPv4, "\x02\x01\x00\x0b\x04openly"},
	{"nothing", ppp.ProtocolCHAP, ""},
}

// shown is a packet as a capture has it.
func shown(packet []byte) []byte {
	return bytes.ReplaceAll(packet, []byte("SECRET"), make([]byte, 6))
}

func TestMask(t *testing.T) {
	for _, tt := range logins {
		for _, acfc := range []bool{false, true} {
			frame := append(ppp.AppendHeader(nil, tt.protocol, acfc, false), tt.info...)
			packet := slices.Concat([]byte("SECRET before"), frame, []byte("SECRET behind"))
			before := bytes.Clone(packet)
			got := maskFrame(packet, 13, len(frame))
			if want := slices.Concat(before[:13], shown(frame), before[13+len(frame):]); !bytes.Equal(got, want) {
				t.Errorf("%s: % x, want % x", tt.name, got, want)
			}
			if !bytes.Equal(packet, before) {
				t.Errorf("%s: the packet itself has changed", tt.name)
			}
		}
	}
}

func TestMaskL2TP(t *testing.T) {
	for _, h := range []wirel2tp.Header{
		{TunnelID: 7, SessionID: 9},
		{HasLength: true, TunnelID: 7, SessionID: 9},
		{HasSequence: true, TunnelID: 7, SessionID: 9},
		{HasOffset: true, Offset: 5, TunnelID: 7, SessionID: 9},
	} {
		for _, tt := range logins {
			frame := append(ppp.AppendHeader(nil, tt.protocol, false, false), tt.info...)
			if h.HasLength {
				h.Length = uint16(h.Len() + len(frame))
			}
			msg := make([]byte, h.Len(), h.Len()+len(frame))
			h.Put(msg)
			msg = append(msg, frame...)
			want := shown(msg)
			if got := maskL2TP(msg); !bytes.Equal(got, want) {
				t.Errorf("%s in %+v: % x, want % x", tt.name, h, got, want)
			}
		}
	}
	avp := func(attribute wirel2tp.Attribute, value string) string {
		return string([]byte{0, byte(6 + len(value)), 0, 0, 0, byte(attribute)}) + value
	}
	response := avp(wirel2tp.AttributeProxyAuthenResponse, "SECRET")
	for name, body := range map[string]string{
		"one":                 avp(wirel2tp.AttributeProxyAuthenName, "alice") + response + avp(wirel2tp.AttributeProxyAuthenID, "\x00\x01"),
		"two":                 response + response,
		"none":                avp(wirel2tp.AttributeProxyAuthenName, "alice"),
		"of another vendor":   strings.ReplaceAll(strings.Replace(response, "\x00\x00\x00\x21", "\x00\x09\x00\x21", 1), "SECRET", "openly"),
		"behind one too long": "\x00\xff\x00\x00\x00\x21openly",
		"behind one of zero":  "\x00\x00\x00\x00\x00\x21openly",
		"nothing":             "",
	} {
		h := wirel2tp.Header{Control: true, HasLength: true, HasSequence: true, TunnelID: 7, SessionID: 9}
		h.Length = uint16(h.Len() + len(body))
		msg := make([]byte, h.Len())
		h.Put(msg)
		msg = append(msg, body...)
		if got := maskL2TP(msg); !bytes.Equal(got, shown(msg)) {
			t.Errorf("%s: % x, want % x", name, got, shown(msg))
		}
	}
	if got := maskL2TP([]byte("SECRET")); string(got) != "SECRET" {
		t.Errorf("what is no L2TP became % x", got)
	}
}

// TestTapMasksLogins: what reaches a capture is masked, and what reaches the session is not.
func TestTapMasksLogins(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), MTU: 1400})
	x := tapOn(t, s.call)
	for _, tt := range logins[:1] { // PAP; TestMask has the rest
		frame := s.client.frame(tt.protocol, []byte(tt.info))
		s.up(slices.Clone(frame))
		got := <-s.sink.frames
		if !strings.Contains(got.packet, "SECRET") {
			t.Errorf("%s: the session gets % x", tt.name, got.packet)
		}
		x.want(tt.name, x.outer, outer(clientIP, serverIP, shown(frame)))
	}
}
