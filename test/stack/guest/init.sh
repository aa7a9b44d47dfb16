#!/bin/busybox sh
# shellcheck shell=dash
# The first process of a virtual machine that exists to be reached. It gets an address by DHCP, shows what it got on its
# console, and serves files over HTTP: half a megabyte of random bytes, their hash, its address, its metadata. Asked for
# /cgi-bin/peer?ADDRESS it pings another such machine and fetches that one's bytes.
/bin/busybox mkdir -p /bin /proc /sys /dev /tmp /www/cgi-bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module" || echo "guest: no $module"; done
ip link set lo up
ip link set eth0 up
dd if=/dev/urandom of=/www/bytes bs=1024 count=512 2>/dev/null
sha256sum </www/bytes | cut -d' ' -f1 >/www/hash
httpd -h /www
echo "guest: $(cat /sys/class/net/eth0/address) asks for an address"
while :; do udhcpc -f -i eth0 -s /lease.sh -O staticroutes -O mtu -t 3 -T 1 -A 1 >/dev/null 2>&1; done
