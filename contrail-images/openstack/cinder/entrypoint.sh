#!/bin/bash
# Cinder's API, scheduler and volume service: each is this image with another command.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting CINDER_SERVER cinder "host name of Cinder's API"
setting CINDER_HOST "$CINDER_SERVER" 'name under which the volumes of this volume service are kept; each of several has its own, and keeps it'
setting CINDER_BACKEND file 'where volumes are: file, nfs, lvm, ceph or fake'
setting NFS_SHARES '' 'for nfs: the shares (server:/path), separated by commas'
setting NFS_OPTIONS '' 'for nfs: options of the mount'
setting LVM_GROUP cinder-volumes 'for lvm: the volume group'
setting INTERFACE eth0 'for lvm: interface at whose address the volumes are iSCSI targets'
setting CEPH_POOL volumes 'for ceph: the pool'
setting CEPH_USER cinder 'for ceph: the user; its keyring and ceph.conf are in /etc/ceph'
setting CEPH_SECRET_UUID '' "for ceph: the UUID of the user's key in libvirt"
setting GLANCE_API_SERVER glance 'host name of the image service'

# A share that is mounted already, where the driver for NFS would mount it: at the MD5 of its name. Whatever directory
# or Docker volume is there serves.
share=cinder:/volumes
mounts=/var/lib/cinder/mnt

# Not root but the mode of files decides who may use them, since hypervisors change their owner.
files_are_everybodys='nas_secure_file_operations = false
nas_secure_file_permissions = false
nfs_snapshot_support = true'

backend() {
	printf 'backend_host = %s\nvolume_backend_name = %s\n' "$CINDER_HOST" "$CINDER_BACKEND"
	case $CINDER_BACKEND in
	file | nfs)
		cat <<-EOF
			volume_driver = cinder.volume.drivers.nfs.NfsDriver
			nfs_mount_options = $NFS_OPTIONS
			nfs_mount_point_base = $mounts
			nfs_shares_config = /etc/cinder/shares
			$files_are_everybodys
		EOF
		;;
	lvm)
		cat <<-EOF
			volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
			target_helper = tgtadm
			target_ip_address = $address
			target_protocol = iscsi
			volume_group = $LVM_GROUP
			volumes_dir = /var/lib/cinder/volumes
		EOF
		;;
	ceph)
		cat <<-EOF
			volume_driver = cinder.volume.drivers.rbd.RBDDriver
			rbd_ceph_conf = /etc/ceph/ceph.conf
			rbd_pool = $CEPH_POOL
			rbd_secret_uuid = $CEPH_SECRET_UUID
			rbd_user = $CEPH_USER
		EOF
		;;
	fake) printf 'volume_driver = cinder.tests.fake_driver.FakeLoggingVolumeDriver\n' ;;
	esac
}

case $CINDER_BACKEND in
file) shares=$share ;;
nfs)
	[ -n "$NFS_SHARES" ] || die "CINDER_BACKEND is nfs and NFS_SHARES is not set: name the shares there, as server:/path"
	shares=${NFS_SHARES//,/$'\n'}
	;;
lvm)
	shares=
	# shellcheck disable=SC2153 # setting sets it
	find_address "$INTERFACE"
	;;
ceph | fake) shares= ;;
*) die "CINDER_BACKEND is $CINDER_BACKEND: there are file, nfs, lvm, ceph and fake" ;;
esac

config /etc/cinder/shares cinder <<<"$shares"
config /etc/cinder/cinder.conf cinder <<-EOF
	[DEFAULT]
	auth_strategy = keystone
	enabled_backends = $CINDER_BACKEND
	glance_api_servers = http://$GLANCE_API_SERVER:9292
	host = $CINDER_HOST
	log_dir =
	osapi_volume_workers = $WORKERS
	rootwrap_config = /etc/cinder/rootwrap.conf
	state_path = /var/lib/cinder
	transport_url = $(transport_url)
	use_stderr = true
	[$CINDER_BACKEND]
	$(backend)
	[database]
	connection = $(database_url cinder cinder)
	[nova]
	$(password_auth nova)
	[oslo_concurrency]
	lock_path = /var/lib/cinder/tmp
	[oslo_messaging_notifications]
	driver = noop
	$(rabbit_section)
	[service_user]
	send_service_user_token = true
	$(password_auth cinder)
	$(authtoken_section cinder)
EOF
rendered

set_up() {
	database cinder cinder
	setpriv --reuid cinder --regid cinder --init-groups cinder-manage db sync
	service_user cinder
	service_endpoints cinderv3 volumev3 "http://$CINDER_SERVER:8776/v3/%(project_id)s"
}
once cinder "$(versions cinder-common)
$SERVICE_PASSWORD $REGION $KEYSTONE_SERVER $CINDER_SERVER" set_up

mkdir -p /var/lib/cinder/tmp
chown cinder:cinder /var/lib/cinder /var/lib/cinder/tmp
if [ "${1:-}" = cinder-volume ] && [ "$CINDER_BACKEND" = file ]; then
	directory=$mounts/$(printf %s "$share" | md5sum | cut -d' ' -f1)
	mountpoint -q "$directory" || die "nothing is mounted at $directory: mount the volume there that is to have Cinder's volumes, as compose/cinder.yml does"
	chown cinder:cinder "$directory"
	chmod 0755 "$directory"
fi
become cinder "$@"
