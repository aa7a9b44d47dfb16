#!/bin/bash
# OpenSDN's provisioner, which enters a node into the configuration.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting NODE_TYPE config 'what kind of node it is: config, config-database, control, analytics, analytics-alarm, analytics-snmp, database or vrouter'
setting NOVA_API_SERVER nova "host name of Nova's metadata"
setting IPFABRIC_SERVICE_HOST "$NOVA_API_SERVER" "host name of Nova's metadata, port 8775"
passes NODE_TYPE IPFABRIC_SERVICE_HOST
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
