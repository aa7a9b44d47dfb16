#!/bin/bash
# Placement's API under uWSGI.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting PLACEMENT_SERVER placement "host name of Placement's API"

config /etc/placement/placement.conf placement <<-EOF
	[DEFAULT]
	log_dir =
	use_stderr = true
	[api]
	auth_strategy = keystone
	[placement_database]
	connection = $(database_url placement placement)
	$(authtoken_section placement)
EOF
uwsgi_config placement 8778 /usr/bin/placement-api placement
rendered

set_up() {
	database placement placement
	setpriv --reuid placement --regid placement --init-groups placement-manage db sync
	service_user placement
	service_endpoints placement placement "http://$PLACEMENT_SERVER:8778"
}
once placement "$(versions placement-common)
$SERVICE_PASSWORD $REGION $KEYSTONE_SERVER $PLACEMENT_SERVER" set_up

exec "$@"
