#!/bin/bash
# Heat's two APIs and its engine: each is this image with another command.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting HEAT_SERVER heat "host name of Heat's APIs"
setting HEAT_SECRET "$SERVICE_PASSWORD" 'secret that what Heat stores of its users is encrypted with; with another one it is lost'

encryption_key=$(printf 'dockstack heat %s' "$HEAT_SECRET" | sha256sum | cut -c1-32)

# The trustee has no project: what it may do is in the trust that a stack's owner gives it.
config /etc/heat/heat.conf heat <<-EOF
	[DEFAULT]
	auth_encryption_key = $encryption_key
	heat_metadata_server_url = http://$HEAT_SERVER:8000
	heat_waitcondition_server_url = http://$HEAT_SERVER:8000/v1/waitcondition
	log_dir =
	num_engine_workers = $WORKERS
	region_name_for_services = $REGION
	stack_domain_admin = heat_domain_admin
	stack_domain_admin_password = $(oslo "$SERVICE_PASSWORD")
	stack_user_domain_name = heat
	transport_url = $(transport_url)
	use_stderr = true
	[clients_keystone]
	auth_uri = $keystone_url
	[database]
	connection = $(database_url heat heat)
	[ec2authtoken]
	auth_uri = $keystone_url/v3
	[heat_api]
	workers = $WORKERS
	[heat_api_cfn]
	workers = $WORKERS
	[oslo_concurrency]
	lock_path = /var/lib/heat/tmp
	[oslo_messaging_notifications]
	driver = noop
	$(rabbit_section)
	[trustee]
	$(password_auth heat | sed '/^project/d')
	$(authtoken_section heat)
EOF
rendered

# Stacks may make users. They live in a domain of their own, which Heat administers.
domain_of_users() {
	local domain user role project id
	domain=$(keystone_id domains 'name=heat' '{"domain": {"name": "heat", "description": "users that stacks make"}}')
	user=$(keystone_id users "name=heat_domain_admin&domain_id=$domain" \
		"{\"user\": {\"name\": \"heat_domain_admin\", \"domain_id\": \"$domain\"}}")
	keystone PATCH "users/$user" "$(PASSWORD=$SERVICE_PASSWORD jq -n '{user: {password: env.PASSWORD}}')" >/dev/null
	id=$(keystone_id roles 'name=admin')
	keystone PUT "domains/$domain/users/$user/roles/$id" >/dev/null
	for role in heat_stack_owner heat_stack_user; do
		keystone_id roles "name=$role" "{\"role\": {\"name\": \"$role\"}}" >/dev/null
	done
	user=$(NAME=$ADMIN_USER jq -rn 'env.NAME | @uri')
	user=$(keystone_id users "name=$user&domain_id=default")
	project=$(NAME=$ADMIN_TENANT jq -rn 'env.NAME | @uri')
	project=$(keystone_id projects "name=$project&domain_id=default")
	id=$(keystone_id roles 'name=heat_stack_owner')
	keystone PUT "projects/$project/users/$user/roles/$id" >/dev/null
}

set_up() {
	database heat heat
	setpriv --reuid heat --regid heat --init-groups heat-manage db_sync
	service_user heat
	service_endpoints heat orchestration "http://$HEAT_SERVER:8004/v1/%(project_id)s"
	service_endpoints heat-cfn cloudformation "http://$HEAT_SERVER:8000/v1"
	domain_of_users
}
once heat "$(versions heat-common)
$SERVICE_PASSWORD $REGION $KEYSTONE_SERVER $HEAT_SERVER $ADMIN_USER $ADMIN_TENANT" set_up

mkdir -p /var/lib/heat/tmp
chown heat:heat /var/lib/heat /var/lib/heat/tmp
become heat "$@"
