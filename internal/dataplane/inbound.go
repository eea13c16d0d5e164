package dataplane

import (
	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/dataplane/steer"
	wiregre "concentrator/internal/wire/gre"
	"concentrator/internal/wire/ppp"
)

// inboundItem is a packet of a batch that has found its call.
type inboundItem struct {
	call *call
	buf  *pktbuf.Buf // from the PPP protocol number on; of an encrypted one from the MPPE header on
	seq  uint32
	kind inboundKind
	op   int // of kind opened: index in shard.opens
}

type inboundKind uint8

const (
	inClear    inboundKind = iota // not encrypted
	inOpened                      // encrypted, opened with the batch
	inStateful                    // encrypted, to be opened when its turn has come
)

// Offsets in the outer IPv4 header (RFC 791 section 3.1), which a raw socket gives with the packet.
const (
	ipMinHeader   = 20
	ipTOS         = 1
	ipProtocol    = 9
	ipSource      = 12
	ipDestination = 16
)

// find does steps 2 to 4 for a packet that starts with its outer IPv4 header: the shard, the call, and whether the
// packet can be new. passed says that it came through the ring.
func (s *shard) find(f *face, b *pktbuf.Buf, passed bool) {
	outer := b.Bytes()
	if len(outer) < ipMinHeader || outer[0]>>4 != 4 || outer[ipProtocol] != unix.IPPROTO_GRE {
		s.drop(nil, DropWireMalformed)
		return
	}
	source, destination := [4]byte(outer[ipSource:]), [4]byte(outer[ipDestination:])
	length := int(outer[0]&0xf) * 4
	if length < ipMinHeader || length > len(outer) {
		s.drop(nil, DropWireMalformed)
		return
	}
	var h wiregre.Header
	payload, err := h.Parse(outer[length:])
	if err != nil {
		s.drop(nil, DropGREMalformed)
		return
	}
	if to := int(h.CallID) % steer.MaxShards; to != s.id { // 2
		if to < len(s.peers) && !passed {
			s.pass(to, false, f.index, outer)
		} else {
			s.drop(nil, DropGREUnknownCall)
		}
		return
	}
	c := s.calls[h.CallID>>steer.ShardBits] // 3
	if c == nil || c.gre == nil {
		s.drop(nil, DropGREUnknownCall)
		return
	}
	if c.face != f || source != c.remote || destination != c.local {
		s.drop(c, DropGREWrongSource)
		return
	}
	s.at = blame{call: c}
	if len(c.outer) != 0 {
		c.outer.Put(maskFrame(outer, length+h.Len(), len(payload)))
	}
	if !h.HasSeq {
		return // a bare acknowledgement: nothing of ours waits for it
	}
	switch c.gre.Place(h.Seq) { // 4
	case gre.Late:
		s.drop(c, DropGRELate)
		return
	case gre.Duplicate:
		s.drop(c, DropGREDuplicate)
		return
	default: // new, as far as one can tell
	}
	protocol, info, err := ppp.ParseFrame(payload)
	if err != nil {
		s.drop(c, DropPPPMalformed)
		return
	}
	b.TOS = outer[ipTOS]
	kind, op := inClear, 0
	head := length + h.Len() + len(payload) - len(info) // up to what follows the protocol number
	switch {
	case protocol != ppp.ProtocolCompressed:
		// Without the address and control field, as what MPPE decrypts.
		head -= protocolLen(payload, info)
	case c.decrypt == nil:
		s.drop(c, DropMPPENoKey)
		return
	case c.stateful:
		kind = inStateful
	default:
		kind, op = inOpened, len(s.opens)
		o := extend(&s.opens)
		o.Receiver, o.Buf, o.Seq, o.Credible = c.decrypt, b, h.Seq, c.credible
	}
	end := length + h.Len() + len(payload)
	b.Truncate(end)
	b.TrimFront(head)
	it := extend(&s.items)
	it.call, it.buf, it.seq, it.kind, it.op = c, b, h.Seq, kind, op
}

// protocolLen is the length of the protocol number in a frame that ParseFrame has read: 1 or 2 octets.
func protocolLen(frame, info []byte) int {
	if at := len(frame) - len(info); at >= 2 && frame[at-2]&1 == 0 {
		return 2
	}
	return 1
}

// deliverAll does steps 5 to 8 for the packets in s.items. Decryption is one call for all of them; what follows goes in
// the order of arrival, because each packet's place depends on those before it.
func (s *shard) deliverAll() {
	mppe.OpenBatch(s.opens, s.now, s.scratch) // 5
	for i := range s.items {
		s.at = blame{call: s.items[i].call}
		s.accept(&s.items[i])
	}
	s.at = blame{}
	clear(s.items)
	clear(s.opens)
	s.items, s.opens = s.items[:0], s.opens[:0]
}

// accept gives a packet its place in the call's order (RFC 2637 section 4.3), if it is credible.
func (s *shard) accept(it *inboundItem) {
	c := it.call
	evidence := gre.Clear
	switch it.kind {
	case inClear:
		protocol, info, err := ppp.ParseFrame(it.buf.Bytes())
		if err != nil || !policy.CredibleFrame(protocol, info, &c.sources, c.gre.Place(it.seq) == gre.Far) {
			s.drop(c, DropPPPMalformed)
			return
		}
		if c.decrypt != nil {
			evidence = gre.Control
		}
	case inStateful:
		if c.decrypt.Stateful() && c.gre.Place(it.seq) == gre.Early {
			evidence = gre.Unverified
			break
		}
		evidence = s.evidenceOf(c, c.decrypt.Open(it.buf, it.seq, c.credible, s.now, s.scratch))
	case inOpened:
		evidence = s.evidenceOf(c, s.opens[it.op].Verdict)
	}
	if evidence == 0 {
		return // counted
	}
	switch c.gre.Accept(it.seq, it.buf, evidence, s.now) {
	case gre.Deliver:
		s.deliver(c, it.buf, it.seq, evidence)
		s.deliverHeld(c)
	case gre.DeliverLast:
		s.deliverHeld(c)
		s.deliver(c, it.buf, it.seq, evidence)
	case gre.Held:
		s.deliverHeld(c)
	case gre.Waiting:
		s.drop(c, DropGREFarJump)
	case gre.Refused:
		if c.gre.Place(it.seq) == gre.Far {
			s.drop(c, DropGREFarJump)
		} else {
			s.drop(c, DropGRELate)
		}
	}
	if c.gre.AckDue(s.now) {
		s.acknowledge(c)
	}
	s.time(c)
}

// evidenceOf says what a verdict of MPPE proves; 0, and counted, if nothing.
func (s *shard) evidenceOf(c *call, v mppe.Verdict) gre.Evidence {
	switch v {
	case mppe.OK:
		return gre.Verified
	case mppe.Resynced:
		return gre.Confirmed
	case mppe.Late:
		s.drop(c, DropMPPELate)
	case mppe.FarJump:
		s.drop(c, DropMPPEFarJump)
	case mppe.OverBudget:
		s.drop(c, DropMPPEBudget)
	case mppe.Implausible:
		s.drop(c, DropMPPEImplausible)
	case mppe.NeedReset:
		s.drop(c, DropMPPEOutOfSync)
		c.sink.OutOfSync()
	case mppe.OutOfSync:
		s.drop(c, DropMPPEOutOfSync)
	default:
		s.drop(c, DropMPPEMalformed)
	}
	return 0
}

// deliverHeld delivers early packets whose turn has come.
func (s *shard) deliverHeld(c *call) {
	for {
		p, any := c.gre.Pop()
		if !any {
			return
		}
		s.lend(p.Buf, s.held) // until it is written
		evidence := p.Evidence
		if evidence == gre.Unverified {
			evidence = 0
			if c.decrypt != nil {
				evidence = s.evidenceOf(c, c.decrypt.Open(p.Buf, p.Seq, c.credible, s.now, s.scratch))
			} else {
				s.drop(c, DropMPPENoKey)
			}
		}
		if evidence != 0 {
			s.deliver(c, p.Buf, p.Seq, evidence)
		}
	}
}

// deliver does steps 6 to 8 for one packet of PPTP, from its PPP protocol number on.
func (s *shard) deliver(c *call, b *pktbuf.Buf, seq uint32, evidence gre.Evidence) {
	if evidence == gre.Control && c.decrypt != nil {
		c.decrypt.NoteClear(seq)
	}
	s.deliverFrame(c, b, evidence == gre.Verified || evidence == gre.Confirmed)
}

// deliverFrame does steps 6 to 8 for one PPP frame. encrypted says that MPPE has decrypted it.
func (s *shard) deliverFrame(c *call, b *pktbuf.Buf, encrypted bool) {
	protocol, info, err := ppp.ParseFrame(b.Bytes()) // 6
	if err != nil {
		s.drop(c, DropPPPMalformed)
		return
	}
	switch protocol {
	case ppp.ProtocolIPv4:
	case ppp.ProtocolIPv6:
		s.drop(c, DropPPPUnsupported)
		return
	default:
		c.sink.Deliver(protocol, info)
		clear(info) // a login may be in it, and buffers are reused, not cleared
		return
	}
	if c.net == nil || !c.hears {
		s.drop(c, DropNotOpen)
		return
	}
	if c.requireMPPE && !encrypted {
		s.drop(c, DropMPPERequired)
		return
	}
	b.TrimFront(b.Len() - len(info))
	d, ours := s.admit(c, b) // 7
	switch {
	case d != Pass:
		s.drop(c, d)
	case !ours && s.withinRate(c, c.up, b):
		s.toNetwork(c, c.net, b)
	}
}

// admit decides whether an inner packet may enter the network, cuts padding off and clamps its MSS. ours says that it was
// for us and goes no further.
func (s *shard) admit(c *call, b *pktbuf.Buf) (d Drop, ours bool) {
	var h policy.IPv4
	if !h.Parse(b.Bytes()) {
		return DropIPMalformed, false
	}
	b.Truncate(h.TotalLen)
	if !c.sources.Allow(h.Src) {
		return DropSpoofedSource, false
	}
	if c.inform.hears(h.Dst) && s.answerDHCP(c, b, &h) {
		return Pass, true
	}
	if to := c.net.table.lookup(h.Dst); to != nil {
		if to.net != c.net {
			return DropOtherNetwork, false
		}
		if to.call != c && !c.net.clientToClient {
			return DropClientToClient, false
		}
	}
	if c.acl != nil && !c.acl.Permit(true, b.Bytes(), &h) {
		return DropACL, false
	}
	policy.ClampMSS(b.Bytes(), &h, c.mtu)
	c.dscp.Inner(b.Bytes(), b.TOS)
	return Pass, false
}

// judge is the call's mppe.Credible.
func (c *call) judge(head []byte, n int, far bool) bool {
	return policy.CredibleInner(head, n, &c.sources, far)
}

// acknowledge sends a bare acknowledgement (RFC 2637 section 4.1). With no buffer left it stays owed.
func (s *shard) acknowledge(c *call) {
	if b := s.buf(); b != nil {
		c.gre.Ack(b)
		s.queue(c, b)
	}
}
