#!/bin/bash
# Redis, which keeps what it is told.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting REDIS_SERVER_PASSWORD '' "password of clients, by the name that OpenSDN's images read; without it there is none"
setting REDIS_PASSWORD "$REDIS_SERVER_PASSWORD" 'the same for this Redis alone'
setting REDIS_BIND 0.0.0.0 'addresses that it listens on, separated by spaces'
setting REDIS_MB 0 'memory for data, in MB; 0: no limit'

{
	cat <<-EOF
		bind $REDIS_BIND
		protected-mode no
		dir /var/lib/redis
		appendonly yes
		maxmemory ${REDIS_MB}mb
	EOF
	if [ -n "$REDIS_PASSWORD" ]; then
		password=${REDIS_PASSWORD//\\/\\\\}
		printf 'requirepass "%s"\n' "${password//\"/\\\"}"
	fi
} | config /etc/dockstack/redis.conf redis
rendered

[ "${1:-}" = redis-server ] || exec "$@"
chown redis:redis /var/lib/redis
become redis "$@"
