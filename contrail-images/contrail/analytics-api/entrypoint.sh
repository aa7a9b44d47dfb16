#!/bin/bash
# OpenSDN's analytics API.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting ANALYTICS_API_LISTEN_IP 0.0.0.0 'address that it listens on'
passes ANALYTICS_API_LISTEN_IP

we_are ANALYTICS_NODES "$INTERFACE_EXT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
