# shellcheck shell=bash
# Asking dockstack's DNS from inside one of its networks. Its server is at the network's gateway, by default the first
# address. Docker's own resolver, which resolv.conf names, knows the replicas on this host alone, and answers before it
# would ask anybody else. Needs lib/entrypoint.sh, and drill (package ldnsutils).

# networks prints, for each IPv4 subnet that this network namespace is in, its own address, the subnet's first address,
# and "dockstack" if the interface has a MAC address of those that dockstack gives out.
networks() {
	local device address bits a b c d n whose
	ip -4 -o addr show scope global | awk '{print $2, $4}' | tr / ' ' | while read -r device address bits; do
		[ "${bits:-32}" -le 30 ] || continue
		IFS=. read -r a b c d <<<"$address"
		n=$(((a << 24 | b << 16 | c << 8 | d) & -1 << (32 - bits) | 1))
		whose=
		case $(<"/sys/class/net/$device/address") in
		0a:d5:*) whose=dockstack ;;
		esac
		printf '%s %d.%d.%d.%d %s\n' "$address" $((n >> 24 & 255)) $((n >> 16 & 255)) $((n >> 8 & 255)) $((n & 255)) "$whose"
	done
}

# find_dns WAY-OUT sets dns_server to the address of dockstack's DNS server, or to nothing where there is none: it is who says with
# authority, over one of this namespace's own networks, whose this namespace's address is. On a network of dockstack it
# waits for that as long as it takes: after a reboot containers come up with the plugin, and whoever fell back to
# resolv.conf would never see another host. Outside of $(...), so that SIGTERM ends it.
find_dns() {
	local own first whose said=$((SECONDS - 8))
	dns_server=
	while
		while read -r own first whose; do
			if timeout 3 drill -x "$own" "@$first" 2>/dev/null | grep '^;; flags:.* aa .*ANSWER: [1-9]' >/dev/null; then
				dns_server=$first
				return
			fi
		done < <(networks)
		networks | grep 'dockstack$' >/dev/null # -q would end networks by SIGPIPE
	do
		if [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			log "waiting for dockstack's DNS: the first address of this container's network does not answer. Is the plugin enabled on this host? Where the gateway has another address: $1"
		fi
		pause 0.5
	done
}

# find_name NAME sets address to the name's first IPv4 address, or to nothing: by dockstack's DNS, or where that does not
# know it by resolv.conf. An address is itself.
find_name() {
	local dns_server
	address=$1
	if [[ $1 =~ ^[0-9]+(\.[0-9]+){3}$ ]]; then
		return
	fi
	address=
	find_dns "give $1 by number"
	if [ -n "$dns_server" ]; then
		address=$(timeout 3 drill "$1" "@$dns_server" A 2>/dev/null | awk '$3 == "IN" && $4 == "A" {print $5; exit}')
	fi
	[ -n "$address" ] || address=$(address_by_name "$1")
}
