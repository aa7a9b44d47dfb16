#!/bin/busybox sh
# shellcheck shell=dash disable=SC2154,SC2086 # udhcpc sets its variables, and routes are a list of words
# What udhcpc runs when it has an address, and when it lost it.
case $1 in
deconfig) ip address flush dev eth0 ;;
renew) ;;
bound)
	ip link set eth0 mtu "${mtu:-1400}"
	ip address add "$ip/$mask" dev eth0
	# With routes of their own, clients take no other router.
	if [ -n "$staticroutes" ]; then
		set -- $staticroutes
		while [ $# -gt 1 ]; do
			ip route add "$1" via "$2" 2>/dev/null || ip route add "$1" dev eth0
			shift 2
		done
	elif [ -n "$router" ]; then
		ip route add default via "${router%% *}"
	fi
	echo "$ip $(cat /sys/class/net/eth0/address)" >/www/address
	echo "guest: address $(cat /www/address) mtu $mtu" >/dev/console
	# The first answer takes a new metadata server a while.
	(
		until timeout 10 wget -q -O /tmp/metadata http://169.254.169.254/openstack/latest/meta_data.json; do sleep 2; done
		mv /tmp/metadata /www/metadata
		echo "guest: has its metadata" >/dev/console
	) &
	;;
esac
