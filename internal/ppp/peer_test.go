package ppp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/tenant"
	wireccp "concentrator/internal/wire/ccp"
	"concentrator/internal/wire/chap"
	"concentrator/internal/wire/eap"
	wireipcp "concentrator/internal/wire/ipcp"
	wirelcp "concentrator/internal/wire/lcp"
	"concentrator/internal/wire/mschap"
	"concentrator/internal/wire/pap"
	wire "concentrator/internal/wire/ppp"
)

// kind is what a test peer imitates.
type kind struct {
	name string
	lcp  []wire.Option // of the first Configure-Request; the magic number is filled in
	ccp  []wire.Option // nil: the peer has no CCP and rejects the protocol
	ipcp []wire.Option
	// lcpRejects are options of ours that the peer does not know.
	lcpRejects []byte
	ipv6       bool // sends IPv6CP before anything else
	idents     []string
	ccpFirst   bool // starts IPCP only when CCP is open, as pppd does when it wants MPPE
	ccpMute    bool // knows CCP but neither asks nor answers
	ccpRejects bool // Configure-Rejects MPPE
	ccpQuiet   bool // answers, but asks for nothing by itself
	ccpAcksAll bool // acknowledges a request for several strengths, where it should choose one by a Nak
	ccpCloses  bool // terminates CCP as soon as it may
	ipcpClosed bool // answers IPCP with a Terminate-Ack until it starts it; else it drops what comes
	ipcpWaits  bool // starts IPCP only when the server does
	mppe       wireccp.MPPE
	// oneStrength: a request for a single strength that it was not told to use is rejected, not answered by a Nak.
	oneStrength bool
	methods     []tenant.AuthMethod // that it takes, the favourite first
	user        string
	passwords   []string // tried one after the other as long as the server allows
	newPassword string   // what it sets when the server says that the password has expired; empty: it hangs up
	eapType     byte     // the only EAP method that it has; others get a Nak
	eapAnew     bool     // answers a copy of a Request anew, as pppd does, and not with its first answer
	noAddress   bool
	deaf        bool // answers no Echo-Request
}

var zero4 = []byte{0, 0, 0, 0}

func opt(typ byte, value ...byte) wire.Option { return wire.Option{Type: typ, Value: value} }

func mppeOption(m wireccp.MPPE) wire.Option {
	return wire.Option{Type: wireccp.OptionMPPE, Value: binary.BigEndian.AppendUint32(nil, uint32(m))}
}

// pppd is pppd 2.4.9 as a client with require-mppe-128.
func pppd() kind {
	return kind{
		name: "pppd",
		lcp:  []wire.Option{opt(wirelcp.OptionACCM, zero4...), opt(wirelcp.OptionMagic, zero4...), opt(wirelcp.OptionPFC), opt(wirelcp.OptionACFC)},
		ccp:  []wire.Option{mppeOption(wireccp.Stateless | wireccp.Bits128)},
		ipcp: []wire.Option{
			opt(wireipcp.OptionCompression, 0, 0x2d, 15, 1), opt(wireipcp.OptionAddress, zero4...),
			opt(wireipcp.OptionPrimaryDNS, zero4...), opt(wireipcp.OptionSecondaryDNS, zero4...),
		},
		ccpFirst: true, oneStrength: true, mppe: wireccp.Stateless | wireccp.Bits128,
		methods: []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP, tenant.AuthPAP},
		user:    "alice", passwords: []string{"clientPass"},
	}
}

// windows10 is the built-in client of Windows 7 to 11.
func windows10() kind {
	return kind{
		name: "Windows 10",
		lcp: []wire.Option{
			opt(wirelcp.OptionMRU, 5, 0x78), opt(wirelcp.OptionMagic, zero4...), opt(wirelcp.OptionPFC), opt(wirelcp.OptionACFC),
			opt(wirelcp.OptionCallback, wirelcp.CallbackOperationCBCP),
		},
		ccp: []wire.Option{mppeOption(wireccp.Stateless)},
		ipcp: []wire.Option{
			opt(wireipcp.OptionAddress, zero4...), opt(wireipcp.OptionPrimaryDNS, zero4...), opt(wireipcp.OptionPrimaryNBNS, zero4...),
			opt(wireipcp.OptionSecondaryDNS, zero4...), opt(wireipcp.OptionSecondaryNBNS, zero4...),
		},
		ipv6: true, idents: []string{"MSRASV5.20", "MSRAS-0-DESKTOP", "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"},
		mppe:    wireccp.Stateless | wireccp.Bits128,
		methods: []tenant.AuthMethod{tenant.AuthMSCHAPv2},
		user:    `DESKTOP\alice`, passwords: []string{"clientPass"},
	}
}

// windows2000 also offers multilink and every MPPE strength with compression.
func windows2000() kind {
	k := windows10()
	k.name = "Windows 2000"
	k.lcp = []wire.Option{
		opt(wirelcp.OptionMagic, zero4...), opt(wirelcp.OptionPFC), opt(wirelcp.OptionACFC),
		opt(wirelcp.OptionCallback, wirelcp.CallbackOperationCBCP), opt(wirelcp.OptionMRRU, 6, 0x4e),
		opt(wirelcp.OptionEndpoint, append([]byte{1}, make([]byte, 20)...)...), opt(wirelcp.OptionLinkDiscriminator, 0, 1),
	}
	k.ccp = []wire.Option{mppeOption(wireccp.Stateless | wireccp.Strengths | wireccp.MPPC)}
	k.ipv6 = false
	return k
}

// macOS is the L2TP client of macOS: no CCP, IPv6CP, and Apple's own control protocol is not configured.
func macOS() kind {
	k := pppd()
	k.name = "macOS"
	k.ccp, k.ccpFirst, k.ipv6 = nil, false, true
	k.ipcp = []wire.Option{
		opt(wireipcp.OptionAddress, zero4...), opt(wireipcp.OptionCompression, 0, 0x2d, 15, 1),
		opt(wireipcp.OptionPrimaryDNS, zero4...), opt(wireipcp.OptionSecondaryDNS, zero4...),
	}
	return k
}

// android is the client of Android up to 11: pppd with "nomppe" over L2TP, MRU 1400.
func android() kind {
	k := pppd()
	k.name = "Android"
	k.lcp = append([]wire.Option{opt(wirelcp.OptionMRU, 5, 0x78)}, k.lcp...)
	k.ccpFirst, k.ccpRejects, k.ccpQuiet = false, true, true
	return k
}

// pppdEAP is pppd 2.4.9 with a server that wants EAP. It does not know copies of a Request.
func pppdEAP() kind {
	k := pppd()
	k.name, k.methods = "pppd with EAP", []tenant.AuthMethod{tenant.AuthEAP}
	k.eapType, k.eapAnew = eap.TypeMSCHAPv2, true
	return k
}

// windowsEAP is the client of Windows with "Microsoft: Secured password".
func windowsEAP() kind {
	k := windows10()
	k.name, k.methods, k.eapType = "Windows with EAP", []tenant.AuthMethod{tenant.AuthEAP}, eap.TypeMSCHAPv2
	return k
}

// peer is the client half of a link. It uses the automaton, but none of the server's layers.
type peer struct {
	kind
	w   *world
	now time.Time

	lcp, ccp, ipcp *peerLayer
	magic          []byte
	method         tenant.AuthMethod // that the server asked for
	authenticated  bool

	attempt   int // index in passwords
	id        byte
	response  mschap.Response
	challenge [16]byte
	papAt     time.Time

	eapRequest, eapResponse []byte // the latest of each
	eapProven               bool   // the server has proved itself in the method

	noNetwork bool   // IPCP has failed
	failure   string // text of the last Failure or Nak
	success   string
	rejected  []uint16 // protocols that the server rejected
	echoes    int
	mppeSend  MPPEParams // what the server acknowledged or asked for
	mppeRecv  MPPEParams
	ended     bool
	endText   string
}

// peerLayer is one protocol of the peer: it asks for what its list says, takes every proposal, drops what is rejected.
type peerLayer struct {
	p        *peer
	m        *automaton.Machine
	protocol uint16
	ask      []wire.Option
	judge    func(a *automaton.Answer)
	up, down func()
}

func newPeer(k kind, w *world) *peer {
	p := &peer{kind: k, w: w, magic: []byte{1, 2, 3, byte(w.rng.Uint32())}}
	cfg := automaton.Config{
		Restart: 3 * time.Second, First: 3 * time.Second, Linger: 3 * time.Second, Limit: 10 * time.Minute,
		MaxConfigure: w.maxConfigure, MaxTerminate: 2, MaxFailure: 5,
	}
	layer := func(protocol uint16, ask []wire.Option) *peerLayer {
		l := &peerLayer{p: p, protocol: protocol, ask: slices.Clone(ask), up: func() {}, down: func() {}}
		l.m = automaton.NewMachine(cfg, l)
		return l
	}
	p.lcp = layer(wire.ProtocolLCP, k.lcp)
	for i, o := range p.lcp.ask {
		if o.Type == wirelcp.OptionMagic {
			p.lcp.ask[i].Value = p.magic
		}
	}
	p.ccp = layer(wire.ProtocolCCP, k.ccp)
	p.ipcp = layer(wire.ProtocolIPCP, k.ipcp)
	if k.noAddress {
		p.ipcp.ask = slices.DeleteFunc(p.ipcp.ask, func(o wire.Option) bool { return o.Type == wireipcp.OptionAddress })
	}
	p.lcp.judge, p.lcp.up, p.lcp.down = p.judgeLCP, p.lcpUp, p.lcpDown
	p.ccp.judge, p.ccp.up = p.judgeCCP, p.ccpUp
	p.ipcp.judge = func(a *automaton.Answer) {
		for o := range a.Options() {
			if o.Type != wireipcp.OptionAddress {
				a.Reject(o)
			}
		}
	}
	return p
}

func (p *peer) start(now time.Time) {
	p.now = now
	p.lcp.m.Open(now)
	p.lcp.m.Up(now)
}

// renegotiate starts LCP anew, as a peer does that lost its state but not its line.
func (p *peer) renegotiate(now time.Time) {
	p.now = now
	p.lcp.m.Down(now)
	p.lcp.m.Up(now)
}

func (p *peer) hangUp(now time.Time) {
	p.now = now
	p.lcp.m.Close(now, "User request")
}

func (p *peer) deadline() (time.Time, bool) {
	var first time.Time
	for _, l := range []*peerLayer{p.lcp, p.ccp, p.ipcp} {
		if t, ok := l.m.Deadline(); ok && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !p.papAt.IsZero() && (first.IsZero() || p.papAt.Before(first)) {
		first = p.papAt
	}
	return first, !first.IsZero()
}

func (p *peer) tick(now time.Time) {
	p.now = now
	p.lcp.m.Tick(now)
	p.ccp.m.Tick(now)
	p.ipcp.m.Tick(now)
	if !p.papAt.IsZero() && !now.Before(p.papAt) {
		p.sendPAP()
	}
	if p.noNetwork && p.lcp.m.Opened() {
		p.lcp.m.Close(now, "No network protocols running")
	}
}

func (p *peer) send(protocol uint16, code, id byte, data []byte) {
	p.w.toLink(protocol, wire.AppendPacket(nil, code, id, data))
}

func (p *peer) receive(now time.Time, protocol uint16, packet []byte) {
	p.now = now
	pkt, err := wire.ParsePacket(packet)
	if err != nil {
		p.w.t.Errorf("%s: the server sent a broken packet %04x %x", p.name, protocol, packet)
		return
	}
	if protocol == wire.ProtocolLCP {
		p.lcp.m.Receive(now, pkt)
		return
	}
	if !p.lcp.m.Opened() {
		return
	}
	switch protocol {
	case wire.ProtocolCHAP:
		p.receiveCHAP(pkt)
	case wire.ProtocolPAP:
		p.receivePAP(pkt)
	case wire.ProtocolEAP:
		p.receiveEAP(packet)
	case wire.ProtocolCCP:
		switch {
		case !p.authenticated || p.ccpMute:
		case p.kind.ccp == nil:
			p.send(wire.ProtocolLCP, wirelcp.CodeProtocolReject, p.lcp.m.NextID(), wirelcp.AppendProtocolReject(nil, protocol, packet))
		default:
			p.ccp.m.Receive(now, pkt)
		}
	case wire.ProtocolIPCP:
		if p.authenticated && p.ipcpWaits {
			p.startIPCP()
		}
		if p.authenticated {
			p.ipcp.m.Receive(now, pkt)
		}
	default:
		p.w.t.Errorf("%s: the server sent a packet of protocol %04x", p.name, protocol)
	}
}

func (p *peer) judgeLCP(a *automaton.Answer) {
	for o := range a.Options() {
		if slices.Contains(p.lcpRejects, o.Type) {
			a.Reject(o)
			continue
		}
		switch o.Type {
		case wirelcp.OptionMRU, wirelcp.OptionACCM, wirelcp.OptionMagic, wirelcp.OptionPFC, wirelcp.OptionACFC:
		case wirelcp.OptionAuth:
			if len(p.methods) == 0 {
				a.Reject(o)
				continue
			}
			got, err := wirelcp.ParseAuth(o.Value)
			i := slices.IndexFunc(p.methods, func(m tenant.AuthMethod) bool { w, _ := wireAuth(m); return w == got })
			if err == nil && i >= 0 {
				p.method = p.methods[i]
				continue
			}
			want, _ := wireAuth(p.methods[0])
			a.Nak(o, wirelcp.AppendAuth(nil, want)[2:]...)
		default:
			p.w.t.Errorf("%s: the server asks for LCP option %d", p.name, o.Type)
			a.Reject(o)
		}
	}
}

func (p *peer) lcpUp() {
	for _, text := range p.idents {
		data, _ := wirelcp.Numbered{Rest: []byte(text)}.AppendBinary(nil)
		p.send(wire.ProtocolLCP, wirelcp.CodeIdentification, p.lcp.m.NextID(), data)
	}
	if p.method == tenant.AuthPAP {
		p.sendPAP()
	}
}

func (p *peer) lcpDown() {
	p.authenticated, p.papAt = false, time.Time{}
	p.eapRequest, p.eapResponse, p.eapProven = nil, nil, false
	p.ccp.m.Down(p.now)
	p.ipcp.m.Down(p.now)
}

func (p *peer) password() string { return p.passwords[min(p.attempt, len(p.passwords)-1)] }

func (p *peer) sendPAP() {
	p.id++
	data, _ := pap.Request{Name: []byte(p.user), Password: []byte(p.password())}.AppendBinary(nil)
	p.send(wire.ProtocolPAP, pap.CodeAuthenticateRequest, p.id, data)
	p.papAt = p.now.Add(3 * time.Second)
}

func (p *peer) receivePAP(pkt wire.Packet) {
	text, _ := pap.ParseReply(pkt.Data)
	switch {
	case p.authenticated || p.papAt.IsZero():
	case pkt.Code == pap.CodeAuthenticateAck:
		p.success = string(text)
		p.login()
	case pkt.Code == pap.CodeAuthenticateNak:
		p.refused(string(text), true)
	}
}

func (p *peer) receiveCHAP(pkt wire.Packet) {
	switch pkt.Code {
	case chap.CodeChallenge:
		v, err := chap.ParseValue(pkt.Data)
		if err != nil || len(v.Value) != 16 {
			p.w.t.Errorf("%s: bad challenge %x", p.name, pkt.Data)
			return
		}
		p.challenge = [16]byte(v.Value)
		p.respond(pkt.ID)
	case chap.CodeSuccess:
		if p.authenticated {
			return
		}
		p.success = string(pkt.Data)
		if p.method == tenant.AuthMSCHAPv2 &&
			!mschap.CheckAuthenticatorResponse(p.success, p.response, p.challenge, p.user, p.password()) {
			p.w.mutualFailures++
			p.lcp.m.Close(p.now, "MS-CHAPv2 mutual authentication failed")
			return
		}
		p.login()
	case chap.CodeFailure:
		if p.method != tenant.AuthMSCHAPv2 {
			p.refused(string(pkt.Data), false)
			return
		}
		if pkt.ID != p.id {
			return
		}
		f, err := mschap.ParseFailure(string(pkt.Data))
		if err != nil {
			p.w.t.Errorf("%s: bad failure %q", p.name, pkt.Data)
			return
		}
		p.failure = string(pkt.Data)
		if f.Code == mschap.ErrorPasswordExpired && p.newPassword != "" {
			p.changePassword(f.Challenge, pkt.ID+1)
			return
		}
		if f.Retry && p.attempt+1 < len(p.passwords) {
			p.attempt++
			p.challenge = f.Challenge
			p.respond(pkt.ID + 1)
			return
		}
		p.lcp.m.Close(p.now, "Failed to authenticate ourselves to peer")
	}
}

// newChallenge is the peer's own challenge of MS-CHAPv2.
func (p *peer) newChallenge() (c [16]byte) {
	for i := range c {
		c[i] = byte(p.w.rng.Uint32())
	}
	return c
}

// changePassword answers a Failure with E=648.
func (p *peer) changePassword(challenge [16]byte, id byte) {
	old := p.password()
	p.passwords, p.attempt, p.id, p.challenge = []string{p.newPassword}, 0, id, challenge
	c, err := mschap.ClientChangePassword(randReader{p.w.rng}, challenge, p.newChallenge(), p.user, old, p.newPassword)
	if err != nil {
		p.w.t.Error(err)
	}
	p.response, p.newPassword = c.Response(), ""
	data, _ := c.AppendBinary(nil)
	p.send(wire.ProtocolCHAP, mschap.CodeChangePassword, id, data)
}

// receiveEAP is the peer's side of RFC 3748, and of EAP-MSCHAPv2.
func (p *peer) receiveEAP(packet []byte) {
	pkt, err := eap.ParsePacket(packet)
	if err != nil {
		p.w.t.Errorf("%s: the server sent a broken EAP packet %x", p.name, packet)
		return
	}
	switch pkt.Code {
	case eap.CodeSuccess:
		if p.eapProven && !p.authenticated {
			p.login()
		}
		return
	case eap.CodeFailure:
		if !p.authenticated {
			p.lcp.m.Close(p.now, "Failed to authenticate ourselves to peer")
		}
		return
	case eap.CodeResponse:
		p.w.t.Errorf("%s: the server sent a Response %x", p.name, packet)
		return
	}
	if bytes.Equal(packet, p.eapRequest) && !p.eapAnew {
		p.w.toLink(wire.ProtocolEAP, slices.Clone(p.eapResponse))
		return
	}
	p.eapRequest = slices.Clone(packet)
	answer := eap.Packet{Code: eap.CodeResponse, ID: pkt.ID, Type: pkt.Type}
	switch pkt.Type {
	case eap.TypeIdentity:
		answer.Data = []byte(p.user)
	case eap.TypeNotification:
		p.success = string(pkt.Data)
	case p.eapType:
		answer.Data = p.answerMSCHAPv2(pkt.Data)
		if answer.Data == nil {
			return
		}
	default:
		answer.Type, answer.Data = eap.TypeNak, []byte{p.eapType}
	}
	p.eapResponse, _ = answer.AppendBinary(nil)
	p.w.toLink(wire.ProtocolEAP, slices.Clone(p.eapResponse))
}

// answerMSCHAPv2 is the peer's side of EAP-MSCHAPv2. It returns nil if the peer has hung up.
func (p *peer) answerMSCHAPv2(data []byte) []byte {
	m, err := eap.ParseMSCHAPv2(data)
	if err != nil {
		p.w.t.Errorf("%s: broken MSCHAPv2 %x", p.name, data)
		return nil
	}
	switch m.Op {
	case eap.OpChallenge:
		v, err := chap.ParseValue(m.Data)
		if err != nil || len(v.Value) != 16 {
			p.w.t.Errorf("%s: bad challenge %x", p.name, m.Data)
			return nil
		}
		p.challenge = [16]byte(v.Value)
		p.response = mschap.ClientResponse(p.challenge, p.newChallenge(), p.user, p.password())
		value, _ := p.response.AppendBinary(nil)
		text, _ := chap.Value{Value: value, Name: []byte(p.user)}.AppendBinary(nil)
		out, _ := eap.MSCHAPv2{Op: eap.OpResponse, ID: m.ID, Data: text}.AppendBinary(nil)
		return out
	case eap.OpSuccess:
		if !mschap.CheckAuthenticatorResponse(string(m.Data), p.response, p.challenge, p.user, p.password()) {
			p.w.mutualFailures++
			p.lcp.m.Close(p.now, "MS-CHAPv2 mutual authentication failed")
			return nil
		}
		p.eapProven = true
	case eap.OpFailure:
		p.failure = string(m.Data)
	}
	return []byte{m.Op}
}

// respond answers the challenge with a new peer challenge each time, as pppd does.
func (p *peer) respond(id byte) {
	p.id = id
	value := []byte{}
	if p.method == tenant.AuthMSCHAPv2 {
		p.response = mschap.ClientResponse(p.challenge, p.newChallenge(), p.user, p.password())
		value, _ = p.response.AppendBinary(nil)
	} else {
		r := chap.MD5Response(id, []byte(p.password()), p.challenge[:])
		value = append(value, r[:]...)
	}
	data, _ := chap.Value{Value: value, Name: []byte(p.user)}.AppendBinary(nil)
	p.send(wire.ProtocolCHAP, chap.CodeResponse, id, data)
}

func (p *peer) refused(text string, again bool) {
	p.failure = text
	p.papAt = time.Time{}
	if p.attempt+1 < len(p.passwords) {
		p.attempt++
		if again {
			p.sendPAP()
		}
		return // CHAP: the server sends a new Challenge
	}
	p.lcp.m.Close(p.now, "Failed to authenticate ourselves to peer")
}

func (p *peer) login() {
	p.authenticated, p.papAt = true, time.Time{}
	if p.ipv6 {
		p.send(0x8057, 1, 5, []byte{1, 10, 2, 0, 0, 0xff, 0xfe, 0, 0, 1})
	}
	if p.kind.ccp != nil && !p.ccpMute && !p.ccpQuiet {
		p.ccp.m.Open(p.now)
		p.ccp.m.Up(p.now)
	} else if p.ccpRejects {
		p.ccp.m.Open(p.now) // answers what comes
		p.ccp.ask = nil
		p.ccp.m.Up(p.now)
	}
	if p.ccpCloses {
		p.send(wire.ProtocolCCP, wire.CodeTerminateRequest, 1, nil)
	}
	switch {
	case p.ipcpClosed:
		p.ipcp.m.Up(p.now)
	case !p.ccpFirst && !p.ipcpWaits:
		p.startIPCP()
	}
}

// startIPCP starts IPCP unless it runs.
func (p *peer) startIPCP() {
	p.ipcp.m.Open(p.now)
	p.ipcp.m.Up(p.now)
}

func (p *peer) judgeCCP(a *automaton.Answer) {
	for o := range a.Options() {
		bits, err := wireccp.ParseMPPE(o.Value)
		switch {
		case o.Type != wireccp.OptionMPPE || err != nil:
			p.w.t.Errorf("%s: the server asks for CCP option %v", p.name, o)
			a.Reject(o)
		case p.ccpRejects:
			a.Reject(o)
		case p.oneStrength && bits.KeyBits() != 0 && bits&p.mppe&wireccp.Strengths == 0:
			a.Reject(o)
		case p.ccpAcksAll && bits&p.mppe == bits:
			p.mppeSend = strongest(bits)
		case bits&p.mppe != bits || bits.KeyBits() == 0:
			a.Nak(o, binary.BigEndian.AppendUint32(nil, uint32(p.mppe))...)
		default:
			p.mppeSend = MPPEParams{Bits: bits.KeyBits(), Stateful: bits&wireccp.Stateless == 0}
		}
	}
}

func (p *peer) ccpUp() {
	for _, o := range p.ccp.ask {
		bits, _ := wireccp.ParseMPPE(o.Value)
		p.mppeRecv = MPPEParams{Bits: bits.KeyBits(), Stateful: bits&wireccp.Stateless == 0}
	}
	p.w.peerMayEncrypt()
	if p.ccpFirst {
		p.startIPCP()
	}
}

// address returns what IPCP gave the peer.
func (p *peer) address(typ byte) netip.Addr {
	for _, o := range p.ipcp.ask {
		if o.Type == typ {
			a, _ := wireipcp.ParseAddr(o.Value)
			return a
		}
	}
	return netip.Addr{}
}

func (l *peerLayer) AppendRequest(b []byte) []byte {
	for _, o := range l.ask {
		b = wire.AppendOption(b, o.Type, o.Value...)
	}
	return b
}
func (l *peerLayer) Judge(a *automaton.Answer) { l.judge(a) }
func (l *peerLayer) BeforeAck()                {}

func (l *peerLayer) Naked(opts wire.Options) {
	for o := range opts.All() {
		i := slices.IndexFunc(l.ask, func(have wire.Option) bool { return have.Type == o.Type })
		if i < 0 {
			if l.protocol == wire.ProtocolIPCP && l.p.noAddress {
				continue
			}
			l.ask = append(l.ask, wire.Option{})
			i = len(l.ask) - 1
		}
		l.ask[i] = wire.Option{Type: o.Type, Value: slices.Clone(o.Value)}
	}
}

func (l *peerLayer) Rejected(opts wire.Options) {
	for o := range opts.All() {
		l.ask = slices.DeleteFunc(l.ask, func(have wire.Option) bool { return have.Type == o.Type })
	}
}

func (l *peerLayer) Knows(code byte) bool {
	return l.protocol == wire.ProtocolLCP && code >= 8 && code <= 12 || l.protocol == wire.ProtocolCCP && code == wireccp.CodeResetRequest
}

func (l *peerLayer) Extra(pkt wire.Packet) {
	switch {
	case l.protocol != wire.ProtocolLCP:
	case pkt.Code == wirelcp.CodeEchoRequest && !l.p.deaf:
		l.p.echoes++
		data, _ := wirelcp.Numbered{Magic: binary.BigEndian.Uint32(l.p.magic)}.AppendBinary(nil)
		l.p.send(wire.ProtocolLCP, wirelcp.CodeEchoReply, pkt.ID, data)
	case pkt.Code == wirelcp.CodeProtocolReject:
		protocol, _, _ := wirelcp.ParseProtocolReject(pkt.Data)
		l.p.rejected = append(l.p.rejected, protocol)
		if protocol == wire.ProtocolCCP {
			l.p.ccp.m.Fail(l.p.now)
		}
	}
}
func (l *peerLayer) Up()   { l.up() }
func (l *peerLayer) Down() { l.down() }
func (l *peerLayer) PeerTerminates(text []byte) {
	if l.protocol == wire.ProtocolLCP {
		l.p.endText = string(text)
	}
}

func (l *peerLayer) Finished(automaton.Event) {
	switch l.protocol {
	case wire.ProtocolLCP:
		l.p.ended = true
	case wire.ProtocolIPCP:
		l.p.noNetwork = true
	}
}
func (l *peerLayer) Send(packet []byte) { l.p.w.toLink(l.protocol, slices.Clone(packet)) }
