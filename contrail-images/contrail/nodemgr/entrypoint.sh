#!/bin/bash
# OpenSDN's node manager, which reports on the containers of a node.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting NODE_TYPE config 'what kind of node it is: config, config-database, control, analytics, analytics-alarm, analytics-snmp, database or vrouter'
passes NODE_TYPE
case $NODE_TYPE in
config) we_are CONFIG_NODES "$INTERFACE_INT" ;;
config-database) we_are CONFIGDB_NODES "$INTERFACE_INT" ;;
control) we_are CONTROL_NODES "$INTERFACE_EXT" ;;
analytics | analytics-alarm | analytics-snmp) we_are ANALYTICS_NODES "$INTERFACE_EXT" ;;
database) we_are ANALYTICSDB_NODES "$INTERFACE_INT" ;;
vrouter) ;; # the agent's interface says which address it has
*) die "NODE_TYPE is $NODE_TYPE: set it to config, config-database, control, analytics, analytics-alarm, analytics-snmp, database or vrouter" ;;
esac
told
exec "$opensdn" "$@"
