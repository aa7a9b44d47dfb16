#!/bin/bash
# BIND: authoritative for the zones that it is given and for those that Designate gives it, recursive for whom it is told.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting BIND_ZONES '' 'zones that it is the primary of, separated by commas: each is the file /var/cache/bind/ZONE.zone'
setting BIND_SECONDARY_ZONES '' "zones that it fetches, as ZONE=ADDRESS of the primary (ZONE=ADDRESS#PORT), separated by commas"
setting BIND_RECURSION_CLIENTS '' 'who may have any name looked up, as addresses, subnets or any, separated by commas; nobody if empty'
setting BIND_FORWARDERS '' "addresses of resolvers that are asked for others' names, separated by commas; the root servers if empty"
setting BIND_DNSSEC_VALIDATION auto "check of signatures of others' names: auto or no"
setting BIND_TRANSFER_CLIENTS '' 'who may fetch whole zones, like BIND_RECURSION_CLIENTS; nobody if empty'
setting BIND_CONTROL_CLIENTS localnets "who may control it with RNDC_SECRET, like BIND_RECURSION_CLIENTS; localnets are its own networks"
setting RNDC_SECRET '' 'secret by which it knows who may control it, Designate for one; nobody may if empty'

# match LIST prints a list of addresses as named.conf has it; nobody if it is empty.
match() {
	local entry entries
	IFS=', ' read -ra entries <<<"$1"
	[ ${#entries[@]} -gt 0 ] || entries=(none)
	for entry in "${entries[@]}"; do printf '%s; ' "$entry"; done
}

options() {
	if [ -n "$BIND_RECURSION_CLIENTS" ]; then
		printf '    recursion yes;\n    allow-recursion { %s};\n    allow-query-cache { %s};\n' \
			"$(match "$BIND_RECURSION_CLIENTS")" "$(match "$BIND_RECURSION_CLIENTS")"
		printf '    dnssec-validation %s;\n' "$BIND_DNSSEC_VALIDATION"
		[ -z "$BIND_FORWARDERS" ] || printf '    forward only;\n    forwarders { %s};\n' "$(match "$BIND_FORWARDERS")"
	else
		printf '    recursion no;\n    allow-query-cache { none; };\n'
	fi
}

control() {
	local secret
	if [ -z "$RNDC_SECRET" ]; then
		printf 'controls { };\n'
		return
	fi
	secret=$(printf 'dockstack rndc %s' "$RNDC_SECRET" | openssl dgst -sha256 -binary | base64)
	printf 'key "designate" {\n    algorithm hmac-sha256;\n    secret "%s";\n};\n' "$secret"
	printf 'controls {\n    inet 0.0.0.0 port 953 allow { localhost; %s} keys { "designate"; };\n};\n' "$(match "$BIND_CONTROL_CLIENTS")"
}

zones() {
	local zone entries primary
	IFS=', ' read -ra entries <<<"$BIND_ZONES"
	for zone in "${entries[@]}"; do
		printf 'zone "%s" { type primary; file "%s.zone"; };\n' "${zone%.}" "${zone%.}"
	done
	IFS=', ' read -ra entries <<<"$BIND_SECONDARY_ZONES"
	for zone in "${entries[@]}"; do
		primary=${zone#*=}
		[[ $zone == ?*=?* ]] || die "BIND_SECONDARY_ZONES has $zone: write it as ZONE=ADDRESS"
		[[ $primary != *'#'* ]] || primary="${primary%%#*} port ${primary#*#}"
		printf 'zone "%s" { type secondary; primaries { %s; }; file "secondary.%s"; };\n' "${zone%%=*}" "$primary" "${zone%%=*}"
	done
}

config /etc/bind/named.conf bind <<-EOF
	options {
	    directory "/var/cache/bind";
	    listen-on { any; };
	    listen-on-v6 { any; };
	    pid-file none;
	    version none;
	    minimal-responses yes;
	    allow-new-zones yes;
	    allow-query { any; };
	    allow-transfer { $(match "$BIND_TRANSFER_CLIENTS")};
	$(options)
	};
	$(control)
	$(zones)
EOF
rendered

mkdir -p /run/named
chown bind:bind /run/named /var/cache/bind
IFS=', ' read -ra entries <<<"$BIND_ZONES"
for zone in "${entries[@]}"; do
	file=/var/cache/bind/${zone%.}.zone
	[ -e "$file" ] || die "BIND_ZONES has $zone, and there is no $file: put the zone there, by a volume or a mount"
done
exec "$@"
