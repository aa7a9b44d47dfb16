#!/bin/bash
# Glance's API with images in files under /var/lib/glance.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting GLANCE_API_SERVER glance 'host name of the image service'

config /etc/glance/glance-api.conf glance <<-EOF
	[DEFAULT]
	bind_host = 0.0.0.0
	enabled_backends = file:file
	log_dir =
	use_stderr = true
	workers = $WORKERS
	[database]
	connection = $(database_url glance glance)
	[file]
	filesystem_store_datadir = /var/lib/glance/images
	[glance_store]
	default_backend = file
	[oslo_messaging_notifications]
	driver = noop
	[paste_deploy]
	flavor = keystone
	$(authtoken_section glance)
EOF
rendered

set_up() {
	database glance glance
	setpriv --reuid glance --regid glance --init-groups glance-manage db_sync
	service_user glance
	service_endpoints glance image "http://$GLANCE_API_SERVER:9292"
}
once glance "$(versions glance-common)
$SERVICE_PASSWORD $REGION $KEYSTONE_SERVER $GLANCE_API_SERVER" set_up

chown glance:glance /var/lib/glance
become glance "$@"
