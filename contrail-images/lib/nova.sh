# shellcheck shell=bash
# What Nova's services share, on the control node and on compute nodes: nova.conf. Needs lib/openstack.sh.

setting NOVA_API_SERVER nova "host name of Nova's APIs"
setting GLANCE_API_SERVER glance 'host name of the image service'
setting NEUTRON_SERVER neutron-server 'host name of the network service'
setting METADATA_SECRET "$SERVICE_PASSWORD" "secret between Nova's metadata API and Neutron's metadata agents"
setting INTERFACE eth0 'interface whose address other services know this one by'
setting HOST_IP '' "that address, if it isn't the interface's first"
if [ -z "$HOST_IP" ]; then
	find_address "$INTERFACE"
	# shellcheck disable=SC2154 # find_address sets it
	HOST_IP=$address
fi

# nova_config DEFAULTS SECTIONS writes /etc/nova/nova.conf: what all services share, with DEFAULTS in its first section
# and SECTIONS behind it.
nova_config() {
	config /etc/nova/nova.conf nova <<-EOF
		[DEFAULT]
		log_dir =
		my_ip = $HOST_IP
		state_path = /var/lib/nova
		transport_url = $(transport_url)
		use_stderr = true
		$1
		[glance]
		api_servers = http://$GLANCE_API_SERVER:9292
		[neutron]
		metadata_proxy_shared_secret = $(oslo "$METADATA_SECRET")
		service_metadata_proxy = true
		$(password_auth neutron)
		[oslo_concurrency]
		lock_path = /var/lib/nova/tmp
		[oslo_messaging_notifications]
		driver = noop
		$(rabbit_section)
		[placement]
		$(password_auth placement)
		[service_user]
		send_service_user_token = true
		$(password_auth nova)
		$2
	EOF
}
