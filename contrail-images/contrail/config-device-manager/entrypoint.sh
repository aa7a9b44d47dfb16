#!/bin/bash
# OpenSDN's device manager, which configures routers and switches.
# shellcheck source=contrail-images/lib/contrail.sh
. /usr/local/lib/dockstack/contrail.sh

we_are CONFIG_NODES "$INTERFACE_INT"
told
any_answers "$CONFIGDB_NODES" "$CONFIGDB_CQL_PORT"
exec "$opensdn" "$@"
