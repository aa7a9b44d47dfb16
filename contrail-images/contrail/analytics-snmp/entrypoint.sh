#!/bin/bash
# OpenSDN's SNMP collector.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

we_are ANALYTICS_NODES "$INTERFACE_EXT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
