# shellcheck shell=bash
# What the Contrail entrypoints share: the variables of the original images, told to OpenSDN's entrypoints by the names
# that those know (containers/base/common.sh in OpenSDN's tf-container-builder). Who sets a variable by OpenSDN's own
# name is right: then the original one is not looked at. Variables that are not here go through untouched.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

# OpenSDN's own entrypoint, which our Dockerfiles have put aside.
# shellcheck disable=SC2034 # entrypoints end with it
opensdn=/opensdn-entrypoint.sh

# servers NAMES PORT prints names that are separated by commas as OpenSDN has them with ports: separated by spaces.
servers() {
	local name list=
	for name in ${1//,/ }; do
		list+="${list:+ }$name:$2"
	done
	printf '%s\n' "$list"
}

# The original variables
setting ADMIN_USER admin 'name of the administrator'
setting ADMIN_PASSWORD '' 'password of the administrator'
setting ADMIN_TENANT admin 'project of the administrator'
setting REGION RegionOne 'region of every endpoint'
setting KEYSTONE_SERVER keystone 'host name of Keystone'
setting CASSANDRA_SERVER cassandra 'host names of Cassandra, separated by commas'
setting ZOOKEEPER_SERVER zookeeper 'host names of ZooKeeper, separated by commas'
setting KAFKA_SERVER kafka 'host names of Kafka, separated by commas'
setting RABBIT_SERVER rabbitmq 'host names of RabbitMQ, separated by commas'
setting RABBIT_USER openstack "RabbitMQ's user"
setting RABBIT_PASSWORD "$ADMIN_PASSWORD" "password of RabbitMQ's user"
setting CONFIG_API_SERVER config 'host names of the configuration API, separated by commas'
setting CONTROL_SERVER control 'host names of the control nodes, separated by commas'
setting CONTRAIL_DNS_SERVER "$CONTROL_SERVER" "host names of the control nodes' DNS, separated by commas"
setting ANALYTICS_API_SERVER analytics 'host names of the analytics API, separated by commas'
setting COLLECTOR_SERVER "$ANALYTICS_API_SERVER" 'host names of the collectors, separated by commas'
setting ANALYTICS_REDIS_SERVER "$ANALYTICS_API_SERVER" 'host names of the Redis beside each collector, separated by commas'
setting WEBUI_JOB_SERVER webui 'host names of the web interface, separated by commas'
setting INTERFACE_INT eth0 'interface in the network internal'
setting INTERFACE_EXT ext0 'interface in the network ext; that of internal where there is no such'

# OpenSDN's: who may do what
setting CLOUD_ORCHESTRATOR openstack 'what the cloud is run by'
setting AUTH_MODE keystone 'keystone, or noauth: who says who somebody is'
setting AAA_MODE cloud-admin 'no-auth, cloud-admin or rbac: what somebody may do'
setting KEYSTONE_AUTH_HOST "$KEYSTONE_SERVER" 'host name of Keystone, port 5000'
setting KEYSTONE_AUTH_ADMIN_USER "$ADMIN_USER" 'name of the administrator'
setting KEYSTONE_AUTH_ADMIN_PASSWORD "$ADMIN_PASSWORD" 'password of the administrator'
setting KEYSTONE_AUTH_ADMIN_TENANT "$ADMIN_TENANT" 'project of the administrator'
setting KEYSTONE_AUTH_REGION_NAME "$REGION" 'region of every endpoint'

# OpenSDN's: where the others are. One Cassandra has both databases, as in the original stack, at the port of one that
# is alone.
setting CONFIGDB_NODES "$CASSANDRA_SERVER" 'Cassandra of the configuration'
setting CONFIGDB_PORT 9160 'its Thrift port'
setting CONFIGDB_CQL_PORT 9042 'its CQL port'
setting ANALYTICSDB_NODES "$CASSANDRA_SERVER" 'Cassandra of analytics'
setting ANALYTICSDB_CQL_PORT 9042 'its CQL port'
setting ANALYTICSDB_CQL_SERVERS "$(servers "$ANALYTICSDB_NODES" "$ANALYTICSDB_CQL_PORT")" 'Cassandra of analytics with ports, separated by spaces'
setting ZOOKEEPER_NODES "$ZOOKEEPER_SERVER" 'ZooKeeper'
setting KAFKA_NODES "$KAFKA_SERVER" 'Kafka'
setting RABBITMQ_NODES "$RABBIT_SERVER" 'RabbitMQ'
setting RABBITMQ_NODE_PORT 5672 'its port'
setting RABBITMQ_USER "$RABBIT_USER" 'its user'
setting RABBITMQ_PASSWORD "$RABBIT_PASSWORD" 'password of its user'
setting CONTROLLER_NODES "$CONFIG_API_SERVER" 'what OpenSDN takes for lists that are not set'
setting CONFIG_NODES "$CONFIG_API_SERVER" 'the configuration API'
setting CONTROL_NODES "$CONTROL_SERVER" 'the control nodes'
setting DNS_NODES "$CONTRAIL_DNS_SERVER" 'their DNS'
setting ANALYTICS_NODES "$ANALYTICS_API_SERVER" 'the analytics API'
setting COLLECTOR_PORT 8086 "the collectors' port"
setting COLLECTOR_SERVERS "$(servers "$COLLECTOR_SERVER" "$COLLECTOR_PORT")" 'the collectors with ports, separated by spaces'
setting REDIS_SERVER_PORT 6379 'port of the Redis beside each collector and web interface'
setting REDIS_SERVERS "$(servers "$ANALYTICS_REDIS_SERVER" "$REDIS_SERVER_PORT")" 'Redis of analytics with ports, separated by spaces'
setting WEBUI_NODES "$WEBUI_JOB_SERVER" 'the web interface'

# OpenSDN's: which parts there are. The original always had all.
setting ANALYTICSDB_ENABLE True 'whether analytics are kept in Cassandra'
setting ANALYTICS_ALARM_ENABLE True 'whether there are alarms, which takes Kafka'
setting ANALYTICS_SNMP_ENABLE True 'whether devices are asked by SNMP'

passed=(CLOUD_ORCHESTRATOR AUTH_MODE AAA_MODE KEYSTONE_AUTH_HOST KEYSTONE_AUTH_ADMIN_USER KEYSTONE_AUTH_ADMIN_PASSWORD
	KEYSTONE_AUTH_ADMIN_TENANT KEYSTONE_AUTH_REGION_NAME CONFIGDB_NODES CONFIGDB_PORT CONFIGDB_CQL_PORT ANALYTICSDB_NODES
	ANALYTICSDB_CQL_PORT ANALYTICSDB_CQL_SERVERS ZOOKEEPER_NODES KAFKA_NODES RABBITMQ_NODES RABBITMQ_NODE_PORT RABBITMQ_USER
	RABBITMQ_PASSWORD CONTROLLER_NODES CONFIG_NODES CONTROL_NODES DNS_NODES ANALYTICS_NODES COLLECTOR_PORT COLLECTOR_SERVERS
	REDIS_SERVER_PORT REDIS_SERVERS WEBUI_NODES ANALYTICSDB_ENABLE ANALYTICS_ALARM_ENABLE ANALYTICS_SNMP_ENABLE)

# passes NAME... adds to the variables that OpenSDN is told.
passes() { passed+=("$@"); }

# own_addresses prints the IPv4 addresses of this network namespace.
own_addresses() { awk '$2 == "host" && $1 == "/32" && last !~ /^127\./ { print last } { last = $2 }' /proc/net/fib_trie | sort -u; }

# own_address_on INTERFACE prints the one in that interface's network, or nothing. OpenSDN's images need not have ip.
own_address_on() {
	local addr bytes number iface dest gateway mask _
	for addr in $(own_addresses); do
		IFS=. read -ra bytes <<<"$addr"
		number=$((bytes[3] << 24 | bytes[2] << 16 | bytes[1] << 8 | bytes[0])) # the order of /proc/net/route
		while read -r iface dest gateway _ _ _ _ mask _; do
			if [ "$iface" = "$1" ] && [ "$gateway" = 00000000 ] && [ "$mask" != 00000000 ] &&
				[ $((number & 16#$mask)) = $((16#$dest)) ]; then
				printf '%s\n' "$addr"
				return
			fi
		done </proc/net/route
	done
}

# entry_here NAMES prints which of some names or addresses leads to this container, or nothing.
entry_here() {
	local entry own found
	own=$(own_addresses)
	for entry in ${1//,/ }; do
		found=$(getent ahostsv4 "$entry" | awk '{ print $1 }') || continue
		if grep -qxF "$own" <<<"$found"; then
			printf '%s\n' "$entry"
			return
		fi
	done
}

# we_are VARIABLE INTERFACE replaces, in a list of OpenSDN's, the name of this container by its address on an interface.
#
# OpenSDN looks for itself in that list: it resolves every entry once, and compares with its own addresses. A container in
# two networks finds both its addresses under its name, in an order that changes from start to start. And where it finds
# itself nowhere, it silently takes the address that happens to lead out, which is Docker's gateway bridge: so this waits
# until the name is known. All others stay names. They may be on another host, and not there yet.
we_are() {
	local entry addr said=$((SECONDS - 8)) list=,${!1// /},
	if rendering; then
		return
	fi
	until entry=$(entry_here "${!1}") && [ -n "$entry" ]; do
		if [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			log "waiting for a name in $1=${!1} to lead to this container: is it its hostname, or its name in its networks?"
		fi
		pause 0.5
	done
	[[ $entry =~ [^0-9.] ]] || return 0 # an address, so somebody chose it
	addr=$(own_address_on "$2")
	[ -n "$addr" ] || addr=$(own_address_on "$INTERFACE_INT")
	if [ -n "$addr" ]; then
		list=${list/,$entry,/,$addr,}
		list=${list#,}
		printf -v "$1" %s "${list%,}"
	fi
}

# any_answers NAMES PORT waits until one of several servers does.
any_answers() {
	local name said=$((SECONDS - 8))
	while :; do
		for name in ${1//,/ }; do
			if reachable "$name" "$2"; then
				return
			fi
		done
		if [ $((SECONDS - said)) -ge 10 ]; then
			said=$SECONDS
			log "waiting for port $2 of $1: nothing answers there"
		fi
		pause 0.5
	done
}

# told ends the settings: it writes what OpenSDN is told, and says it to whatever is started from here.
told() {
	local name value
	if [[ " ${passed[*]} " = *" KEYSTONE_AUTH_ADMIN_PASSWORD "* && $AUTH_MODE = keystone && -z $KEYSTONE_AUTH_ADMIN_PASSWORD ]]; then
		die "ADMIN_PASSWORD is not set: password of the administrator. Set it (compose/common.env does), or let ADMIN_PASSWORD_FILE name a file that has it"
	fi
	for name in "${passed[@]}"; do
		# A person may write blanks behind commas. OpenSDN takes them for a part of a name.
		[[ $name != *_@(NODES|SEEDS) ]] || printf -v "$name" %s "${!name// /}"
	done
	for name in "${passed[@]}"; do
		value=${!name}
		printf '%s=%s\n' "$name" "${value@Q}"
	done | config /etc/dockstack/contrail.env root 0600
	export "${passed[@]}"
	rendered
}
