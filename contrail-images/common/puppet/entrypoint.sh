#!/bin/bash
# Puppet's agent: it asks its server for the catalog of its node and applies it, again and again.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting PUPPET_SERVER puppetserver 'host name of the server'
setting PUPPET_CERTNAME '' 'name of this node and its certificate; the name that its address has if empty'
setting PUPPET_ENVIRONMENT production 'environment that its catalog is from'
setting PUPPET_INTERVAL 30m 'time from one run to the next'

# A container's host name is another one each time that it is made, and /etc/hosts gives that to its address. The name
# that its address has in DNS stays.
name=$PUPPET_CERTNAME
if rendering; then
	name=${name:-node}
fi
said=$((SECONDS - 8))
while [ -z "$name" ]; do
	find_address eth0
	name=$(getent -s hosts:dns hosts "$address" | awk '{print tolower($2)}') || true
	[ -z "$name" ] || break
	if [ $((SECONDS - said)) -ge 10 ]; then
		said=$SECONDS
		log "waiting for DNS to have a name for this container's address, to be called so: or set PUPPET_CERTNAME"
	fi
	pause 1
done

config /etc/puppet/puppet.conf puppet 0644 <<-EOF
	[main]
	certname = $name
	environment = $PUPPET_ENVIRONMENT
	runinterval = $PUPPET_INTERVAL
	server = $PUPPET_SERVER
	ssldir = /var/lib/puppet/ssl
	waitforcert = 10
EOF
rendered

chown puppet:puppet /var/lib/puppet
rm -f /var/cache/puppet/state/agent_catalog_run.lock # of a run that was killed: a process of its number may be there again
wait_for "$PUPPET_SERVER" 8140
exec "$@"
