#!/bin/sh
# Installs the Debian packages that building and testing need; does nothing when all are there.
set -eu

packages='
	build-essential ca-certificates pkg-config libseccomp-dev
	containerd debootstrap docker-registry
	iptables nftables iproute2 ethtool iputils-ping iputils-arping kmod util-linux procps
	dnsmasq-base dnsperf etcd-client etcd-server iperf3 keepalived nsd prometheus redis-tools tini
	busybox-static chromium curl e2fsprogs jq qemu-system-x86 shellcheck tmux xz-utils
'

missing=
for p in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "deps: run as root, or install by hand:$missing" >&2
	exit 1
fi
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive

# Packages are wanted for their programs: no daemon of theirs is to start now or at the next boot.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
# Another apt-get may be at work, as some start by themselves: install waits for its lock, update has to be told again.
end=$(($(date +%s) + 300))
until said=$(LC_ALL=C apt-get -q update 2>&1); do
	case $said in
	*'Could not get lock'*) [ "$(date +%s)" -ge "$end" ] || { sleep 2 && continue; } ;;
	esac
	echo "$said" >&2
	exit 1
done
# shellcheck disable=SC2086 # a list of words
apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing
for unit in docker-registry etcd keepalived nsd prometheus; do
	case "$missing" in
	*" $unit"*) systemctl disable "$unit" >/dev/null 2>&1 || true ;; # no systemd: nothing to disable
	esac
done
