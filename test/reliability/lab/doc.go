// Package lab is what the tests of reliability play in: network namespaces, the built daemon in one of them, ctl, and loadgen's
// simulated clients in another.
//
//	gen  198.51.100.20, 10.200.0.0/16 -- 198.51.100.1  srv  10.99.0.1 -- 10.99.0.2  far
//	atk  203.0.113.66,  100.64.0.0/10 -- 203.0.113.1   srv
//
// gen has the simulated clients, atk whoever means harm, with all addresses of 100.64.0.0/10 for it; far is the host behind the
// tenants in the daemon's own namespace. The daemon listens on all of srv's addresses.
//
// The tests are the packages beside this one, behind the build tag interop, their long forms behind interop_long too. They need
// root and what test/setup.sh installs: what is missing is an error, never a skip. Floods go only into namespaces that a lab has
// made, are bounded in number and time, and end by themselves. The packages run one after the other, because they measure.
// docs/reliability.md has what was seen.
package lab
