#!/bin/bash
# RabbitMQ, alone or as a node of a cluster.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting ADMIN_PASSWORD '' 'password of the administrator of OpenStack'
setting RABBIT_PASSWORD "$ADMIN_PASSWORD" "password of the user; the administrator's of OpenStack unless set"
[ -n "$RABBIT_PASSWORD" ] || die "RABBIT_PASSWORD is not set: password of the user. Set it, or ADMIN_PASSWORD (compose/common.env does)"
setting RABBIT_USER openstack 'name of the user, who may do everything'
setting RABBIT_MEMBERS '' 'host names of all nodes of a cluster, separated by commas; with dots in them they are long names'
setting RABBIT_COOKIE "$(printf 'dockstack cookie %s' "$RABBIT_PASSWORD" | sha256sum | cut -d' ' -f1)" "what a cluster's nodes know each other by; made from RABBIT_PASSWORD unless set"
setting RABBIT_PARTITION pause_minority 'what nodes of a cluster do that lost the others: pause_minority, autoheal or ignore'

members=${RABBIT_MEMBERS//,/ }
here=localhost
[ -z "$members" ] || find_member "$members"
host=$here
longnames=false
[[ $host != *.* ]] || longnames=true

config /etc/rabbitmq/rabbitmq-env.conf rabbitmq <<-EOF
	NODENAME=rabbit@$host
	USE_LONGNAME=$longnames
EOF
{
	cat <<-EOF
		listeners.tcp.default = 5672
		loopback_users = none
		load_definitions = /etc/rabbitmq/definitions.json
		log.console = true
		log.console.level = info
		log.file = false
	EOF
	[ -z "$members" ] || cat <<-EOF
		cluster_formation.peer_discovery_backend = classic_config
		cluster_partition_handling = $RABBIT_PARTITION
		# For ever, but that is no number: nodes that start first after a full stop wait for those that stopped last.
		mnesia_table_loading_retry_limit = 1000000
		mnesia_table_loading_retry_timeout = 10000
	EOF
	number=1
	for member in $members; do
		printf 'cluster_formation.classic_config.nodes.%d = rabbit@%s\n' "$number" "$member"
		number=$((number + 1))
	done
} | config /etc/rabbitmq/rabbitmq.conf rabbitmq

# hashed PASSWORD prints it as RabbitMQ keeps it: salt and SHA-256 of both. The salt is made from it too, so that the
# definitions are the same on every node.
hashed() {
	local salt
	salt=$(printf 'salt %s' "$1" | sha256sum | cut -c1-8)
	{ printf %b "\\x${salt:0:2}\\x${salt:2:2}\\x${salt:4:2}\\x${salt:6:2}"; } >"$scratch"
	printf %s "$1" >>"$scratch"
	{ head -c 4 "$scratch"; openssl dgst -sha256 -binary "$scratch"; } | base64 -w0
}
scratch=$(mktemp)
HASH=$(hashed "$RABBIT_PASSWORD") USER_NAME=$RABBIT_USER CLUSTER=$members jq -n '{
	vhosts: [{name: "/"}],
	users: [{name: env.USER_NAME, password_hash: env.HASH, hashing_algorithm: "rabbit_password_hashing_sha256", tags: "administrator"}],
	permissions: [{user: env.USER_NAME, vhost: "/", configure: ".*", write: ".*", read: ".*"}],
	policies: (if env.CLUSTER == "" then [] else [{
		name: "mirrored", vhost: "/", pattern: "^(?!amq\\.).*", "apply-to": "queues", priority: 0,
		definition: {"ha-mode": "all", "ha-sync-mode": "automatic"}}] end)
}' | config /etc/rabbitmq/definitions.json rabbitmq
rm -f "$scratch"
rendered

[ "${1##*/}" = rabbitmq-server ] || exec "$@"

# wait_for_node waits until one of the other nodes serves clients.
wait_for_node() {
	local said=$((SECONDS - 8)) member
	while :; do
		for member in $members; do
			[ "$member" = "$host" ] || ! reachable "$member" 5672 || return 0
		done
		if [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			log "$host has no data yet: waiting for another node of $members to serve, to join it"
		fi
		sleep 1
	done
}

# Of nodes without data only the first begins a cluster: two that began at once would be two clusters, and stay so. Nodes
# with data wait for each other by themselves. The data begins with the schema: a folder without it is of a node that was
# killed before it had joined.
if [ -n "$members" ] && [ ! -e "/var/lib/rabbitmq/mnesia/rabbit@$host/schema.DAT" ] && [ "$host" != "${members%% *}" ]; then
	wait_for_node
fi

chown rabbitmq:rabbitmq /var/lib/rabbitmq
config /var/lib/rabbitmq/.erlang.cookie rabbitmq 0600 <<<"$RABBIT_COOKIE"
chown rabbitmq:rabbitmq /var/lib/rabbitmq/.erlang.cookie
export HOME=/var/lib/rabbitmq
# Allowed to read input, which the last argument takes back, the script becomes the server instead of staying before it.
export RABBITMQ_ALLOW_INPUT=1
# A server that waits for work does not spin.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-noinput +sbwt none +sbwtdcpu none +sbwtdio none'
cd "$HOME"
become rabbitmq "$@"
