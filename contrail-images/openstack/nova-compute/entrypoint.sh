#!/bin/bash
# Nova on a compute node, beside libvirt: the two share a network namespace, /run/libvirt and the instances' files.
#
# Virtual machines end with the libvirt container. nova-compute starts those that ran when it starts itself
# (resume_guests_state_on_host_boot), so it ends whenever libvirt was started anew, and the engine starts it again.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh
# shellcheck source=contrail-images/lib/nova.sh
. /usr/local/lib/dockstack/nova.sh

setting VNC_PROXY nova 'host name of the consoles, as browsers reach it'
setting VIRT_TYPE qemu 'what runs virtual machines: qemu (software emulation) or kvm'
if [ "$VIRT_TYPE" = kvm ]; then mode=host-model; else mode=none; fi
setting CPU_MODE '' "virtual machines' processors; if empty, none, and with kvm host-model: the host's"
CPU_MODE=${CPU_MODE:-$mode}
setting RESERVED_MEMORY_MB 512 'memory that virtual machines leave to the host'

nova_config "$(
	cat <<-EOF
		compute_driver = libvirt.LibvirtDriver
		instances_path = /var/lib/nova/instances
		reserved_host_memory_mb = $RESERVED_MEMORY_MB
		resume_guests_state_on_host_boot = true
	EOF
)" "$(
	cat <<-EOF
		[libvirt]
		connection_uri = qemu+unix:///system?socket=/run/libvirt/libvirt-sock
		cpu_mode = $CPU_MODE
		virt_type = $VIRT_TYPE
		[os_vif_ovs]
		ovsdb_connection = tcp:127.0.0.1:6640
		# A serial console on a TCP port is what makes Nova read the log of it: pseudo-terminals are of another container.
		[serial_console]
		enabled = true
		proxyclient_address = 127.0.0.1
		[vnc]
		enabled = true
		novncproxy_base_url = http://$VNC_PROXY:6080/vnc_auto.html
		server_listen = 0.0.0.0
		server_proxyclient_address = $HOST_IP
	EOF
)"
rendered

mkdir -p /var/lib/nova/instances /var/lib/nova/tmp
chown nova:nova /var/lib/nova /var/lib/nova/instances /var/lib/nova/tmp

# started prints which start of libvirt this is.
started() { cat /run/libvirt/started 2>/dev/null || true; }

answers() { timeout 10 python3 -c 'import libvirt; libvirt.openReadOnly("qemu+unix:///system?socket=/run/libvirt/libvirt-sock-ro")' 2>/dev/null; }

said=$((SECONDS - 8))
until start=$(started) && [ -n "$start" ] && answers && [ "$start" = "$(started)" ]; do
	if [ $((SECONDS - said)) -ge 10 ]; then
		said=$SECONDS
		log "waiting for libvirt, which must share /run/libvirt with this container"
	fi
	sleep 0.5
done
wait_for "$NOVA_API_SERVER" 8774

# compute METHOD PATH [JSON] calls Nova's API and prints the answer.
compute() {
	curl -sSf --max-time 60 -X "$1" -H 'Content-Type: application/json' -H @<(printf 'X-Auth-Token: %s\n' "$keystone_token") \
		${3:+--data "$3"} "http://$NOVA_API_SERVER:8774/v2.1/$2"
}

# If libvirt ends while a virtual machine is being started, Nova calls that an error, without saying which, and leaves the
# machine alone from then on. Those are to run, so they are tried again. Errors that have a reason are somebody's to see.
revive() {
	local id failed
	keystone_login
	until failed=$(compute GET "servers/detail?all_tenants=1&status=ERROR&host=$HOSTNAME"); do
		log "waiting for Nova's API on $NOVA_API_SERVER to answer"
		pause 2
	done
	for id in $(jq -r '.servers[] | select(.fault == null and ."OS-EXT-STS:power_state" == 1) | .id' <<<"$failed"); do
		log "virtual machine $id did not come up when libvirt was started before: it is tried again"
		compute POST "servers/$id/action" '{"os-resetState": {"state": "active"}}' || log "which Nova's API refused"
	done
}
revive

server=$$
(
	while [ "$(started)" = "$start" ]; do sleep 1; done
	log "libvirt was started anew, so the virtual machines ended: starting anew as well"
	kill "$server"
	sleep 5
	kill -KILL "$server"
) &
become nova "$@"
