#!/bin/bash
# etcd, alone or as a member of a cluster.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting ETCD_MEMBERS '' 'host names of all members of a cluster, separated by commas; without them this is a server of its own'
setting ETCD_CLUSTER dockstack 'what members of one cluster have in common: others are refused'
setting ETCD_QUOTA_MB 2048 'how large the data may get, in MB'
# Within a here-document bash goes on when it can't calculate, without the file.
[[ $ETCD_QUOTA_MB =~ ^[1-9][0-9]*$ ]] || die "ETCD_QUOTA_MB is $ETCD_QUOTA_MB: it must be a number of MB, without a unit"

members=${ETCD_MEMBERS//,/ }
here=localhost
[ -z "$members" ] || find_member "$members"
initial=
for member in ${members:-$here}; do
	initial+="${initial:+,}$member=http://$member:2380"
done
# These two count when the volume is new, and are the data's own afterwards.
config /etc/dockstack/etcd.yml etcd <<-EOF
	name: $here
	data-dir: /var/lib/etcd/data
	listen-client-urls: http://0.0.0.0:2379
	advertise-client-urls: http://$here:2379
	listen-peer-urls: http://0.0.0.0:2380
	initial-advertise-peer-urls: http://$here:2380
	initial-cluster: $initial
	initial-cluster-token: $ETCD_CLUSTER
	initial-cluster-state: new
	auto-compaction-mode: periodic
	auto-compaction-retention: "1h"
	quota-backend-bytes: $((ETCD_QUOTA_MB * 1024 * 1024))
EOF
rendered

[ "${1:-}" = etcd ] || exec "$@"
# A new cluster begins when its members know each other's names.
for member in $members; do
	until [ -d /var/lib/etcd/data ] || [ -n "$(address_by_name "$member")" ]; do
		log "waiting for the name $member, to begin a cluster with it"
		sleep 2
	done
done
chown etcd:etcd /var/lib/etcd
chmod 0700 /var/lib/etcd
become etcd "$@" --config-file=/etc/dockstack/etcd.yml
