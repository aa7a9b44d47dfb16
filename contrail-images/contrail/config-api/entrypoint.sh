#!/bin/bash
# OpenSDN's configuration API.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

setting CONFIG_API_LISTEN_ALL true 'whether it listens on all addresses, as the original did; else on its own in CONFIG_NODES'
passes CONFIG_API_LISTEN_ALL

we_are CONFIG_NODES "$INTERFACE_INT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
