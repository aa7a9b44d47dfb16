#!/bin/bash
# Designate's API, central, producer, worker and mini DNS: each is this image with another command. The zones are
# served by BIND, which Designate controls with rndc and which fetches them from the mini DNS.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting DESIGNATE_SERVER designate "host name of Designate's API"
setting BIND_SERVER bind 'host names of the BIND servers, separated by commas'
setting DNS_NAMESERVERS ns1.example.org. "names of the zones' name servers (their NS records), separated by commas; they lead to the BIND servers from outside"
setting INTERFACE eth0 'interface at whose address BIND fetches zones'
secret RNDC_SECRET "secret by which BIND's servers know Designate; theirs is the same"

# pool prints who serves the zones.
pool() {
	local server addr nameservers='' targets='' priority=0
	printf -- '- name: default\n  description: BIND\n  attributes: {}\n  ns_records:\n'
	for server in ${DNS_NAMESERVERS//,/ }; do
		printf '    - {hostname: %s., priority: %d}\n' "${server%.}" $((priority += 1))
	done
	for server in ${BIND_SERVER//,/ }; do
		if rendering; then addr=127.0.0.1; else addr=$(address_by_name "$server"); fi
		nameservers+="    - {host: $addr, port: 53}"$'\n'
		targets+="    - {type: bind9, description: $server, masters: [{host: $address, port: 5354}], options: {host: $addr, port: 53,"
		targets+=" rndc_host: $addr, rndc_port: 953, rndc_key_file: /etc/designate/rndc.key}}"$'\n'
	done
	printf '  nameservers:\n%s  targets:\n%s' "$nameservers" "$targets"
}

config /etc/designate/rndc.key designate <<-EOF
	key "designate" {
		algorithm hmac-sha256;
		secret "$(printf 'dockstack rndc %s' "$RNDC_SECRET" | openssl dgst -sha256 -binary | base64)";
	};
EOF
config /etc/designate/designate.conf designate <<-EOF
	[DEFAULT]
	log_dir =
	state_path = /var/lib/designate
	transport_url = $(transport_url)
	use_stderr = true
	[oslo_concurrency]
	lock_path = /var/lib/designate/tmp
	[oslo_messaging_notifications]
	driver = noop
	$(rabbit_section)
	[service:api]
	api_base_uri = http://$DESIGNATE_SERVER:9001/
	auth_strategy = keystone
	enable_api_v2 = true
	enable_host_header = true
	listen = 0.0.0.0:9001
	workers = $WORKERS
	[service:central]
	workers = $WORKERS
	[service:mdns]
	listen = 0.0.0.0:5354
	workers = $WORKERS
	[service:producer]
	workers = $WORKERS
	[service:worker]
	workers = $WORKERS
	[storage:sqlalchemy]
	connection = $(database_url designate designate)
	$(authtoken_section designate)
EOF

# BIND and Designate keep each other's addresses, not names. That does no harm: they stay.
pool=
if rendering || [ "${1:-}" = designate-worker ]; then
	for server in ${BIND_SERVER//,/ }; do
		rendering || wait_for "$server" 53
	done
	# shellcheck disable=SC2153 # setting sets it
	find_address "$INTERFACE"
	pool=$(pool)
	config /etc/designate/pools.yaml designate <<<"$pool"
fi
rendered

as_designate() { setpriv --reuid designate --regid designate --init-groups -- "$@"; }

set_up() {
	database designate designate
	as_designate designate-manage database sync
	service_user designate
	service_endpoints designate dns "http://$DESIGNATE_SERVER:9001"
}
once designate "$(versions designate-common)
$SERVICE_PASSWORD $REGION $KEYSTONE_SERVER $DESIGNATE_SERVER" set_up

mkdir -p /var/lib/designate/tmp
chown designate:designate /var/lib/designate /var/lib/designate/tmp

# Central keeps what is known of the pool, so it has to run.
set_up_pool() {
	until as_designate designate-manage --config-file /etc/designate/designate.conf --config-file /etc/dockstack/patience.conf \
		pool update --file /etc/designate/pools.yaml; do
		log "waiting for Designate's central to take the pool of BIND servers"
		sleep 1
	done
}
if [ -n "$pool" ]; then
	config /etc/dockstack/patience.conf designate <<<$'[DEFAULT]\nrpc_response_timeout = 20'
	once designate-pool "$pool" set_up_pool
fi
become designate "$@"
