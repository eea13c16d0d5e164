// Package capture copies packets of a live session into a pcap file while they pass.
//
// A Tap is a bounded ring of finished pcap records with one reader. Shards put, and never wait for anything: what finds no
// room is counted as missed and goes its way all the same. A shard that has no tap pays one comparison for each packet.
//
// The package owns the ring and the file format, knows nothing of sessions, and starts no goroutine. The dataplane puts
// packets in; internal/session reads them out.
//
// The format is the classic one of libpcap, in little-endian order with microseconds
// (draft-ietf-opsawg-pcap section 4). Packets begin with their IPv4 header: link type RAW.
package capture
