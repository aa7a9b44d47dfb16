#!/bin/bash
# OpenSDN's query engine.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

# OpenSDN looks for this process's own address among these; where Cassandra is stands in ANALYTICSDB_CQL_SERVERS.
# shellcheck disable=SC2153 # both are
ANALYTICSDB_NODES=$ANALYTICS_NODES
we_are ANALYTICSDB_NODES "$INTERFACE_EXT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
