package accounting

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// lineForm is a Record as the File and Syslog sinks tell it: one JSON object. Names that a peer may choose are strings, or
// if they are not UTF-8, arrays with their Base64. In is from the client.
type lineForm struct {
	ID        uint64    `json:"id"` // the same in a line that is told twice, and in no other
	Time      time.Time `json:"time"`
	Status    string    `json:"status"`
	Tenant    text      `json:"tenant"`
	Session   text      `json:"session,omitempty"`
	User      text      `json:"user,omitempty"`
	Domain    text      `json:"domain,omitempty"`
	Method    string    `json:"method,omitempty"`
	Authentic string    `json:"authentic,omitempty"` // LOCAL or RADIUS: who let the session in
	Server    text      `json:"server,omitempty"`
	Protocol  string    `json:"protocol,omitempty"`

	ClientAddress   netip.Addr `json:"clientAddress,omitzero"`
	ListenerAddress netip.Addr `json:"listenerAddress,omitzero"`
	NASPort         uint32     `json:"nasPort,omitempty"`
	TunnelClient    text       `json:"tunnelClient,omitempty"`
	TunnelID        text       `json:"tunnelId,omitempty"`
	ClientName      text       `json:"clientName,omitempty"`
	ClientVersion   text       `json:"clientVersion,omitempty"`

	Address  netip.Addr     `json:"address,omitzero"`
	Routes   []netip.Prefix `json:"routes,omitempty"`
	Class    [][]byte       `json:"class,omitempty"` // Base64
	Started  time.Time      `json:"started,omitzero"`
	Duration *int64         `json:"durationSeconds,omitempty"`

	InBytes    *uint64 `json:"inBytes,omitempty"`
	OutBytes   *uint64 `json:"outBytes,omitempty"`
	InPackets  *uint64 `json:"inPackets,omitempty"`
	OutPackets *uint64 `json:"outPackets,omitempty"`

	Cause  string `json:"cause,omitempty"`
	Detail text   `json:"detail,omitempty"`
	Crash  bool   `json:"crash,omitempty"`
}

// appendLine appends r as one JSON object without a line break.
func appendLine(b []byte, r *Record) ([]byte, error) {
	f := lineForm{
		ID: r.ID, Time: r.Time.UTC(), Status: r.Status.String(), Tenant: text(r.Tenant),
		Cause: string(r.Cause), Detail: text(r.Detail), Crash: r.Crash,
	}
	if s := r.Session; s != nil {
		f.Session, f.User, f.Domain, f.Method = text(s.SessionID), text(s.User), text(s.Domain), string(s.Method)
		f.Authentic = "RADIUS"
		if s.Local {
			f.Authentic = "LOCAL"
		}
		f.Server, f.Protocol = text(s.Server), string(s.Protocol)
		f.ClientAddress, f.ListenerAddress, f.NASPort = s.ClientAddress, s.ListenerAddress, s.NASPort
		f.TunnelClient, f.TunnelID = text(s.TunnelClient), text(s.TunnelID)
		f.ClientName, f.ClientVersion = text(s.ClientName), text(s.ClientVersion)
		f.Address, f.Routes, f.Class, f.Started = s.Address, s.Routes, s.Class, s.Started.UTC()
		seconds := int64(r.Duration / time.Second)
		f.Duration = &seconds
		c := r.Counters
		f.InBytes, f.OutBytes, f.InPackets, f.OutPackets = &c.InBytes, &c.OutBytes, &c.InPackets, &c.OutPackets
	}
	line, err := json.Marshal(&f)
	if err != nil {
		return nil, fmt.Errorf("accounting record %d as text: %w", r.ID, err)
	}
	return append(b, line...), nil
}
