#!/bin/bash
# libvirtd for nova-compute in the container beside it. The virtual machines are processes of this container.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

# Two hosts may show the same machine's identity; Nova refuses to move a virtual machine to its own host.
config /etc/libvirt/libvirtd.conf root 0644 <<-EOF
	auth_unix_ro = "none"
	auth_unix_rw = "none"
	host_uuid = "$(md5sum <<<"dockstack $HOSTNAME" | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/')"
	listen_tls = 0
	log_outputs = "3:stderr"
	unix_sock_group = "nova"
	unix_sock_ro_perms = "0770"
	unix_sock_rw_perms = "0770"
EOF
# The engine limits what a container may do and use; libvirt's own namespaces, control groups and labels would need more
# of the host than the container has.
config /etc/libvirt/qemu.conf <<-EOF
	cgroup_controllers = []
	clear_emulator_capabilities = 0
	group = "root"
	namespaces = []
	remember_owner = 0
	security_driver = "none"
	stdio_handler = "file"
	user = "root"
EOF
rendered

# What ran here before ended with the container, and Nova keeps what is to run: a virtual machine that libvirt
# remembered would look as if somebody had shut it down.
mkdir -p /run/libvirt
rm -rf /etc/libvirt/qemu/*.xml /run/libvirt/* /run/libvirtd.pid
chown root:nova /run/libvirt
chmod 0750 /run/libvirt

# nova-compute ends when this changes, and comes back to start the virtual machines that ran.
cat /proc/sys/kernel/random/uuid >/run/libvirt/.started
mv /run/libvirt/.started /run/libvirt/started
exec "$@"
