#!/bin/bash
# Open vSwitch, one of its two processes by the command: ovsdb-server keeps the configuration, ovs-vswitchd does it.
# They share /run/openvswitch and a network namespace.
# shellcheck source=contrail-images/lib/entrypoint.sh
. /usr/local/lib/dockstack/entrypoint.sh

setting OVSDB_PORT 6640 "port on 127.0.0.1 where Neutron's agent and Nova ask the database"
rendered

run=/run/openvswitch
mkdir -p "$run"
case $1 in
ovsdb-server)
	database=/etc/openvswitch/conf.db schema=/usr/share/openvswitch/vswitch.ovsschema
	[ -s "$database" ] || ovsdb-tool create "$database" "$schema"
	[ "$(ovsdb-tool needs-conversion "$database" "$schema")" = no ] || ovsdb-tool convert "$database" "$schema"
	set -- "$@" "$database" --remote="punix:$run/db.sock" --remote="ptcp:$OVSDB_PORT:127.0.0.1" \
		--remote=db:Open_vSwitch,Open_vSwitch,manager_options --unixctl="$run/ovsdb-server.ctl" -vconsole:info -vsyslog:off -vfile:off
	;;
ovs-vswitchd)
	until ovs-vsctl --timeout=5 --no-wait init 2>/dev/null; do
		log "waiting for ovsdb-server, which must share $run with this container"
		sleep 1
	done
	set -- "$@" "unix:$run/db.sock" --unixctl="$run/ovs-vswitchd.ctl" -vconsole:info -vsyslog:off -vfile:off
	;;
esac
exec "$@"
