//go:build interop

// Command kernelmppe plays MPPE of internal/dataplane/mppe against that of the Linux kernel it runs on, and prints what
// came of it as JSON. It needs root and the modules ppp_synctty and ppp_mppe; TestKernelMPPE runs it in a guest.
//
// No option of pppd leads to stateful MPPE, so there is no pppd here: the program drives the kernel's PPP as pppd does
// (unit.go) and is the concentrator at the other end of the wire too (link.go). One packet is on the way at a time: a pty
// keeps no borders between frames, and that way every run is the same but for its keys.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// Result is what came of one case.
type Result struct {
	Name     string `json:"name"`
	Bits     int    `json:"bits"`
	Stateful bool   `json:"stateful"`
	// Sent is how many packets were encrypted. Each was Lost by us on purpose, Delivered with all its octets right, or
	// Unreadable because the receiver was out of step, as only stateful MPPE may be.
	Sent       int `json:"sent"`
	Lost       int `json:"lost"`
	Delivered  int `json:"delivered"`
	Unreadable int `json:"unreadable"`
	// Resets counts CCP Reset-Requests, Flags the lost packets that changed the key.
	Resets int    `json:"resets"`
	Flags  int    `json:"flags"`
	Millis int64  `json:"millis"`
	Error  string `json:"error,omitempty"`
}

// testCase is something to do on a fresh link.
type testCase struct {
	name         string
	statefulOnly bool
	run          func(l *link, r *Result, packets int) error
}

var cases = []testCase{
	{"kernel to us", false, func(l *link, r *Result, n int) error { return l.fromKernel(r, n, false) }},
	{"us to kernel", false, func(l *link, r *Result, n int) error { return l.toKernel(r, n, false) }},
	{"kernel to us, packets lost", false, func(l *link, r *Result, n int) error { return l.fromKernel(r, n, true) }},
	{"us to kernel, packets lost", false, func(l *link, r *Result, n int) error { return l.toKernel(r, n, true) }},
	{"replay", false, func(l *link, r *Result, _ int) error { return l.replay(r) }},
	{"no Reset-Ack", true, func(l *link, r *Result, _ int) error { return l.withoutAck(r) }},
}

func main() {
	packets := flag.Int("packets", 5000, "packets of a case")
	flag.Parse()
	var results []Result
	for _, bits := range []int{128, 40} {
		for _, stateful := range []bool{false, true} {
			for _, c := range cases {
				if stateful || !c.statefulOnly {
					results = append(results, play(c, bits, stateful, *packets))
				}
			}
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(results); err != nil {
		fmt.Fprintln(os.Stderr, "kernelmppe:", err)
		os.Exit(1)
	}
}

// play plays one case on a link of its own.
func play(c testCase, bits int, stateful bool, packets int) Result {
	r := Result{Name: c.name, Bits: bits, Stateful: stateful}
	begin := time.Now()
	l, err := newLink(bits, stateful)
	if err == nil {
		err = c.run(l, &r, packets)
		l.unit.close()
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.Millis = time.Since(begin).Milliseconds()
	return r
}
