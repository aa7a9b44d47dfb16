#!/bin/bash
# The `openstack` command, logged in as the stack's administrator.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

# JSON is YAML as well, and quotes whatever a password has in it.
URL=$keystone_url/v3 NAME=$ADMIN_USER PASSWORD=$ADMIN_PASSWORD PROJECT=$ADMIN_TENANT REGION=$REGION jq -n '{clouds: {stack: {
	auth: {auth_url: env.URL, username: env.NAME, password: env.PASSWORD, project_name: env.PROJECT,
		user_domain_name: "Default", project_domain_name: "Default"},
	region_name: env.REGION, identity_api_version: 3}}}' | config /etc/openstack/clouds.yaml root 0600
rendered

exec "$@"
