package load

import (
	"time"

	"concentrator/internal/simclient/histogram"
	"concentrator/internal/tenant"
)

// Report is what came of a load. Its JSON is the contract with programs.
type Report struct {
	OK     int                   `json:"ok"`     // logins
	Failed map[tenant.Reason]int `json:"failed"` // logins, by what the client sees
	Rate   float64               `json:"rate"`   // logins a second, from the first one's start to the last one's end

	P50Ms float64 `json:"p50Ms"` // of the logins that went well, from the first packet until IP can be sent
	P90Ms float64 `json:"p90Ms"`
	P99Ms float64 `json:"p99Ms"`
	MaxMs float64 `json:"maxMs"`

	Lost         int                   `json:"lost"` // sessions that ended by themselves
	LostReasons  map[tenant.Reason]int `json:"lostReasons"`
	Open         int                   `json:"open"`         // sessions, before they were hung up
	HangUpFailed int                   `json:"hangUpFailed"` // sessions whose goodbye was not answered

	ElapsedS float64 `json:"elapsedS"` // the logins
	OwnCPUS  float64 `json:"ownCpuS"`  // the generator's; the command says when
	// ServerCPUS is the server's in the same time, all threads, user and system; nil: it was not looked at.
	ServerCPUS *float64 `json:"serverCpuS,omitempty"`

	Rebound uint64  `json:"rebound,omitempty"` // ports that a NAT has forgotten
	Pings   *Pings  `json:"pings,omitempty"`
	SAs     *SAs    `json:"sas,omitempty"`
	Rekeys  *Rekeys `json:"rekeys,omitempty"`

	// Examples is one error in full for each reason.
	Examples map[tenant.Reason]string `json:"examples,omitempty"`
	// Protocols is the same by protocol, where there are several.
	Protocols map[tenant.Protocol]Part `json:"protocols,omitempty"`

	Interrupted bool `json:"interrupted,omitempty"`
}

// Pings is the echo requests that were sent through standing sessions, and their replies.
type Pings struct {
	Sent     uint64 `json:"sent"`
	Answered uint64 `json:"answered"`
}

// SAs is how many SAs of IPsec there have been, the first ones of each login included.
type SAs struct {
	IKE uint64 `json:"ike"`
	ESP uint64 `json:"esp"` // pairs
}

// Rekeys is how often sessions were told to make new SAs.
type Rekeys struct {
	OK     uint64 `json:"ok"`
	Failed uint64 `json:"failed"`
}

// Part is the logins of one protocol.
type Part struct {
	OK     int     `json:"ok"`
	Failed int     `json:"failed"`
	P50Ms  float64 `json:"p50Ms"`
	P99Ms  float64 `json:"p99Ms"`
}

// Fine says whether nothing has failed.
func (r *Report) Fine() bool {
	return len(r.Failed) == 0 && r.Lost == 0 && (r.Rekeys == nil || r.Rekeys.Failed == 0) && r.HangUpFailed == 0 && !r.Interrupted
}

// Failures is how many logins have failed.
func (r *Report) Failures() (n int) {
	for _, k := range r.Failed {
		n += k
	}
	return n
}

// ms is a duration as reports have it.
func ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// tally counts the logins of one protocol.
type tally struct {
	took   histogram.Histogram
	failed int
}
