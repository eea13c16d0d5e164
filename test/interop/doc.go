// Package interop logs real VPN clients in to the built daemon and looks at what both ends say.
//
// The clients are Debian's own pptp-linux, strongSwan, xl2tpd and pppd in User-Mode Linux guests (a kernel with PPP, L2TP and
// IPsec on a machine whose own has none), the RADIUS server is FreeRADIUS, and the hosts behind the concentrator are TCP
// services of this process, each in a network namespace of its own. The product is met only as a user meets it:
// `concentrator serve`, `ctl`, REST.
//
//	lab.go     namespaces, bridges, NAT routers     guest.go   boots a guest, runs scripts in it, moves it behind a NAT
//	daemon.go  builds and starts the daemon, ctl    dial.go    one pppd call from a guest, and what its log says
//	api.go     ctl's JSON and REST                  l2tp.go    the same by xl2tpd, in IPsec by strongSwan or in clear
//	radius.go  FreeRADIUS                           pki.go     certificates and a revocation list
//	host.go    a TCP service behind the tenant      forge.go   forged GRE packets
//	cpu.go     CPU time of the daemon's threads     ping.go    pings from guests and hosts
//	fifty.go   a daemon with fifty tenants          gen.go     simulated clients, by loadgen
//	stream.go  a steady TCP transfer, and its gaps  sweep.go   one client asks many addresses and ports
//	apiclient.go  clients of the API that others wrote
//	capture.go every packet of a namespace            prometheus.go scrapes the daemon, and is asked
//
// Everything but this file is behind the build tag `interop`; the full matrix is behind `interop_long` too. Both need root
// and what test/setup.sh installs: what is missing is an error, never a skip. `make test` and `make test-long` run them.
// Names of namespaces carry the process ID, so several runs can live side by side; TestMain removes what it made, and what
// a killed run left behind.
//
// INTEROP_KEEP=1 keeps the run's folder (logs of the daemon, guests and FreeRADIUS), which is kept anyway when a test fails.
package interop
