#!/bin/bash
# Nova's control plane: API, conductor, scheduler and console proxy, by the command. Whichever starts first sets up
# databases and endpoints, and the others wait for it.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh
# shellcheck source=contrail-images/lib/nova.sh
. /usr/local/lib/dockstack/nova.sh

setting DISCOVER_INTERVAL 10 'seconds between searches for new compute nodes'

nova_config "$(
	cat <<-EOF
		compute_driver = libvirt.LibvirtDriver
		enabled_apis = osapi_compute,metadata
		metadata_workers = $WORKERS
		osapi_compute_workers = $WORKERS
	EOF
)" "$(
	cat <<-EOF
		[api]
		auth_strategy = keystone
		[api_database]
		connection = $(database_url nova_api nova)
		[cache]
		backend = oslo_cache.memcache_pool
		enabled = true
		memcache_servers = $memcached_servers
		[conductor]
		workers = $WORKERS
		[database]
		connection = $(database_url nova nova)
		[scheduler]
		discover_hosts_in_cells_interval = $DISCOVER_INTERVAL
		workers = $WORKERS
		[vnc]
		novncproxy_host = 0.0.0.0
		novncproxy_port = 6080
		$(authtoken_section nova)
	EOF
)"
rendered

manage() { setpriv --reuid nova --regid nova --init-groups nova-manage "$@"; }

# transport_template is transport_url with places for what it says. Nova numbers several servers.
transport_template() {
	local servers number list=
	IFS=, read -ra servers <<<"$RABBIT_SERVER"
	if [ "${#servers[@]}" = 1 ]; then
		printf '{scheme}://{username}:{password}@{hostname}:{port}/\n'
		return
	fi
	for ((number = 1; number <= ${#servers[@]}; number++)); do
		list+="${list:+,}{username$number}:{password$number}@{hostname$number}:{port$number}"
	done
	printf '{scheme}://%s/\n' "$list"
}

# The mappings of cells are templates: Nova fills in servers and passwords from its own configuration, so that these can
# change, and are in no table and no command line.
set_up() {
	local uuid database='{scheme}://{username}:{password}@{hostname}' transport
	transport=$(transport_template)
	database nova_api nova
	database nova_cell0 nova
	database nova nova
	manage api_db sync
	manage cell_v2 map_cell0 --database_connection "$database/nova_cell0"
	uuid=$(manage cell_v2 list_cells | awk '$2 == "cell1" {print $4}')
	if [ -z "$uuid" ]; then
		manage cell_v2 create_cell --name cell1 --database_connection "$database/nova" --transport-url "$transport"
	else
		manage cell_v2 update_cell --cell_uuid "$uuid" --database_connection "$database/nova" --transport-url "$transport"
	fi
	manage db sync
	service_user nova
	service_endpoints nova compute "http://$NOVA_API_SERVER:8774/v2.1"
}
once nova "$(versions nova-common)
$SERVICE_PASSWORD $REGION $KEYSTONE_SERVER $NOVA_API_SERVER $(transport_template)" set_up

mkdir -p /var/lib/nova/tmp
chown nova:nova /var/lib/nova /var/lib/nova/tmp
become nova "$@"
