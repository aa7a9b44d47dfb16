#!/bin/bash
# keepalived holds virtual addresses in the network namespace of what answers there. One of those who run it has them.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh
# shellcheck source=contrail-images/lib/dns.sh
. /usr/local/lib/dockstack/dns.sh

setting VIP vip1 'the virtual addresses, by name or by number, separated by commas; the network has them as dockstack.vip'
setting CHECK_URL http://127.0.0.1:888/alive 'what has to answer here; where it does not, the addresses are not'
setting PRIORITY '' "the highest of those that live has the addresses, 1 to 254; empty: 200 less the number at the end of the host's name, so that haproxy1 goes before haproxy2"
setting PREEMPT no 'yes: who has a higher priority takes the addresses back when it returns'
setting ADVERT_INTERVAL 0.5 'seconds between signs of life; the others take over after three and a half of them'
setting ROUTER_ID 50 "VRRP's number of this group, 1 to 255, the same for all its members and for nobody else on the network"

name=$HOSTNAME
! rendering || name=haproxy1 # whichever machine that is done on
if [ -z "$PRIORITY" ]; then
	[[ $name =~ ([0-9]+)$ ]] || die "PRIORITY is not set, and the host name $name has no number at its end that it could come from: set one of them"
	PRIORITY=$((200 - 10#${BASH_REMATCH[1]} % 199))
fi

# find_vip NAME sets address to what VIP means, once it is known.
find_vip() {
	local said=$((SECONDS - 8))
	if rendering; then
		[[ $1 == *.*.* ]] && address=$1 || address=127.0.0.1
		return
	fi
	while
		find_name "$1"
		[ -z "$address" ]
	do
		if [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			log "waiting for the address of $1: create the network with -o dockstack.vip=$1"
		fi
		pause 0.5
	done
}

addresses=()
for one in ${VIP//,/ }; do
	find_vip "$one"
	addresses+=("$address")
done
interface=eth0
if ! rendering; then
	interface=$(ip -4 -o route get "${addresses[0]}" | awk '{for (i = 1; i < NF; i++) if ($i == "dev") print $(i + 1)}')
	# Left here by one that was killed.
	for one in "${addresses[@]}"; do
		ip addr del "$one/32" dev "$interface" 2>/dev/null || true
	done
fi

printf '%s\n' "$interface" "$CHECK_URL" "${addresses[@]}" | config /etc/keepalived/holding
config /etc/keepalived/keepalived.conf <<EOF
global_defs {
	router_id $name
	vrrp_version 3
	vrrp_garp_master_refresh 10
	vrrp_rt_priority 10
	vrrp_rlimit_rttime 1000000
	script_user root
	enable_script_security
}
vrrp_script answers {
	script /answers
	interval 1
	timeout 8
	fall 2
	rise 1
}
vrrp_instance vip {
	state BACKUP
	interface $interface
	virtual_router_id $ROUTER_ID
	priority $PRIORITY
	advert_int $ADVERT_INTERVAL
	$([ "$PREEMPT" = yes ] || echo nopreempt)
	virtual_ipaddress {
$(printf '\t\t%s/32\n' "${addresses[@]}")
	}
	track_script {
		answers
	}
	notify /notify
}
EOF
rendered

# Of one that was killed; keepalived would take itself for it.
rm -f /run/keepalived*.pid /run/vrrp*.pid /run/keepalived.state
exec "$@"
