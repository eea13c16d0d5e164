package steer

import "golang.org/x/sys/unix"

// ShardBits is how many low bits of a call ID name its shard.
const ShardBits = 4

// MaxShards is the most shards that ShardBits can name.
const MaxShards = 1 << ShardBits

// Where things stand in enhanced GRE, RFC 2637 section 4.1, from the end of the IP header.
const (
	greFlags    = 0
	greProtocol = 2
	greCallID   = 6

	protocolPPP = 0x880b
	// Key present and version 1 are what makes the call ID readable at greCallID.
	greKeyed     = 0x2001
	greKeyedMask = 0x2007
)

const (
	rejectPacket = 0
	wholePacket  = 0xffff
)

// GREFilter is the classic filter for a shard's raw GRE socket. It sees a packet from its IP header on. PPTP's packets
// whose call ID names this shard pass; IDs that name a shard we don't have are spread, so that they are counted
// somewhere. Shard 0 also takes PPTP packets without a readable call ID, to count them. Other GRE is not ours.
func GREFilter(shard, shards int) []unix.SockFilter {
	malformed := uint32(rejectPacket)
	if shard == 0 {
		malformed = wholePacket
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // X = length of the IP header
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: greProtocol},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: protocolPPP, Jf: 9}, // else reject
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: greFlags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: greKeyedMask},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: greKeyed, Jf: 4}, // else malformed
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: greCallID},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: MaxShards - 1},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(shards)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(shard), Jt: 1, Jf: 2},
		{Code: unix.BPF_RET | unix.BPF_K, K: malformed},
		{Code: unix.BPF_RET | unix.BPF_K, K: wholePacket},
		{Code: unix.BPF_RET | unix.BPF_K, K: rejectPacket},
	}
}
