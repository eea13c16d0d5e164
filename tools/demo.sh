#!/bin/sh
# demo.sh: what `make run` does. Serves a demo tenant on this machine from ./run, and says how to connect.
#
# The user's password and the pre-shared key are made at random on the first start, kept in run/demo.yaml (readable by
# its owner only) and shown each time. `rm -r run` forgets everything.
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "make run: needs root: it opens raw sockets and a TUN device. Try: sudo make run" >&2; exit 1; }
[ -c /dev/net/tun ] || { echo "make run: /dev/net/tun is missing; load the kernel's tun module" >&2; exit 1; }

umask 077
# The daemon gives up root's right to pass everywhere. In a home directory that is closed to others run leads to a place outside.
plain() { command -v setpriv >/dev/null || return 0; setpriv --bounding-set=-dac_override,-dac_read_search "$@"; }
if [ ! -e run ]; then
	mkdir run
	plain test -w "$(pwd -P)/run" || { rmdir run && ln -s "$(mktemp -d /var/tmp/concentrator-demo.XXXXXX)" run; }
fi
plain test -w "$(cd run && pwd -P)" || { echo "make run: run/ can't be reached by root without CAP_DAC_OVERRIDE: rm -r run" >&2; exit 1; }
random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -s run/demo.yaml ]; then
	cat >run/demo.yaml.new <<-EOF
		# The demo of \`make run\`. Change what you like and start again; what is here is applied at each start.
		kind: Tenant
		name: tenants/demo
		displayName: Demo
		network: {masquerade: true}
		ipsec: {psks: [{id: main, secret: "$(random 16)"}]}
		---
		kind: Pool
		name: tenants/demo/pools/main
		ranges: [10.64.0.0/24]
		---
		kind: Profile
		name: tenants/demo/profiles/default
		pool: tenants/demo/pools/main
		---
		kind: User
		name: tenants/demo/users/demo
		password: "$(random 8)"
		---
		kind: Listener
		name: listeners/main
		address: 0.0.0.0
		protocols: [L2TP_IPSEC, PPTP]
		tenants: [tenants/demo]
		defaultTenant: tenants/demo
	EOF
	mv run/demo.yaml.new run/demo.yaml
fi
state=$(cd run && pwd -P)
cat >run/concentrator.yaml <<-EOF
	state_dir: $state/state
	api: {socket: $state/api.sock}
EOF

password=$(sed -n 's/^password: "\(.*\)"$/\1/p' run/demo.yaml)
psk=$(sed -n 's/.*secret: "\([^"]*\)".*/\1/p' run/demo.yaml)
# The address that this machine has towards the world; if there is no way out, any address of its own.
server=$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
[ -n "$server" ] || server=$(ip -4 -o addr show scope global 2>/dev/null | sed -n 's/.* inet \([0-9.]*\).*/\1/p;q')
[ -n "$server" ] || server=127.0.0.1

cat <<EOF

  Server $server, user demo, password $password
  L2TP/IPsec with the pre-shared key $psk

  Windows, PowerShell:
    Add-VpnConnection -Name demo -ServerAddress $server -TunnelType L2tp -L2tpPsk $psk -EncryptionLevel Required -AuthenticationMethod MSChapv2 -Force
    rasdial demo demo $password

  macOS, iOS, Android up to 11: add a VPN of type L2TP (L2TP/IPSec PSK) with server, user, password and the key as shared secret.
  Linux: NetworkManager-l2tp, or strongSwan and xl2tpd. README.md has the files.

  Linux with PPTP, as root (packages pptp-linux and ppp):
    pppd pty "pptp $server --nolaunchpppd" user demo password $password \\
      noauth nodetach refuse-eap require-mppe-128 usepeerdns

  In another terminal, simulated clients of this machine, with nothing to set up:
    make try

  Look at it:
    bin/ctl --socket run/api.sock session watch
    bin/ctl --socket run/api.sock login list

  Ctrl-C stops it.

EOF
exec bin/concentrator serve --config "$state/concentrator.yaml" --apply "$state/demo.yaml"
