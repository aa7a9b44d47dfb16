#!/bin/bash
# Tempest: tests of an OpenStack, run once. Results are kept under /var/lib/tempest.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting TEMPEST_REGEX '^tempest\.api\.identity\.v3\.' 'which tests are run: a regular expression of their names'
setting TEMPEST_EXCLUDE '' 'which of them are left out: a regular expression'
setting TEMPEST_CONCURRENCY 1 'tests at once'
setting TEMPEST_SERVICES glance 'services that are there, separated by commas: cinder, glance, horizon, neutron, nova, swift'
setting TEMPEST_IMAGE '' 'id of the image of virtual machines'
setting TEMPEST_FLAVOR '' 'id of the flavor of virtual machines'
setting TEMPEST_PUBLIC_NETWORK '' "id of the network that leads outside"

services() {
	local service is
	for service in cinder glance horizon neutron nova swift; do
		is=false
		[[ ,$TEMPEST_SERVICES, != *,$service,* ]] || is=true
		printf '%s = %s\n' "$service" "$is"
	done
}

# line KEY VALUE prints a line of the configuration, if there is a value.
line() { [ -z "$2" ] || printf '%s = %s\n' "$1" "$2"; }

config /etc/tempest/tempest.conf <<-EOF
	[DEFAULT]
	log_dir = /var/lib/tempest
	log_file = tempest.log
	[auth]
	admin_domain_name = Default
	admin_password = $(oslo "$ADMIN_PASSWORD")
	admin_project_name = $ADMIN_TENANT
	admin_username = $ADMIN_USER
	use_dynamic_credentials = true
	[compute]
	$(line image_ref "$TEMPEST_IMAGE")
	$(line image_ref_alt "$TEMPEST_IMAGE")
	$(line flavor_ref "$TEMPEST_FLAVOR")
	$(line flavor_ref_alt "$TEMPEST_FLAVOR")
	[identity]
	auth_version = v3
	region = $REGION
	uri_v3 = $keystone_url/v3
	[network]
	$(line public_network_id "$TEMPEST_PUBLIC_NETWORK")
	[oslo_concurrency]
	lock_path = /var/lib/tempest/locks
	[service_available]
	$(services)
EOF
# Results are kept where this file is.
config /var/lib/tempest/.stestr.conf <<-EOF
	[DEFAULT]
	test_path = /usr/lib/python3/dist-packages/tempest/test_discover
	top_dir = /usr/lib/python3/dist-packages
	group_regex = ([^\.]*\.)*
EOF
rendered

export TEMPEST_CONFIG_DIR=/etc/tempest
cd /var/lib/tempest
wait_for "$KEYSTONE_SERVER" 5000
if [ $# -eq 0 ]; then
	set -- tempest run --concurrency "$TEMPEST_CONCURRENCY" --regex "$TEMPEST_REGEX"
	[ -z "$TEMPEST_EXCLUDE" ] || set -- "$@" --exclude-regex "$TEMPEST_EXCLUDE"
fi
exec "$@"
