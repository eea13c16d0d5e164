#!/bin/sh
# try.sh: what `make try` does. Simulated clients log in to the demo of `make run` on this machine, one by each protocol and one
# with a wrong password, and the API is asked about them.
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "make try: needs root, as make run does. Try: sudo make try" >&2; exit 1; }
[ -S run/api.sock ] || { echo "make try: make run must go on in another terminal" >&2; exit 1; }
password=$(sed -n 's/^password: "\(.*\)"$/\1/p' run/demo.yaml)
psk=$(sed -n 's/.*secret: "\([^"]*\)".*/\1/p' run/demo.yaml)
client() { bin/loadgen "$@" --server 127.0.0.1 --nat-t --psk "$psk" --user demo --quiet; }
ctl() { echo; echo "\$ bin/ctl --socket run/api.sock $*"; bin/ctl --socket run/api.sock "$@"; }

echo "Two clients log in, and stay for five seconds."
client hold --protocol PPTP,L2TP_IPSEC --count 2 --password "$password" --duration 5s &
sleep 2
ctl session list
printf '\nA third one has a wrong password.\n'
client login --protocol L2TP_IPSEC --password wrong || true
ctl login list --limit 3
printf '\nThe two hang up.\n'
wait $!
