#!/bin/bash
# memcached, whose only configuration is its command line.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting MEMCACHED_MB 64 'memory for what is cached, in MB'
setting MEMCACHED_CONNECTIONS 4096 'clients at once'
setting MEMCACHED_ITEM 1m 'the largest value that is taken, as 512k or 1m'

config /etc/dockstack/memcached.options memcache <<-EOF
	-m $MEMCACHED_MB -c $MEMCACHED_CONNECTIONS -I $MEMCACHED_ITEM -l 0.0.0.0
EOF
rendered

[ "${1:-}" = memcached ] || exec "$@"
read -ra options </etc/dockstack/memcached.options
become memcache "$@" "${options[@]}"
