#!/bin/bash
# OpenSDN's collector, which all others tell what happens. It wants a Redis at 127.0.0.1.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

we_are ANALYTICS_NODES "$INTERFACE_EXT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
