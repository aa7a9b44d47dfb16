#!/bin/bash
# ZooKeeper, alone or as a member of an ensemble.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting ZOO_SERVERS '' 'host names of all members of an ensemble, separated by commas, in the same order everywhere; without them this is a server of its own'
setting ZOO_MB 256 "memory of Java's heap, in MB"
setting ZOO_CONNECTIONS 0 'connections of one client at once; 0: any number'

members=${ZOO_SERVERS//,/ }
{
	cat <<-EOF
		tickTime=2000
		initLimit=30
		syncLimit=5
		dataDir=/var/lib/zookeeper
		clientPort=2181
		maxClientCnxns=$ZOO_CONNECTIONS
		admin.enableServer=false
		4lw.commands.whitelist=srvr,ruok,mntr
		autopurge.snapRetainCount=3
		autopurge.purgeInterval=6
		standaloneEnabled=true
	EOF
	number=1
	for member in $members; do
		printf 'server.%d=%s:2888:3888\n' "$number" "$member"
		number=$((number + 1))
	done
} | config /etc/dockstack/zoo.cfg zookeeper

if [ -n "$members" ]; then
	find_member "$members"
	id=1
	for member in $members; do
		[ "$member" != "$here" ] || break
		id=$((id + 1))
	done
	config /var/lib/zookeeper/myid zookeeper <<<"$id"
fi
rendered

[ "${1:-}" = java ] || exec "$@"
chown zookeeper:zookeeper /var/lib/zookeeper
# Health checks are not logged.
export JDK_JAVA_OPTIONS="-Xmx${ZOO_MB}m -Dzookeeper.jmx.log4j.disable=true
	-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.NIOServerCnxn=warn"
become zookeeper "$@"
