#!/bin/bash
# Neutron's server and its agents, by the command. The agents change their network namespace, which they share with what
# they serve: with virtual machines on a compute node, with each other on the network node.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting NEUTRON_SERVER neutron-server 'host name of the network service'
setting NOVA_API_SERVER nova "host name of Nova's APIs"
setting METADATA_SECRET "$SERVICE_PASSWORD" "secret between Nova's metadata API and Neutron's metadata agents"
setting INTERFACE eth0 'interface that tunnels to other nodes go through'
setting HOST_IP '' "its address, if it isn't the first"
setting L2_AGENT linuxbridge 'what wires virtual machines on all nodes: linuxbridge or openvswitch'
setting PROVIDER_INTERFACES '' 'provider networks and their interfaces, as in physnet1:eth1,physnet2:eth2; bridges with openvswitch'
setting PATH_MTU '' "largest packet between nodes, if it isn't the interface's MTU"
setting VNI_RANGES 1:65535 'network numbers that tenants may get'
setting FIREWALL_DRIVER noop 'what enforces security groups: noop (nothing), iptables, or openvswitch'
setting OVS_DATAPATH system "Open vSwitch's datapath: system, or netdev for kernels without its module"
setting DNS_SERVERS '' 'DNS servers that virtual machines are told of, separated by commas'

case $L2_AGENT in
linuxbridge) mechanisms=linuxbridge,l2population ;;
openvswitch) mechanisms=openvswitch,l2population ;;
*) die "L2_AGENT is $L2_AGENT: it must be linuxbridge or openvswitch" ;;
esac
# shellcheck disable=SC2153 # setting sets it
if [ -z "$HOST_IP" ]; then
	find_address "$INTERFACE"
	HOST_IP=$address
fi
if [ -z "$PATH_MTU" ]; then
	PATH_MTU=1500
	rendering || PATH_MTU=$(<"/sys/class/net/$INTERFACE/mtu")
fi

config /etc/neutron/neutron.conf neutron <<-EOF
	[DEFAULT]
	api_workers = $WORKERS
	core_plugin = ml2
	global_physnet_mtu = $PATH_MTU
	interface_driver = $L2_AGENT
	log_dir =
	rpc_state_report_workers = 0
	rpc_workers = $WORKERS
	service_plugins = router
	state_path = /var/lib/neutron
	transport_url = $(transport_url)
	use_stderr = true
	[agent]
	root_helper = sudo /usr/bin/neutron-rootwrap /etc/neutron/rootwrap.conf
	root_helper_daemon = sudo /usr/bin/neutron-rootwrap-daemon /etc/neutron/rootwrap.conf
	[database]
	connection = $(database_url neutron neutron)
	[experimental]
	linuxbridge = true
	[nova]
	$(password_auth nova)
	[oslo_concurrency]
	lock_path = /var/lib/neutron/lock
	[oslo_messaging_notifications]
	driver = noop
	[ovs]
	ovsdb_connection = tcp:127.0.0.1:6640
	$(rabbit_section)
	$(authtoken_section neutron)
EOF
config /etc/neutron/ml2.ini neutron <<-EOF
	[ml2]
	extension_drivers = port_security
	mechanism_drivers = $mechanisms
	path_mtu = $PATH_MTU
	tenant_network_types = vxlan
	type_drivers = flat,vlan,vxlan
	[ml2_type_vlan]
	network_vlan_ranges = $(sed -E 's/:[^,]*//g' <<<"$PROVIDER_INTERFACES")
	[ml2_type_vxlan]
	vni_ranges = $VNI_RANGES
EOF
config /etc/neutron/linuxbridge.ini neutron <<-EOF
	[linux_bridge]
	physical_interface_mappings = $PROVIDER_INTERFACES
	[securitygroup]
	firewall_driver = $FIREWALL_DRIVER
	[vxlan]
	enable_vxlan = true
	l2_population = true
	local_ip = $HOST_IP
EOF
config /etc/neutron/openvswitch.ini neutron <<-EOF
	[agent]
	l2_population = true
	tunnel_types = vxlan
	[ovs]
	bridge_mappings = $PROVIDER_INTERFACES
	datapath_type = $OVS_DATAPATH
	local_ip = $HOST_IP
	of_listen_address = 127.0.0.1
	[securitygroup]
	firewall_driver = $FIREWALL_DRIVER
EOF
config /etc/neutron/dhcp.ini neutron <<-EOF
	[DEFAULT]
	dnsmasq_dns_servers = $DNS_SERVERS
	enable_isolated_metadata = true
EOF
config /etc/neutron/l3.ini neutron <<-EOF
	[DEFAULT]
	agent_mode = legacy
EOF
config /etc/neutron/metadata.ini neutron <<-EOF
	[DEFAULT]
	metadata_proxy_shared_secret = $(oslo "$METADATA_SECRET")
	metadata_workers = $WORKERS
	nova_metadata_host = $NOVA_API_SERVER
EOF
rendered

set_up() {
	database neutron neutron
	setpriv --reuid neutron --regid neutron --init-groups \
		neutron-db-manage --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/ml2.ini upgrade head
	service_user neutron
	service_endpoints neutron network "http://$NEUTRON_SERVER:9696"
}

mkdir -p /var/lib/neutron/lock
chown neutron:neutron /var/lib/neutron /var/lib/neutron/lock
if [ "$1" = neutron-server ]; then
	once neutron "$(versions neutron-common)
$SERVICE_PASSWORD $REGION $KEYSTONE_SERVER $NEUTRON_SERVER" set_up
else
	# What an agent made in its namespaces ended with the container that it ran in before. Only their names are left.
	rm -rf /run/netns
	case $1 in
	# Virtual machines leave checksums to who sends. Within a tunnel a switch outside of the kernel (as dockstack's is
	# where the kernel has none) does not see them, so they are made before: else pings pass, and TCP does not.
	neutron-linuxbridge-agent | neutron-openvswitch-agent) ethtool --offload "$INTERFACE" tx off >/dev/null ;;
	esac
	wait_for "$NEUTRON_SERVER" 9696
fi
become neutron "$@"
