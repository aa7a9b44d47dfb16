#!/bin/bash
# Keystone's API under uWSGI. Several replicas, on any hosts, serve the same tokens: their keys are made from a secret
# and not kept in files that would have to be shared.
# shellcheck source=contrail-images/lib/openstack.sh
. /usr/local/lib/dockstack/openstack.sh

setting FERNET_SECRETS "$ADMIN_PASSWORD" 'secrets that tokens are encrypted with, separated by commas: the first for new ones, all for those that are out'
# The key of an empty one would be known to everybody, who could make tokens of their own with it.
[[ ,${FERNET_SECRETS//[[:space:]]/}, != *,,* ]] || die "FERNET_SECRETS has an empty secret in it: write secret,secret"

config /etc/keystone/keystone.conf keystone <<-EOF
	[DEFAULT]
	use_stderr = true
	log_dir =
	[cache]
	enabled = true
	backend = dogpile.cache.memcached
	memcache_servers = $memcached_servers
	[credential]
	key_repository = /etc/keystone/credential-keys
	[database]
	connection = $(database_url keystone keystone)
	[fernet_tokens]
	key_repository = /etc/keystone/fernet-keys
	[oslo_middleware]
	enable_proxy_headers_parsing = true
	[token]
	provider = fernet
EOF
uwsgi_config keystone 5000 /usr/bin/keystone-wsgi-public keystone

# Keystone encrypts with the key of the highest number. 0 is the one that comes next; it is never promoted here.
keys() {
	local IFS=, secret secrets number
	read -ra secrets <<<"$FERNET_SECRETS"
	number=${#secrets[@]}
	for secret in "${secrets[@]}" "next of ${secrets[0]}"; do
		printf 'dockstack %s %s' "$1" "$secret" | openssl dgst -sha256 -binary | base64 | tr '+/' '-_' |
			config "/etc/keystone/$1-keys/$number" keystone
		number=$((number - 1))
	done
}
keys fernet
keys credential
rendered

set_up() {
	database keystone keystone
	setpriv --reuid keystone --regid keystone --init-groups keystone-manage db_sync
	OS_BOOTSTRAP_PASSWORD=$ADMIN_PASSWORD keystone-manage bootstrap \
		--bootstrap-username "$ADMIN_USER" --bootstrap-project-name "$ADMIN_TENANT" --bootstrap-role-name admin \
		--bootstrap-service-name keystone --bootstrap-region-id "$REGION" --bootstrap-public-url "$keystone_url/v3" \
		--bootstrap-internal-url "$keystone_url/v3" --bootstrap-admin-url "$keystone_url/v3"
}
once keystone "$(versions keystone)
$ADMIN_USER $ADMIN_PASSWORD $ADMIN_TENANT $SERVICE_PASSWORD $REGION $KEYSTONE_SERVER" set_up

exec "$@"
