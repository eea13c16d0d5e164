//go:build interop

package flood

import "concentrator/internal/tenant"

// floods are what there is.
var floods = []flood{
	{name: "IKE half open, many addresses", begin: halfOpen(manyAddresses), dropped: []string{"ike_dropped_total"}, strangers: true},
	{name: "IKE half open, each again", begin: halfOpen(asking), dropped: []string{"ike_dropped_total"}, strangers: true},
	{name: "IKE half open, one address", begin: halfOpen(oneAddress), dropped: []string{"ike_dropped_total"}},
	{name: "IKE Diffie-Hellman", begin: keyExchanges, answers: true, dropped: []string{"ike_dropped_total"}, strangers: true},
	{name: "SCCRQ, many addresses", begin: tunnelRequests(manyAddresses), dropped: []string{"l2tp_dropped_total"}},
	{name: "SCCRQ, each again", begin: tunnelRequests(asking), dropped: []string{"l2tp_dropped_total"}, strangers: true},
	{name: "SCCRQ, one address", begin: tunnelRequests(oneAddress), dropped: []string{"l2tp_dropped_total"}},
	{name: "L2TP tunnels without calls", begin: idleTunnels, answers: true},
	{name: "SYN", begin: syns},
	{name: "PPTP connections, silent", begin: connects(nil), answers: true},
	{
		name: "PPTP connections, half a message", begin: connects(startRequest()), answers: true,
		dropped: []string{"pptp_dropped_total", "logins_total"},
	},
	{
		name: "PPTP calls without PPP", begin: connects(calls()), answers: true, dropped: []string{"logins_total"}, strangers: true,
	},
	{name: "LCP storm in L2TP", begin: storm(tenant.ProtocolL2TP), dropped: []string{"control_frames_dropped_total"}},
	{name: "LCP storm in IPsec", begin: storm(tenant.ProtocolL2TPIPsec), dropped: []string{"control_frames_dropped_total"}},
	{
		name: "LCP before authentication", begin: unauthenticated, answers: true, dropped: []string{"control_frames_dropped_total"},
	},
	{name: "ESP, unknown SPIs", begin: unknownSPIs, dropped: []string{`drop="esp_unknown_spi"`}},
	{name: "ESP, a known SPI", begin: knownSPI, dropped: []string{`drop="esp_auth"`}},
	{name: "GRE of all calls", begin: calling, dropped: []string{`drop="gre_unknown_call"`, `drop="gre_wrong_source"`}},
	{name: "fragments without an end", begin: fragments(false)},
	{name: "fragments that overlap", begin: fragments(true)},
	{name: "API connections", begin: handshakes, answers: true},
	{name: "API requests", begin: requests, answers: true, dropped: []string{`api_calls_total{code="Unauthenticated"`}},
	{name: "RADIUS garbage", begin: radiusGarbage, dropped: []string{"coa_dropped_total"}},
	{name: "guesses by PPTP, many addresses", begin: guesses(tenant.ProtocolPPTP, true), answers: true, dropped: []string{`reason="LOCKED_OUT"`}, lockout: true},
	{name: "guesses by L2TP, one address", begin: guesses(tenant.ProtocolL2TP, false), answers: true, dropped: []string{`reason="LOCKED_OUT"`}, lockout: true},
}
