#!/bin/sh
# setup.sh: installs the Debian packages that the tests need. May be run again and again; needs root when one is missing.
# No service is started by it.
set -eu

packages="
	user-mode-linux kmod busybox-static
	ppp pptp-linux xl2tpd freeradius freeradius-utils nftables
	strongswan-starter strongswan-charon
	libcharon-extra-plugins libcharon-extauth-plugins libstrongswan-standard-plugins
	iproute2 iputils-ping ethtool util-linux iperf3
	gcc libc6-dev prometheus tshark
	dmsetup e2fsprogs
"

# Node for the generated client of the REST API. Other distributors' nodejs has npm in it, and Debian's can't be beside it.
command -v npm >/dev/null || packages="$packages npm"

fail() {
	echo "test/setup.sh: $*" >&2
	exit 1
}

command -v dpkg-query >/dev/null || fail "this is no Debian; install by hand what stands for:" $packages
missing=
for package in $packages; do
	dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done

if [ -n "$missing" ]; then
	echo "test/setup.sh: installing$missing"
	[ "$(id -u)" = 0 ] || fail "needs root to install$missing"
	# Installing a server must not start it. A machine that has a policy of its own keeps it.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		trap 'rm -f "$policy"' EXIT INT TERM
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q -o DPkg::Lock::Timeout=300 update || fail "apt-get update failed"
	# shellcheck disable=SC2086 # a list of words
	apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing || fail "apt-get could not install$missing"
fi

# A package that is there and does not have what we need is no better than one that is missing.
PATH=$PATH:/usr/sbin:/sbin
for program in linux.uml modprobe busybox pppd pptp xl2tpd ipsec freeradius radclient nft ip nsenter taskset ping ethtool iperf3 gcc prometheus promtool node npm tshark script dmsetup mkfs.ext4 losetup; do
	command -v "$program" >/dev/null || fail "$program is missing though its package is installed"
done
for module in drivers/net/ppp/ppp_mppe net/l2tp/l2tp_ppp net/ipv4/esp4 drivers/md/dm-log-writes; do
	ls /usr/lib/uml/modules/*/kernel/$module.ko >/dev/null 2>&1 || fail "user-mode-linux has no module ${module##*/}"
done
[ -c /dev/net/tun ] || fail "/dev/net/tun is missing: the kernel has no TUN, or this is a container without it"
